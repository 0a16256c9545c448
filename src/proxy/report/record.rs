//! One record per exchange, with any end: a guard that is opened with the exchange and writes when it is dropped.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::Method;
use tokio::time::Instant;

use crate::domain::id::RequestId;
use crate::domain::identity::{Claimed, Identity};
use crate::domain::reason::Reason;
use crate::domain::record::AccessRecord;
use crate::domain::route::Route;
use crate::domain::scope::ScopeSet;
use crate::domain::time::Timestamp;
use crate::net::turn;

use super::app_metrics::AppSeries;
use super::ledger::Ledger;
use super::metrics::Open;
use super::worker_metrics::{RouteMetrics, WorkerMetrics};
use crate::proxy::messages::error::Error;

/// The most bytes of a path that a record keeps.
const PATH_MAX: usize = 1024;

/// The most of a field's name that a record keeps.
const DROPPED_MAX: usize = 64;

/// A worker's page of the ledger, and the metrics that are counted with each record.
#[derive(Debug)]
pub struct Book {
    pub ledger: Arc<Ledger>,
    pub worker: usize,
    pub metrics: Rc<WorkerMetrics>,
}

/// The facts about a request before any decision.
#[derive(Debug)]
pub struct Opening<'a> {
    pub at: Timestamp,
    pub request_id: RequestId,
    /// A trusted hop's own name for it.
    pub hop_request_id: Option<&'a str>,
    /// The caller's own name for it.
    pub caller_request_id: Option<&'a str>,
    pub client: IpAddr,
    pub method: &'a Method,
    pub path: &'a str,
    pub protocol: http::Version,
}

/// The arrival of the request's body, counted by the body and read by the record.
#[derive(Debug, Default)]
pub struct BodyProgress {
    pub bytes: Cell<u64>,
    /// True once the answer has begun. From then on a client may well be reading, so it is not hurried.
    pub answered: Cell<bool>,
}

/// An exchange that is being recorded. Dropping it closes the record.
#[derive(Debug)]
pub struct Recording {
    /// Boxed, because it goes from the exchange to the answer's body.
    record: Option<Box<AccessRecord>>,
    book: Rc<Book>,
    began: Instant,
    /// Shared with the request's body, which the forwarding step owns.
    arrival: Rc<BodyProgress>,
    series: Rc<RouteMetrics>,
    /// The series of the caller's App, once the App is known and if it has any.
    app: Option<Rc<AppSeries>>,
    running: Open,
    complete: bool,
    /// True if its status is that of a refusal.
    refused: bool,
}

impl Recording {
    pub fn open(book: &Rc<Book>, opening: &Opening<'_>) -> Self {
        let series = Rc::clone(&book.metrics.unrouted);
        // Without a reader of records, only the counted facts are kept.
        let path = if book.ledger.is_read() {
            shortened(opening.path)
        } else {
            ""
        };
        Self {
            record: Some(Box::new(AccessRecord {
                at: opening.at,
                request_id: opening.request_id,
                hop_request_id: opening.hop_request_id.map(Into::into),
                caller_request_id: opening.caller_request_id.map(Into::into),
                client: opening.client,
                method: opening.method.clone(),
                host: None,
                path: path.into(),
                protocol: opening.protocol,
                route: None,
                status: Reason::ClientClosed.status(),
                reason: None,
                cause: None,
                endpoint: None,
                dropped_field: None,
                app: None,
                key: None,
                hint: None,
                scopes: ScopeSet::default(),
                certificate: None,
                auth: None,
                duration: std::time::Duration::ZERO,
                upstream: None,
                bytes_in: 0,
                bytes_out: 0,
            })),
            book: Rc::clone(book),
            began: turn::now(),
            arrival: Rc::default(),
            running: series.running(),
            series,
            app: None,
            complete: false,
            refused: false,
        }
    }

    pub fn host(&mut self, host: &Arc<str>) {
        self.note(|record| record.host = Some(Arc::clone(host)));
    }

    pub fn route(&mut self, route: &Route, series: Rc<RouteMetrics>) {
        self.note(|record| record.route = Some(Arc::clone(&route.name)));
        self.running = series.running();
        self.series = series;
    }

    pub fn identity(&mut self, identity: &Identity) {
        let app = identity.app();
        self.app = app.and_then(|app| self.book.metrics.app(app));
        self.note(|record| {
            record.app = identity.app().map(|app| app.id);
            record.key = identity.key();
            if let Some(bearer) = identity.bearer() {
                record.hint = bearer.key().map(|_| bearer.facts().hint());
                record.scopes = bearer.scopes().cloned().unwrap_or_default();
            }
            record.certificate = identity.certificate().map(|proof| proof.serial);
            record.auth = Some(identity.method());
        });
    }

    /// The claimed sender of a request, beside the known facts.
    pub fn claimed(&mut self, claimed: Claimed) {
        self.note(|record| {
            record.app = claimed.app.or(record.app);
            record.key = claimed.key.or(record.key);
            record.certificate = claimed.certificate.or(record.certificate);
        });
    }

    /// Notes that the upstream has begun to answer. Its time counts from the beginning: nothing before the forwarding
    /// waits.
    pub fn upstream_answered(&mut self) {
        self.arrival.answered.set(true);
        let took = turn::now().saturating_duration_since(self.began);
        self.series.upstream_duration.observe(took.as_secs_f64());
        self.note(|record| record.upstream = Some(took));
    }

    pub fn status(&mut self, status: u16) {
        if !self.refused {
            self.note(|record| record.status = status);
        }
    }

    /// Sets the status of a refusal, which may differ from the answer's own.
    pub fn refused_as(&mut self, status: u16) {
        self.status(status);
        self.refused = true;
    }

