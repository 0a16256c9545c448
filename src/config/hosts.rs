//! Hosts and their routes in the configuration.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ambiguous_paths::AmbiguousPaths;
use super::identity_headers::IdentityHeadersHere;
use super::listeners::BodyPace;
use super::quota::Quota;
use super::rate::Rate;
use super::size::Size;
use super::span::Span;
use super::text::text_value;
use super::tls::{ClientAuthMode, Reject};
use super::upgrades::Upgrades;
use crate::domain::accepted::{AcceptedKinds, CredentialKind, Environments};
use crate::domain::api_key::Environment as DomainEnvironment;
use crate::domain::header_names::HeaderNames as DomainHeaderNames;
use crate::domain::limit::Per as DomainPer;
use crate::domain::name::Name;
use crate::domain::pace::BodyTimes;
use crate::domain::policy::Requirement;
use crate::domain::scope::Scope;

/// A host that partners call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Host {
    /// The credentials that callers need, by default for all routes: `none`, `mtls`, `key`, `token`, `mtls_or_key`,
    /// `mtls_and_key`, `mtls_or_token` or `mtls_and_token`.
    #[schemars(with = "String", extend("enum" = requirement_names()))]
    pub require: Requirement,
    pub client_auth: HostClientAuth,
    pub identity_headers: IdentityHeadersHere,
    /// The treatment of header fields whose names have characters other than letters, digits and hyphens, like
    /// `ot-trace_id`: `drop` removes them, `refuse` answers 400, `pass` forwards them. Names that some servers read as one
    /// that matters to the gateway, like `x_forwarded_for`, never pass.
    pub header_names: HeaderNames,
    /// The host's routes. The most specific path matches: a literal segment before a `{parameter}` before a prefix.
    /// The method is matched last.
    pub routes: Vec<Route>,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            require: Requirement::Mtls,
            client_auth: HostClientAuth::default(),
            identity_headers: IdentityHeadersHere::default(),
            header_names: HeaderNames::default(),
            routes: Vec::new(),
        }
    }
}

/// The treatment of header fields with odd names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HeaderNames {
    #[default]
    Drop,
    Refuse,
    Pass,
}

impl From<HeaderNames> for DomainHeaderNames {
    fn from(names: HeaderNames) -> Self {
        match names {
            HeaderNames::Drop => Self::Drop,
            HeaderNames::Refuse => Self::Refuse,
            HeaderNames::Pass => Self::Pass,
        }
    }
}

/// Overrides of `tls.client_auth` for this host. Only a whole host name may have them, because it is known in the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HostClientAuth {
    /// The request for a client certificate: `off`, `optional` or `required`.
    pub mode: Option<ClientAuthMode>,
    /// The refusal of a certificate that is signed by our authority but not valid: `explain` or `alert`.
    pub reject: Option<Reject>,
}

