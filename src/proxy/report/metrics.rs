//! The data plane's own metrics: registered once, every label from a closed set, and each worker with
//! the series at hand that it needs, so that no request looks one up by its labels.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashMapExt};
use http::Method;
use prometheus::core::Collector as _;
use prometheus::proto::MetricFamily;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use crate::domain::app::App;
use crate::domain::identity::AuthMethod;
use crate::domain::reason::Reason;
use crate::domain::route::Route;

use super::app_metrics::{AppMetrics, AppSeries, WorkerApps};
use crate::proxy::fields::headers::Family;
use crate::proxy::identity_headers::fields::Omitted;
use crate::proxy::settings::AppLabel;

/// From a quarter of a millisecond to a minute: answers from a neighbour's cache, and slow exports.
const SECONDS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0, 60.0,
];

/// Methods that have a series of their own; every other one is `OTHER`.
const METHODS: [&str; 10] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "OTHER", "PATCH", "POST", "PUT", "TRACE",
];

/// Reasons for which a certificate that chains to us may not be valid; each of them may end a handshake in its
/// explanation.
const QUARANTINES: [Reason; 6] = [
    Reason::AppRevoked,
    Reason::AppSuspended,
    Reason::CertExpired,
    Reason::CertNotYetValid,
    Reason::CertRevoked,
    Reason::CertUnregistered,
];

/// The reason of a connection's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closed {
    /// The gateway is stopping.
    Drain,
    /// Its credential has ended.
    Ended,
    /// The other side broke it or the protocol.
    Failed,
    /// The other side is done.
    Finished,
    /// No request came for too long.
    Idle,
    /// A refused certificate has used up its requests.
    Quarantine,
    /// An answer was not read, or the first request did not come.
    Stalled,
}

impl Closed {
    pub const ALL: [Self; 7] = [
        Self::Drain,
        Self::Ended,
        Self::Failed,
        Self::Finished,
        Self::Idle,
        Self::Quarantine,
        Self::Stalled,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Ended => "ended",
            Self::Failed => "failed",
            Self::Finished => "finished",
            Self::Idle => "idle",
            Self::Quarantine => "quarantine",
            Self::Stalled => "stalled",
        }
    }

    /// The reason in the record of an exchange that was cut short by it.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Drain => Reason::Draining,
            Self::Ended => Reason::CredentialInvalid,
            Self::Failed | Self::Finished | Self::Idle | Self::Quarantine | Self::Stalled => {
                Reason::ClientClosed
            }
        }
    }
}

/// The outcome of a successful handshake.
#[derive(Clone, Copy, Debug)]
pub struct HandshakeOutcome {
    pub tls_version: &'static str,
    pub resumed: bool,
    /// The reason why the client's certificate is not valid.
    pub quarantined: Option<Reason>,
}

/// All families. One for the process; cloning is cheap.
#[derive(Clone, Debug)]
pub struct Metrics {
    handshakes: IntCounterVec,
    pub handshake_duration: Histogram,
    connections_now: IntGaugeVec,
    worker_connections: IntGaugeVec,
    connections: IntCounterVec,
    closed: IntCounterVec,
    requests: IntCounterVec,
    duration: HistogramVec,
    upstream_duration: HistogramVec,
    in_flight: IntGaugeVec,
    decisions: IntCounterVec,
    limits: IntCounterVec,
    refusals: IntCounterVec,
    /// The series of each reason, in the catalogue's order: refusals come as fast as attackers like.
    refused: Arc<[Refused]>,
    spoofs: IntCounterVec,
    omitted: IntCounterVec,
    apps: Option<AppMetrics>,
    pub tunnels: IntGauge,
    pub panics: IntCounter,
    /// Fields that were removed because of their names.
    pub names_dropped: IntCounter,
}

