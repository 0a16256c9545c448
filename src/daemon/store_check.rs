//! The periodic check of the store, which readiness, a gauge and the log report.

use std::sync::Arc;
use std::time::Duration;

use super::gauges::Gauges;
use crate::api::ops::health::Health;
use crate::control::calendar::Job;
use crate::store::repository::Store;

/// The time between two checks.
const EVERY: Duration = Duration::from_secs(5);

/// The parts of the check.
#[derive(Clone, Debug)]
pub struct StoreCheck {
    pub store: Arc<dyn Store>,
    pub health: Arc<Health>,
    pub gauges: Gauges,
}

impl StoreCheck {
    /// The row of the calendar. A store that cannot be used is its finding, and not its failure.
    pub fn job(self) -> Job {
        Job::new("store", EVERY, move || {
            let check = self.clone();
            async move {
                check.run().await;
                Ok(())
            }
        })
    }

    async fn run(&self) {
        let store = Arc::clone(&self.store);
        let asked = tokio::task::spawn_blocking(move || store.check()).await;
        let asked = asked.map_err(anyhow::Error::from);
        self.report(asked.and_then(|asked| asked.map_err(anyhow::Error::from)));
    }

    fn report(&self, asked: anyhow::Result<()>) {
        let up = asked.is_ok();
        let was_up = self.health.set_store_up(up);
        self.gauges.store_is_up(up);
        match asked {
            Err(error) if was_up => {
                let error = format!("{error:#}");
                tracing::error!(
                    error,
                    "the store cannot be used: traffic flows, and changes are refused"
                );
            }
            Ok(()) if !was_up => tracing::info!("the store can be used again"),
            _ => {}
        }
    }
}
