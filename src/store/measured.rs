//! A store with metrics: its operations, their results and their durations.

use std::sync::Arc;
use std::time::Instant;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
};

use super::act::Act;
use super::error::Error;
use super::repository::{Contents, Since, Store};
use crate::domain::admin::AdminToken;
use crate::domain::api_key::{ApiKey, KeyUse};
use crate::domain::app::App;
use crate::domain::certificate::{Certificate, Fingerprint};
use crate::domain::id::{AdminTokenId, AppId, AuditEventId, CertificateId, KeyId};
use crate::domain::listing::{AuditFilter, CertificateFilter, CertificateMark, KeyFilter, Page};
use crate::domain::name::Name;
use crate::domain::quota::QuotaUse;
use crate::domain::record::AuditEvent;
use crate::domain::time::Timestamp;

/// The buckets: from a page in memory to a disk that is busy for as long as a writer waits.
const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0,
];

/// A store that measures the store behind it.
#[derive(Debug)]
pub struct Measured {
    store: Arc<dyn Store>,
    series: [Series; Operation::ALL.len()],
}

/// The kinds of operations that operators distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Change,
    Check,
    Get,
    List,
    Load,
    Revision,
    Uses,
}

impl Operation {
    const ALL: [Self; 7] = [
        Self::Change,
        Self::Check,
        Self::Get,
        Self::List,
        Self::Load,
        Self::Revision,
        Self::Uses,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Check => "check",
            Self::Get => "get",
            Self::List => "list",
            Self::Load => "load",
            Self::Revision => "revision",
            Self::Uses => "uses",
        }
    }
}

/// The results, in the order of [`place`].
const RESULTS: [&str; 5] = ["ok", "conflict", "corrupt", "missing", "unavailable"];

const fn place<T>(result: &Result<T, Error>) -> usize {
    match result {
        Ok(_) => 0,
        Err(Error::Conflict(_)) => 1,
        Err(Error::Corrupt { .. }) => 2,
        Err(Error::Missing) => 3,
        Err(Error::Unavailable(_)) => 4,
    }
}

#[derive(Debug)]
struct Series {
    results: [IntCounter; RESULTS.len()],
    duration: Histogram,
}

impl Measured {
    /// Wraps `store`; every series is there from the start.
    pub fn register(store: Arc<dyn Store>, registry: &Registry) -> prometheus::Result<Self> {
        let operations = IntCounterVec::new(
            Opts::new(
                "countersign_store_operations_total",
                "Operations of the store, by their result.",
            ),
            &["op", "result"],
        )?;
        let durations = HistogramVec::new(
            HistogramOpts::new(
                "countersign_store_operation_duration_seconds",
                "Duration of the store's operations.",
            )
            .buckets(SECONDS.to_vec()),
            &["op"],
        )?;
        registry.register(Box::new(operations.clone()))?;
        registry.register(Box::new(durations.clone()))?;
        let series = Operation::ALL.map(|operation| {
            let op = operation.as_str();
            Series {
                results: RESULTS.map(|result| operations.with_label_values(&[op, result])),
                duration: durations.with_label_values(&[op]),
            }
        });
        Ok(Self { store, series })
    }

    fn timed<T>(
        &self,
        operation: Operation,
        ask: impl FnOnce(&dyn Store) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let began = Instant::now();
        let result = ask(&*self.store);
        if let Some(series) = self.series.get(operation as usize) {
            series.duration.observe(began.elapsed().as_secs_f64());
            if let Some(counter) = series.results.get(place(&result)) {
                counter.inc();
            }
        }
        result
    }
}

impl Store for Measured {
    fn load(&self) -> Result<Contents, Error> {
        self.timed(Operation::Load, |store| store.load())
    }

    fn revision(&self) -> Result<u64, Error> {
        self.timed(Operation::Revision, |store| store.revision())
    }

    fn check(&self) -> Result<(), Error> {
        self.timed(Operation::Check, |store| store.check())
    }

    fn app(&self, id: AppId) -> Result<Option<App>, Error> {
        self.timed(Operation::Get, |store| store.app(id))
    }

    fn app_by_name(&self, name: &Name) -> Result<Option<App>, Error> {
        self.timed(Operation::Get, |store| store.app_by_name(name))
    }

    fn apps(&self, page: &Page<AppId>) -> Result<Vec<App>, Error> {
        self.timed(Operation::List, |store| store.apps(page))
    }

