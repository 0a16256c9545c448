//! Verification of signed requests. It costs nothing on routes that accept no signatures.

use std::cell::RefCell;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use quick_cache::unsync::Cache;

use super::covered_fields;
use super::failed_attempts::FailedAttempts;
use super::seen_signatures::{Mark, SeenSignatures, Sight};
use crate::crypto::content_digest;
use crate::crypto::hash;
use crate::crypto::http_signature::{self, Signature, SignatureAlgorithm};
use crate::crypto::jwk::{KeySet, Strictness};
use crate::crypto::signature_base::Message;
use crate::crypto::signing_key::SigningTexts;
use crate::domain::api_key::KeyKind;
use crate::domain::app::App;
use crate::domain::app_settings::ClientKeys;
use crate::domain::id::AppId;
use crate::domain::identity::{Bearer, KeyFacts};
use crate::domain::published_sets::PublishedSets;
use crate::domain::reason::Reason;
use crate::domain::signed_request::{SignedBody, SignedRequest};
use crate::domain::snapshot::{KeyEntry, Snapshot};
use crate::domain::time::Timestamp;

/// The key sets that a worker keeps parsed. Each has at most 32 keys, about 16 KiB.
const SETS_MAX: usize = 256;

/// The parts that all workers share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Absent if the configuration has no sealing key: there are no signing keys then.
    pub texts: Option<Arc<SigningTexts>>,
    pub published: Arc<dyn PublishedSets>,
    pub seen: Arc<SeenSignatures>,
}

#[cfg(test)]
impl Shared {
    /// A plane without signing keys and published sets.
    pub fn none() -> Self {
        #[derive(Debug)]
        struct Nothing;

        impl PublishedSets for Nothing {
            fn find(&self, _: &str) -> Option<Arc<str>> {
                None
            }

            fn miss(&self, _: &str, _: Timestamp) {}
        }

        Self {
            texts: None,
            published: Arc::new(Nothing),
            seen: Arc::default(),
        }
    }
}

/// A worker's verifier of signed requests.
pub struct Signatures {
    shared: Shared,
    /// The sets of Apps with the texts that they were read from.
    sets: RefCell<Cache<AppId, Parsed>>,
}

/// A set with the text that it was read from.
type Parsed = (Arc<str>, Rc<KeySet>);

impl fmt::Debug for Signatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signatures").finish_non_exhaustive()
    }
}

/// The circumstances of a signed request.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    pub has_body: bool,
    /// True if the request presents a key or a token as well.
    pub beside_another: bool,
    pub address: IpAddr,
    pub failures: &'a FailedAttempts,
    pub now: Timestamp,
}

impl Signatures {
    pub fn new(shared: Shared) -> Self {
        Self {
            shared,
            sets: RefCell::new(Cache::new(SETS_MAX)),
        }
    }

    /// Verifies the signature by a key of ours; `None` if the request has none.
    pub fn verify(
        &self,
        message: &Message<'_>,
        about: Circumstances<'_>,
        snapshot: &Snapshot,
    ) -> Option<Result<Bearer, Reason>> {
        let signature = match http_signature::find(message) {
            Ok(found) => found?,
            Err(reason) => return Some(Err(reason)),
        };
        Some(self.judge(&signature, message, about, snapshot))
    }

    fn judge(
        &self,
        signature: &Signature,
        message: &Message<'_>,
        about: Circumstances<'_>,
        snapshot: &Snapshot,
    ) -> Result<Bearer, Reason> {
        // The faults that anybody can see come first: they say nothing about a key.
        signature.covers(message, about.has_body)?;
        signature.is_recent(about.now)?;
        // Two at once are refused, as two keys are: an upstream or a log might take the other one, which nobody verifies.
        if about.beside_another {
            return Err(Reason::SignatureMalformed);
        }
        let told = snapshot.catalog.issuers.told().map(AsRef::as_ref);
        covered_fields::reach_the_upstream(signature, message, told)?;
        let body = signed_body(signature, message)?;
        let checked = about.failures.check(about.address);
        checked.ok().ok_or(Reason::AuthRateLimited)?;
        let proved = self.prove(signature, message, about.now, snapshot);
        if matches!(proved, Err(reason) if is_failed_attempt(reason)) {
            about.failures.count(about.address);
        }
        let Proof { entry, app, base } = proved?;
        if !entry.may_be_used_from(about.address) {
            return Err(Reason::KeyNetwork);
        }
        self.see(signature, &base, app.id, about.now)?;
        Ok(Bearer::Key {
            id: signature.by.key,
            app: Arc::clone(app),
            scopes: entry.scopes.clone(),
            facts: KeyFacts {
                signed: Some(Arc::new(SignedRequest { body })),
                ..entry.facts()
            },
        })
    }

