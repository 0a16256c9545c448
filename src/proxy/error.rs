//! Why an exchange failed, whose side it was, and whether it may be tried again.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::domain::cause::Cause;
use crate::domain::reason::Reason;

/// Where an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The client, or the way to it.
    Downstream,
    /// The API, or the way to it.
    Upstream,
    /// This gateway.
    Ours,
}

/// The end of an exchange that did not go well.
#[derive(Debug)]
pub struct Error {
    pub side: Side,
    pub reason: Reason,
    /// Nothing was answered and the connection itself is to blame, so the same request may succeed on another one.
    pub retry: bool,
    /// What exactly went wrong, where it is the upstream's side.
    pub cause: Option<Cause>,
    /// Where.
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

    /// Says what exactly went wrong.
    #[must_use]
    pub fn by(mut self, cause: Cause) -> Self {
        self.cause = Some(cause);
        self
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, endpoint: &Arc<str>) -> Self {
        self.endpoint = Some(Arc::clone(endpoint));
        self
    }

    /// Keeps what is below.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says that the same request may be sent again on another connection.
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
