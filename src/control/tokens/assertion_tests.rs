//! Client assertions: who signs one gets a token once, and every other gets one answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::error::TokenError;
use super::mint::{Bound, MintedToken};
use super::request::{ClientProof, Grant, TokenRequest};
use super::service::TokenService;
use crate::control::app_settings::AppPatch;
use crate::control::testing::{ACTOR, CSR, Fixture};
use crate::control::testing_edges::token_service_by;
use crate::crypto::jwk::Algorithm;
use crate::crypto::jwk_testing::TestKey;
use crate::crypto::jwt::TokenSigner;
use crate::domain::app_settings::Mtls;
use crate::domain::credential::RevocationReason;
use crate::domain::id::KeyId;
use crate::domain::identity::CertificateProof;
use crate::domain::patch::Patch;
use crate::domain::reason::Reason;
use crate::domain::secret::Secret;
use crate::domain::time::{Clock as _, Timestamp};
use crate::domain::token::ClientAuthMethod;

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

struct Desk {
    fixture: Fixture,
    service: TokenService,
    signer: TestKey,
    key: KeyId,
}

impl Desk {
    async fn new() -> Self {
        let fixture = Fixture::new().await;
        let signer = TestKey::p256();
        for app in ["acme", "other"] {
            fixture.app(app).await;
        }
        let (key, _) = fixture.key("acme", "orders:read").await;
        let jwks = json!({"keys": [signer.jwk("k")]});
        set(&fixture, Patch::Set(jwks), Patch::Keep).await;
        let tokens = Arc::new(TokenSigner::load(&TokenSigner::generate()).unwrap());
        Self {
            service: token_service_by(&fixture, tokens),
            fixture,
            signer,
            key: key.id,
        }
    }

    fn now(&self) -> Timestamp {
        self.fixture.clock.now()
    }

    /// Claims that are accepted, with a `jti` of this number.
    fn claims(&self, number: u32) -> Value {
        let now = self.now().unix_seconds();
        json!({
            "iss": self.key,
            "sub": self.key,
            "aud": "https://gateway.test/oauth2/token",
            "jti": number.to_string(),
            "iat": now,
            "exp": now + 60,
        })
    }

    fn sign(&self, claims: &Value) -> String {
        let header = r#"{"alg":"ES256","kid":"k","typ":"JWT"}"#;
        self.signer
            .seal(Algorithm::Es256, header, &claims.to_string())
    }

    async fn ask(&self, assertion: &str) -> Result<MintedToken, TokenError> {
        self.ask_with(assertion, "", None).await
    }

    async fn ask_with(
        &self,
        assertion: &str,
        client_id: &str,
        certificate: Option<&CertificateProof>,
    ) -> Result<MintedToken, TokenError> {
        let request = TokenRequest {
            proof: None,
            client: ClientProof {
                client_id,
                secret: None,
                assertion: Some(assertion),
                method: ClientAuthMethod::PrivateKeyJwt,
                certificate,
                address: ADDRESS,
                origin: None,
            },
            grant: Grant::ClientCredentials,
            scope: None,
        };
        self.service.grant(&self.fixture.snapshot(), &request).await
    }

    /// The record's reason; the client learns nothing but that it is not accepted.
    async fn refused(&self, assertion: &str) -> Reason {
        let refused = self.ask(assertion).await.unwrap_err();
        let shown = (refused.code, refused.shown);
        assert_eq!(shown, ("invalid_client", Reason::CredentialInvalid));
        refused.reason
    }
}

