//! The gauges of the control plane's state: credentials, the ends of certificates, and the snapshot.

use std::collections::BTreeMap;

use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};

use super::counts::{Count, CredentialCounts, WITHIN};
use crate::domain::credential::CredentialState;
use crate::domain::time::Timestamp;

/// The gauges. Cloning them is cheap.
#[derive(Clone, Debug)]
pub(super) struct StateGauges {
    credentials: IntGaugeVec,
    expiring: IntGaugeVec,
    authority: IntGauge,
    server_certificates: IntGaugeVec,
    snapshot_version: IntGauge,
}

impl StateGauges {
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
                "Active credentials that expire within a time.",
                &["kind", "within"],
            )?,
            authority: gauge(
                "countersign_ca_not_after_timestamp_seconds",
                "End of the authority: its issuing certificate or its root, the earlier of the two.",
            )?,
            server_certificates: family(
                "countersign_server_cert_not_after_timestamp_seconds",
                "End of a server certificate, by its first name; the earliest of several with one name.",
                &["host"],
            )?,
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
        // One name may have several certificates, say RSA beside ECDSA; the end of each matters.
        let mut ends = BTreeMap::new();
        for (name, at) in all {
            let first = ends.entry(name).or_insert(*at);
            *first = at.min(first).to_owned();
        }
        for (name, at) in ends {
            self.server_certificates
                .with_label_values(&[name])
                .set(at.unix_seconds());
        }
    }

    pub fn snapshot_is(&self, version: u64) {
        self.snapshot_version.set(whole(version));
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
