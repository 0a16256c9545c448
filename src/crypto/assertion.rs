//! Assertions: short-lived JWTs by which an upstream verifies the caller, signed with the token key.

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Serialize;

use super::jwt::{Confirmation, TokenSigner};
use crate::domain::certificate::Fingerprint;
use crate::domain::id::AppId;
use crate::domain::identity::AuthMethod;
use crate::domain::name::Name;
use crate::domain::scope::ScopeSet;
use crate::domain::time::Timestamp;
use crate::domain::token::Subject;

/// The JWT type of assertions. No reader of access tokens accepts it (RFC 8725, 3.11), so an upstream cannot call back
/// with an assertion.
const TYPE: &str = "countersign-assertion+jwt";

/// The capability to sign assertions and nothing else, for a room that identifies callers to upstreams.
#[derive(Debug)]
pub struct AssertionSigner {
    /// The current signer, replaced when the token key is rotated.
    signer: Arc<ArcSwap<TokenSigner>>,
}

/// The identifier of the key that signed an assertion. It gives no access to the key.
#[derive(Debug)]
pub struct SignedBy(Arc<TokenSigner>);

/// The claims about a caller that an upstream verifies.
#[derive(Clone, Copy, Debug)]
pub struct Assertion<'a> {
    pub issuer: &'a str,
    /// The upstream that the assertion is for. Another upstream that gets it refuses it.
    pub audience: &'a str,
    pub app: AppId,
    pub app_name: &'a Name,
    /// The id of the key or certificate that was shown.
    pub credential: &'a str,
    pub method: AuthMethod,
    /// The user that the caller speaks for.
    pub subject: Option<&'a Subject>,
    pub scopes: Option<&'a ScopeSet>,
    /// The certificate that the caller has proved to hold.
    pub certificate: Option<Fingerprint>,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

impl AssertionSigner {
    pub fn new(signer: Arc<ArcSwap<TokenSigner>>) -> Self {
        Self { signer }
    }

    /// Signs an assertion.
    pub fn sign(&self, assertion: &Assertion<'_>) -> (String, SignedBy) {
        let signer = self.signer.load_full();
        let text = signer.seal(&signer.header(TYPE), &Body::from(assertion));
        (text, SignedBy(signer))
    }

    /// True if the key is the one that signs now: an earlier one may no longer be published.
    pub fn is_current(&self, key: &SignedBy) -> bool {
        Arc::ptr_eq(&key.0, &self.signer.load())
    }
}

/// The claims in their JSON form. There is no `jti`: an assertion serves several requests, and an upstream that
/// accepted each only once would refuse all but the first.
#[derive(Serialize)]
struct Body<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: String,
    iat: i64,
    exp: i64,
    app: AppId,
    app_name: &'a Name,
    credential: &'a str,
    auth_method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
}