async fn set(fixture: &Fixture, jwks: Patch<Value>, mtls: Patch<Mtls>) {
    let patch = AppPatch {
        mtls,
        jwks,
        ..AppPatch::default()
    };
    fixture
        .control
        .set_app(&ACTOR, "acme", patch, true)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_signed_assertion_gets_a_token_once() {
    let desk = Desk::new().await;
    let assertion = desk.sign(&desk.claims(1));
    let minted = desk.ask(&assertion).await.unwrap();
    assert_eq!(minted.key, desk.key);
    assert_eq!(minted.scopes.to_string(), "orders:read");
    assert_eq!(desk.refused(&assertion).await, Reason::AssertionReplayed);
    // The same `jti` in another assertion is the same assertion, signed anew.
    desk.fixture.clock.advance(Duration::from_secs(1));
    let again = desk.sign(&desk.claims(1));
    assert_eq!(desk.refused(&again).await, Reason::AssertionReplayed);
    let named = desk.sign(&desk.claims(2));
    let id = desk.key.to_string();
    assert!(desk.ask_with(&named, &id, None).await.is_ok());
    let other = desk.sign(&desk.claims(3));
    let refused = desk.ask_with(&other, "key_other", None).await.unwrap_err();
    assert_eq!(refused.reason, Reason::AssertionClaims);
    assert!(desk.ask(&other).await.is_ok(), "a refusal uses nothing up");
}

#[tokio::test]
async fn of_fifty_who_send_one_assertion_one_gets_a_token() {
    let desk = Desk::new().await;
    let assertion = desk.sign(&desk.claims(1));
    let mut all = Vec::new();
    for _ in 0..50 {
        all.push(Box::pin(desk.ask(&assertion)));
    }
    let mut granted = 0;
    for asked in all {
        granted += u32::from(asked.await.is_ok());
    }
    assert_eq!(granted, 1);
}

#[tokio::test]
async fn each_fault_has_its_reason_and_one_answer() {
    let desk = Desk::new().await;
    let with = |member: &str, value: Value| {
        let mut claims = desk.claims(9);
        claims[member] = value;
        desk.sign(&claims)
    };
    let now = desk.now().unix_seconds();
    let stranger = KeyId::from_bits(77);
    let foreign = TestKey::p256();
    let header = r#"{"alg":"ES256","kid":"k"}"#;
    let forged = foreign.seal(Algorithm::Es256, header, &desk.claims(9).to_string());
    let unsigned = {
        let header = r#"{"alg":"none"}"#;
        let token = desk
            .signer
            .seal(Algorithm::Es256, header, &desk.claims(9).to_string());
        let (content, _) = token.rsplit_once('.').unwrap();
        format!("{content}.")
    };
    let mut nameless = desk.claims(9);
    nameless.as_object_mut().unwrap().remove("jti");
    for (assertion, reason) in [
        (String::new(), Reason::AssertionMalformed),
        ("a.b.c".to_owned(), Reason::AssertionMalformed),
        (forged, Reason::AssertionSignature),
        (unsigned, Reason::AssertionSignature),
        (
            with("aud", json!("https://other.test")),
            Reason::AssertionClaims,
        ),
        (
            with("iss", json!("https://idp.test")),
            Reason::AssertionClaims,
        ),
        (with("exp", json!(now - 31)), Reason::AssertionClaims),
        (with("exp", json!(now + 3631)), Reason::AssertionClaims),
        (with("nbf", json!(now + 60)), Reason::AssertionClaims),
        (with("jti", json!("")), Reason::AssertionClaims),
        (with("jti", json!(1)), Reason::AssertionClaims),
        (with("jti", json!("a".repeat(201))), Reason::AssertionClaims),
        (desk.sign(&nameless), Reason::AssertionClaims),
        (with("sub", json!(stranger)), Reason::AssertionKeys),
        (with("sub", json!("acme")), Reason::AssertionKeys),
    ] {
        assert_eq!(desk.refused(&assertion).await, reason, "{assertion}");
    }
    for audience in ["https://gateway.test", "https://gateway.test/oauth2/token"] {
        let mut claims = desk.claims(10);
        claims["jti"] = json!(audience);
        claims["aud"] = json!(audience);
        assert!(desk.ask(&desk.sign(&claims)).await.is_ok(), "{audience}");
    }
}

#[tokio::test]
async fn a_signed_assertion_for_a_user_opens_one_session() {
    let desk = Desk::new().await;
    let (server, secret) = desk
        .fixture
        .key("acme", "countersign:vouch orders:read")
        .await;
    let (plain, plain_secret) = desk.fixture.key("acme", "orders:read").await;
    let for_user = |key: KeyId, jti: &str| {
        let mut claims = desk.claims(0);
        claims["iss"] = json!(key);
        claims["sub"] = json!("alice");
        claims["jti"] = json!(jti);
        desk.sign(&claims)
    };
    let ask = async |key: KeyId, secret: &Secret, assertion: &str| {
        let id = key.to_string();
        let request = TokenRequest {
            proof: None,
            client: ClientProof {
                client_id: &id,
                secret: Some(secret.expose()),
                assertion: None,
                method: ClientAuthMethod::ClientSecretBasic,
                certificate: None,
                address: ADDRESS,
                origin: None,
            },
            grant: Grant::Assertion {
                assertion,
                device: Some("phone"),
            },
            scope: None,
        };
        let asked = desk.service.grant(&desk.fixture.snapshot(), &request).await;
        asked.map_err(|refused| refused.reason)
    };
    let signed = for_user(server.id, "1");
    let minted = ask(server.id, &secret, &signed).await.unwrap();
    assert!(minted.refresh.is_some(), "it is a session");
    assert_eq!(minted.scopes.to_string(), "orders:read");
    for (key, secret, assertion, reason) in [
        (server.id, &secret, signed, Reason::AssertionReplayed),
        (
            plain.id,
            &plain_secret,
            for_user(plain.id, "2"),
            Reason::ScopeMissing,
        ),
        (
            server.id,
            &secret,
            for_user(plain.id, "3"),
            Reason::AssertionClaims,
        ),
        (
            server.id,
            &secret,
            "a.b.c".to_owned(),
            Reason::AssertionMalformed,
        ),
    ] {
        let refused = ask(key, secret, &assertion).await.unwrap_err();
        assert_eq!(refused, reason);
    }
}

#[tokio::test]
async fn keys_that_are_taken_away_and_keys_that_end_authenticate_nobody() {
    let desk = Desk::new().await;
    let control = &desk.fixture.control;
    let superseded = RevocationReason::Superseded;
    set(&desk.fixture, Patch::Reset, Patch::Keep).await;
    let assertion = desk.sign(&desk.claims(1));
    assert_eq!(desk.refused(&assertion).await, Reason::AssertionKeys);
    let jwks = json!({"keys": [desk.signer.jwk("k")]});
    set(&desk.fixture, Patch::Set(jwks), Patch::Keep).await;
    assert!(desk.ask(&assertion).await.is_ok());
    control
        .revoke_key(&ACTOR, desk.key, superseded)
        .await
        .unwrap();
    let late = desk.sign(&desk.claims(2));
    assert_eq!(desk.refused(&late).await, Reason::KeyRevoked);
}

#[tokio::test]
async fn an_app_that_shows_a_certificate_needs_it_beside_the_assertion() {
    let desk = Desk::new().await;
    let signed = desk.fixture.sign("acme", "prod", CSR).await.unwrap();
    let certificate = signed.value.certificate;
    let snapshot = desk.fixture.snapshot();
    let proof = snapshot.judge(&certificate.fingerprint, &certificate.validity, desk.now());
    let proof = proof.unwrap();
    for (mtls, without, bound) in [
        (Mtls::Off, Ok(false), false),
        (Mtls::Optional, Ok(false), true),
        (Mtls::TokenEndpoint, Err(Reason::CertRequired), true),
        (Mtls::Always, Err(Reason::CertRequired), true),
    ] {
        set(&desk.fixture, Patch::Keep, Patch::Set(mtls)).await;
        let assertion = |end: &str| {
            let mut claims = desk.claims(0);
            claims["jti"] = json!(format!("{mtls:?} {end}"));
            desk.sign(&claims)
        };
        let asked = desk.ask(&assertion("without")).await;
        let found = asked
            .map(|minted| minted.bound == Bound::Certificate)
            .map_err(|refused| refused.shown);
        assert_eq!(found, without, "{mtls:?}");
        let asked = desk.ask_with(&assertion("with"), "", Some(&proof)).await;
        assert_eq!(
            asked.unwrap().bound == Bound::Certificate,
            bound,
            "{mtls:?}"
        );
    }
}

#[tokio::test]
async fn a_token_of_a_configured_issuer_becomes_one_of_ours() {
    let desk = Desk::new().await;
    let idp = TestKey::p256();
    desk.fixture.source.set(Ok(&idp.set()));
    let (key, secret) = desk.fixture.key("acme", "orders:read").await;
    let (other, other_secret) = desk.fixture.key("other", "orders:read").await;
    let now = desk.now().unix_seconds();
    let sign = |signer: &TestKey, member: &str, value: Value| {
        let mut claims =
            json!({"iss": "https://idp.test", "aud": "acme", "sub": "alice", "exp": now + 60});
        claims[member] = value;
        let header = r#"{"alg":"ES256","kid":"k"}"#;
        signer.seal(Algorithm::Es256, header, &claims.to_string())
    };
    let ask = async |key: KeyId, secret: &Secret, token: &str| {
        let id = key.to_string();
        let request = TokenRequest {
            proof: None,
            client: ClientProof {
                client_id: &id,
                secret: Some(secret.expose()),
                assertion: None,
                method: ClientAuthMethod::ClientSecretBasic,
                certificate: None,
                address: ADDRESS,
                origin: None,
            },
            grant: Grant::Foreign { token },
            scope: None,
        };
        let asked = desk.service.grant(&desk.fixture.snapshot(), &request).await;
        asked.map_err(|refused| refused.reason)
    };
    let good = sign(&idp, "nonce", json!("n"));
    let early = ask(key.id, &secret, &good).await.unwrap_err();
    assert_eq!(early, Reason::IssuerKeys);
    let published = desk.fixture.control.published();
    published
        .refresh(
            &desk.fixture.snapshot(),
            desk.fixture.control.publisher(),
            desk.now(),
        )
        .await
        .unwrap();
    let minted = ask(key.id, &secret, &good).await.unwrap();
    assert!(minted.expires_in <= Duration::from_mins(1));
    let foreign = TestKey::p256();
    for (token, reason) in [
        (sign(&foreign, "nonce", json!("n")), Reason::IssuerToken),
        (sign(&idp, "aud", json!("other")), Reason::IssuerToken),
        (sign(&idp, "exp", json!(now - 60)), Reason::IssuerToken),
        (sign(&idp, "sub", json!("a b")), Reason::IssuerToken),
        (
            sign(&idp, "iss", json!("https://idp.test/")),
            Reason::IssuerUnknown,
        ),
        ("a.b.c".to_owned(), Reason::IssuerUnknown),
    ] {
        let refused = ask(key.id, &secret, &token).await.unwrap_err();
        assert_eq!(refused, reason, "{token}");
    }
    let refused = ask(other.id, &other_secret, &good).await.unwrap_err();
    assert_eq!(refused, Reason::IssuerUnknown);
}

#[tokio::test]
async fn an_app_has_so_many_used_assertions_at_once_and_no_more() {
    let desk = Desk::new().await;
    for number in 0..=100 {
        let mut claims = desk.claims(0);
        claims["jti"] = json!(format!("many {number}"));
        let asked = desk.ask(&desk.sign(&claims)).await;
        let expected = (number == 100).then_some(Reason::TicketLimit);
        assert_eq!(asked.err().map(|refused| refused.reason), expected);
    }
}
