//! Signatures of requests (RFC 9421): the one by a key of ours is found, judged and made ready to be verified.

use std::time::Duration;

use sfv::{BareItem, Dictionary, InnerList, ListEntry, Parser};

use super::jwk::{Algorithm, KeySet};
use super::signature_base::{self, Message, text};
use crate::domain::id::KeyId;
use crate::domain::reason::Reason;
use crate::domain::time::Timestamp;

/// The signatures of one request that are looked at. Proxies on the way add one each.
const SIGNATURES_MAX: usize = 8;

/// The most characters of a nonce.
const NONCE_CHARS_MAX: usize = 256;

/// The time around now within which a signature has to be made. Clocks differ, and a signature that was seen is
/// remembered for as long.
pub const WINDOW: Duration = Duration::from_mins(1);

/// The signer that a `keyid` names: `key_…`, or `key_…/kid` for one of several public keys of the Key's App.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The Key whose scopes, networks and limits the request has.
    pub key: KeyId,
    /// The public key of the App.
    pub kid: Option<String>,
}

impl Signer {
    fn read(keyid: &str) -> Option<Self> {
        let (key, kid) = match keyid.split_once('/') {
            Some((key, kid)) => (key, Some(kid.to_owned())),
            None => (keyid, None),
        };
        let key = key.parse().ok()?;
        Some(Self { key, kid })
    }
}

/// An algorithm of signatures (RFC 9421, 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    HmacSha256,
    EcdsaP256Sha256,
    Ed25519,
}

impl SignatureAlgorithm {
    const ALL: [Self; 3] = [Self::HmacSha256, Self::EcdsaP256Sha256, Self::Ed25519];

    const fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::Ed25519 => "ed25519",
        }
    }
}

/// A signature by a key of ours, read and not verified.
#[derive(Debug)]
pub struct Signature {
    pub by: Signer,
    /// The algorithm that it names. Its key decides; a name that differs is refused.
    pub algorithm: Option<SignatureAlgorithm>,
    pub nonce: Option<String>,
    pub octets: Vec<u8>,
    covered: InnerList,
    created: i64,
    expires: Option<i64>,
}

/// Finds the signature by a key of ours; `None` if the request has none.
pub fn find(message: &Message<'_>) -> Result<Option<Signature>, Reason> {
    find_by(message, Signer::read)
}

fn find_by(
    message: &Message<'_>,
    ours: impl Fn(&str) -> Option<Signer>,
) -> Result<Option<Signature>, Reason> {
    let Some(input) = dictionary(message, "signature-input")? else {
        return Ok(None);
    };
    let mut found = None;
    for (label, entry) in input.into_iter().take(SIGNATURES_MAX) {
        let ListEntry::InnerList(covered) = entry else {
            continue;
        };
        let keyid = covered.params.get("keyid").and_then(text);
        let Some(by) = keyid.and_then(&ours) else {
            continue;
        };
        // Two at once are refused, as two keys are: an upstream or a log might take the other one.
        if found.replace((label, covered, by)).is_some() {
            return Err(Reason::SignatureMalformed);
        }
    }
    let Some((label, covered, by)) = found else {
        return Ok(None);
    };
    let mut signatures = dictionary(message, "signature")?.unwrap_or_default();
    let octets = match signatures.swap_remove(label.as_str()) {
        Some(ListEntry::Item(item)) => match item.bare_item {
            BareItem::ByteSequence(octets) => octets,
            _ => return Err(Reason::SignatureMalformed),
        },
        _ => return Err(Reason::SignatureMalformed),
    };
    Signature::read(by, covered, octets).map(Some)
}

fn dictionary(message: &Message<'_>, name: &str) -> Result<Option<Dictionary>, Reason> {
    let Some(value) = message.field(name) else {
        return Ok(None);
    };
    let parsed = Parser::new(&value).parse();
    parsed.map(Some).ok().ok_or(Reason::SignatureMalformed)
}

