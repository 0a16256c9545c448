//! Identity headers in the configuration: for all hosts, for one host, for a route.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::size::Size;
use super::span::Span;
use crate::domain::identity_headers as domain;

/// Identity headers for upstreams in addition to `X-Countersign-App-Id`, `-App-Name`, `-Credential-Id`,
/// `-Auth-Method`, `-Scopes`, `-Client-Cert-Serial` and `-Client-Cert-Sha256`. Routes that require nothing set none of
/// them.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of its own in the file"
)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityHeaders {
    /// `X-Countersign-Subject`: the user of an access token, if it has one.
    pub subject: bool,
    /// `X-Countersign-Client-Cert-Not-After`: the client certificate's expiry.
    pub client_cert_not_after: bool,
    /// `X-Countersign-Client-Cert-Subject`: the certificate's subject in the form of RFC 4514.
    pub client_cert_subject: bool,
    /// `X-Countersign-Client-Cert-Sans`: the certificate's alternative names, as `DNS:…, URI:…`.
    pub client_cert_sans: bool,
    /// `Client-Cert` (RFC 9440): the whole certificate.
    pub client_cert: bool,
    /// `Client-Cert-Chain` (RFC 9440): the verified chain; needs `client_cert`.
    pub client_cert_chain: bool,
    /// The maximum size of one value that is made from a certificate. A longer value is omitted, and
    /// `X-Countersign-Client-Cert-Omitted: too_large` is set.
    pub client_cert_bytes_max: Size,
    pub assertion: Assertion,
    /// Presets: headers of other proxies that are also set, so that an API need not change: `alb`, `kong`, `nginx`,
    /// `traefik`, `xfcc`.
    pub presets: Vec<Preset>,
    /// The value of `By` in the preset `xfcc`, the gateway's own URI; omitted when not set.
    pub xfcc_by: Option<String>,
}

/// `X-Countersign-Assertion`: a signed JWT with the caller's identity, verified with `/.well-known/jwks.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Assertion {
    /// `true` sets the header.
    pub enabled: bool,
    /// The assertion's `aud`, which an API compares with its own name; the route's name when not set.
    pub audience: Option<String>,
    /// The time between `iat` and `exp`, at most a minute. An assertion is used for half of this time, then the next
    /// one is signed.
    pub ttl: Span,
}

/// Overrides of `identity_headers` for this host or route, with the same keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityHeadersHere {
    /// `X-Countersign-Subject`.
    pub subject: Option<bool>,
    /// `X-Countersign-Client-Cert-Not-After`.
    pub client_cert_not_after: Option<bool>,
    /// `X-Countersign-Client-Cert-Subject`.
    pub client_cert_subject: Option<bool>,
    /// `X-Countersign-Client-Cert-Sans`.
    pub client_cert_sans: Option<bool>,
    /// `Client-Cert`.
    pub client_cert: Option<bool>,
    /// `Client-Cert-Chain`.
    pub client_cert_chain: Option<bool>,
    /// The maximum size of one value that is made from a certificate.
    pub client_cert_bytes_max: Option<Size>,
    pub assertion: AssertionHere,
    /// Presets: headers of other proxies; this list replaces the less specific list.
    pub presets: Option<Vec<Preset>>,
    /// The value of `By` in the preset `xfcc`.
    pub xfcc_by: Option<String>,
}

/// `X-Countersign-Assertion`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AssertionHere {
    /// `true` sets the header.
    pub enabled: Option<bool>,
    /// The assertion's `aud`.
    pub audience: Option<String>,
    /// The time between `iat` and `exp`.
    pub ttl: Option<Span>,
}

/// Another proxy, whose names and encodings an API knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    Alb,
    Kong,
    Nginx,
    Traefik,
    Xfcc,
}

impl From<Preset> for domain::Preset {
    fn from(preset: Preset) -> Self {
        match preset {
            Preset::Alb => Self::Alb,
            Preset::Kong => Self::Kong,
            Preset::Nginx => Self::Nginx,
            Preset::Traefik => Self::Traefik,
            Preset::Xfcc => Self::Xfcc,
        }
    }
}

impl Default for IdentityHeaders {
    fn default() -> Self {
        Self {
            subject: true,
            client_cert_not_after: false,
            client_cert_subject: false,
            client_cert_sans: false,
            client_cert: false,
            client_cert_chain: false,
            // Whatever our own authority signs fits, and half of the least bound of common servers (8 KiB for a
            // line, or for all of them) is left.
            client_cert_bytes_max: Size::from_kib(4),
            assertion: Assertion::default(),
            presets: Vec::new(),
            xfcc_by: None,
        }
    }
}

impl Default for Assertion {
    fn default() -> Self {
        Self {
            enabled: false,
            audience: None,
            ttl: Span::from_secs(60),
        }
    }
}

