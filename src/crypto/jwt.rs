//! Access tokens as JWTs (RFC 9068): signed with ES256, parsed strictly, and the keys published as a JWKS.
//!
//! One spelling is valid: three parts of canonical base64url, a header of exactly `alg`, `kid` and `typ`, and the
//! claims that we issue. Parsers that accept more have been attacked through it.

use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    UnparsedPublicKey,
};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use super::hash;
use super::pem;
use super::pem_fault::InvalidPem;
use crate::domain::certificate::Fingerprint;
use crate::domain::device::DeviceId;
use crate::domain::id::{AppId, KeyId, SessionId, TokenId};
use crate::domain::reason::Reason;
use crate::domain::scope::ScopeSet;
use crate::domain::secret::Secret;
use crate::domain::thumbprint::Thumbprint;
use crate::domain::time::Timestamp;
use crate::domain::token::{Claims, Subject, TokenSession, VerificationKey};

/// The maximum number of characters of a token: the longest scope set fits, and parsing stays cheap.
const TOKEN_CHARS_MAX: usize = 8 * 1024;

/// The maximum by which another replica's clock may be ahead of ours.
const CLOCK_SKEW_SECONDS: i64 = 60;

const ALGORITHM: &str = "ES256";
const TYPE: &str = "at+jwt";

/// The signer of access tokens.
pub struct TokenSigner {
    pair: EcdsaKeyPair,
    kid: String,
    /// The first part of every token of this key, and the dot after it.
    header: String,
}

/// A signing key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    #[error("the token signing key cannot be read")]
    Pem(#[from] InvalidPem),
    #[error("the token signing key is not a P-256 key")]
    Key(#[from] KeyRejected),
}

impl TokenSigner {
    /// A new P-256 key in PKCS #8, in PEM.
    pub fn generate() -> Secret {
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .expect("the generator was seeded when the process began");
        Secret::new(pem::encode("PRIVATE KEY", document.as_ref()))
    }

    /// Loads a signing key.
    pub fn load(key: &Secret) -> Result<Self, SignerError> {
        let key = pem::private_key(key)?;
        let der = key.secret_der();
        let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der)?;
        let kid = thumbprint(pair.public_key().as_ref());
        let header = header(&kid, TYPE);
        Ok(Self { pair, kid, header })
    }

    /// Signs a token.
    pub fn sign(&self, claims: &Claims) -> String {
        self.seal(&self.header, &Body::from(claims))
    }

    /// The first part of every JWT of this key and `typ`, and the dot after it.
    pub(super) fn header(&self, typ: &str) -> String {
        header(&self.kid, typ)
    }

    /// Signs a body, behind a header of this key.
    pub(super) fn seal(&self, header: &str, body: &impl Serialize) -> String {
        let mut token = header.to_owned();
        token.push_str(&encode(body));
        let signature = self
            .pair
            .sign(&SystemRandom::new(), token.as_bytes())
            .expect("a key that was checked when it was loaded can sign");
        token.push('.');
        BASE64URL_NOPAD.encode_append(signature.as_ref(), &mut token);
        token
    }

    /// Signs any header and body, as a faulty issuer would.
    #[cfg(any(test, fuzzing))]
    pub fn seal_text(&self, header: &str, body: &str) -> String {
        let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let content = format!("{}.{}", part(header), part(body));
        let signature = self.pair.sign(&SystemRandom::new(), content.as_bytes());
        let signature = signature.expect("a key that was checked when it was loaded can sign");
        format!("{content}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
    }

    /// The public half, which verifies what this key signed.
    pub fn verification_key(&self) -> VerificationKey {
        VerificationKey {
            kid: self.kid.clone(),
            point: self.pair.public_key().as_ref().to_vec(),
        }
    }
}

impl std::fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenSigner")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// Parses a token that `issuer` signed for itself, and that is valid at `now`.
///
/// The signature is verified before the claims are read. The exchange checks that the App, the Key and the certificate
/// are still valid, and that the bound certificate was presented.
pub fn verify(
    token: &str,
    keys: &[VerificationKey],
    issuer: &str,
    now: Timestamp,
) -> Result<Claims, Reason> {
    if token.len() > TOKEN_CHARS_MAX {
        return Err(Reason::TokenMalformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Reason::TokenMalformed)?;
    let (header, body) = signed.split_once('.').ok_or(Reason::TokenMalformed)?;
    let signature = decode(signature)?;
    let key = select(&decode(header)?, keys)?;
    let body = decode(body)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key.point)
        .verify(signed.as_bytes(), &signature)
        .ok()
        .ok_or(Reason::TokenSignature)?;
    let claims = read(&body)?;
    if claims.issuer != issuer || claims.audience != issuer {
        return Err(Reason::TokenAudience);
    }
    if now >= claims.expires_at {
        return Err(Reason::TokenExpired);
    }
    if claims.issued_at.unix_seconds() > now.unix_seconds().saturating_add(CLOCK_SKEW_SECONDS) {
        return Err(Reason::TokenMalformed);
    }
    Ok(claims)
}

/// The header of a token: these three members and no other.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
}

