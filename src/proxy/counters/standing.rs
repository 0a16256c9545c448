//! What a caller is told about an allowance.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::limit::Limit;

/// How an allowance stands after a request was counted or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Further requests that would be allowed at once.
    pub remaining: u32,
    /// Until the whole allowance is there again.
    pub full_in: Duration,
    /// Until one request would be allowed; zero when it would be now.
    pub retry_after: Duration,
}

/// The limit that a request is nearest to, and how it stands.
#[derive(Clone, Debug)]
pub struct Strictest {
    pub limit: Arc<Limit>,
    pub standing: Standing,
}