/// A set of requests, the credentials that they need, and their upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The route's name in logs and metrics; made of host and path when not set.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub name: Option<Name>,
    #[serde(rename = "match")]
    pub matches: Match,
    /// The credentials that callers need; the host's `require` when not set.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("enum" = requirement_names_or_null()))]
    pub require: Option<Requirement>,
    /// The scopes that the caller's key or token must have, all of them.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub scopes: Vec<Scope>,
    /// The kinds of keys and tokens that the route accepts, among those that `require` asks for: `secret_key`,
    /// `publishable_key`, `signature` (of the request), `app_token` (of an App alone), `user_token` (of an App's user)
    /// and `issuer:NAME` (of one of `issuers`). Everything but publishable keys, signatures and the tokens of other
    /// issuers when not set.
    #[serde(default)]
    pub accept: Option<Vec<Accept>>,
    /// The environments whose credentials the route takes: `live`, `test` or both.
    #[serde(default = "live")]
    pub environments: Vec<Environment>,
    /// One rate limit; use `limits` for several.
    #[serde(default)]
    pub limit: Option<Limit>,
    /// Several rate limits; all apply.
    #[serde(default)]
    pub limits: Vec<Limit>,
    /// The upstream for the route's requests.
    #[schemars(with = "String")]
    pub upstream: Name,
    /// The maximum size of a request's body; no limit when not set.
    #[serde(default)]
    pub body_max: Option<Size>,
    /// Kinds of paths that the route takes though servers read them in different ways: `true`, `false` or a list of
    /// `backslashes`, `dot_segments`, `empty_segments`, `encoded_percents`, `encoded_slashes`, `lookalikes`, `not_utf8`
    /// and `semicolons`. A path that some server may read as another route's is refused all the same.
    #[serde(default)]
    pub ambiguous_paths: AmbiguousPaths,
    /// `true` forwards the caller's own key or token to the upstream.
    #[serde(default)]
    pub keep_credential: bool,
    #[serde(default)]
    pub timeouts: RouteTimeouts,
    /// The protocols that are tunnelled when a client asks to upgrade to one: `true` (the same as `[websocket]`),
    /// `false` or a list of names. The gateway ignores an upgrade to any other protocol and serves the request.
    #[serde(default)]
    pub upgrades: Upgrades,
    #[serde(default)]
    pub identity_headers: IdentityHeadersHere,
}

/// Timeouts of bodies on this route that differ from `listeners.partners.timeouts`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouteTimeouts {
    /// The timeout between two reads or two writes of a body; the listener's when not set.
    pub body: Option<Span>,
    /// The minimum average rate of a request's body; the listener's when not set. Long, quiet uploads, such as the
    /// streams of a gRPC client, need `bytes_per_second: 0` and a `body` longer than their pauses.
    pub body_pace: Option<BodyPace>,
}

impl RouteTimeouts {
    pub(super) fn get(&self) -> BodyTimes {
        BodyTimes {
            pause: self.body.map(Span::get),
            pace: self.body_pace.as_ref().map(BodyPace::get),
        }
    }
}

/// The requests that a route matches: a path or a prefix, and methods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// A whole path: `/v1/orders`, `/v1/orders/{id}`.
    pub path: Option<String>,
    /// A path prefix: `/v1` matches `/v1` and `/v1/x`, not `/v10`.
    pub prefix: Option<String>,
    /// HTTP methods; all methods when empty. A method that no route of this path allows is answered with 405, even if
    /// a less specific route would allow it.
    pub methods: Vec<Method>,
}

/// A limit: a rate with a burst, or a quota.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// The limit's name in answers and metrics; made of the route's name when not set. Routes with the same limit name
    /// share the limit.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub name: Option<Name>,
    /// The unit that the limit applies to: each `app`, `key`, `user` or `address`, or the whole `route`. A user is
    /// whom a token speaks for; callers without one are counted by their App.
    pub per: Per,
    /// The maximum rate of requests. A limit has a rate or a quota.
    #[serde(default)]
    pub rate: Option<Rate>,
    /// The maximum number of requests in each hour or day, UTC: `1000/h`, `10000/d`. The count survives a restart.
    #[serde(default)]
    pub quota: Option<Quota>,
    /// The number of requests that are allowed at once after a quiet period; the rate's count when not set.
    #[serde(default)]
    pub burst: Option<u32>,
}

/// The unit that a limit applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    App,
    Key,
    User,
    Address,
    Route,
}

impl Per {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Key => "key",
            Self::User => "user",
            Self::Address => "address",
            Self::Route => "route",
        }
    }
}

impl From<Per> for DomainPer {
    fn from(per: Per) -> Self {
        match per {
            Per::App => Self::App,
            Per::Key => Self::Key,
            Per::User => Self::User,
            Per::Address => Self::Address,
            Per::Route => Self::Route,
        }
    }
}