fn header(kid: &str, typ: &str) -> String {
    let header = Header {
        alg: ALGORITHM.to_owned(),
        kid: kid.to_owned(),
        typ: typ.to_owned(),
    };
    format!("{}.", encode(&header))
}

/// The claims of a token, in their JSON form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    iss: String,
    aud: String,
    sub: String,
    client_id: KeyId,
    jti: TokenId,
    iat: i64,
    exp: i64,
    scope: String,
    app: AppId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<SessionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device_id: Option<DeviceId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
}

/// The certificate and the key that a token is bound to (RFC 8705, 3.1; RFC 9449, 6.1).
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Confirmation {
    #[serde(rename = "x5t#S256", default, skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jkt: Option<String>,
}

impl Confirmation {
    /// The bindings of a token; none for one that anyone may use.
    fn of(claims: &Claims) -> Option<Self> {
        let text = |digest: &[u8; 32]| BASE64URL_NOPAD.encode(digest);
        let certificate = claims.certificate.as_ref().map(Fingerprint::as_bytes);
        let jkt = claims.proof_key.as_ref().map(Thumbprint::as_bytes);
        (certificate.is_some() || jkt.is_some()).then(|| Self {
            certificate: certificate.map(text),
            jkt: jkt.map(text),
        })
    }

    fn certificate(&self) -> Result<Option<Fingerprint>, Reason> {
        let digest = self.certificate.as_deref().map(digest).transpose()?;
        Ok(digest.map(Fingerprint::from_bytes))
    }

    fn proof_key(&self) -> Result<Option<Thumbprint>, Reason> {
        let digest = self.jkt.as_deref().map(digest).transpose()?;
        Ok(digest.map(Thumbprint::from_bytes))
    }
}

impl From<Fingerprint> for Confirmation {
    fn from(certificate: Fingerprint) -> Self {
        Self {
            certificate: Some(BASE64URL_NOPAD.encode(certificate.as_bytes())),
            jkt: None,
        }
    }
}

impl From<&Claims> for Body {
    fn from(claims: &Claims) -> Self {
        let client = || claims.key.to_string();
        let subject = claims.subject.as_ref().map(ToString::to_string);
        Self {
            iss: claims.issuer.clone(),
            aud: claims.audience.clone(),
            sub: subject.unwrap_or_else(client),
            client_id: claims.key,
            jti: claims.id,
            iat: claims.issued_at.unix_seconds(),
            exp: claims.expires_at.unix_seconds(),
            scope: claims.scopes.to_string(),
            app: claims.app,
            sid: claims.session.as_ref().map(|session| session.id),
            device_id: claims
                .session
                .as_ref()
                .and_then(|session| session.device.clone()),
            cnf: Confirmation::of(claims),
        }
    }
}

