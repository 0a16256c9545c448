//! The uses of quotas on their way to the store, so that a restart begins no window again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::control::calendar::Job;
use crate::control::error::Error;
use crate::domain::name::Name;
use crate::domain::quota::{QuotaUse, Window};
use crate::domain::time::Clock;
use crate::proxy::plane::Proxy;
use crate::store::repository::Store;

/// The time between two writes. A process that is killed forgets the requests since the last one.
const EVERY: Duration = Duration::from_secs(5);

/// The uses that one transaction keeps. Changes of operators wait for it, a few milliseconds.
const KEPT_TOGETHER: usize = 1000;

/// The writer of quotas' uses.
#[derive(Debug)]
pub struct QuotaKeeper {
    store: Arc<dyn Store>,
    proxy: Arc<Proxy>,
    clock: Arc<dyn Clock>,
    /// The uses as they are stored. The data plane's buckets are its bound.
    stored: Mutex<HashMap<Place, QuotaUse>>,
}

impl QuotaKeeper {
    pub fn new(store: Arc<dyn Store>, proxy: Arc<Proxy>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            proxy,
            clock,
            stored: Mutex::default(),
        }
    }

    /// The row of the calendar.
    pub fn job(self: &Arc<Self>) -> Job {
        let keeper = Arc::clone(self);
        Job::new("quotas", EVERY, move || {
            let keeper = Arc::clone(&keeper);
            async move { keeper.run().await }
        })
    }

    /// Writes the uses that have changed.
    pub async fn run(self: &Arc<Self>) -> Result<(), Error> {
        let keeper = Arc::clone(self);
        tokio::task::spawn_blocking(move || keeper.write())
            .await
            .map_err(|error| Error::internal("the quotas were not written", error))?
    }

    fn write(&self) -> Result<(), Error> {
        // Held from the reading to the end: two writers would keep each other's older numbers.
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let uses: HashMap<Place, QuotaUse> = self
            .proxy
            .quotas_used(now)
            .into_iter()
            .map(|used| (place(&used), used))
            .collect();
        // The data plane has forgotten those for whom it had no room. What is not counted there is not kept here.
        let gone: Vec<QuotaUse> = stored
            .extract_if(|place, _| !uses.contains_key(place))
            .map(|(_, used)| used)
            .collect();
        let fresh: Vec<QuotaUse> = uses
            .into_iter()
            .filter(|(place, used)| stored.get(place) != Some(used))
            .map(|(_, used)| used)
            .collect();
        for part in gone.chunks(KEPT_TOGETHER) {
            self.store.keep_quota_uses(&[], part, now)?;
        }
        for part in fresh.chunks(KEPT_TOGETHER) {
            self.store.keep_quota_uses(part, &[], now)?;
            stored.extend(part.iter().map(|used| (place(used), used.clone())));
        }
        Ok(())
    }
}

/// The name, window and caller of a quota's use.
type Place = (Name, Window, String);

fn place(used: &QuotaUse) -> Place {
    (used.quota.clone(), used.window, used.subject.clone())
}
