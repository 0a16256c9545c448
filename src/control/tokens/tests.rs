//! Tokens as clients get them, and the one answer for those that do not.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::error::{TokenError, proved_client, unproved_client};
use super::mint::{Bound, MintedToken};
use super::request::{ClientProof, Grant, TokenRequest};
use super::service::TokenService;
use crate::control::keys::NewKey;
use crate::control::testing::{ACTOR, CSR, Fixture, OTHER_CSR, new_key};
use crate::control::testing_edges::token_service_by;
use crate::crypto::api_key::generate_key;
use crate::crypto::jwt::{self, TokenSigner};
use crate::domain::api_key::{ApiKey, Environment, KeyKind};
use crate::domain::credential::RevocationReason;
use crate::domain::id::KeyId;
use crate::domain::identity::CertificateProof;
use crate::domain::reason::Reason;
use crate::domain::secret::Secret;
use crate::domain::time::Clock;
use crate::domain::token::{Claims, ClientAuthMethod};

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const TTL: Duration = Duration::from_mins(15);
const TTL_BOUND: Duration = Duration::from_hours(1);

/// A request for the client credentials grant, flat.
struct Ask<'r> {
    client_id: &'r str,
    secret: Option<&'r str>,
    method: ClientAuthMethod,
    scope: Option<&'r str>,
    certificate: Option<&'r CertificateProof>,
    address: IpAddr,
}

impl<'r> Ask<'r> {
    fn request(self) -> TokenRequest<'r> {
        TokenRequest {
            proof: None,
            client: ClientProof {
                client_id: self.client_id,
                secret: self.secret,
                assertion: None,
                method: self.method,
                certificate: self.certificate,
                address: self.address,
                origin: None,
            },
            grant: Grant::ClientCredentials,
            scope: self.scope,
        }
    }
}

struct Desk {
    fixture: Fixture,
    service: TokenService,
    signer: Arc<TokenSigner>,
}

impl Desk {
    async fn new() -> Self {
        let fixture = Fixture::new().await;
        for app in ["acme", "other"] {
            fixture.app(app).await;
        }
        let signer = Arc::new(TokenSigner::load(&TokenSigner::generate()).unwrap());
        let service = token_service_by(&fixture, Arc::clone(&signer));
        Self {
            fixture,
            service,
            signer,
        }
    }

    async fn exchange(&self, ask: Ask<'_>) -> Result<MintedToken, TokenError> {
        let snapshot = self.fixture.snapshot();
        self.service.grant(&snapshot, &ask.request()).await
    }

    /// By the key's own id and secret, over a connection without a certificate.
    async fn by_secret(&self, id: &str, secret: &Secret) -> Result<MintedToken, TokenError> {
        self.exchange(Ask {
            client_id: id,
            secret: Some(secret.expose()),
            ..nothing()
        })
        .await
    }

    fn claims(&self, token: &MintedToken) -> Claims {
        let keys = [self.signer.verification_key()];
        let now = self.fixture.clock.now();
        jwt::verify(token.token.expose(), &keys, "https://gateway.test", now).unwrap()
    }

    async fn certificate(&self, app: &str, csr: &str) -> CertificateProof {
        let signed = self.fixture.sign(app, "prod", csr).await.unwrap().value;
        let certificate = signed.certificate;
        let now = self.fixture.clock.now();
        let snapshot = self.fixture.snapshot();
        snapshot
            .judge(&certificate.fingerprint, &certificate.validity, now)
            .unwrap()
    }
}

fn nothing() -> Ask<'static> {
    Ask {
        client_id: "",
        secret: None,
        method: ClientAuthMethod::ClientSecretBasic,
        scope: None,
        certificate: None,
        address: ADDRESS,
    }
}

#[tokio::test]
async fn a_key_becomes_a_token_that_names_it() {
    let desk = Desk::new().await;
    let (key, secret) = desk.fixture.key("acme", "a b").await;
    let token = desk.by_secret(&key.id.to_string(), &secret).await.unwrap();
    assert_eq!((token.expires_in, token.bound), (TTL, Bound::Nothing));
    assert_eq!((token.key, token.app), (key.id, key.app));
    let claims = desk.claims(&token);
    assert_eq!(
        (claims.key, claims.app, Some(claims.id)),
        (key.id, key.app, token.id)
    );
    assert_eq!(claims.scopes, key.scopes);
    assert_eq!(claims.certificate, None);
    assert_eq!(claims.expires_at.since(claims.issued_at), TTL);
    assert!(!format!("{token:?}").contains(token.token.expose()));
    let request = Ask {
        secret: Some(secret.expose()),
        ..nothing()
    }
    .request();
    assert!(!format!("{request:?}").contains(secret.expose()));
}

