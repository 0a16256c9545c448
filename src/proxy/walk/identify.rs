//! Identification: a request becomes a caller by its certificate, and by its key or token if the route verifies one.
//! Refuses nothing.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, header};

use crate::crypto::api_key::parse_key;
use crate::crypto::dpop::algorithms::Algorithms;
use crate::crypto::dpop::call::Call;
use crate::crypto::http_signature;
use crate::crypto::signature_base::Message;
use crate::domain::accepted::CredentialKind;
use crate::domain::api_key::KeyKind;
use crate::domain::decision::Fields;
use crate::domain::header_names::HeaderNames;
use crate::domain::id::{AppId, KeyId};
use crate::domain::identity::{Bearer, Caller, CertificateProof, Claimed, Evidence};
use crate::domain::origin;
use crate::domain::policy::Policy;
use crate::domain::reason::Reason;
use crate::domain::route::Route;
use crate::domain::snapshot::Snapshot;
use crate::domain::stray::stray;
use crate::domain::time::Timestamp;
use crate::domain::upgrades::Upgrades;

use crate::proxy::codec::field_list::FieldList;
use crate::proxy::connections::live::Connection;
use crate::proxy::connections::peer::Peer;
use crate::proxy::credentials::basic::BasicKey;
use crate::proxy::credentials::signatures::{Circumstances, Signatures};
use crate::proxy::credentials::verifier::{BesideToken, Presenter, Verifier};
use crate::proxy::fields::odd_names;
use crate::proxy::fields::protocols;
use crate::proxy::messages::host::Host;
use crate::proxy::messages::message::Request;
use crate::proxy::messages::refusal::Refusal;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");

const DPOP: HeaderName = HeaderName::from_static("dpop");

/// The prefix of secret keys.
const SECRET_PREFIX: &str = "sk_";

/// The prefixes of keys; every other bearer is taken for a token.
const KEY_PREFIXES: [&str; 3] = [SECRET_PREFIX, "pk_", "sg_"];

/// A request as the decision asks about it.
#[derive(Debug)]
pub struct Presented<'a> {
    pub request: &'a Request,
    /// The called host.
    pub host: &'a Host,
    pub has_body: bool,
    /// True if some field's name has other characters than letters, digits and hyphens.
    pub odd_names: bool,
    pub connection: &'a Connection,
    pub verifier: &'a Verifier,
    pub signatures: &'a Signatures,
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

    fn signature(&self) -> Option<Evidence<Bearer>> {
        if !self.request.fields.contains(&SIGNATURE_INPUT) {
            return None;
        }
        let fields: Vec<_> = texts(&self.request.fields).collect();
        let target = self.request.target()?;
        let message = Message {
            method: self.request.method.as_str(),
            authority: authority(&self.host.value),
            target: target.as_str(),
            fields: &fields,
        };
        let about = Circumstances {
            has_body: self.has_body,
            beside_another: !matches!(presented(&self.request.fields), Ok(None)),
            address: self.connection.peer.origin.address,
            failures: self.verifier.failures(),
            now: self.now,
        };
        let verified = self.signatures.verify(&message, about, self.snapshot)?;
        Some(match verified {
            Ok(bearer) => Evidence::Proved(bearer),
            Err(reason) => Evidence::Refused(reason),
        })
    }

    fn locked_out(&self) -> bool {
        let address = self.connection.peer.origin.address;
        self.verifier.failures().check(address).is_err()
    }

    fn bearer(
        &self,
        looked_at: Option<&Policy>,
        certificate: &Evidence<CertificateProof>,
    ) -> Evidence<Bearer> {
        let Some(policy) = looked_at else {
            return Evidence::Absent;
        };
        let credential = match presented(&self.request.fields) {
            Ok(Some(credential)) => credential,
            Ok(None) => return Evidence::Absent,
            Err(reason) => return Evidence::Refused(reason),
        };
        let text = credential.text();
        let is_secret = text.starts_with(SECRET_PREFIX);
        // Before anything is compared: the answer says nothing about the key.
        if is_secret && self.is_of_another_site() {
            return Evidence::Refused(Reason::SecretInBrowser);
        }
        let authority = [self.host.value.to_str().unwrap_or_default()];
        let by = Presenter {
            address: self.connection.peer.origin.address,
            last: &self.connection.last_token,
            certificate: certificate.proved().map(|proof| &proof.fingerprint),
            origin: if is_secret { None } else { self.origin() },
            dpop: match credential {
                Shown::Bound(_) => Some(self.beside(&authority)),
                _ => None,
            },
            now: self.now,
        };
        let found = match &credential {
            Shown::Key(text) => self.verifier.key(text, by, self.snapshot),
            Shown::Basic(basic) => {
                let found = self.verifier.key(text, by, self.snapshot);
                found.and_then(|bearer| named(bearer, basic.id))
            }
            Shown::Token(text) if self.verifier.is_imported(text, self.snapshot) => {
                self.verifier.key(text, by, self.snapshot)
            }
            Shown::Token(text) | Shown::Bound(text) => {
                self.verifier.token(text, by, policy, self.snapshot)
            }
        };
        match found {
            // A key of another system does not say that it is secret.
            Ok(bearer) if is_secret_key(&bearer) && self.is_of_another_site() => {
                Evidence::Refused(Reason::SecretInBrowser)
            }
            Ok(bearer) => Evidence::Proved(bearer),
            // A malformed credential is named by the cause of that, with any content.
            Err(Reason::KeyMalformed | Reason::TokenMalformed) if stray(text).is_some() => {
                Evidence::Refused(Reason::KeySurrounded)
            }
            Err(reason) => Evidence::Refused(reason),
        }
    }
}