impl Metrics {
    /// Makes every family and registers it; series whose labels are known beforehand exist from the start.
    pub fn register(registry: &Registry, apps: &AppLabel) -> prometheus::Result<Self> {
        let metrics = Self {
            apps: AppMetrics::register(registry, apps)?,
            ..Self::new()?
        };
        registry.register(Box::new(metrics.handshakes.clone()))?;
        registry.register(Box::new(metrics.handshake_duration.clone()))?;
        registry.register(Box::new(metrics.connections_now.clone()))?;
        registry.register(Box::new(metrics.worker_connections.clone()))?;
        registry.register(Box::new(metrics.connections.clone()))?;
        registry.register(Box::new(metrics.closed.clone()))?;
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.duration.clone()))?;
        registry.register(Box::new(metrics.upstream_duration.clone()))?;
        registry.register(Box::new(metrics.in_flight.clone()))?;
        registry.register(Box::new(metrics.decisions.clone()))?;
        registry.register(Box::new(metrics.limits.clone()))?;
        registry.register(Box::new(metrics.refusals.clone()))?;
        registry.register(Box::new(metrics.spoofs.clone()))?;
        registry.register(Box::new(metrics.omitted.clone()))?;
        registry.register(Box::new(metrics.tunnels.clone()))?;
        registry.register(Box::new(metrics.panics.clone()))?;
        registry.register(Box::new(metrics.names_dropped.clone()))?;
        Ok(metrics)
    }

    fn new() -> prometheus::Result<Self> {
        let mut metrics = Self {
            refused: Arc::new([]),
            apps: None,
            handshakes: counters(
                "countersign_tls_handshakes_total",
                "TLS handshakes with partners by result; quarantined ones were finished to explain a refusal, and probes left without a byte.",
                &["result", "reason", "tls_version", "resumed"],
            )?,
            handshake_duration: Histogram::with_opts(histogram(
                "countersign_tls_handshake_duration_seconds",
                "From a connection's acceptance to the end of its handshake.",
            ))?,
            connections_now: gauges(
                "countersign_connections",
                "Connections of partners that are open now.",
                &["protocol"],
            )?,
            worker_connections: gauges(
                "countersign_worker_connections",
                "Connections of partners that each worker has, those that still shake hands included.",
                &["worker"],
            )?,
            connections: counters(
                "countersign_connections_total",
                "Connections of partners that finished their handshake.",
                &["protocol"],
            )?,
            closed: counters(
                "countersign_connections_closed_total",
                "Connections of partners that ended, by why.",
                &["reason"],
            )?,
            // `prometheus` hashes label values without a separator. The free text stands last, behind values
            // none of which begins another, so that no two sets of labels are the same text.
            requests: counters(
                "countersign_http_requests_total",
                "Requests of partners that were answered.",
                &["code", "method", "route"],
            )?,
            duration: HistogramVec::new(
                histogram(
                    "countersign_http_request_duration_seconds",
                    "From a request's head to the end of its answer.",
                ),
                &["route"],
            )?,
            upstream_duration: HistogramVec::new(
                histogram(
                    "countersign_upstream_duration_seconds",
                    "From the forwarded head to the head of the upstream's answer.",
                ),
                &["route"],
            )?,
            in_flight: gauges(
                "countersign_http_requests_in_flight",
                "Requests of partners that are being answered.",
                &["route"],
            )?,
            decisions: counters(
                "countersign_auth_decisions_total",
                "Decisions of routes' policies; `none` is a caller that proved nothing.",
                &["decision", "method", "reason"],
            )?,
            limits: counters(
                "countersign_ratelimit_decisions_total",
                "Requests that a limit was asked about; the limit that was nearest is named.",
                &["decision", "limit"],
            )?,
            refusals: counters(
                "countersign_refusals_total",
                "Requests and connections that were refused or cut short, by why.",
                &["reason"],
            )?,
            spoofs: counters(
                "countersign_header_spoof_attempts_total",
                "Fields taken off requests because only the gateway may set them.",
                &["family"],
            )?,
            omitted: counters(
                "countersign_client_cert_omitted_total",
                "Connections and callers whose upstream was not told all about the certificate, by why.",
                &["reason"],
            )?,
            tunnels: IntGauge::new(
                "countersign_tunnels",
                "Upgraded connections that are tunnelled now.",
            )?,
            panics: IntCounter::new(
                "countersign_panics_total",
                "Faults of the gateway's own that ended one exchange or connection.",
            )?,
            names_dropped: IntCounter::new(
                "countersign_header_names_dropped_total",
                "Fields taken off requests because of odd characters in their names.",
            )?,
        };
        metrics.begin();
        metrics.refused = Reason::ALL
            .iter()
            .map(|reason| metrics.of(*reason))
            .collect();
        Ok(metrics)
    }

    /// Begins all series at zero: a counter that begins with its first event hides that event from `increase()`.
    fn begin(&self) {
        for version in ["TLSv1.2", "TLSv1.3"] {
            for resumed in ["false", "true"] {
                self.handshakes
                    .with_label_values(&["ok", "none", version, resumed]);
                for reason in QUARANTINES {
                    self.handshakes.with_label_values(&[
                        "quarantined",
                        reason.code(),
                        version,
                        resumed,
                    ]);
                }
            }
        }
        self.handshakes
            .with_label_values(&["probe", "none", "none", "false"]);
        let failures = Reason::ALL.iter().filter(|reason| {
            let refused_by_alert = QUARANTINES.contains(reason) || **reason == Reason::CertMissing;
            reason.status() == 0 || refused_by_alert
        });
        for reason in failures {
            self.handshakes
                .with_label_values(&["failed", reason.code(), "none", "false"]);
        }
        let plain = Reason::PlainHttp.code();
        self.handshakes
            .with_label_values(&[plain, plain, "none", "false"]);
        for method in AuthMethod::ALL
            .map(AuthMethod::as_str)
            .into_iter()
            .chain(["none"])
        {
            self.decisions
                .with_label_values(&["allowed", method, "none"]);
        }
        for reason in Closed::ALL {
            self.closed.with_label_values(&[reason.as_str()]);
        }
        for family in Family::ALL {
            self.spoofs.with_label_values(&[family.as_str()]);
        }
        for why in Omitted::ALL {
            self.omitted.with_label_values(&[why.as_str()]);
        }
        for protocol in ["http1", "http2"] {
            self.connections.with_label_values(&[protocol]);
            self.connections_now.with_label_values(&[protocol]);
        }
    }

    /// Begins the series of a limit from the configuration.
    pub fn begin_limit(&self, name: &str) {
        for decision in ["refused", "allowed"] {
            self.limits.with_label_values(&[decision, name]);
        }
    }

    pub fn handshake_failed(&self, reason: Reason) {
        // A wrong URL is no failed handshake.
        let result = match reason {
            Reason::PlainHttp => reason.code(),
            _ => "failed",
        };
        self.handshakes
            .with_label_values(&[result, reason.code(), "none", "false"])
            .inc();
        self.refused(reason);
    }

    /// Counts a client that left without a byte.
    pub fn probed(&self) {
        self.handshakes
            .with_label_values(&["probe", "none", "none", "false"])
            .inc();
    }

    pub fn handshake_finished(&self, shaken: HandshakeOutcome) {
        let (result, reason) = match shaken.quarantined {
            Some(reason) => ("quarantined", reason.code()),
            None => ("ok", "none"),
        };
        let resumed = if shaken.resumed { "true" } else { "false" };
        self.handshakes
            .with_label_values(&[result, reason, shaken.tls_version, resumed])
            .inc();
    }

    /// Counts a connection for as long as the returned guard lives.
    pub fn connection(&self, http2: bool) -> Open {
        let protocol = if http2 { "http2" } else { "http1" };
        self.connections.with_label_values(&[protocol]).inc();
        Open::new(self.connections_now.with_label_values(&[protocol]))
    }

    /// The present load, and the requests that a drain has cut.
    pub fn load(&self) -> Load {
        let connections = self.connections_now.collect();
        let requests = self.in_flight.collect();
        let cut = self.refused.get(Closed::Drain.reason() as usize);
        Load {
            connections: sum(&connections),
            requests: sum(&requests),
            requests_cut: cut.map_or(0, |cut| cut.anywhere.get()),
        }
    }

    /// The number of a worker's connections; its label is its number, so there are as many series as workers.
    pub fn of_worker(&self, worker: usize) -> IntGauge {
        self.worker_connections
            .with_label_values(&[worker.to_string().as_str()])
    }

    pub fn connection_closed(&self, why: Closed) {
        self.closed.with_label_values(&[why.as_str()]).inc();
    }

    pub fn refused(&self, reason: Reason) {
        if let Some(series) = self.refused.get(reason as usize) {
            series.anywhere.inc();
        }
    }

    /// Counts a policy's refusal of a caller.
    pub fn auth_refused(&self, reason: Reason) {
        if let Some(series) = self.refused.get(reason as usize) {
            series.by_policy.inc();
        }
    }

    fn of(&self, reason: Reason) -> Refused {
        Refused {
            anywhere: self.refusals.with_label_values(&[reason.code()]),
            by_policy: self
                .decisions
                .with_label_values(&["refused", "none", reason.code()]),
        }
    }

    pub fn certificate_omitted(&self, why: Omitted) {
        self.omitted.with_label_values(&[why.as_str()]).inc();
    }

    pub fn spoofed(&self, families: &[Family]) {
        for family in families {
            self.spoofs.with_label_values(&[family.as_str()]).inc();
        }
    }
}

