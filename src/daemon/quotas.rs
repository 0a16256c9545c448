//! The uses of quotas on their way to the store, so that a restart begins no window again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::control::calendar::Job;
use crate::control::error::Error;
use crate::domain::name::Name;
use crate::domain::quota::QuotaUse;
use crate::domain::time::{Clock, Timestamp};
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
    stored: Mutex<HashMap<(Name, String), (Timestamp, u32)>>,
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
        let now = self.clock.now();
        let uses = self.proxy.quotas_used(now);
        // Held for the whole write: two writers would keep each other's older numbers.
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        stored.retain(|_, (ends_at, _)| *ends_at > now);
        let fresh: Vec<QuotaUse> = uses
            .into_iter()
            .filter(|used| stored.get(&key(used)) != Some(&(used.ends_at, used.used)))
            .collect();
        for part in fresh.chunks(KEPT_TOGETHER) {
            self.store.keep_quota_uses(part, now)?;
            stored.extend(
                part.iter()
                    .map(|used| (key(used), (used.ends_at, used.used))),
            );
        }
        Ok(())
    }
}

fn key(used: &QuotaUse) -> (Name, String) {
    (used.quota.clone(), used.subject.clone())
}