/// The authority as it is signed: without the default port (RFC 9421, 2.2.3).
fn authority(host: &HeaderValue) -> &str {
    let host = host.to_str().unwrap_or_default();
    host.strip_suffix(":443").unwrap_or(host)
}

impl Presented<'_> {
    /// The DPoP proof beside a token, for this request. There is one field of it (RFC 9449, 4.3).
    fn beside<'p>(&'p self, authority: &'p [&'p str; 1]) -> BesideToken<'p> {
        let field = self.request.fields.one(&DPOP);
        let field = field.ok().ok_or(Reason::DpopProofInvalid);
        let field = field.and_then(|field| field.ok_or(Reason::DpopProofMissing));
        BesideToken {
            proof: field.and_then(|field| field.to_str().ok().ok_or(Reason::DpopProofInvalid)),
            call: Call {
                method: self.request.method.as_str(),
                authorities: authority,
                path: self.request.path(),
                algorithms: Algorithms::of(self.snapshot.catalog.profile),
            },
        }
    }

    /// The origin of the page that a browser calls for; none if the field is absent, or there are several.
    fn origin(&self) -> Option<&str> {
        only(&self.request.fields, &header::ORIGIN)
    }

    /// True for a request that a browser sends for a page of another site. Several origins are none of this host.
    fn is_of_another_site(&self) -> bool {
        let fields = &self.request.fields;
        let origin = match fields.one(&header::ORIGIN) {
            Ok(None) => None,
            Ok(Some(origin)) => Some(origin.to_str().unwrap_or_default()),
            Err(_) => Some(""),
        };
        origin::is_of_another_site(origin, only(fields, &FETCH_SITE), &self.host.name)
    }
}

/// The key, if it has the id that came with it.
fn named(bearer: Bearer, id: KeyId) -> Result<Bearer, Reason> {
    (bearer.key() == Some(id))
        .then_some(bearer)
        .ok_or(Reason::KeyWrong)
}

/// True for a secret key.
fn is_secret_key(bearer: &Bearer) -> bool {
    matches!(bearer, Bearer::Key { facts, .. } if facts.kind == KeyKind::Secret)
}

/// The text of the only field of this name.
fn only<'f>(fields: &'f FieldList, name: &HeaderName) -> Option<&'f str> {
    let value = fields.one(name).ok().flatten()?;
    value.to_str().ok()
}