/// The load of the data plane at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    pub connections: u64,
    pub requests: u64,
    /// Requests that were cut because the gateway is stopping.
    pub requests_cut: u64,
}

/// The sum of the series of a family of gauges that count things.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "they count what is in memory, and are whole; a cast that does not fit saturates"
)]
fn sum(families: &[MetricFamily]) -> u64 {
    let metrics = families.iter().flat_map(MetricFamily::get_metric);
    let sum: f64 = metrics.map(|metric| metric.get_gauge().get_value()).sum();
    sum as u64
}

fn counters(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    IntCounterVec::new(Opts::new(name, help), labels)
}

fn gauges(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    IntGaugeVec::new(Opts::new(name, help), labels)
}

fn histogram(name: &str, help: &str) -> HistogramOpts {
    HistogramOpts::new(name, help).buckets(SECONDS.to_vec())
}

/// The series of one reason.
#[derive(Clone, Debug)]
struct Refused {
    anywhere: IntCounter,
    by_policy: IntCounter,
}

/// One more in a gauge until it is dropped.
#[derive(Debug)]
pub struct Open(IntGauge);

impl Open {
    pub fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A worker's series. Looking one up by its labels hashes texts and takes a lock; a worker does that once.
#[derive(Debug)]
pub struct WorkerMetrics {
    pub all: Metrics,
    allowed: [IntCounter; 6],
    routes: RefCell<Routes>,
    limits: RefCell<HashMap<Arc<str>, [IntCounter; 2]>>,
    /// Requests for which no route was found.
    pub unrouted: Rc<RouteMetrics>,
    apps: Option<WorkerApps>,
}

/// The series of the routes of one generation, by a route's address in memory; the route is held, so that no other can
/// have it.
#[derive(Debug, Default)]
struct Routes {
    generation: u64,
    series: HashMap<usize, (Arc<Route>, Rc<RouteMetrics>)>,
}

/// The series of one route.
#[derive(Debug)]
pub struct RouteMetrics {
    route: Arc<str>,
    requests: IntCounterVec,
    codes: RefCell<HashMap<(&'static str, u16), IntCounter>>,
    pub duration: Histogram,
    pub upstream_duration: Histogram,
    in_flight: IntGauge,
}

impl WorkerMetrics {
    pub fn new(all: Metrics) -> Self {
        let allowed = |method: &str| {
            all.decisions
                .with_label_values(&["allowed", method, "none"])
        };
        let [mtls, key, token, mtls_key, mtls_token] = AuthMethod::ALL.map(AuthMethod::as_str);
        Self {
            allowed: [mtls, key, token, mtls_key, mtls_token, "none"].map(allowed),
            routes: RefCell::default(),
            limits: RefCell::default(),
            unrouted: Rc::new(RouteMetrics::new(&all, "none".into())),
            apps: all.apps.clone().map(WorkerApps::new),
            all,
        }
    }

