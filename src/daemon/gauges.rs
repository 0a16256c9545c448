//! Numbers about what exists rather than what happens: credentials, expiries, reloads.

use std::time::Duration;

use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};

use crate::control::counts::{Count, CredentialCounts, WITHIN};
use crate::domain::credential::CredentialState;
use crate::domain::time::Timestamp;

/// How often they are counted anew.
pub const PERIOD: Duration = Duration::from_secs(5);

/// The gauges of the control plane.
#[derive(Clone, Debug)]
pub struct Gauges {
    credentials: IntGaugeVec,
    expiring: IntGaugeVec,
    authority: IntGauge,
    server_certificates: IntGaugeVec,
    reload_ok: IntGauge,
    reload_at: IntGauge,
    store_up: IntGauge,
    pub snapshot_version: IntGauge,
}

impl Gauges {
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| -> prometheus::Result<IntGauge> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let family = |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<IntGaugeVec> {
            let family = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok(family)
        };
        Ok(Self {
            credentials: family(
                "countersign_credentials",
                "Registered credentials by kind and state.",
                &["kind", "state"],
            )?,
            expiring: family(
                "countersign_credentials_expiring",
                "Credentials that count now and end within a time.",
                &["kind", "within"],
            )?,
            authority: gauge(
                "countersign_ca_not_after_timestamp_seconds",
                "When the issuing certificate of the authority ends.",
            )?,
            server_certificates: family(
                "countersign_server_cert_not_after_timestamp_seconds",
                "When a server certificate ends, by its first name.",
                &["host"],
            )?,
            reload_ok: gauge(
                "countersign_config_last_reload_successful",
                "Whether the last configuration that was read is in force.",
            )?,
            reload_at: gauge(
                "countersign_config_last_reload_success_timestamp_seconds",
                "When a configuration came into force last.",
            )?,
            store_up: gauge("countersign_store_up", "Whether the store answers.")?,
            snapshot_version: gauge(
                "countersign_snapshot_version",
                "The snapshot that the data plane decides by.",
            )?,
        })
    }

    pub fn authority_ends(&self, at: Timestamp) {
        self.authority.set(at.unix_seconds());
    }

    pub fn server_certificates_end(&self, all: &[(String, Timestamp)]) {
        self.server_certificates.reset();
        for (name, at) in all {
            self.server_certificates
                .with_label_values(&[name])
                .set(at.unix_seconds());
        }
    }

    pub fn reloaded(&self, at: Timestamp) {
        self.reload_ok.set(1);
        self.reload_at.set(at.unix_seconds());
    }

    pub fn reload_refused(&self) {
        self.reload_ok.set(0);
    }

    pub fn store_is_up(&self, up: bool) {
        self.store_up.set(i64::from(up));
    }

    pub fn counted(&self, counts: &CredentialCounts) {
        for (kind, count) in [("certificate", &counts.certificates), ("key", &counts.keys)] {
            self.count(kind, count);
        }
    }

    fn count(&self, kind: &str, count: &Count) {
        for (state, number) in CredentialState::ALL.iter().zip(count.by_state) {
            self.credentials
                .with_label_values(&[kind, state.as_str()])
                .set(whole(number));
        }
        for ((within, _), number) in WITHIN.iter().zip(count.ending) {
            self.expiring
                .with_label_values(&[kind, within])
                .set(whole(number));
        }
    }
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