/// Something that a route accepts: a kind of key or token, or the tokens of another issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accept {
    /// `issuer:` and the name of one of `issuers`.
    Issuer(Name),
    Kind(CredentialKind),
}

/// A text that names nothing that a route could accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a route accepts secret_key, publishable_key, signature, app_token, user_token, and issuer:NAME"
)]
pub struct InvalidAccept;

impl std::str::FromStr for Accept {
    type Err = InvalidAccept;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(name) = text.strip_prefix("issuer:") {
            return name.parse().map(Self::Issuer).or(Err(InvalidAccept));
        }
        let mut kinds = CredentialKind::ALL.into_iter();
        let kind = kinds.find(|kind| kind.as_str() == text);
        kind.map(Self::Kind).ok_or(InvalidAccept)
    }
}

impl fmt::Display for Accept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issuer(name) => write!(f, "issuer:{name}"),
            Self::Kind(kind) => f.write_str(kind.as_str()),
        }
    }
}

text_value!(
    Accept,
    "Accept",
    "^(secret_key|publishable_key|signature|app_token|user_token|issuer:[A-Za-z0-9._-]+)$",
    "A kind of key or token, or issuer: and the name of another issuer."
);

/// An environment of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    Live,
    Test,
}

impl From<Environment> for DomainEnvironment {
    fn from(environment: Environment) -> Self {
        match environment {
            Environment::Live => Self::Live,
            Environment::Test => Self::Test,
        }
    }
}

fn live() -> Vec<Environment> {
    vec![Environment::Live]
}

impl Route {
    /// The kinds of credentials that the route accepts.
    pub(super) fn accepted(&self) -> AcceptedKinds {
        let written = self.accept.as_ref();
        let kinds = written.map(|written| {
            written.iter().filter_map(|accept| match accept {
                Accept::Issuer(_) => None,
                Accept::Kind(kind) => Some(*kind),
            })
        });
        kinds.map_or(AcceptedKinds::DEFAULT, AcceptedKinds::new)
    }

    /// The names of the issuers whose tokens the route accepts.
    pub(super) fn issuers(&self) -> Vec<Name> {
        let written = self.accept.iter().flatten();
        let issuers = written.filter_map(|accept| match accept {
            Accept::Issuer(name) => Some(name.clone()),
            Accept::Kind(_) => None,
        });
        issuers.collect()
    }

    pub(super) fn taken_environments(&self) -> Environments {
        Environments::new(self.environments.iter().copied().map(Into::into))
    }
}

fn requirement_names() -> Vec<&'static str> {
    Requirement::ALL.map(Requirement::as_str).to_vec()
}

fn requirement_names_or_null() -> Vec<Option<&'static str>> {
    let names = requirement_names().into_iter().map(Some);
    names.chain([None]).collect()
}

/// An HTTP method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method(pub http::Method);

/// The error for a text that is not a method that can be routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a method is written in capital letters, like GET or POST; CONNECT is not routed")]
pub struct InvalidMethod;

impl std::str::FromStr for Method {
    type Err = InvalidMethod;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_uppercase() || b"-_".contains(&byte);
        let is_method = (1..=32).contains(&text.len()) && text.bytes().all(plain);
        let method: http::Method = text
            .parse()
            .ok()
            .filter(|_| is_method)
            .ok_or(InvalidMethod)?;
        if method == http::Method::CONNECT {
            return Err(InvalidMethod);
        }
        Ok(Self(method))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

text_value!(
    Method,
    "Method",
    r"^[A-Z_-]{1,32}$",
    "An HTTP method: GET, POST."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_capital_letters() {
        for good in ["GET", "DELETE", "PROPFIND", "M-SEARCH"] {
            assert_eq!(good.parse::<Method>().unwrap().to_string(), good);
        }
        for bad in ["", "get", "CONNECT", "G T", "GET\n", "ÄT"] {
            assert!(bad.parse::<Method>().is_err(), "{bad:?}");
        }
    }
}
