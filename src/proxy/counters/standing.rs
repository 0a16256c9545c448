//! The standing of an allowance, for the caller's `RateLimit` and `Retry-After` fields.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::limit::Limit;
use crate::domain::time::Timestamp;

/// The standing of an allowance after a request was counted or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Further requests that would be allowed at once.
    pub remaining: u32,
    /// The time until the whole allowance is there again.
    pub full_in: Duration,
    /// The time until one request would be allowed; zero when it would be now.
    pub retry_after: Duration,
}

/// The limit that a request is nearest to, and its standing.
#[derive(Clone, Debug)]
pub struct Strictest {
    pub limit: Arc<Limit>,
    pub standing: Standing,
    /// The time at which the whole allowance is there again, for `X-RateLimit-Reset`; absent where the older fields are
    /// not sent.
    pub legacy_reset: Option<Timestamp>,
}

impl Strictest {
    pub const fn new(limit: Arc<Limit>, standing: Standing) -> Self {
        Self {
            limit,
            standing,
            legacy_reset: None,
        }
    }

    /// The same, with the time at which the allowance is whole again.
    #[must_use]
    pub fn with_reset(self, now: Timestamp) -> Self {
        let reset = now.plus(self.standing.full_in.max(self.standing.retry_after));
        Self {
            legacy_reset: Some(reset),
            ..self
        }
    }
}