impl IdentityHeaders {
    /// These, but for what `here` says.
    #[must_use]
    pub(super) fn with(&self, here: &IdentityHeadersHere) -> Self {
        let assertion = &here.assertion;
        Self {
            subject: here.subject.unwrap_or(self.subject),
            client_cert_not_after: here
                .client_cert_not_after
                .unwrap_or(self.client_cert_not_after),
            client_cert_subject: here.client_cert_subject.unwrap_or(self.client_cert_subject),
            client_cert_sans: here.client_cert_sans.unwrap_or(self.client_cert_sans),
            client_cert: here.client_cert.unwrap_or(self.client_cert),
            client_cert_chain: here.client_cert_chain.unwrap_or(self.client_cert_chain),
            client_cert_bytes_max: here
                .client_cert_bytes_max
                .unwrap_or(self.client_cert_bytes_max),
            assertion: Assertion {
                enabled: assertion.enabled.unwrap_or(self.assertion.enabled),
                audience: or(
                    assertion.audience.as_ref(),
                    self.assertion.audience.as_ref(),
                ),
                ttl: assertion.ttl.unwrap_or(self.assertion.ttl),
            },
            presets: here.presets.as_ref().unwrap_or(&self.presets).clone(),
            xfcc_by: or(here.xfcc_by.as_ref(), self.xfcc_by.as_ref()),
        }
    }

    /// The settings of the data plane for the route of this name.
    pub(super) fn plan(&self, route: &str) -> domain::IdentityHeaders {
        let mut presets: Vec<domain::Preset> =
            self.presets.iter().copied().map(Into::into).collect();
        presets.sort_unstable();
        presets.dedup();
        domain::IdentityHeaders {
            subject: self.subject,
            client_cert_not_after: self.client_cert_not_after,
            client_cert_subject: self.client_cert_subject,
            client_cert_sans: self.client_cert_sans,
            client_cert: self.client_cert,
            client_cert_chain: self.client_cert_chain,
            client_cert_bytes_max: usize::try_from(self.client_cert_bytes_max.get())
                .unwrap_or(usize::MAX),
            assertion: self.assertion.enabled.then(|| domain::AssertionPlan {
                audience: self.assertion.audience.as_deref().unwrap_or(route).into(),
                ttl: self.assertion.ttl.get(),
            }),
            presets,
            xfcc_by: self.xfcc_by.as_deref().map(Arc::from),
        }
    }
}

impl IdentityHeadersHere {
    /// True if any key is set here.
    pub(super) fn says_anything(&self) -> bool {
        *self != Self::default()
    }

    /// True if the keys here enable an additional header.
    pub(super) fn turns_on(&self) -> bool {
        let switches = [
            self.subject,
            self.client_cert_not_after,
            self.client_cert_subject,
            self.client_cert_sans,
            self.client_cert,
            self.client_cert_chain,
            self.assertion.enabled,
        ];
        switches.contains(&Some(true))
            || self
                .presets
                .as_ref()
                .is_some_and(|presets| !presets.is_empty())
    }
}

fn or(here: Option<&String>, there: Option<&String>) -> Option<String> {
    here.or(there).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_counts() {
        let common = IdentityHeaders {
            client_cert: true,
            presets: vec![Preset::Nginx],
            assertion: Assertion {
                enabled: true,
                audience: Some("apis".to_owned()),
                ..Assertion::default()
            },
            ..IdentityHeaders::default()
        };
        let here = IdentityHeadersHere {
            client_cert: Some(false),
            client_cert_sans: Some(true),
            assertion: AssertionHere {
                audience: Some("orders".to_owned()),
                ..AssertionHere::default()
            },
            presets: Some(vec![Preset::Xfcc, Preset::Alb]),
            ..IdentityHeadersHere::default()
        };
        assert_eq!(common.with(&IdentityHeadersHere::default()), common);
        let plan = common.with(&here).plan("a.test/x");
        assert_eq!((plan.client_cert, plan.client_cert_sans), (false, true));
        assert!(plan.subject);
        assert_eq!(plan.presets, [domain::Preset::Alb, domain::Preset::Xfcc]);
        assert_eq!(&*plan.assertion.unwrap().audience, "orders");
        let none = IdentityHeadersHere {
            presets: Some(Vec::new()),
            ..IdentityHeadersHere::default()
        };
        assert_eq!(common.with(&none).presets, []);
    }

    #[test]
    fn an_assertion_is_for_the_route_unless_it_is_for_somebody_named() {
        let mut headers = IdentityHeaders::default();
        assert_eq!(headers.plan("orders").assertion, None);
        headers.assertion.enabled = true;
        let plan = headers.plan("orders").assertion.unwrap();
        assert_eq!((&*plan.audience, plan.ttl.as_secs()), ("orders", 60));
    }

    #[test]
    fn what_is_turned_on_here_is_known() {
        let nothing = IdentityHeadersHere::default();
        assert!(!nothing.says_anything() && !nothing.turns_on());
        let off = IdentityHeadersHere {
            client_cert: Some(false),
            presets: Some(Vec::new()),
            ..IdentityHeadersHere::default()
        };
        assert!(off.says_anything() && !off.turns_on());
        let on = IdentityHeadersHere {
            presets: Some(vec![Preset::Kong]),
            ..IdentityHeadersHere::default()
        };
        assert!(on.turns_on());
    }
}
