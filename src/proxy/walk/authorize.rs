//! The step that authorizes: the domain's decision becomes a permit or a refusal, which names what the caller can do.

use std::sync::Arc;

use crate::domain::decision::Denial;
use crate::domain::reason::Reason;
use crate::domain::route::{Miss, Route};
use crate::domain::tls_match::Mismatch;

use crate::proxy::connections::live::Connection;
use crate::proxy::credentials::failed_attempts::FailedAttempts;
use crate::proxy::messages::offence::Offence;
use crate::proxy::messages::refusal::{Extra, Refusal};
use crate::proxy::report::closing::Closed;

/// The refusal of a request to `path` that was denied; `route` is the one that was found.
pub fn refusal(
    denial: Denial<Refusal>,
    path: &str,
    route: Option<&Arc<Route>>,
    connection: &Connection,
    failures: &FailedAttempts,
) -> Refusal {
    match denial {
        Denial::Quarantine(reason) => reason.into(),
        Denial::Route(miss) => missed(miss, path),
        Denial::TlsPolicy(mismatch) => mismatched(mismatch, connection),
        Denial::Upgrade(refusal) | Denial::FieldNames(refusal) => refusal,
        Denial::Policy(Reason::AuthRateLimited) => {
            match failures.check(connection.peer.origin.address) {
                Err(wait) => Refusal::with(Reason::AuthRateLimited, Extra::RetryAfter(wait)),
                Ok(()) => Reason::AuthRateLimited.into(),
            }
        }
        Denial::Policy(reason) => match route {
            Some(route) => unproved(reason, route),
            None => reason.into(),
        },
    }
}

fn missed(miss: Miss, path: &str) -> Refusal {
    match (Offence::of_miss(path, &miss), miss) {
        (Some(offence), _) => Refusal::naming(Reason::PathInvalid, offence),
        (None, Miss::Method(allowed)) => {
            Refusal::with(Reason::MethodUnknown, Extra::Allow(allowed))
        }
        (None, _) => Reason::RouteUnknown.into(),
    }
}

/// The refusal by another TLS policy. When the connection's own host demands more by now, the connection ends, and its
/// client opens one that serves.
fn mismatched(mismatch: Mismatch, connection: &Connection) -> Refusal {
    let outdated = mismatch == Mismatch::Outdated;
    if outdated {
        connection.end(Closed::Finished);
    }
    let extra = if outdated || connection.was_used() {
        Extra::Misdirected
    } else {
        Extra::Nothing
    };
    Refusal::with(Reason::HostMismatch, extra)
}

fn unproved(reason: Reason, route: &Route) -> Refusal {
    match reason {
        Reason::ScopeMissing => Refusal::with(reason, Extra::Scopes(route.policy.scopes.clone())),
        Reason::CertMissing | Reason::CertRequired | Reason::CredentialMissing => {
            Refusal::with(reason, Extra::Missing(route.policy.requirement))
        }
        Reason::KindNotAccepted => {
            Refusal::with(reason, Extra::Accepted(route.policy.usable_words()))
        }
        Reason::EnvironmentMismatch => {
            Refusal::with(reason, Extra::Environments(route.policy.environments))
        }
        _ => reason.into(),
    }
}
