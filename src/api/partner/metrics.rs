//! Metrics of the token endpoint.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use crate::control::tokens::mint::Bound;
use crate::domain::reason::Reason;

/// The reasons for which a token is not minted; their series are there from the start, and there are no others.
const REFUSALS: [Reason; 42] = [
    Reason::AppRevoked,
    Reason::AppSuspended,
    Reason::AppsDiffer,
    Reason::AuthMethodRefused,
    Reason::CertExpired,
    Reason::CertMissing,
    Reason::CertNotYetValid,
    Reason::CertRevoked,
    Reason::CertUnregistered,
    Reason::CredentialMissing,
    Reason::DpopNonceWanted,
    Reason::DpopProofInvalid,
    Reason::DpopProofMismatch,
    Reason::DpopProofMissing,
    Reason::DpopProofReplayed,
    Reason::DpopProofStale,
    Reason::GrantInvalid,
    Reason::GrantUnsupported,
    Reason::InputInvalid,
    Reason::Internal,
    Reason::KeyExpired,
    Reason::KeyMalformed,
    Reason::KeyNetwork,
    Reason::KeyRevoked,
    Reason::KeySurrounded,
    Reason::KeyUnknown,
    Reason::KeyWrong,
    Reason::KindNotAccepted,
    Reason::OriginRefused,
    Reason::Overloaded,
    Reason::RefreshReused,
    Reason::ScopeInvalid,
    Reason::ScopeMissing,
    Reason::SecretInBrowser,
    Reason::StoreUnavailable,
    Reason::TicketLimit,
    Reason::TokenAudience,
    Reason::TokenBinding,
    Reason::TokenEnded,
    Reason::TokenExpired,
    Reason::TokenMalformed,
    Reason::TokenSignature,
];

/// The token endpoint's counters.
#[derive(Clone, Debug)]
pub struct TokenMetrics {
    issued: IntCounterVec,
    errors: IntCounterVec,
    introspections: IntCounterVec,
    revocations: IntCounter,
}

impl TokenMetrics {
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter =
            |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<IntCounterVec> {
                let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
                registry.register(Box::new(counter.clone()))?;
                Ok(counter)
            };
        let metrics = Self {
            issued: counter(
                "countersign_tokens_issued_total",
                "Access tokens minted, by grant and binding.",
                &["grant", "binding"],
            )?,
            errors: counter(
                "countersign_token_errors_total",
                "Requests to the token endpoint and its neighbours that were refused, by reason.",
                &["reason"],
            )?,
            introspections: counter(
                "countersign_token_introspections_total",
                "Answers about tokens, by whether the token was active.",
                &["active"],
            )?,
            revocations: {
                let revocations = IntCounter::new(
                    "countersign_token_revocations_total",
                    "Requests of clients to end a token that were carried out.",
                )?;
                registry.register(Box::new(revocations.clone()))?;
                revocations
            },
        };
        for binding in Bound::ALL {
            metrics
                .issued
                .with_label_values(&["client_credentials", binding.as_str()]);
        }
        for reason in REFUSALS {
            metrics.errors.with_label_values(&[reason.code()]);
        }
        for active in ["true", "false"] {
            metrics.introspections.with_label_values(&[active]);
        }
        Ok(metrics)
    }

    pub fn issued(&self, grant: &str, bound: Bound) {
        self.issued
            .with_label_values(&[grant, bound.as_str()])
            .inc();
    }

    /// Counts an answer about a token.
    pub fn introspected(&self, active: bool) {
        let active = if active { "true" } else { "false" };
        self.introspections.with_label_values(&[active]).inc();
    }

    /// Counts a revocation by a client, of a token or of nothing.
    pub fn revoked(&self) {
        self.revocations.inc();
    }

    pub fn refused(&self, reason: Reason) {
        self.errors.with_label_values(&[reason.code()]).inc();
    }
}