    /// The series of `route`, which is one of `generation`.
    pub fn route(&self, route: &Arc<Route>, generation: u64) -> Rc<RouteMetrics> {
        let mut routes = self.routes.borrow_mut();
        if routes.generation != generation {
            *routes = Routes {
                generation,
                series: HashMap::new(),
            };
        }
        let place = Arc::as_ptr(route).addr();
        let (_, series) = routes.series.entry(place).or_insert_with(|| {
            let series = RouteMetrics::new(&self.all, Arc::clone(&route.name));
            (Arc::clone(route), Rc::new(series))
        });
        Rc::clone(series)
    }

    /// The series for an App's requests, if operators want that.
    pub fn app(&self, app: &App) -> Option<Rc<AppSeries>> {
        self.apps.as_ref().map(|apps| apps.of(app))
    }

    pub fn auth_allowed(&self, method: Option<AuthMethod>) {
        let place = method.map_or(5, |method| method as usize);
        if let Some(counter) = self.allowed.get(place) {
            counter.inc();
        }
    }

    /// Counts a decision of a limit. Limits are named in the configuration, so there are as many series as the operator
    /// wrote limits.
    pub fn limited(&self, limit: &str, allowed: bool) {
        let mut limits = self.limits.borrow_mut();
        let [refused_counter, allowed_counter] = if let Some(found) = limits.get(limit) {
            found
        } else {
            let counters = ["refused", "allowed"]
                .map(|decision| self.all.limits.with_label_values(&[decision, limit]));
            limits.entry(limit.into()).or_insert(counters)
        };
        if allowed {
            allowed_counter.inc();
        } else {
            refused_counter.inc();
        }
    }
}

impl RouteMetrics {
    fn new(all: &Metrics, route: Arc<str>) -> Self {
        Self {
            requests: all.requests.clone(),
            codes: RefCell::default(),
            duration: all.duration.with_label_values(&[&*route]),
            upstream_duration: all.upstream_duration.with_label_values(&[&*route]),
            in_flight: all.in_flight.with_label_values(&[&*route]),
            route,
        }
    }