impl Signature {
    fn read(by: Signer, covered: InnerList, octets: Vec<u8>) -> Result<Self, Reason> {
        signature_base::bounded(&covered)?;
        let params = &covered.params;
        let number = |name: &str| match params.get(name) {
            None => Ok(None),
            Some(BareItem::Integer(number)) => Ok(Some(i64::from(*number))),
            Some(_) => Err(Reason::SignatureMalformed),
        };
        let word = |name: &str| match params.get(name) {
            None => Ok(None),
            Some(value) => text(value).map(Some).ok_or(Reason::SignatureMalformed),
        };
        let algorithm = word("alg")?.map(|name| {
            let mut all = SignatureAlgorithm::ALL.into_iter();
            all.find(|algorithm| algorithm.as_str() == name)
        });
        let nonce = word("nonce")?.map(str::to_owned);
        if algorithm == Some(None)
            || nonce
                .as_ref()
                .is_some_and(|nonce| nonce.len() > NONCE_CHARS_MAX)
        {
            return Err(Reason::SignatureMalformed);
        }
        Ok(Self {
            by,
            algorithm: algorithm.flatten(),
            nonce,
            octets,
            created: number("created")?.ok_or(Reason::SignatureMalformed)?,
            expires: number("expires")?,
            covered,
        })
    }

    /// Checks that what the request does and where is signed, and its body if it has one.
    pub fn covers(&self, message: &Message<'_>, has_body: bool) -> Result<(), Reason> {
        let target = self.has("@target-uri")
            || self.has("@authority")
                && self.has("@path")
                && (self.has("@query") || message.query().is_none());
        let body = !has_body || self.has("content-digest");
        if self.has("@method") && target && body {
            Ok(())
        } else {
            Err(Reason::SignatureComponentsMissing)
        }
    }

    /// True if the component is covered, as a whole and as it came.
    pub fn has(&self, component: &str) -> bool {
        let mut items = self.covered.items.iter();
        items.any(|item| item.params.is_empty() && text(&item.bare_item) == Some(component))
    }

    /// The names of the fields that are covered, as a whole or in part.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        let items = self.covered.items.iter();
        let names = items.filter_map(|item| text(&item.bare_item));
        names.filter(|name| !name.starts_with('@'))
    }

    /// Checks that the signature was made just now.
    pub fn is_recent(&self, now: Timestamp) -> Result<(), Reason> {
        let now = now.unix_seconds();
        let window = i64::try_from(WINDOW.as_secs()).unwrap_or(i64::MAX);
        let recent = self.created.abs_diff(now) <= window.unsigned_abs();
        let unexpired = self.expires.is_none_or(|expires| now <= expires);
        if recent && unexpired {
            Ok(())
        } else {
            Err(Reason::SignatureTooOld)
        }
    }

    /// The time until which [`Self::is_recent`] may hold.
    pub fn until(&self) -> Timestamp {
        Timestamp::from_unix_seconds(self.created).plus(WINDOW)
    }

    /// The text that is signed.
    pub fn base(&self, message: &Message<'_>) -> Result<Vec<u8>, Reason> {
        signature_base::base(message, &self.covered)
    }

    /// True if a key of the set, of the kind that the signature is by, has made it.
    pub fn is_by_one_of(&self, set: &KeySet, base: &[u8]) -> bool {
        let kid = self.by.kid.as_deref();
        let algorithms = match self.algorithm {
            Some(SignatureAlgorithm::EcdsaP256Sha256) => &[Algorithm::Es256][..],
            Some(SignatureAlgorithm::Ed25519) => &[Algorithm::EdDsa],
            Some(SignatureAlgorithm::HmacSha256) => &[],
            None => &[Algorithm::Es256, Algorithm::EdDsa],
        };
        algorithms.iter().any(|algorithm| {
            let key = set.find(kid, *algorithm);
            key.is_some_and(|key| key.verifies(*algorithm, base, &self.octets))
        })
    }

    /// True if the set has a key that the signature may be by.
    pub fn names_one_of(&self, set: &KeySet) -> bool {
        let kid = self.by.kid.as_deref();
        let mut algorithms = [Algorithm::Es256, Algorithm::EdDsa].into_iter();
        algorithms.any(|algorithm| set.find(kid, algorithm).is_some())
    }
}

#[cfg(test)]
#[path = "http_signature_tests.rs"]
mod tests;
