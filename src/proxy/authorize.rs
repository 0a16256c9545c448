//! Authorization: a caller and a route become a permit or a refusal.

use std::sync::Arc;

use crate::domain::identity::{Caller, CertificateProof, Evidence};
use crate::domain::permit::Permit;
use crate::domain::reason::Reason;
use crate::domain::route::{LocalEndpoint, Route, Target};

use super::refusal::{Extra, Refusal};

/// Refuses a caller whose certificate was refused, except at the endpoints that explain it and those that are public.
/// `route` is absent when none was found: the refusal of the certificate comes first, since nothing else that the
/// caller requests will work.
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
