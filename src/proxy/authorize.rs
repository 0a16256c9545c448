//! A caller and a route become a permit, or the reason why not.

use std::sync::Arc;

use crate::domain::identity::{Caller, CertificateProof, Evidence};
use crate::domain::permit::Permit;
use crate::domain::reason::Reason;
use crate::domain::route::{LocalEndpoint, Route, Target};

use super::refusal::{Extra, Refusal};

/// Keeps a caller whose certificate was refused away from everything but the endpoints that explain it and
/// hand out what anyone may have. `route` is absent when none was found: the caller is told of its certificate
/// first, since nothing else it asks will work.
pub fn quarantine(
    certificate: &Evidence<CertificateProof>,
    route: Option<&Arc<Route>>,
) -> Result<(), Reason> {
    let Evidence::Refused(reason) = certificate else {
        return Ok(());
    };
    match route.map(|route| &route.target) {
        Some(Target::Local(
            LocalEndpoint::CaPem
            | LocalEndpoint::Jwks
            | LocalEndpoint::Metadata
            | LocalEndpoint::Whoami,
        )) => Ok(()),
        _ => Err(*reason),
    }
}

/// Asks the route's policy.
pub fn check(caller: &Caller, route: &Arc<Route>) -> Result<Permit, Refusal> {
    Permit::decide(caller, route).map_err(|reason| match reason {
        Reason::ScopeMissing => Refusal::with(reason, Extra::Scopes(route.policy.scopes.clone())),
        reason @ (Reason::CertMissing | Reason::CertRequired | Reason::CredentialMissing) => {
            Refusal::with(reason, Extra::Missing(route.policy.requirement))
        }
        reason => reason.into(),
    })
}
