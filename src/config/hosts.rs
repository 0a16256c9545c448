//! Hosts and their routes, as they are written.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ambiguous_paths::AmbiguousPaths;
use super::identity_headers::IdentityHeadersHere;
use super::listeners::BodyPace;
use super::rate::Rate;
use super::size::Size;
use super::span::Span;
use super::text::text_value;
use super::tls::{ClientAuthMode, Reject};
use super::upgrades::Upgrades;
use crate::domain::header_names::HeaderNames as DomainHeaderNames;
use crate::domain::limit::Per as DomainPer;
use crate::domain::name::Name;
use crate::domain::pace::BodyTimes;
use crate::domain::policy::Requirement;
use crate::domain::request::normal_host;
use crate::domain::route::{HostPattern, InvalidPattern};
use crate::domain::scope::Scope;

/// A host that partners call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Host {
    /// What callers have to prove where a route says nothing else: `none`, `mtls`, `key`, `token`, `mtls_or_key`,
    /// `mtls_and_key`, `mtls_or_token` or `mtls_and_token`.
    #[schemars(with = "String", extend("enum" = requirement_names()))]
    pub require: Requirement,
    pub client_auth: HostClientAuth,
    pub identity_headers: IdentityHeadersHere,
    /// Fields whose names have other characters than letters, digits and hyphens, like `ot-trace_id`: `drop` removes
    /// them, `refuse` answers 400, `pass` forwards them. Names that some servers read as one that matters to the
    /// gateway, like `x_forwarded_for`, never pass.
    pub header_names: HeaderNames,
    /// Its routes; the one with the most specific path takes a request: a literal segment before a `{parameter}`
    /// before a prefix. The method is looked at last.
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

/// What becomes of field names with odd characters.
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

/// What differs from `tls.client_auth` for this host. Only a whole host name may differ, since it is known in the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HostClientAuth {
    /// Whether a client certificate is asked for: `off`, `optional` or `required`.
    pub mode: Option<ClientAuthMode>,
    /// How a certificate of ours that does not count is refused: `explain` or `alert`.
    pub reject: Option<Reject>,
}

/// Which requests lead where, and what they have to prove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Names the route in logs and metrics; made of host and path when not set.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub name: Option<Name>,
    #[serde(rename = "match")]
    pub matches: Match,
    /// What callers have to prove; the host's word when not set.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("enum" = requirement_names_or_null()))]
    pub require: Option<Requirement>,
    /// Scopes that the caller's key or token needs, all of them.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub scopes: Vec<Scope>,
    /// One limit; for several, `limits`.
    #[serde(default)]
    pub limit: Option<Limit>,
    /// Several limits; the strictest answers.
    #[serde(default)]
    pub limits: Vec<Limit>,
    /// The upstream that requests are forwarded to.
    #[schemars(with = "String")]
    pub upstream: Name,
    /// The most bytes of a request's body; bodies are streamed and have no bound when not set.
    #[serde(default)]
    pub body_max: Option<Size>,
    /// Kinds of paths that the route takes though servers read them in different ways: `true`, `false` or a list of
    /// `backslashes`, `dot_segments`, `empty_segments`, `encoded_percents`, `encoded_slashes`, `lookalikes`, `not_utf8`
    /// and `semicolons`. A path that some server may read as another route's is refused all the same.
    #[serde(default)]
    pub ambiguous_paths: AmbiguousPaths,
    /// Whether the caller's own key or token reaches the upstream.
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

/// How long bodies may take on this route, where it differs from `listeners.partners.timeouts`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouteTimeouts {
    /// Between two pieces of a body, in either direction; the listener's when not set.
    pub body: Option<Span>,
    /// How slowly a request's body may come on average; the listener's when not set. Long and quiet uploads, like
    /// streams of a gRPC client, need `bytes_per_second: 0`, and a `body` that is longer than their pauses.
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

/// The requests that a route takes: a path or a prefix, and methods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// A whole path: `/v1/orders`, `/v1/orders/{id}`.
    pub path: Option<String>,
    /// A path and everything below it: `/v1` takes `/v1` and `/v1/x`, not `/v10`.
    pub prefix: Option<String>,
    /// HTTP methods; every method when empty. Whatever no route of this path takes is answered with 405, even if a
    /// less specific route would take it.
    pub methods: Vec<Method>,
}

/// So many requests per so much time, with so many at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Names the limit to the caller and in metrics; made of the route's name when not set. Routes that name the same
    /// limit share it.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub name: Option<Name>,
    /// Whose requests are counted together: `app`, `key`, `address` or `route`.
    pub per: Per,
    /// Requests per time.
    pub rate: Rate,
    /// Requests that may come at once after a quiet time; the rate's count when not set.
    #[serde(default)]
    pub burst: Option<u32>,
}

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    App,
    Key,
    Address,
    Route,
}

impl Per {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Key => "key",
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
            Per::Address => Self::Address,
            Per::Route => Self::Route,
        }
    }
}

fn requirement_names() -> Vec<&'static str> {
    Requirement::ALL.map(Requirement::as_str).to_vec()
}

fn requirement_names_or_null() -> Vec<Option<&'static str>> {
    let names = requirement_names().into_iter().map(Some);
    names.chain([None]).collect()
}

/// A host as a key of `hosts`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostName(pub HostPattern);

/// A text that is not a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHost {
    #[error(transparent)]
    Pattern(#[from] InvalidPattern),
    /// Two spellings of one host would be two hosts to a reader and one to the gateway.
    #[error("a host is written in lower case, without port and trailing dot: {0}")]
    Spelling(String),
}

impl std::str::FromStr for HostName {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (wildcard, name) = match text.strip_prefix("*.") {
            Some(domain) => ("*.", domain),
            None => ("", text),
        };
        match text.parse() {
            Ok(pattern) => Ok(Self(pattern)),
            Err(refusal) => match normal_host(name) {
                Some(normal) if normal != name => {
                    Err(InvalidHost::Spelling(format!("{wildcard}{normal}")))
                }
                _ => Err(InvalidHost::Pattern(refusal)),
            },
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

text_value!(
    HostName,
    "HostName",
    r"^(\*|(\*\.)?[a-z0-9._-]+|\[[0-9a-f:.]+\])$",
    "A host: api.example.com, *.example.com, or * for any."
);

/// An HTTP method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method(pub http::Method);

/// A text that is not a method that can be routed.
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
    fn a_host_has_one_spelling() {
        for (text, expected) in [
            ("API.Example.com", "api.example.com"),
            ("api.example.com.", "api.example.com"),
            ("api.example.com:8443", "api.example.com"),
            ("*.Example.com", "*.example.com"),
        ] {
            let refusal = text.parse::<HostName>().unwrap_err();
            assert_eq!(
                refusal,
                InvalidHost::Spelling(expected.to_owned()),
                "{text}"
            );
        }
        assert_eq!(
            "a b".parse::<HostName>(),
            Err(InvalidHost::Pattern(InvalidPattern::Host))
        );
        assert!("*".parse::<HostName>().is_ok());
    }

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
