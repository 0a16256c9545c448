//! Identification: a request becomes a caller by its certificate, and by its key or token if the route verifies one.
//! Refuses nothing.

use http::{HeaderName, HeaderValue, header};

use crate::crypto::api_key::parse_key;
use crate::domain::decision::Fields;
use crate::domain::header_names::HeaderNames;
use crate::domain::identity::{Bearer, Caller, CertificateProof, Claimed, Evidence};
use crate::domain::policy::Requirement;
use crate::domain::reason::Reason;
use crate::domain::snapshot::Snapshot;
use crate::domain::stray::stray;
use crate::domain::time::Timestamp;
use crate::domain::upgrades::Upgrades;

use crate::proxy::codec::field_list::FieldList;
use crate::proxy::connections::live::Connection;
use crate::proxy::connections::peer::Peer;
use crate::proxy::credentials::verifier::{Presenter, Verifier};
use crate::proxy::fields::odd_names;
use crate::proxy::fields::protocols;
use crate::proxy::messages::message::Request;
use crate::proxy::messages::refusal::Refusal;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The prefix of keys; every other bearer is taken for a token.
const KEY_PREFIX: &str = "sk_";

/// A request as the decision asks about it.
#[derive(Debug)]
pub struct Presented<'a> {
    pub request: &'a Request,
    pub has_body: bool,
    /// True if some field's name has other characters than letters, digits and hyphens.
    pub odd_names: bool,
    pub connection: &'a Connection,
    pub verifier: &'a Verifier,
    pub snapshot: &'a Snapshot,
    pub now: Timestamp,
    /// The agreed protocol in place of HTTP, once the decision has asked about it.
    pub upgrade: Option<HeaderValue>,
}

impl Fields for Presented<'_> {
    type Refusal = Refusal;

    fn upgrade(&mut self, allowed: &Upgrades) -> Result<(), Refusal> {
        self.upgrade = protocols::upgrade(self.request, allowed, self.has_body)?;
        Ok(())
    }

    fn names(&self, rule: HeaderNames) -> Result<(), Refusal> {
        if !self.odd_names {
            return Ok(());
        }
        let judged = odd_names::judge(&self.request.fields, rule);
        judged.map_err(|offence| Refusal::naming(Reason::HeaderInvalid, offence))
    }

    fn locked_out(&self) -> bool {
        let address = self.connection.peer.origin.address;
        self.verifier.failures().check(address).is_err()
    }

    fn bearer(
        &self,
        requirement: Requirement,
        certificate: &Evidence<CertificateProof>,
    ) -> Evidence<Bearer> {
        if !requirement.looks_at_bearer() {
            return Evidence::Absent;
        }
        let credential = match presented(&self.request.fields) {
            Ok(Some(credential)) => credential,
            Ok(None) => return Evidence::Absent,
            Err(reason) => return Evidence::Refused(reason),
        };
        let by = Presenter {
            address: self.connection.peer.origin.address,
            last: &self.connection.last_token,
            certificate: certificate.proved().map(|proof| &proof.fingerprint),
            now: self.now,
        };
        let (found, text) = match credential {
            Shown::Key(text) => (self.verifier.key(text, by, self.snapshot), text),
            Shown::Token(text) => (self.verifier.token(text, by, self.snapshot), text),
        };
        match found {
            Ok(bearer) => Evidence::Proved(bearer),
            // A malformed credential is named by the cause of that, with any content.
            Err(Reason::KeyMalformed | Reason::TokenMalformed) if stray(text).is_some() => {
                Evidence::Refused(Reason::KeySurrounded)
            }
            Err(reason) => Evidence::Refused(reason),
        }
    }
}

