//! The gauges of the process: its configuration and its store.

use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};

use crate::config::root::Config;
use crate::crypto::hash;
use crate::domain::time::Timestamp;

/// The gauges. Cloning them is cheap.
#[derive(Clone, Debug)]
pub struct Gauges {
    reload_ok: IntGauge,
    reload_at: IntGauge,
    revision: IntGaugeVec,
    store_up: IntGauge,
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
        })
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