fn read(body: &[u8]) -> Result<Claims, Reason> {
    let body: Body = object(body)?;
    let cnf = body.cnf.as_ref();
    // A confirmation without a method that is known here would bind to nothing.
    if cnf.is_some_and(|cnf| cnf.certificate.is_none() && cnf.jkt.is_none()) {
        return Err(Reason::TokenMalformed);
    }
    Ok(Claims {
        certificate: cnf.map_or(Ok(None), Confirmation::certificate)?,
        proof_key: cnf.map_or(Ok(None), Confirmation::proof_key)?,
        subject: subject(&body)?,
        session: session(&body)?,
        issuer: body.iss,
        audience: body.aud,
        id: body.jti,
        app: body.app,
        key: body.client_id,
        scopes: body
            .scope
            .parse::<ScopeSet>()
            .ok()
            .ok_or(Reason::TokenMalformed)?,
        issued_at: Timestamp::from_unix_seconds(body.iat),
        expires_at: Timestamp::from_unix_seconds(body.exp),
    })
}

/// The user of a token. A token without a user has its client as its subject (RFC 9068, 2.2).
fn subject(body: &Body) -> Result<Option<Subject>, Reason> {
    if body.sub == body.client_id.to_string() {
        return Ok(None);
    }
    body.sub
        .parse()
        .map(Some)
        .ok()
        .ok_or(Reason::TokenMalformed)
}

/// The session of a token. A device without a session, or a session without a user, is none of ours.
fn session(body: &Body) -> Result<Option<TokenSession>, Reason> {
    match (body.sid, &body.device_id) {
        (None, None) => Ok(None),
        (Some(id), device) if body.sub != body.client_id.to_string() => Ok(Some(TokenSession {
            id,
            device: device.clone(),
        })),
        _ => Err(Reason::TokenMalformed),
    }
}

fn digest(text: &str) -> Result<[u8; 32], Reason> {
    decode(text)?.try_into().ok().ok_or(Reason::TokenMalformed)
}

/// The key that the header names; only this key's algorithm is accepted.
fn select<'k>(header: &[u8], keys: &'k [VerificationKey]) -> Result<&'k VerificationKey, Reason> {
    let header: Header = object(header)?;
    if header.alg != ALGORITHM || header.typ != TYPE {
        return Err(Reason::TokenMalformed);
    }
    keys.iter()
        .find(|key| key.kid == header.kid)
        .ok_or(Reason::TokenSignature)
}

/// Parses a JSON object; serde would accept an array for a struct as well.
fn object<'j, T: Deserialize<'j>>(json: &'j [u8]) -> Result<T, Reason> {
    if json.first() != Some(&b'{') {
        return Err(Reason::TokenMalformed);
    }
    serde_json::from_slice(json)
        .ok()
        .ok_or(Reason::TokenMalformed)
}

/// Decodes canonical base64url without padding; set bits after the end, blanks and other alphabets are refused.
fn decode(part: &str) -> Result<Vec<u8>, Reason> {
    BASE64URL_NOPAD
        .decode(part.as_bytes())
        .ok()
        .ok_or(Reason::TokenMalformed)
}

fn encode(part: &impl Serialize) -> String {
    let json = serde_json::to_vec(part).expect("texts and numbers can be written as JSON");
    BASE64URL_NOPAD.encode(&json)
}

fn coordinates(point: &[u8]) -> Option<(String, String)> {
    let (x, y) = match point {
        [4, rest @ ..] if rest.len() == 64 => rest.split_at(32),
        _ => return None,
    };
    Some((BASE64URL_NOPAD.encode(x), BASE64URL_NOPAD.encode(y)))
}