/// The claimed sender of a refused request, as far as the request and the registry name one. Only the record gets it.
pub fn claimed(caller: &Caller, fields: &FieldList, peer: &Peer, snapshot: &Snapshot) -> Claimed {
    let leaf = peer.leaf.as_deref();
    let entry = leaf.and_then(|leaf| snapshot.certificates.get(&leaf.fingerprint));
    let proved = caller.bearer.proved();
    let key = proved.map(Bearer::key).or_else(|| match presented(fields) {
        Ok(Some(Shown::Key(text))) => parse_key(text).ok(),
        _ => None,
    });
    // A caller without a key's secret has proved nothing about its App.
    let of_key = match caller.bearer {
        Evidence::Refused(Reason::KeyWrong) => None,
        _ => key.and_then(|key| snapshot.keys.get(&key)),
    };
    Claimed {
        app: entry
            .map(|entry| entry.app)
            .or_else(|| of_key.map(|entry| entry.app)),
        key,
        certificate: leaf.map(|leaf| leaf.serial),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Shown<'a> {
    Key(&'a str),
    Token(&'a str),
}

/// The credential that a request presents. Two at once are refused: an upstream or a log might take the other one.
fn presented(fields: &FieldList) -> Result<Option<Shown<'_>>, Reason> {
    let bearer = match one(fields, &header::AUTHORIZATION, Reason::TokenMalformed)? {
        Some(text) => after_bearer(text),
        None => None,
    };
    let key = one(fields, &API_KEY, Reason::KeyMalformed)?;
    match (bearer, key) {
        (Some(bearer), Some(key)) if bearer != key => Err(Reason::KeyMalformed),
        (Some(text), _) if text.starts_with(KEY_PREFIX) => Ok(Some(Shown::Key(text))),
        (Some(text), _) => Ok(Some(Shown::Token(text))),
        (None, Some(text)) => Ok(Some(Shown::Key(text))),
        (None, None) => Ok(None),
    }
}

fn one<'a>(
    fields: &'a FieldList,
    name: &HeaderName,
    malformed: Reason,
) -> Result<Option<&'a str>, Reason> {
    let value = fields.one(name).ok().ok_or(malformed)?;
    let text = value
        .map(|value| ascii(value.as_bytes()).ok_or_else(|| garbled(value.as_bytes(), malformed)));
    text.transpose()
}

/// The reason of a refusal for a value that is not ASCII. A byte order mark or typographic quotes come from the place
/// where the key was kept.
fn garbled(value: &[u8], malformed: Reason) -> Reason {
    let text = std::str::from_utf8(value).unwrap_or_default();
    let secret = after_bearer(text).unwrap_or(text);
    stray(secret).map_or(malformed, |_| Reason::KeySurrounded)
}

/// The text of [`http::HeaderValue::to_str`], since a value has no controls; but many bytes at a time, because tokens
/// are long.
fn ascii(value: &[u8]) -> Option<&str> {
    let value = Some(value).filter(|value| value.is_ascii())?;
    std::str::from_utf8(value).ok()
}

/// The text behind `Bearer`; other schemes are not ours.
fn after_bearer(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_shows_one_credential_or_none() {
        let check = |fields: &[(&'static str, &str)],
                     expected: Result<Option<Shown<'_>>, Reason>| {
            let mut list = FieldList::new();
            for (name, value) in fields {
                list.append(HeaderName::from_static(name), value.parse().unwrap());
            }
            assert_eq!(presented(&list), expected, "{fields:?}");
        };
        check(&[], Ok(None));
        check(
            &[("authorization", "Bearer sk_live_1")],
            Ok(Some(Shown::Key("sk_live_1"))),
        );
        check(
            &[("authorization", "bearer  eyJ")],
            Ok(Some(Shown::Token("eyJ"))),
        );
        check(
            &[("x-api-key", "sk_live_1")],
            Ok(Some(Shown::Key("sk_live_1"))),
        );
        check(&[("x-api-key", "eyJ")], Ok(Some(Shown::Key("eyJ"))));
        check(&[("authorization", "Basic dXNlcjpw")], Ok(None));
        check(
            &[("authorization", "Basic x"), ("x-api-key", "sk_1")],
            Ok(Some(Shown::Key("sk_1"))),
        );
        check(
            &[("authorization", "Bearer sk_1"), ("x-api-key", "sk_1")],
            Ok(Some(Shown::Key("sk_1"))),
        );
        check(
            &[("authorization", "Bearer sk_1"), ("x-api-key", "sk_2")],
            Err(Reason::KeyMalformed),
        );
        check(
            &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
            Err(Reason::TokenMalformed),
        );
        check(
            &[("x-api-key", "a"), ("x-api-key", "a")],
            Err(Reason::KeyMalformed),
        );
        check(&[("x-api-key", "sk_é")], Err(Reason::KeyMalformed));
        for around in ["\u{feff}sk_1", "\u{201c}sk_1\u{201d}"] {
            let bearer = format!("Bearer {around}");
            check(&[("x-api-key", around)], Err(Reason::KeySurrounded));
            check(&[("authorization", &bearer)], Err(Reason::KeySurrounded));
        }
        check(
            &[("authorization", "Bearer é")],
            Err(Reason::TokenMalformed),
        );
    }

    #[test]
    fn a_value_is_text_where_the_library_says_so() {
        for bytes in (0..=u8::MAX).map(|byte| [b'a', byte]) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                assert_eq!(ascii(value.as_bytes()), value.to_str().ok(), "{bytes:?}");
            }
        }
    }
}