    fn certificate(&self, id: CertificateId) -> Result<Option<Certificate>, Error> {
        self.timed(Operation::Get, |store| store.certificate(id))
    }

    fn certificates(
        &self,
        filter: &CertificateFilter,
        page: &Page<CertificateId>,
    ) -> Result<Vec<Certificate>, Error> {
        self.timed(Operation::List, |store| store.certificates(filter, page))
    }

    fn certificates_by_mark(&self, mark: &CertificateMark) -> Result<Vec<Certificate>, Error> {
        self.timed(Operation::List, |store| store.certificates_by_mark(mark))
    }

    fn certificates_by_key(&self, digest: &Fingerprint) -> Result<Vec<Certificate>, Error> {
        self.timed(Operation::List, |store| store.certificates_by_key(digest))
    }

    fn key(&self, id: KeyId) -> Result<Option<ApiKey>, Error> {
        self.timed(Operation::Get, |store| store.key(id))
    }

    fn keys(&self, filter: &KeyFilter, page: &Page<KeyId>) -> Result<Vec<ApiKey>, Error> {
        self.timed(Operation::List, |store| store.keys(filter, page))
    }

    fn key_uses(&self, ids: &[KeyId]) -> Result<Vec<(KeyId, KeyUse)>, Error> {
        self.timed(Operation::List, |store| store.key_uses(ids))
    }

    fn keep_key_uses(&self, uses: &[(KeyId, KeyUse)]) -> Result<(), Error> {
        self.timed(Operation::Uses, |store| store.keep_key_uses(uses))
    }

    fn quota_uses(&self, now: Timestamp) -> Result<Vec<QuotaUse>, Error> {
        self.timed(Operation::List, |store| store.quota_uses(now))
    }

    fn keep_quota_uses(
        &self,
        uses: &[QuotaUse],
        gone: &[QuotaUse],
        now: Timestamp,
    ) -> Result<(), Error> {
        self.timed(Operation::Uses, |store| {
            store.keep_quota_uses(uses, gone, now)
        })
    }

    fn admin_token(&self, id: AdminTokenId) -> Result<Option<AdminToken>, Error> {
        self.timed(Operation::Get, |store| store.admin_token(id))
    }

    fn admin_tokens(&self, page: &Page<AdminTokenId>) -> Result<Vec<AdminToken>, Error> {
        self.timed(Operation::List, |store| store.admin_tokens(page))
    }

    fn audit(
        &self,
        filter: &AuditFilter,
        page: &Page<AuditEventId>,
    ) -> Result<Vec<AuditEvent>, Error> {
        self.timed(Operation::List, |store| store.audit(filter, page))
    }

    fn changes_since(&self, revision: u64) -> Result<Since, Error> {
        self.timed(Operation::Load, |store| store.changes_since(revision))
    }

    fn change(&self, expected: u64, acts: &[Act]) -> Result<(), Error> {
        self.timed(Operation::Change, |store| store.change(expected, acts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::promises;
    use crate::store::sqlite::backend::SqliteStore;

    promises!({
        let store = Arc::new(SqliteStore::in_memory().unwrap());
        (Measured::register(store, &Registry::new()).unwrap(), ())
    });

    #[test]
    fn what_is_asked_is_counted_by_its_outcome() {
        let registry = Registry::new();
        let store = Arc::new(SqliteStore::in_memory().unwrap());
        let store = Measured::register(store, &registry).unwrap();
        store.revision().unwrap();
        store.revision().unwrap();
        assert_eq!(store.app(AppId::from_bits(1)).unwrap(), None);
        let text = prometheus::TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
        for line in [
            "countersign_store_operations_total{op=\"revision\",result=\"ok\"} 2\n",
            "countersign_store_operations_total{op=\"get\",result=\"ok\"} 1\n",
            "countersign_store_operations_total{op=\"change\",result=\"unavailable\"} 0\n",
            "countersign_store_operation_duration_seconds_count{op=\"revision\"} 2\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn every_outcome_has_its_place() {
        let conflict = super::super::error::Conflict::Duplicate;
        let corrupt = Error::Corrupt {
            table: "app",
            column: "id",
            row: String::new(),
        };
        for (result, name) in [
            (Ok(()), "ok"),
            (Err(Error::Conflict(conflict)), "conflict"),
            (Err(corrupt), "corrupt"),
            (Err(Error::Missing), "missing"),
            (Err(Error::unavailable("away")), "unavailable"),
        ] {
            assert_eq!(RESULTS[place(&result)], name);
        }
    }
}