    /// The Key and the App that have signed. Their state comes last: nobody else learns of it. The signature base is made
    /// for Keys only that may sign, since it costs more than all that comes before.
    fn prove<'s>(
        &self,
        signature: &Signature,
        message: &Message<'_>,
        now: Timestamp,
        snapshot: &'s Snapshot,
    ) -> Result<Proof<'s>, Reason> {
        let id = signature.by.key;
        let known = snapshot.keys.get(&id);
        let known = known.and_then(|entry| Some((entry, snapshot.apps.get(&entry.app)?)));
        let (entry, app) = known.ok_or(Reason::KeyUnknown)?;
        // Anybody can read its id, and it is meant to be shown.
        if entry.kind == KeyKind::Publishable {
            return Err(Reason::KindNotAccepted);
        }
        let base = signature.base(message)?;
        let verified = match (entry.kind, &signature.by.kid) {
            (KeyKind::Signing, None) => self.is_by_text(signature, entry, &base),
            _ => self.is_by_app(signature, app, &base, now),
        };
        if !verified {
            return Err(Reason::SignatureInvalid);
        }
        let (entry, app) = snapshot.live_key(id, now)?;
        Ok(Proof { entry, app, base })
    }

    /// True if the text of the signing key has made the signature.
    fn is_by_text(&self, signature: &Signature, entry: &KeyEntry, base: &[u8]) -> bool {
        let named = signature.algorithm;
        let sealed = entry.rules.as_ref().and_then(|rules| rules.sealed.as_ref());
        let (Some(texts), Some(sealed)) = (&self.shared.texts, sealed) else {
            return false;
        };
        let verified = texts.verifies(signature.by.key, sealed, base, &signature.octets);
        named.is_none_or(|named| named == SignatureAlgorithm::HmacSha256) && verified == Ok(true)
    }

    /// True if a public key of the App verifies the signature.
    fn is_by_app(&self, signature: &Signature, app: &App, base: &[u8], now: Timestamp) -> bool {
        let Some(set) = self.set(app) else {
            return false;
        };
        if let Some(url) = app.settings.keys.as_ref().and_then(ClientKeys::url)
            && !signature.names_one_of(&set)
        {
            self.shared.published.miss(url, now);
        }
        signature.is_by_one_of(&set, base)
    }

    /// The public keys of an App.
    fn set(&self, app: &App) -> Option<Rc<KeySet>> {
        let (text, strictness) = match app.settings.keys.as_ref()? {
            ClientKeys::Inline(text) => (Arc::clone(text), Strictness::Every),
            ClientKeys::Url(url) => (self.shared.published.find(url)?, Strictness::Usable),
        };
        let mut sets = self.sets.borrow_mut();
        if let Some((known, set)) = sets.get(&app.id)
            && *known == text
        {
            return Some(Rc::clone(set));
        }
        let set = Rc::new(KeySet::parse(text.as_bytes(), strictness).ok()?);
        sets.insert(app.id, (text, Rc::clone(&set)));
        Some(set)
    }

    /// Notes a signature that has been verified. Each counts once, and so does each nonce of a Key.
    fn see(
        &self,
        signature: &Signature,
        base: &[u8],
        app: AppId,
        now: Timestamp,
    ) -> Result<(), Reason> {
        let (mark, until) = (mark(signature, base), signature.until());
        match self.shared.seen.note(app, mark, until, now) {
            Sight::First => Ok(()),
            Sight::Again => Err(Reason::SignatureReplayed),
            Sight::Full => Err(Reason::SignaturesTooMany),
        }
    }
}

/// The proof of a signature.
struct Proof<'s> {
    entry: &'s KeyEntry,
    app: &'s Arc<App>,
    /// The text that was signed.
    base: Vec<u8>,
}

/// True for a refusal of [`Signatures::prove`] that counts as a failed attempt. One without a signature base does too:
/// only the id of a Key gets so far, and each such attempt would tell that it is one.
fn is_failed_attempt(reason: Reason) -> bool {
    matches!(reason, Reason::KindNotAccepted | Reason::SignatureMalformed)
        || reason.shown() == Reason::CredentialInvalid
}

/// The digests of the body, if they are covered.
fn signed_body(signature: &Signature, message: &Message<'_>) -> Result<Option<SignedBody>, Reason> {
    if !signature.has("content-digest") {
        return Ok(None);
    }
    let value = message.field("content-digest");
    let value = value.ok_or(Reason::SignatureMalformed)?;
    let signed = content_digest::read(&value);
    signed.map(Some).ok_or(Reason::SignatureComponentsMissing)
}

/// The mark of a signature: the Key with its nonce, or with what is signed where there is none. Not the signature itself,
/// which has more than one form by ECDSA.
fn mark(signature: &Signature, base: &[u8]) -> Mark {
    let key = u128::from(signature.by.key).to_be_bytes();
    let text = match &signature.nonce {
        Some(nonce) => [&key[..], b"n", nonce.as_bytes()].concat(),
        None => [&key[..], b"s", base].concat(),
    };
    let digest = hash::sha256(&text);
    std::array::from_fn(|place| digest.get(place).copied().unwrap_or_default())
}

#[cfg(test)]
#[path = "signatures_tests.rs"]
mod tests;
