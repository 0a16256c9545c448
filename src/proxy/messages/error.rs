//! The failure of an exchange: its reason, its side, and whether a retry is safe.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::domain::cause::Cause;
use crate::domain::reason::Reason;

/// The side on which an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The client, or the way to it.
    Downstream,
    /// The API, or the way to it.
    Upstream,
    /// This gateway.
    Ours,
}

/// The failed end of an exchange.
#[derive(Debug)]
pub struct Error {
    pub side: Side,
    pub reason: Reason,
    /// True if nothing was answered and the connection itself is to blame, so that the same request may succeed on
    /// another one.
    pub retry: bool,
    /// The exact cause, for failures on the upstream's side.
    pub cause: Option<Cause>,
    /// The endpoint, if there is one.
    pub endpoint: Option<Arc<str>>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub fn new(side: Side, reason: Reason) -> Self {
        Self {
            side,
            reason,
            retry: false,
            cause: None,
            endpoint: None,
            source: None,
        }
    }

    pub fn downstream(reason: Reason) -> Self {
        Self::new(Side::Downstream, reason)
    }

    pub fn upstream(reason: Reason) -> Self {
        Self::new(Side::Upstream, reason)
    }

    pub fn ours(reason: Reason) -> Self {
        Self::new(Side::Ours, reason)
    }

    /// Adds the exact cause.
    #[must_use]
    pub fn by(mut self, cause: Cause) -> Self {
        self.cause = Some(cause);
        self
    }

    /// Adds the endpoint.
    #[must_use]
    pub fn at(mut self, endpoint: &Arc<str>) -> Self {
        self.endpoint = Some(Arc::clone(endpoint));
        self
    }

    /// Adds the error below.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Marks the request as safe to send again on another connection.
    #[must_use]
    pub fn worth_a_retry(mut self) -> Self {
        self.retry = true;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Downstream => "client",
            Side::Upstream => "upstream",
            Side::Ours => "gateway",
        };
        write!(f, "{} ({side}: {})", self.reason.title(), self.reason)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}