    /// Sets the reason of a refusal or cut; the first reason stays.
    pub fn reason(&mut self, reason: Reason) {
        self.note(|record| {
            record.reason.get_or_insert(reason);
        });
    }

    /// Sets the exact cause of a refusal.
    pub fn cause(&mut self, cause: String) {
        self.note(|record| {
            record.cause.get_or_insert_with(|| cause.into());
        });
    }

    /// Notes the first field that was removed from the request because of its name.
    pub fn dropped_field(&mut self, name: Option<String>) {
        let bounded = |name: String| name.chars().take(DROPPED_MAX).collect::<String>().into();
        self.note(|record| record.dropped_field = name.map(bounded));
    }

    /// Sets the failure at the upstream, if it was there.
    pub fn failed(&mut self, error: &Error) {
        if error.cause.is_some() {
            self.note(|record| {
                record.cause = error.cause.map(|cause| cause.as_str().into());
                record.endpoint.clone_from(&error.endpoint);
            });
        }
    }

    /// The part that the request's body and the record share.
    pub fn arrival(&self) -> Rc<BodyProgress> {
        Rc::clone(&self.arrival)
    }

    pub fn sent(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.note(|record| record.bytes_out = record.bytes_out.saturating_add(bytes));
    }

    /// Sets the bytes that a tunnel carried.
    pub fn carried(&mut self, bytes_in: u64, bytes_out: u64) {
        self.arrival.bytes.set(bytes_in);
        self.note(|record| record.bytes_out = bytes_out);
    }

    /// Marks the answer as whole; a record that is dropped without this was left by the client.
    pub fn complete(&mut self) {
        self.complete = true;
    }

    fn note(&mut self, change: impl FnOnce(&mut AccessRecord)) {
        if let Some(record) = &mut self.record {
            change(record);
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let Some(mut record) = self.record.take() else {
            return;
        };
        if !self.complete {
            record.reason.get_or_insert(Reason::ClientClosed);
        }
        // By the clock: an exchange may begin and end in one turn.
        record.duration = self.began.elapsed();
        record.bytes_in = self.arrival.bytes.get();
        self.series
            .answered(&record.method, record.status, record.duration);
        if let Some(app) = &self.app {
            app.answered(record.status);
        }
        if let Some(reason) = record.reason {
            self.book.metrics.all.refused(reason);
        }
        self.book.ledger.write(self.book.worker, &record);
    }
}

fn shortened(path: &str) -> &str {
    let end = path.floor_char_boundary(PATH_MAX);
    path.get(..end).unwrap_or_default()
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::proxy::report::ledger::testing::{self, Written};
    use crate::proxy::report::metrics::Metrics;
    use crate::proxy::settings::AppLabel;

    /// A book for tests.
    pub fn book() -> Rc<Book> {
        book_and_records().0
    }

    /// A book, and the records that are written into it.
    fn book_and_records() -> (Rc<Book>, Written) {
        let metrics = Metrics::register(&prometheus::Registry::new(), &AppLabel::Off).unwrap();
        let (ledger, written) = testing::ledger(1);
        let book = Book {
            ledger,
            worker: 0,
            metrics: Rc::new(WorkerMetrics::new(metrics)),
        };
        (Rc::new(book), written)
    }

    /// The record of an exchange that its client has left at once.
    pub fn record() -> AccessRecord {
        let (book, records) = book_and_records();
        drop(recording(&book));
        records.lock().unwrap().remove(0)
    }

    /// A recording of `GET /orders`.
    pub fn recording(book: &Rc<Book>) -> Recording {
        Recording::open(
            book,
            &Opening {
                at: Timestamp::from_unix_seconds(1),
                request_id: RequestId::from_bits(1),
                hop_request_id: None,
                caller_request_id: None,
                client: IpAddr::from([192, 0, 2, 1]),
                method: &Method::GET,
                path: "/orders",
                protocol: http::Version::HTTP_11,
            },
        )
    }

    #[test]
    fn an_exchange_that_ends_well_leaves_one_record() {
        let (book, records) = book_and_records();
        let mut recording = recording(&book);
        recording.status(200);
        recording.sent(5);
        recording.arrival().bytes.set(7);
        recording.complete();
        assert!(
            records.lock().unwrap().is_empty(),
            "not before it has ended"
        );
        drop(recording);
        let records = records.lock().unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!((records[0].status, records[0].reason), (200, None));
        assert_eq!((records[0].bytes_in, records[0].bytes_out), (7, 5));
    }

    #[test]
    fn an_exchange_that_the_client_left_says_so() {
        let (book, records) = book_and_records();
        drop(recording(&book));
        let mut answered = recording(&book);
        answered.status(200);
        drop(answered);
        let records = records.lock().unwrap();
        let ends: Vec<_> = records.iter().map(|r| (r.status, r.reason)).collect();
        let left = Some(Reason::ClientClosed);
        assert_eq!(ends, [(499, left), (200, left)]);
    }

    #[test]
    fn the_first_reason_stays() {
        let (book, records) = book_and_records();
        let mut recording = recording(&book);
        recording.reason(Reason::BodyTimeout);
        recording.reason(Reason::UpstreamFailed);
        drop(recording);
        assert_eq!(records.lock().unwrap()[0].reason, Some(Reason::BodyTimeout));
    }

    #[test]
    fn a_long_path_is_cut_where_a_character_ends() {
        assert_eq!(shortened("/orders"), "/orders");
        assert_eq!(shortened(&"x".repeat(2000)).len(), PATH_MAX);
        assert_eq!(shortened(&"é".repeat(1000)).len(), PATH_MAX);
    }
}
