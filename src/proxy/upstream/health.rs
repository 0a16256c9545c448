//! The health of upstreams, as all workers together have found it by using them, for metrics.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};
use tokio::time::Instant;

use super::failures::UpstreamFailures;
use crate::domain::cause::Cause;
use crate::domain::name::Name;
use crate::domain::upstream::Upstream;
use crate::net::resolve::Resolver;

/// All upstreams. Their names come from the configuration, so there are as many series as the operator wrote.
#[derive(Clone, Debug)]
pub struct Healths {
    /// The resolver of their names.
    pub resolver: Resolver,
    begun: Instant,
    upstreams: Arc<Mutex<HashMap<Name, Arc<Health>>>>,
    healthy: IntGaugeVec,
    ejections: IntCounterVec,
    requests: IntCounterVec,
    retries: IntCounterVec,
    failures: IntCounterVec,
}

/// The health of one upstream. Workers report their findings here, and do not read each other's.
#[derive(Debug)]
pub struct Health {
    begun: Instant,
    /// The time until which each endpoint is ejected, in milliseconds.
    ejected_until: Box<[AtomicU64]>,
    ejections: IntCounter,
    requests: IntCounter,
    retries: IntCounter,
    pub failures: UpstreamFailures,
}

impl Healths {
    pub fn new() -> prometheus::Result<Self> {
        Ok(Self {
            resolver: Resolver::default(),
            begun: Instant::now(),
            upstreams: Arc::default(),
            healthy: IntGaugeVec::new(
                Opts::new(
                    "countersign_upstream_healthy",
                    "1 if an endpoint of the upstream is available, 0 if all are ejected because they refused connections.",
                ),
                &["upstream"],
            )?,
            ejections: IntCounterVec::new(
                Opts::new(
                    "countersign_upstream_ejections_total",
                    "Ejections by a worker of an endpoint that refused connections.",
                ),
                &["upstream"],
            )?,
            requests: IntCounterVec::new(
                Opts::new(
                    "countersign_upstream_requests_total",
                    "Requests that were given to an upstream, those that were sent again included.",
                ),
                &["upstream"],
            )?,
            retries: IntCounterVec::new(
                Opts::new(
                    "countersign_upstream_retries_total",
                    "Requests that were sent once more on a new connection.",
                ),
                &["upstream"],
            )?,
            failures: IntCounterVec::new(
                Opts::new(
                    "countersign_upstream_failures_total",
                    "Connections to an upstream that could not be opened and exchanges that failed there.",
                ),
                &["upstream", "cause"],
            )?,
        })
    }

    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let healths = Self::new()?;
        registry.register(Box::new(healths.clone()))?;
        Ok(healths)
    }

    /// The health of `upstream`, which is exported from now on.
    pub fn of(&self, upstream: &Upstream) -> Arc<Health> {
        let mut upstreams = self
            .upstreams
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = upstreams.get(&upstream.name)
            && known.ejected_until.len() == upstream.endpoints.len()
        {
            return Arc::clone(known);
        }
        // `increase()` does not see the first event of a series that begins with it.
        for cause in Cause::ALL {
            let labels = [upstream.name.as_str(), cause.as_str()];
            self.failures.with_label_values(&labels);
        }
        let health = Arc::new(Health {
            begun: self.begun,
            ejected_until: upstream
                .endpoints
                .iter()
                .map(|_| AtomicU64::new(0))
                .collect(),
            ejections: self.ejections.with_label_values(&[upstream.name.as_str()]),
            requests: self.requests.with_label_values(&[upstream.name.as_str()]),
            retries: self.retries.with_label_values(&[upstream.name.as_str()]),
            failures: UpstreamFailures::new(
                upstream.name.clone(),
                self.begun,
                self.failures.clone(),
            ),
        });
        upstreams.insert(upstream.name.clone(), Arc::clone(&health));
        health
    }
}

impl Collector for Healths {
    fn desc(&self) -> Vec<&Desc> {
        let mut all = self.healthy.desc();
        all.extend(self.ejections.desc());
        all.extend(self.requests.desc());
        all.extend(self.retries.desc());
        all.extend(self.failures.desc());
        all
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let upstreams = self
            .upstreams
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (name, health) in &*upstreams {
            let healthy = health.is_healthy(Instant::now());
            self.healthy
                .with_label_values(&[name.as_str()])
                .set(i64::from(healthy));
        }
        let mut all = self.healthy.collect();
        all.extend(self.ejections.collect());
        all.extend(self.requests.collect());
        all.extend(self.retries.collect());
        all.extend(self.failures.collect());
        all
    }
}

impl Health {
    pub fn ejected(&self, place: usize, until: Instant, newly: bool) {
        if let Some(ejected) = self.ejected_until.get(place) {
            ejected.store(self.millis(until), Ordering::Relaxed);
        }
        if newly {
            self.ejections.inc();
        }
    }

    /// Counts a request to the upstream, and a retry if `again`.
    pub fn asked(&self, again: bool) {
        self.requests.inc();
        if again {
            self.retries.inc();
        }
    }

    pub fn takes_connections(&self, place: usize) {
        if let Some(ejected) = self.ejected_until.get(place) {
            ejected.store(0, Ordering::Relaxed);
        }
    }

    /// True if some endpoint is not ejected.
    pub fn is_healthy(&self, now: Instant) -> bool {
        let now = self.millis(now);
        self.ejected_until
            .iter()
            .any(|until| until.load(Ordering::Relaxed) <= now)
    }

    fn millis(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.begun);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
