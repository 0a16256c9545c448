//! The control plane's metrics: certificates signed and revoked, CSRs refused, and the time that a revocation takes.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry};

use super::gauges::StateGauges;
use crate::domain::credential::RevocationReason;
use crate::domain::reason::Reason;

/// The buckets: from an idle worker to one that is stuck for as long as anyone waits.
const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];

/// The reasons to refuse a CSR that lie in the CSR itself or in what the App has already. An operator's typing errors
/// are not among them.
const CSR_REFUSALS: [Reason; 8] = [
    Reason::CertLimit,
    Reason::CsrAttributes,
    Reason::CsrKeyInUse,
    Reason::CsrKeyRevoked,
    Reason::CsrKeyType,
    Reason::CsrKeyWeak,
    Reason::CsrMalformed,
    Reason::CsrSignature,
];

/// The families of the control plane. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct ControlMetrics {
    issued: IntCounter,
    revoked: IntCounterVec,
    csr_refused: IntCounterVec,
    propagation: Histogram,
    unconfirmed: IntCounter,
    pub(super) state: StateGauges,
}

impl ControlMetrics {
    /// Creates and registers every family, each series at zero.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self::new(StateGauges::register(registry)?)?;
        registry.register(Box::new(metrics.issued.clone()))?;
        registry.register(Box::new(metrics.revoked.clone()))?;
        registry.register(Box::new(metrics.csr_refused.clone()))?;
        registry.register(Box::new(metrics.propagation.clone()))?;
        registry.register(Box::new(metrics.unconfirmed.clone()))?;
        Ok(metrics)
    }

    fn new(state: StateGauges) -> prometheus::Result<Self> {
        let propagation = HistogramOpts::new(
            "countersign_revocation_propagation_seconds",
            "Time from the storing of a revocation to the receipt that no worker accepts the credential.",
        );
        let metrics = Self {
            issued: IntCounter::new(
                "countersign_certificates_issued_total",
                "Client certificates that were signed.",
            )?,
            revoked: IntCounterVec::new(
                Opts::new(
                    "countersign_certificates_revoked_total",
                    "Client certificates that were revoked, by the given reason.",
                ),
                &["reason"],
            )?,
            csr_refused: IntCounterVec::new(
                Opts::new(
                    "countersign_csr_rejected_total",
                    "Certificate signing requests that were refused, by reason.",
                ),
                &["reason"],
            )?,
            propagation: Histogram::with_opts(propagation.buckets(SECONDS.to_vec()))?,
            unconfirmed: IntCounter::new(
                "countersign_publications_unconfirmed_total",
                "Changes that were stored and that the data plane did not confirm in time.",
            )?,
            state,
        };
        for reason in RevocationReason::ALL {
            metrics.revoked.with_label_values(&[reason.as_str()]);
        }
        for reason in CSR_REFUSALS {
            metrics.csr_refused.with_label_values(&[reason.code()]);
        }
        Ok(metrics)
    }

    pub(super) fn signed(&self) {
        self.issued.inc();
    }

    /// Counts a CSR that was not signed, if the CSR itself is at fault.
    pub(super) fn not_signed(&self, reason: Reason) {
        if CSR_REFUSALS.contains(&reason) {
            self.csr_refused.with_label_values(&[reason.code()]).inc();
        }
    }

    pub(super) fn revoked(&self, reason: RevocationReason) {
        self.revoked.with_label_values(&[reason.as_str()]).inc();
    }

    pub(super) fn propagated(&self, took: Duration) {
        self.propagation.observe(took.as_secs_f64());
    }

    pub(super) fn unconfirmed(&self) {
        self.unconfirmed.inc();
    }
}

#[cfg(test)]
mod tests {
    use crate::control::testing::{ACTOR, CSR, Fixture, P521_CSR};
    use crate::domain::credential::RevocationReason as Why;

    fn exported(fixture: &Fixture) -> String {
        prometheus::TextEncoder::new()
            .encode_to_string(&fixture.registry.gather())
            .unwrap()
    }

    #[tokio::test]
    async fn what_is_signed_refused_and_revoked_is_counted() {
        let fixture = Fixture::new().await;
        let begun = exported(&fixture);
        for series in [
            "countersign_certificates_issued_total 0\n",
            "countersign_certificates_revoked_total{reason=\"key-compromise\"} 0\n",
            "countersign_csr_rejected_total{reason=\"csr_key_type\"} 0\n",
            "countersign_revocation_propagation_seconds_count 0\n",
            "countersign_publications_unconfirmed_total 0\n",
        ] {
            assert!(begun.contains(series), "{series}");
        }
        fixture.app("acme").await;
        fixture.sign("acme", "prod", P521_CSR).await.unwrap_err();
        fixture.sign("nobody", "prod", CSR).await.unwrap_err();
        let signed = fixture.sign("acme", "prod", CSR).await.unwrap();
        let id = signed.value.certificate.id;
        let control = &fixture.control;
        let revoked = control.revoke_certificate(&ACTOR, id, Why::Superseded);
        revoked.await.unwrap();
        let again = control.revoke_certificate(&ACTOR, id, Why::Superseded);
        again.await.unwrap_err();
        let counted = exported(&fixture);
        for series in [
            "countersign_certificates_issued_total 1\n",
            "countersign_certificates_revoked_total{reason=\"superseded\"} 1\n",
            "countersign_csr_rejected_total{reason=\"csr_key_type\"} 1\n",
            "countersign_revocation_propagation_seconds_count 1\n",
        ] {
            assert!(counted.contains(series), "{series}\n{counted}");
        }
        assert!(!counted.contains("reason=\"not_found\""));
    }
}