impl<'a> From<&Assertion<'a>> for Body<'a> {
    fn from(assertion: &Assertion<'a>) -> Self {
        let user = assertion.subject.map(ToString::to_string);
        Self {
            iss: assertion.issuer,
            aud: assertion.audience,
            sub: user.unwrap_or_else(|| assertion.app.to_string()),
            iat: assertion.issued_at.unix_seconds(),
            exp: assertion.expires_at.unix_seconds(),
            app: assertion.app,
            app_name: assertion.app_name,
            credential: assertion.credential,
            auth_method: assertion.method.as_str(),
            scope: assertion.scopes.map(ToString::to_string),
            cnf: assertion.certificate.map(Confirmation::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use data_encoding::BASE64URL_NOPAD;
    use serde_json::{Value, json};

    use super::*;
    use crate::crypto::jwt;
    use crate::domain::reason::Reason;

    const ISSUER: &str = "https://api.example.com";
    const NOW: Timestamp = Timestamp::from_unix_seconds(1_764_000_000);

    fn signers() -> (Arc<TokenSigner>, AssertionSigner) {
        let signer = Arc::new(TokenSigner::load(&TokenSigner::generate()).unwrap());
        let held = Arc::new(ArcSwap::new(Arc::clone(&signer)));
        (signer, AssertionSigner::new(held))
    }

    fn assertion<'a>(name: &'a Name, scopes: &'a ScopeSet) -> Assertion<'a> {
        Assertion {
            issuer: ISSUER,
            audience: "orders",
            app: AppId::from_bits(2),
            app_name: name,
            credential: "key_00000000000000000000000003",
            method: AuthMethod::MtlsToken,
            subject: None,
            scopes: Some(scopes),
            certificate: Some(Fingerprint::from_bytes([7; 32])),
            issued_at: NOW,
            expires_at: Timestamp::from_unix_seconds(NOW.unix_seconds() + 60),
        }
    }

    fn part(text: &str) -> Value {
        serde_json::from_slice(&BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn an_assertion_says_who_calls_and_verifies_with_the_published_key() {
        let (tokens, signer) = signers();
        let (name, scopes) = ("acme".parse().unwrap(), "orders:read".parse().unwrap());
        let (text, _) = signer.sign(&assertion(&name, &scopes));
        let [header, body, signature] = text.split('.').collect::<Vec<_>>()[..] else {
            panic!("{text}");
        };
        let key = tokens.verification_key();
        assert_eq!(
            part(header),
            json!({"alg": "ES256", "kid": key.kid, "typ": "countersign-assertion+jwt"})
        );
        assert_eq!(
            part(body),
            json!({
                "iss": ISSUER,
                "aud": "orders",
                "sub": "app_00000000000000000000000002",
                "iat": 1_764_000_000,
                "exp": 1_764_000_060,
                "app": "app_00000000000000000000000002",
                "app_name": "acme",
                "credential": "key_00000000000000000000000003",
                "auth_method": "mtls+token",
                "scope": "orders:read",
                "cnf": {"x5t#S256": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"},
            })
        );
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key.point)
            .verify(format!("{header}.{body}").as_bytes(), &signature)
            .unwrap();
    }

    #[test]
    fn what_was_not_proved_is_not_asserted() {
        let (_, signer) = signers();
        let (name, scopes) = ("acme".parse().unwrap(), ScopeSet::default());
        let user: Subject = "alice".parse().unwrap();
        let (text, _) = signer.sign(&Assertion {
            subject: Some(&user),
            scopes: None,
            certificate: None,
            ..assertion(&name, &scopes)
        });
        let body = part(text.split('.').nth(1).unwrap());
        assert_eq!(body["sub"], "alice");
        assert_eq!(body["app"], "app_00000000000000000000000002");
        assert_eq!(body.get("scope"), None);
        assert_eq!(body.get("cnf"), None);
    }

    /// An upstream gets an assertion with every request, so the gateway must not accept one.
    #[test]
    fn an_assertion_is_no_access_token() {
        let (tokens, signer) = signers();
        let (name, scopes) = ("acme".parse().unwrap(), "orders:read".parse().unwrap());
        // Also when an operator has set the issuer as its audience, which the configuration refuses.
        let (text, _) = signer.sign(&Assertion {
            audience: ISSUER,
            ..assertion(&name, &scopes)
        });
        let keys = [tokens.verification_key()];
        let refused = jwt::verify(&text, &keys, ISSUER, NOW);
        assert_eq!(refused, Err(Reason::TokenMalformed));
    }

    #[test]
    fn after_a_rotation_the_new_key_signs_and_the_old_one_is_known_for_what_it_is() {
        let held = || TokenSigner::load(&TokenSigner::generate()).unwrap();
        let keys = Arc::new(ArcSwap::from_pointee(held()));
        let signer = AssertionSigner::new(Arc::clone(&keys));
        let (name, scopes) = ("acme".parse().unwrap(), ScopeSet::default());
        let (_, old) = signer.sign(&assertion(&name, &scopes));
        assert!(signer.is_current(&old));
        keys.store(Arc::new(held()));
        assert!(!signer.is_current(&old));
        let (text, new) = signer.sign(&assertion(&name, &scopes));
        assert!(signer.is_current(&new));
        let kid = keys.load().verification_key().kid;
        assert_eq!(part(text.split('.').next().unwrap())["kid"], kid.as_str());
    }
}
