//! The gauges of the current state: credentials, expiries, reloads.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};

use crate::config::root::Config;
use crate::control::counts::{Count, CredentialCounts, WITHIN};
use crate::crypto::hash;
use crate::domain::credential::CredentialState;
use crate::domain::time::Timestamp;

/// The interval between two counts.
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
    revision: IntGaugeVec,
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
            reload_ok: gauge(
                "countersign_config_last_reload_successful",
                "1 if the last configuration that was read is in force.",
            )?,
            reload_at: gauge(
                "countersign_config_last_reload_success_timestamp_seconds",
                "Time at which the last configuration came into force.",
            )?,
            revision: family(
                "countersign_config_revision_info",
                "A digest of the configuration that is in force; the value is always 1.",
                &["hash"],
            )?,
            store_up: gauge(
                "countersign_store_up",
                "1 if the store can be read and written.",
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

    /// Records that a configuration came into force.
    pub fn reloaded(&self, config: &Config, at: Timestamp) {
        self.reload_ok.set(1);
        self.reload_at.set(at.unix_seconds());
        self.revision.reset();
        self.revision.with_label_values(&[&digest(config)]).set(1);
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

/// The digest that distinguishes two configurations, with the environment and the defaults, but without the content of
/// the files that they name.
fn digest(config: &Config) -> String {
    let written = serde_json::to_vec(config).unwrap_or_default();
    let digest = hash::fingerprint(&written).to_string();
    digest.chars().take(DIGITS).collect()
}

/// The number of a digest's digits that are shown: enough to distinguish all configurations of a fleet.
const DIGITS: usize = 16;

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_that_differ_have_other_digests() {
        let config = Config::default();
        let mut other = config.clone();
        other.tls.client_auth.mode = crate::config::tls::ClientAuthMode::Required;
        assert_eq!(digest(&config), digest(&config.clone()));
        assert_ne!(digest(&config), digest(&other));
        assert_eq!(digest(&config).len(), DIGITS);
    }
}
