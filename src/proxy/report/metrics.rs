//! The data plane's own metrics: registered once, every label from a closed set.

use std::sync::Arc;

use prometheus::core::Collector as _;
use prometheus::proto::MetricFamily;
use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
};

use super::app_metrics::AppMetrics;
use super::closing::Closed;
use super::families::{Family, Maker};
use crate::domain::identity::AuthMethod;
use crate::domain::reason::Reason;
use crate::proxy::fields::headers;
use crate::proxy::identity_headers::fields::Omitted;
use crate::proxy::settings::AppLabel;

const HANDSHAKES: Family = Family {
    name: "countersign_tls_handshakes_total",
    help: "TLS handshakes with partners by result; quarantined ones were finished to explain a refusal, and probes left without a byte.",
    labels: &["result", "reason", "tls_version", "resumed"],
};
const HANDSHAKE_DURATION: Family = Family {
    name: "countersign_tls_handshake_duration_seconds",
    help: "From a connection's acceptance to the end of its handshake.",
    labels: &[],
};
const CONNECTIONS_NOW: Family = Family {
    name: "countersign_connections",
    help: "Connections of partners that are open now.",
    labels: &["protocol"],
};
const WORKER_CONNECTIONS: Family = Family {
    name: "countersign_worker_connections",
    help: "Connections of partners that each worker has, those that still shake hands included.",
    labels: &["worker"],
};
const CONNECTIONS: Family = Family {
    name: "countersign_connections_total",
    help: "Connections of partners that finished their handshake.",
    labels: &["protocol"],
};
const CLOSED: Family = Family {
    name: "countersign_connections_closed_total",
    help: "Connections of partners that ended, by why.",
    labels: &["reason"],
};
/// `prometheus` hashes label values without a separator. The free text stands last, behind values none of which begins
/// another, so that no two sets of labels are the same text.
const REQUESTS: Family = Family {
    name: "countersign_http_requests_total",
    help: "Requests of partners that were answered.",
    labels: &["code", "method", "route"],
};
const DURATION: Family = Family {
    name: "countersign_http_request_duration_seconds",
    help: "From a request's head to the end of its answer.",
    labels: &["route"],
};
const UPSTREAM_DURATION: Family = Family {
    name: "countersign_upstream_duration_seconds",
    help: "From the forwarded head to the head of the upstream's answer.",
    labels: &["route"],
};
const IN_FLIGHT: Family = Family {
    name: "countersign_http_requests_in_flight",
    help: "Requests of partners that are being answered.",
    labels: &["route"],
};
const DECISIONS: Family = Family {
    name: "countersign_auth_decisions_total",
    help: "Decisions of routes' policies; `none` is a caller that proved nothing.",
    labels: &["decision", "method", "reason"],
};
const LIMITS: Family = Family {
    name: "countersign_ratelimit_decisions_total",
    help: "Requests that a limit was asked about; the limit that was nearest is named.",
    labels: &["decision", "limit"],
};
const REFUSALS: Family = Family {
    name: "countersign_refusals_total",
    help: "Requests and connections that were refused or cut short, by why.",
    labels: &["reason"],
};
const SPOOFS: Family = Family {
    name: "countersign_header_spoof_attempts_total",
    help: "Fields taken off requests because only the gateway may set them.",
    labels: &["family"],
};
const OMITTED: Family = Family {
    name: "countersign_client_cert_omitted_total",
    help: "Connections and callers whose upstream was not told all about the certificate, by why.",
    labels: &["reason"],
};
const TUNNELS: Family = Family {
    name: "countersign_tunnels",
    help: "Upgraded connections that are tunnelled now.",
    labels: &[],
};
const PANICS: Family = Family {
    name: "countersign_panics_total",
    help: "Faults of the gateway's own that ended one exchange or connection.",
    labels: &[],
};
const NAMES_DROPPED: Family = Family {
    name: "countersign_header_names_dropped_total",
    help: "Fields taken off requests because of odd characters in their names.",
    labels: &[],
};

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
    pub(super) requests: IntCounterVec,
    pub(super) duration: HistogramVec,
    pub(super) upstream_duration: HistogramVec,
    pub(super) in_flight: IntGaugeVec,
    pub(super) decisions: IntCounterVec,
    pub(super) limits: IntCounterVec,
    refusals: IntCounterVec,
    /// The series of each reason, in the catalogue's order: refusals come as fast as attackers like.
    refused: Arc<[Refused]>,
    spoofs: IntCounterVec,
    omitted: IntCounterVec,
    pub(super) apps: Option<AppMetrics>,
    pub tunnels: IntGauge,
    pub panics: IntCounter,
    /// Fields that were removed because of their names.
    pub names_dropped: IntCounter,
}

impl Metrics {
    /// Makes every family and registers it; series whose labels are known beforehand exist from the start.
    pub fn register(registry: &Registry, apps: &AppLabel) -> prometheus::Result<Self> {
        let make = Maker(registry);
        let mut metrics = Self {
            refused: Arc::new([]),
            apps: AppMetrics::register(registry, apps)?,
            handshakes: make.counters(&HANDSHAKES)?,
            handshake_duration: make.histogram(&HANDSHAKE_DURATION)?,
            connections_now: make.gauges(&CONNECTIONS_NOW)?,
            worker_connections: make.gauges(&WORKER_CONNECTIONS)?,
            connections: make.counters(&CONNECTIONS)?,
            closed: make.counters(&CLOSED)?,
            requests: make.counters(&REQUESTS)?,
            duration: make.histograms(&DURATION)?,
            upstream_duration: make.histograms(&UPSTREAM_DURATION)?,
            in_flight: make.gauges(&IN_FLIGHT)?,
            decisions: make.counters(&DECISIONS)?,
            limits: make.counters(&LIMITS)?,
            refusals: make.counters(&REFUSALS)?,
            spoofs: make.counters(&SPOOFS)?,
            omitted: make.counters(&OMITTED)?,
            tunnels: make.gauge(&TUNNELS)?,
            panics: make.counter(&PANICS)?,
            names_dropped: make.counter(&NAMES_DROPPED)?,
        };
        metrics.begin();
        let refused = Reason::ALL.iter().map(|reason| metrics.of(*reason));
        metrics.refused = refused.collect();
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
        for family in headers::Family::ALL {
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

    pub fn spoofed(&self, families: &[headers::Family]) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::report::worker_metrics::WorkerMetrics;

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
}