/// The claimed sender of a refused request, as far as the request and the registry name one. Only the record gets it.
pub fn claimed(
    caller: &Caller,
    route: Option<&Arc<Route>>,
    fields: &FieldList,
    peer: &Peer,
    snapshot: &Snapshot,
) -> Claimed {
    let leaf = peer.leaf.as_deref();
    let entry = leaf.and_then(|leaf| snapshot.certificates.get(&leaf.fingerprint));
    let signable = route.is_some_and(|route| route.policy.accept.has(CredentialKind::Signature));
    let (key, of_key) = claimed_key(&caller.bearer, signable, fields, snapshot);
    Claimed {
        app: entry.map(|entry| entry.app).or(of_key),
        key,
        certificate: leaf.map(|leaf| leaf.serial),
    }
}

/// The claimed Key, and its App if the caller has shown anything about it. `signable` is true where the route accepts
/// signatures: a refused one is then what the caller was judged by, with any other credential beside it.
fn claimed_key(
    bearer: &Evidence<Bearer>,
    signable: bool,
    fields: &FieldList,
    snapshot: &Snapshot,
) -> (Option<KeyId>, Option<AppId>) {
    let app = |key: KeyId| snapshot.keys.get(&key).map(|entry| entry.app);
    if let Some(bearer) = bearer.proved() {
        let key = bearer.key();
        return (key, key.and_then(app));
    }
    let signer = signer(fields);
    if signable
        && matches!(bearer, Evidence::Refused(_))
        && let Some(signer) = signer
    {
        return (signer.ok(), None);
    }
    let shown = match presented(fields) {
        Ok(Some(Shown::Key(text))) => parse_key(text).ok(),
        Ok(Some(Shown::Basic(basic))) => Some(basic.id),
        _ => None,
    };
    // A caller without a key's secret has proved nothing about its App.
    let app = match bearer {
        Evidence::Refused(Reason::KeyWrong) => None,
        _ => shown.and_then(app),
    };
    (shown.or_else(|| signer?.ok()), app)
}

/// The Key that a signature by a key of ours names, verified or not; an error if the signature cannot be read.
fn signer(fields: &FieldList) -> Option<Result<KeyId, Reason>> {
    if !fields.contains(&SIGNATURE_INPUT) {
        return None;
    }
    let fields: Vec<_> = texts(fields).collect();
    let message = Message {
        method: "",
        authority: "",
        target: "",
        fields: &fields,
    };
    let found = http_signature::find(&message).transpose()?;
    Some(found.map(|signature| signature.by.key))
}

/// The fields as a signature covers them.
fn texts(fields: &FieldList) -> impl Iterator<Item = (&str, &[u8])> {
    let fields = fields.iter();
    fields.map(|(name, value)| (name.as_str(), value.as_bytes()))
}

#[derive(Debug, PartialEq, Eq)]
enum Shown<'a> {
    Key(&'a str),
    /// A key with its id.
    Basic(Box<BasicKey>),
    Token(&'a str),
    /// A token that is bound to a key (RFC 9449, 7.1).
    Bound(&'a str),
}

impl Shown<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Key(text) | Self::Token(text) | Self::Bound(text) => text,
            Self::Basic(basic) => basic.text(),
        }
    }
}

/// The credential that a request presents. Two at once are refused: an upstream or a log might take the other one.
fn presented(fields: &FieldList) -> Result<Option<Shown<'_>>, Reason> {
    let authorization = one(fields, &header::AUTHORIZATION, Reason::TokenMalformed)?;
    let authorization = authorization.and_then(authorized);
    let key = one(fields, &API_KEY, Reason::KeyMalformed)?;
    match (authorization, key) {
        (Some(shown), Some(key)) if shown.text() != key => Err(Reason::KeyMalformed),
        (Some(shown), _) => Ok(Some(shown)),
        (None, Some(text)) => Ok(Some(Shown::Key(text))),
        (None, None) => Ok(None),
    }
}

/// The credential in `Authorization`; other schemes, and pairs without a key's id, are not ours.
fn authorized(text: &str) -> Option<Shown<'_>> {
    if let Some(text) = after(BEARER, text) {
        let is_key = KEY_PREFIXES.iter().any(|prefix| text.starts_with(prefix));
        return Some(if is_key {
            Shown::Key(text)
        } else {
            Shown::Token(text)
        });
    }
    if let Some(text) = after(BY_PROOF, text) {
        return Some(Shown::Bound(text));
    }
    let basic = after(BASIC, text).and_then(BasicKey::read);
    basic.map(Box::new).map(Shown::Basic)
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
    let secret = after(BEARER, text).unwrap_or(text);
    stray(secret).map_or(malformed, |_| Reason::KeySurrounded)
}