    /// Counts a request as running until the returned guard is dropped.
    pub fn running(&self) -> Open {
        Open::new(self.in_flight.clone())
    }

    /// Counts a request that was answered with `code`.
    pub fn answered(&self, method: &Method, code: u16, duration: Duration) {
        let method = label(method);
        let code = if (100..1000).contains(&code) {
            code
        } else {
            599
        };
        self.codes
            .borrow_mut()
            .entry((method, code))
            .or_insert_with(|| {
                self.requests
                    .with_label_values(&[code.to_string().as_str(), method, &self.route])
            })
            .inc();
        self.duration.observe(duration.as_secs_f64());
    }
}

fn label(method: &Method) -> &'static str {
    METHODS
        .into_iter()
        .find(|known| *known == method.as_str())
        .unwrap_or("OTHER")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(registry: &Registry) -> Metrics {
        Metrics::register(registry, &AppLabel::Off).unwrap()
    }

    fn exported(registry: &Registry) -> String {
        prometheus::TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap()
    }

    #[test]
    fn every_reason_has_its_series_from_the_start() {
        let registry = Registry::new();
        register(&registry);
        let text = exported(&registry);
        let has = |series: String| text.contains(&(series + " 0\n"));
        let handshake = |result: &str, reason: Reason, version: &str, resumed: &str| {
            has(format!(
                "countersign_tls_handshakes_total{{reason=\"{reason}\",result=\"{result}\",\
                 resumed=\"{resumed}\",tls_version=\"{version}\"}}"
            ))
        };
        for reason in Reason::ALL.iter().copied() {
            assert!(
                has(format!("countersign_refusals_total{{reason=\"{reason}\"}}")),
                "{reason}"
            );
            let decision = format!(
                "countersign_auth_decisions_total{{decision=\"refused\",method=\"none\",reason=\"{reason}\"}}"
            );
            assert!(has(decision), "{reason}");
            // Refusals by the registry are explained; refusals by an alert fail.
            let explained = matches!(reason.code().split_once('_'), Some(("app" | "cert", _)))
                && reason.status() == 403
                && reason != Reason::CertRequired;
            let fails = explained || reason.status() == 0 || reason == Reason::CertMissing;
            assert_eq!(
                handshake("failed", reason, "none", "false"),
                fails,
                "{reason}"
            );
            for (version, resumed) in [("TLSv1.2", "true"), ("TLSv1.3", "false")] {
                assert_eq!(
                    handshake("quarantined", reason, version, resumed),
                    explained,
                    "{reason}"
                );
            }
        }
        assert!(text.contains("countersign_header_spoof_attempts_total{family=\"ssl\"} 0\n"));
    }

    #[test]
    fn no_two_sets_of_labels_share_a_series() {
        let registry = Registry::new();
        let metrics = WorkerMetrics::new(register(&registry));
        for (name, method) in [("a", Method::GET), ("ta", Method::GET), ("a", Method::PUT)] {
            let route = RouteMetrics::new(&metrics.all, name.into());
            route.answered(&method, 200, Duration::ZERO);
        }
        let text = exported(&registry);
        let series = text
            .lines()
            .filter(|line| line.starts_with("countersign_http_requests_total{"));
        assert_eq!(series.filter(|line| line.ends_with(" 1")).count(), 3);
    }

    #[test]
    fn the_load_is_what_is_counted() {
        let metrics = WorkerMetrics::new(register(&Registry::new()));
        let before = metrics.all.load();
        assert_eq!((before.connections, before.requests), (0, 0));
        let _open = [metrics.all.connection(false), metrics.all.connection(true)];
        let running = metrics.unrouted.running();
        metrics.all.refused(Reason::Draining);
        let load = metrics.all.load();
        assert_eq!((load.connections, load.requests), (2, 1));
        assert_eq!(load.requests_cut, 1);
        drop(running);
        assert_eq!(metrics.all.load().requests, 0);
    }

    #[test]
    fn a_method_that_a_client_makes_up_makes_no_series() {
        assert_eq!(label(&Method::GET), "GET");
        assert_eq!(label(&Method::from_bytes(b"BREW").unwrap()), "OTHER");
    }
}
