//! A refusal on its way to the answer: the reason, and its details for the answer.

use std::time::Duration;

use http::HeaderValue;

use crate::domain::accepted::Environments;
use crate::domain::policy::Requirement;
use crate::domain::reason::Reason;
use crate::domain::scope::ScopeSet;

use super::error::Error;
use super::offence::Offence;
use crate::proxy::counters::standing::Strictest;

/// A refusal: the reason why a request gets no answer of an upstream. Most have a [`Reason`] and nothing more.
#[derive(Debug)]
pub struct Refusal {
    pub reason: Reason,
    pub extra: Extra,
    /// The error below, for the log; the caller never sees it.
    pub cause: Option<Error>,
    /// The origin whose page may read the answer. Boxed: few refusals have one.
    pub reader: Option<Box<HeaderValue>>,
    /// The challenge for a caller that proves a key. Boxed: few refusals have one.
    pub dpop: Option<Box<DpopChallenge>>,
}

/// The parts of a challenge of the scheme `DPoP` (RFC 9449, 7.1 and 9).
#[derive(Debug)]
pub struct DpopChallenge {
    /// The algorithms that sign proofs, with a blank between them.
    pub algorithms: &'static str,
    /// The nonce that the next proof needs.
    pub nonce: Option<String>,
}

/// Details of some refusals besides their reason.
#[derive(Debug, Default)]
pub enum Extra {
    #[default]
    Nothing,
    /// The requirement of a route that was not met in full.
    Missing(Requirement),
    /// The methods that would have been permitted.
    Allow(Vec<http::Method>),
    /// The connection has served requests before, so that a new one may help (RFC 9110, 15.5.20).
    Misdirected,
    /// The time until a retry.
    RetryAfter(Duration),
    /// The part of the request that is refused. Boxed: a refusal should not be as large as its words.
    Offence(Box<Offence>),
    /// The limit that is used up.
    Limited(Box<Strictest>),
    /// The scopes that the route needs.
    Scopes(ScopeSet),
    /// The kinds of credentials that the route accepts.
    Accepted(Vec<String>),
    /// The environments that the route takes.
    Environments(Environments),
}

impl Refusal {
    pub fn with(reason: Reason, extra: Extra) -> Self {
        Self {
            reason,
            extra,
            cause: None,
            reader: None,
            dpop: None,
        }
    }

    /// The same refusal, which a page of this origin may read.
    #[must_use]
    pub fn readable_by(self, reader: Option<HeaderValue>) -> Self {
        Self {
            reader: reader.map(Box::new),
            ..self
        }
    }

    /// The same refusal, with a challenge to prove a key.
    #[must_use]
    pub fn challenged_by(self, challenge: DpopChallenge) -> Self {
        Self {
            dpop: Some(Box::new(challenge)),
            ..self
        }
    }

    /// A refusal that names what it is about.
    pub fn naming(reason: Reason, offence: Offence) -> Self {
        Self::with(reason, Extra::Offence(Box::new(offence)))
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self::with(reason, Extra::Nothing)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self {
            reason: error.reason,
            extra: Extra::Nothing,
            cause: Some(error),
            reader: None,
            dpop: None,
        }
    }
}