#[tokio::test]
async fn clients_that_do_not_prove_themselves_look_alike_and_the_record_tells_them_apart() {
    let desk = Desk::new().await;
    let control = &desk.fixture.control;
    let (good, good_secret) = desk.fixture.key("acme", "").await;
    let (revoked, revoked_secret) = desk.fixture.key("acme", "").await;
    let (asleep, asleep_secret) = desk.fixture.key("other", "").await;
    let short = NewKey {
        expires_in: Some(Duration::from_secs(10)),
        ..new_key("acme", "")
    };
    let (expired, expired_secret) = control.create_key(&ACTOR, short).await.unwrap().value;
    let reason = RevocationReason::default();
    control
        .revoke_key(&ACTOR, revoked.id, reason)
        .await
        .unwrap();
    control.suspend_app(&ACTOR, "other").await.unwrap();
    desk.fixture.clock.advance(Duration::from_secs(11));
    let unknown_id = KeyId::from_bits(5);
    let unknown = generate_key(unknown_id, KeyKind::Secret, Environment::Live);
    let wrong = generate_key(good.id, KeyKind::Secret, Environment::Live);
    let garbled = Secret::new("hunter2".to_owned());
    let text = |key: &ApiKey| key.id.to_string();
    for (id, secret, reason) in [
        (text(&good), &wrong, Reason::KeyWrong),
        (text(&good), &revoked_secret, Reason::KeyWrong),
        (text(&good), &garbled, Reason::KeyMalformed),
        ("nonsense".to_owned(), &good_secret, Reason::KeyUnknown),
        (unknown_id.to_string(), &unknown, Reason::KeyUnknown),
        (text(&revoked), &revoked_secret, Reason::KeyRevoked),
        (text(&expired), &expired_secret, Reason::KeyExpired),
    ] {
        let refused = desk.by_secret(&id, secret).await.unwrap_err();
        assert_eq!(refused, unproved_client(reason));
        assert_eq!(refused.shown, Reason::CredentialInvalid);
    }
    // This client has proved its key, and may learn the reason why it is not valid now.
    let refused = desk
        .by_secret(&text(&asleep), &asleep_secret)
        .await
        .unwrap_err();
    assert_eq!(refused, proved_client(Reason::AppSuspended));
    assert_eq!(refused.shown, Reason::AppSuspended);
    let silent = desk
        .exchange(Ask {
            client_id: &text(&good),
            ..nothing()
        })
        .await;
    assert_eq!(
        silent.unwrap_err(),
        unproved_client(Reason::CredentialMissing)
    );
    assert!(desk.by_secret(&text(&good), &good_secret).await.is_ok());
}

#[tokio::test]
async fn scopes_are_a_subset_of_the_keys() {
    let desk = Desk::new().await;
    let (key, secret) = desk.fixture.key("acme", "a b c").await;
    let id = key.id.to_string();
    for (asked, granted) in [
        (None, Some("a b c")),
        (Some(""), Some("a b c")),
        (Some("c a"), Some("a c")),
        (Some("a d"), None),
        (Some("\""), None),
    ] {
        let minted = desk
            .exchange(Ask {
                client_id: &id,
                secret: Some(secret.expose()),
                scope: asked,
                ..nothing()
            })
            .await;
        let minted = minted.map(|token| token.scopes.to_string());
        let expected = granted.map(str::to_owned).ok_or(Reason::ScopeInvalid);
        assert_eq!(minted.map_err(|refused| refused.reason), expected);
    }
}

#[tokio::test]
async fn a_token_minted_over_mtls_is_bound_to_a_certificate_of_the_same_app_only() {
    let desk = Desk::new().await;
    let (key, secret) = desk.fixture.key("acme", "").await;
    let own = desk.certificate("acme", CSR).await;
    let foreign = desk.certificate("other", OTHER_CSR).await;
    let id = key.id.to_string();
    let ask = |certificate| Ask {
        client_id: &id,
        secret: Some(secret.expose()),
        certificate: Some(certificate),
        ..nothing()
    };
    let token = desk.exchange(ask(&own)).await.unwrap();
    assert_eq!(
        (token.expires_in, token.bound),
        (TTL_BOUND, Bound::Certificate)
    );
    assert_eq!(desk.claims(&token).certificate, Some(own.fingerprint));
    let refused = desk.exchange(ask(&foreign)).await.unwrap_err();
    assert_eq!(refused.reason, Reason::AppsDiffer);
    assert_eq!(refused.code, "invalid_client");
}