/// The thumbprint of a key (RFC 7638): the same on every replica, and another for another key.
fn thumbprint(point: &[u8]) -> String {
    let (x, y) = coordinates(point).unwrap_or_default();
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    BASE64URL_NOPAD.encode(&hash::sha256(canonical.as_bytes()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    const ISSUER: &str = "https://api.example.com";
    const NOW: Timestamp = Timestamp::from_unix_seconds(1_764_000_000);

    fn claims() -> Claims {
        Claims {
            issuer: ISSUER.to_owned(),
            audience: ISSUER.to_owned(),
            id: TokenId::from_bits(1),
            app: AppId::from_bits(2),
            key: KeyId::from_bits(3),
            subject: None,
            scopes: "orders:read orders:write".parse().unwrap(),
            issued_at: NOW,
            expires_at: Timestamp::from_unix_seconds(NOW.unix_seconds() + 900),
            certificate: Some(Fingerprint::from_bytes([7; 32])),
            proof_key: None,
            session: None,
        }
    }

    fn signer() -> TokenSigner {
        TokenSigner::load(&TokenSigner::generate()).unwrap()
    }

    fn parts(signer: &TokenSigner) -> (Value, Value) {
        let token = signer.sign(&claims());
        let json = |part: &str| serde_json::from_slice(&decode(part).unwrap()).unwrap();
        let mut parts = token.split('.');
        (json(parts.next().unwrap()), json(parts.next().unwrap()))
    }

    fn check(signer: &TokenSigner, token: &str) -> Result<Claims, Reason> {
        verify(token, &[signer.verification_key()], ISSUER, NOW)
    }

    #[test]
    fn a_token_says_what_was_signed() {
        let signer = signer();
        assert_eq!(check(&signer, &signer.sign(&claims())), Ok(claims()));
        let unbound = Claims {
            certificate: None,
            ..claims()
        };
        assert_eq!(check(&signer, &signer.sign(&unbound)), Ok(unbound));
        for certificate in [None, Some(Fingerprint::from_bytes([7; 32]))] {
            let by_proof = Claims {
                certificate,
                proof_key: Some(Thumbprint::from_bytes([9; 32])),
                ..claims()
            };
            assert_eq!(check(&signer, &signer.sign(&by_proof)), Ok(by_proof));
        }
        let for_a_user = Claims {
            subject: Some("alice@example.com".parse().unwrap()),
            ..claims()
        };
        assert_eq!(
            check(&signer, &signer.sign(&for_a_user)),
            Ok(for_a_user.clone())
        );
        for device in [None, Some("pixel-7".parse().unwrap())] {
            let session = TokenSession {
                id: SessionId::from_bits(5),
                device,
            };
            let in_session = Claims {
                session: Some(session),
                ..for_a_user.clone()
            };
            assert_eq!(check(&signer, &signer.sign(&in_session)), Ok(in_session));
        }
    }

    #[test]
    fn tokens_are_those_of_rfc_9068_and_rfc_8705() {
        let signer = signer();
        let (header, body) = parts(&signer);
        assert_eq!(
            header,
            json!({"alg": "ES256", "kid": signer.kid, "typ": "at+jwt"})
        );
        assert_eq!(
            body,
            json!({
                "iss": ISSUER,
                "aud": ISSUER,
                "sub": "key_00000000000000000000000003",
                "client_id": "key_00000000000000000000000003",
                "jti": "tok_00000000000000000000000001",
                "iat": 1_764_000_000,
                "exp": 1_764_000_900,
                "scope": "orders:read orders:write",
                "app": "app_00000000000000000000000002",
                "cnf": {"x5t#S256": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"},
            })
        );
    }

    #[test]
    fn headers_have_exactly_three_members_and_one_algorithm() {
        let signer = signer();
        let (header, body) = parts(&signer);
        let kid = signer.kid.as_str();
        let with = |name: &str, value: Value| {
            let mut header = header.clone();
            header[name] = value;
            header.to_string()
        };
        let repeated = format!(r#"{{"alg":"ES256","alg":"ES256","kid":"{kid}","typ":"at+jwt"}}"#);
        let array = format!(r#"["ES256","{kid}","at+jwt"]"#);
        for (header, expected) in [
            (with("alg", json!("none")), Reason::TokenMalformed),
            (with("alg", json!("HS256")), Reason::TokenMalformed),
            (with("alg", json!("es256")), Reason::TokenMalformed),
            (with("typ", json!("JWT")), Reason::TokenMalformed),
            (with("typ", Value::Null), Reason::TokenMalformed),
            (with("crit", json!(["b64"])), Reason::TokenMalformed),
            (with("jwk", json!({})), Reason::TokenMalformed),
            (with("x5c", json!([])), Reason::TokenMalformed),
            (with("kid", json!("other")), Reason::TokenSignature),
            (repeated, Reason::TokenMalformed),
            (array, Reason::TokenMalformed),
            ("{}".to_owned(), Reason::TokenMalformed),
            (String::new(), Reason::TokenMalformed),
        ] {
            let token = signer.seal_text(&header, &body.to_string());
            assert_eq!(check(&signer, &token), Err(expected), "{header}");
        }
        let unsigned = signer.seal_text(&with("alg", json!("none")), &body.to_string());
        let (content, _) = unsigned.rsplit_once('.').unwrap();
        assert_eq!(
            check(&signer, &format!("{content}.")),
            Err(Reason::TokenMalformed)
        );
    }

    #[test]
    fn claims_are_all_there_and_none_is_foreign() {
        let signer = signer();
        let (header, body) = parts(&signer);
        let with = |name: &str, value: Value| {
            let mut body = body.clone();
            body[name] = value;
            signer.seal_text(&header.to_string(), &body.to_string())
        };
        for (name, value, expected) in [
            (
                "iss",
                json!("https://other.example.com"),
                Reason::TokenAudience,
            ),
            (
                "aud",
                json!("https://other.example.com"),
                Reason::TokenAudience,
            ),
            ("aud", json!([ISSUER]), Reason::TokenMalformed),
            (
                "sub",
                json!("key_00000000000000000000000004"),
                Reason::TokenMalformed,
            ),
            ("sub", json!(""), Reason::TokenMalformed),
            ("sub", json!("a b"), Reason::TokenMalformed),
            ("sub", json!("a\r\nX: y"), Reason::TokenMalformed),
            (
                "sub",
                json!("app_00000000000000000000000002"),
                Reason::TokenMalformed,
            ),
            ("exp", json!(1_764_000_000), Reason::TokenExpired),
            ("exp", json!(-1), Reason::TokenExpired),
            ("exp", json!(1e99), Reason::TokenMalformed),
            ("exp", json!("1764000900"), Reason::TokenMalformed),
            ("iat", json!(1_764_000_061), Reason::TokenMalformed),
            ("scope", json!("a\"b"), Reason::TokenMalformed),
            ("cnf", json!({}), Reason::TokenMalformed),
            ("cnf", json!({"x5t#S256": "BwcH"}), Reason::TokenMalformed),
            ("cnf", json!({"jkt": "x"}), Reason::TokenMalformed),
            ("nbf", json!(0), Reason::TokenMalformed),
        ] {
            assert_eq!(check(&signer, &with(name, value)), Err(expected), "{name}");
        }
        for name in [
            "iss",
            "aud",
            "sub",
            "client_id",
            "jti",
            "iat",
            "exp",
            "scope",
            "app",
        ] {
            let mut body = body.clone();
            body.as_object_mut().unwrap().remove(name);
            let token = signer.seal_text(&header.to_string(), &body.to_string());
            assert_eq!(
                check(&signer, &token),
                Err(Reason::TokenMalformed),
                "{name}"
            );
        }
        let ahead = with("iat", json!(1_764_000_060));
        assert!(
            check(&signer, &ahead).is_ok(),
            "a replica's clock may be a little ahead"
        );
    }

    #[test]
    fn a_token_counts_until_the_second_of_its_end() {
        let signer = signer();
        let keys = [signer.verification_key()];
        let token = signer.sign(&claims());
        let at = |millis| verify(&token, &keys, ISSUER, Timestamp::from_unix_millis(millis));
        assert!(at(1_764_000_899_999).is_ok());
        assert_eq!(at(1_764_000_900_000), Err(Reason::TokenExpired));
    }

    #[test]
    fn only_the_key_that_signed_verifies() {
        let (one, other) = (signer(), signer());
        let token = one.sign(&claims());
        assert_eq!(check(&other, &token), Err(Reason::TokenSignature));
        let both = [other.verification_key(), one.verification_key()];
        assert!(verify(&token, &both, ISSUER, NOW).is_ok());
        let impostor = VerificationKey {
            kid: one.kid.clone(),
            ..other.verification_key()
        };
        assert_eq!(
            verify(&token, &[impostor], ISSUER, NOW),
            Err(Reason::TokenSignature)
        );
        assert_eq!(
            verify(&token, &[], ISSUER, NOW),
            Err(Reason::TokenSignature)
        );
        let (content, _) = token.rsplit_once('.').unwrap();
        for signature in [vec![0_u8; 64], vec![0xff; 64], vec![1; 63], Vec::new()] {
            let token = format!("{content}.{}", BASE64URL_NOPAD.encode(&signature));
            assert_eq!(check(&one, &token), Err(Reason::TokenSignature));
        }
    }

    #[test]
    fn a_token_has_one_spelling() {
        let signer = signer();
        let token = signer.sign(&claims());
        for wrong in [
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            format!("{token}="),
            format!("{token}."),
            format!("{token}.x"),
            format!(" {token}"),
            format!("{token}\n"),
            format!("{}{}", token, "A".repeat(TOKEN_CHARS_MAX)),
        ] {
            assert_eq!(
                check(&signer, &wrong),
                Err(Reason::TokenMalformed),
                "{wrong}"
            );
        }
        // 64 octets leave four bits of the last character unused; they have to be zero.
        let last = token.chars().last().unwrap();
        assert!("AQgw".contains(last), "{last}");
        for other in "BRhx".chars() {
            let loose = format!("{}{other}", token.strip_suffix(last).unwrap());
            assert_eq!(check(&signer, &loose), Err(Reason::TokenMalformed));
        }
    }

    #[test]
    fn the_longest_scope_set_still_fits() {
        let scopes = (0..64).map(|n| format!("{n:02}{}", "s".repeat(62)).parse().unwrap());
        let claims = Claims {
            scopes: ScopeSet::new(scopes).unwrap(),
            ..claims()
        };
        let signer = signer();
        let token = signer.sign(&claims);
        assert_eq!(check(&signer, &token), Ok(claims), "{}", token.len());
    }

    /// The example of RFC 7515, appendix A.3, with a thumbprint made by hand.
    #[test]
    fn key_ids_are_thumbprints() {
        let x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
        let y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
        let point = [vec![4], decode(x).unwrap(), decode(y).unwrap()].concat();
        let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let expected = BASE64URL_NOPAD.encode(&hash::sha256(members.as_bytes()));
        assert_eq!(thumbprint(&point), expected);
    }

    #[test]
    fn other_keys_are_refused_at_load() {
        let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let p384 = super::super::keypair::to_secret(&p384);
        assert!(matches!(TokenSigner::load(&p384), Err(SignerError::Key(_))));
        for text in ["", "garbage", "-----BEGIN PRIVATE KEY-----"] {
            let load = TokenSigner::load(&Secret::new(text.to_owned()));
            assert!(matches!(load, Err(SignerError::Pem(_))), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "([A-Za-z0-9_-]{0,40}\\.){0,4}\\PC{0,10}") {
            let _ = verify(&text, &[], ISSUER, NOW);
        }

        #[test]
        fn no_bytes_make_the_claims_reader_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&body);
            let _ = select(&body, &[]);
        }

        #[test]
        fn no_changed_character_goes_unnoticed(place in any::<prop::sample::Index>(), to in "[A-Za-z0-9_.-]") {
            let signer = signer();
            let token = signer.sign(&claims());
            let place = place.index(token.len());
            let mut changed = token.clone();
            changed.replace_range(place..=place, &to);
            prop_assert_eq!(check(&signer, &changed).is_ok(), changed == token);
        }
    }
}