/// The text of [`http::HeaderValue::to_str`], since a value has no controls; but many bytes at a time, because tokens
/// are long.
fn ascii(value: &[u8]) -> Option<&str> {
    let value = Some(value).filter(|value| value.is_ascii())?;
    std::str::from_utf8(value).ok()
}

/// True if a request shows its token by the scheme `DPoP`.
pub fn is_by_proof(fields: &FieldList) -> bool {
    matches!(presented(fields), Ok(Some(Shown::Bound(_))))
}

const BEARER: &str = "bearer";
const BASIC: &str = "basic";
const BY_PROOF: &str = "dpop";

/// The text behind this scheme.
fn after<'t>(wanted: &str, text: &'t str) -> Option<&'t str> {
    let (scheme, rest) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case(wanted).then(|| rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::api_key::generate_key;
    use crate::domain::api_key::Environment;
    use crate::domain::app::App;
    use crate::domain::snapshot::KeyEntry;

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
        for scheme in ["DPoP", "dpop"] {
            let field = format!("{scheme} eyJ");
            check(&[("authorization", &field)], Ok(Some(Shown::Bound("eyJ"))));
        }
        check(
            &[("authorization", "DPoP sk_1"), ("x-api-key", "sk_2")],
            Err(Reason::KeyMalformed),
        );
        check(
            &[("x-api-key", "sk_live_1")],
            Ok(Some(Shown::Key("sk_live_1"))),
        );
        check(&[("x-api-key", "eyJ")], Ok(Some(Shown::Key("eyJ"))));
        for kind in ["pk_live_1", "sg_test_1"] {
            let bearer = format!("Bearer {kind}");
            check(&[("authorization", &bearer)], Ok(Some(Shown::Key(kind))));
        }
        let pair = format!("{}:sk_1", KeyId::from_bits(1));
        let pair = data_encoding::BASE64.encode(pair.as_bytes());
        let basic = || Ok(BasicKey::read(&pair).map(Box::new).map(Shown::Basic));
        let field = format!("basic {pair}");
        check(&[("authorization", &field)], basic());
        let both = [("authorization", field.as_str()), ("x-api-key", "sk_1")];
        check(&both, basic());
        let two = [("authorization", field.as_str()), ("x-api-key", "sk_2")];
        check(&two, Err(Reason::KeyMalformed));
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

    #[test]
    fn a_refused_signature_claims_its_own_key_and_no_app() {
        let app = App::sample(1, "acme");
        let (signing, shown) = (KeyId::from_bits(2), KeyId::from_bits(3));
        let keys = [signing, shown].map(|id| (id, KeyEntry::sample(app.id)));
        let app_id = app.id;
        let snapshot = Snapshot::sample([app], keys);
        let secret = generate_key(shown, KeyKind::Secret, Environment::Live);
        let list = |input: &str, key: bool| {
            let mut list = FieldList::new();
            list.append(SIGNATURE_INPUT, input.parse().unwrap());
            let signature = HeaderName::from_static("signature");
            list.append(signature, "a=:AAAA:".parse().unwrap());
            if key {
                list.append(API_KEY, secret.expose().parse().unwrap());
            }
            list
        };
        let ours = format!("a=(\"@method\");created=1;keyid=\"{signing}\"");
        let malformed = format!("a=(\"@method\");keyid=\"{signing}\"");
        let foreign = "a=(\"@method\");created=1;keyid=\"other\"";
        let refused = Evidence::Refused(Reason::SignatureInvalid);
        for (input, key, signable, expected) in [
            (ours.as_str(), false, true, (Some(signing), None)),
            (&ours, true, true, (Some(signing), None)),
            (&malformed, true, true, (None, None)),
            (foreign, true, true, (Some(shown), Some(app_id))),
            (&ours, true, false, (Some(shown), Some(app_id))),
        ] {
            let claimed = claimed_key(&refused, signable, &list(input, key), &snapshot);
            assert_eq!(claimed, expected, "{input} {key} {signable}");
        }
    }
}
