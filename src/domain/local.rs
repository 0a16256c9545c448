//! Local endpoints: those that the gateway answers itself on the partners' port, behind the same walk as every route.

use http::Method;

use super::limit::Per;
use super::policy::Requirement;
use super::rate::Rate;

/// A local endpoint: the row of a table, and what the walk has to know about it.
#[derive(Debug, PartialEq, Eq)]
pub struct LocalEndpoint {
    /// Unique among all routes; names the endpoint in logs and metrics.
    pub name: &'static str,
    /// The exact path, at every host.
    pub path: &'static str,
    pub methods: &'static [Method],
    pub requirement: Requirement,
    pub limits: &'static [LocalLimit],
    /// The most bytes of a request's body, which is read whole.
    pub body_max: u64,
    /// True if a caller whose certificate is not valid may call it.
    pub open_to_quarantined: bool,
    /// True if the endpoint checks secrets itself: an address that failed too often is refused before it, and each
    /// answer 401 counts as a failure.
    pub checks_secrets: bool,
    /// True if there is no such endpoint where no tokens are issued.
    pub of_tokens: bool,
}

/// A rate limit of a local endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalLimit {
    /// A [`Name`](super::name::Name), unique among all limits.
    pub name: &'static str,
    pub per: Per,
    pub rate: Rate,
}

/// The methods of an endpoint that only reads.
pub static READ: [Method; 2] = [Method::GET, Method::HEAD];

/// The most bytes of a body at an endpoint that takes a few parameters: a token request has a few hundred bytes.
pub const SMALL_BODY: u64 = 16 << 10;

/// The local endpoints of a gateway.
pub type LocalEndpoints = Vec<&'static LocalEndpoint>;

/// The name of the endpoint that tells callers who they are.
pub const WHOAMI: &str = "countersign.whoami";

/// The name of the token endpoint.
pub const TOKEN: &str = "countersign.token";

/// The name of the endpoint at which clients end tokens.
pub const REVOKE: &str = "countersign.revoke";

impl LocalEndpoint {
    /// True for the endpoint that tells a caller what its key or token proves. It refuses nobody.
    pub fn tells_who(&self) -> bool {
        self.name == WHOAMI
    }

    /// True for the endpoints that users' devices call with a publishable Key, from pages too.
    pub fn is_for_pages(&self) -> bool {
        [TOKEN, REVOKE].contains(&self.name)
    }
}