#[tokio::test]
async fn a_certificate_of_the_keys_app_speaks_for_the_key() {
    let desk = Desk::new().await;
    let (key, secret) = desk.fixture.key("acme", "a").await;
    let own = desk.certificate("acme", CSR).await;
    let foreign = desk.certificate("other", OTHER_CSR).await;
    desk.fixture.app("third").await;
    let (asleep, _) = desk.fixture.key("third", "").await;
    let id = key.id.to_string();
    let ask = |certificate| Ask {
        client_id: &id,
        method: ClientAuthMethod::TlsClientAuth,
        certificate,
        ..nothing()
    };
    let token = desk.exchange(ask(Some(&own))).await.unwrap();
    assert_eq!(token.bound, Bound::Certificate);
    assert_eq!(token.key, key.id);
    assert_eq!(desk.claims(&token).certificate, Some(own.fingerprint));

    let unknown = KeyId::from_bits(5).to_string();
    desk.fixture
        .control
        .suspend_app(&ACTOR, "third")
        .await
        .unwrap();
    for (request, reason, shown) in [
        (
            ask(Some(&foreign)),
            Reason::AppsDiffer,
            Reason::CredentialInvalid,
        ),
        (
            Ask {
                client_id: &asleep.id.to_string(),
                ..ask(Some(&own))
            },
            Reason::AppSuspended,
            Reason::CredentialInvalid,
        ),
        (ask(None), Reason::CertMissing, Reason::CertMissing),
        (
            Ask {
                client_id: &unknown,
                ..ask(Some(&own))
            },
            Reason::KeyUnknown,
            Reason::CredentialInvalid,
        ),
        (
            Ask {
                client_id: "acme",
                ..ask(Some(&own))
            },
            Reason::KeyMalformed,
            Reason::CredentialInvalid,
        ),
    ] {
        let refused = desk.exchange(request).await.unwrap_err();
        assert_eq!(refused, unproved_client(reason));
        assert_eq!(refused.shown, shown, "{reason}");
    }
    let both = desk
        .exchange(Ask {
            secret: Some(secret.expose()),
            ..ask(Some(&own))
        })
        .await;
    assert_eq!(both.unwrap_err().code, "invalid_request");

    let reason = RevocationReason::default();
    let control = &desk.fixture.control;
    control.revoke_key(&ACTOR, key.id, reason).await.unwrap();
    let refused = desk.exchange(ask(Some(&own))).await.unwrap_err();
    assert_eq!(refused, unproved_client(Reason::KeyRevoked));
}

#[tokio::test]
async fn a_key_works_from_its_networks_only() {
    let desk = Desk::new().await;
    let new = NewKey {
        networks: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
        ..new_key("acme", "")
    };
    let created = desk.fixture.control.create_key(&ACTOR, new).await;
    let (key, secret) = created.unwrap().value;
    let id = key.id.to_string();
    for (address, allowed) in [
        ("10.1.2.3", true),
        ("::ffff:10.1.2.3", true),
        ("fd00::1", true),
        ("11.1.2.3", false),
        ("::1", false),
    ] {
        let minted = desk
            .exchange(Ask {
                client_id: &id,
                secret: Some(secret.expose()),
                address: address.parse().unwrap(),
                ..nothing()
            })
            .await;
        let expected = (!allowed).then_some(Reason::KeyNetwork);
        assert_eq!(
            minted.err().map(|error| error.reason),
            expected,
            "{address}"
        );
    }
}

#[tokio::test]
async fn no_token_outlives_its_key() {
    let desk = Desk::new().await;
    let new = NewKey {
        expires_in: Some(Duration::from_mins(5)),
        ..new_key("acme", "")
    };
    let created = desk.fixture.control.create_key(&ACTOR, new).await;
    let (key, secret) = created.unwrap().value;
    let token = desk.by_secret(&key.id.to_string(), &secret).await.unwrap();
    assert_eq!(token.expires_in, Duration::from_mins(5));
    assert_eq!(Some(desk.claims(&token).expires_at), key.expires_at);
}
