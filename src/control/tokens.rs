//! The token service: it mints an access token that lives for minutes from a Key, or from a certificate of the Key's
//! App.
//!
//! It decides by the snapshot alone. The record gets the exact fault of a client, and the client only its own part: a
//! client that has not proved a Key gets one answer for an unknown, revoked or expired one and for another App's.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::crypto::api_key::{SecretHasher, parse_key};
use crate::crypto::jwt::TokenSigner;
use crate::crypto::random;
use crate::domain::api_key::SecretDigest;
use crate::domain::app::App;
use crate::domain::id::{AppId, KeyId, TokenId};
use crate::domain::identity::CertificateProof;
use crate::domain::reason::Reason;
use crate::domain::scope::ScopeSet;
use crate::domain::snapshot::{KeyEntry, Snapshot};
use crate::domain::time::{Clock, Timestamp};
use crate::domain::token::{Claims, ClientAuthMethod};

/// The lifetimes of tokens.
#[derive(Clone, Debug)]
pub struct TokenSettings {
    pub ttl: Duration,
    /// The lifetime of tokens that are bound to a certificate, and so useless to a thief.
    pub ttl_bound: Duration,
}

/// A request to the token endpoint, and the proof of its connection.
#[derive(Clone, Copy)]
pub struct TokenRequest<'r> {
    pub client_id: &'r str,
    /// The whole key.
    pub secret: Option<&'r str>,
    pub method: ClientAuthMethod,
    pub scope: Option<&'r str>,
    pub certificate: Option<&'r CertificateProof>,
    pub address: IpAddr,
}

/// The request without the secret.
impl std::fmt::Debug for TokenRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenRequest")
            .field("method", &self.method)
            .field("scope", &self.scope)
            .field("certificate", &self.certificate.map(|proof| proof.id))
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// An access token and its description for the client.
#[derive(Clone)]
pub struct MintedToken {
    pub access_token: String,
    pub expires_in: Duration,
    pub scopes: ScopeSet,
    /// True if it is valid only beside the certificate that it was minted with.
    pub bound: bool,
    pub key: KeyId,
    pub app: AppId,
    pub id: TokenId,
}

impl std::fmt::Debug for MintedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MintedToken")
            .field("id", &self.id)
            .field("key", &self.key)
            .field("app", &self.app)
            .field("scopes", &self.scopes)
            .field("bound", &self.bound)
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

/// A refused token: `code`, `shown` and `description` for the client (RFC 6749, 5.2), `reason` for the record only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{description}")]
pub struct TokenError {
    pub code: &'static str,
    pub reason: Reason,
    pub shown: Reason,
    pub description: &'static str,
}

/// The minter of access tokens.
#[derive(Debug)]
pub struct TokenService {
    settings: TokenSettings,
    /// The current signer, replaced by rotations; see [`super::token_keys`].
    signer: Arc<ArcSwap<TokenSigner>>,
    hasher: Arc<SecretHasher>,
    clock: Arc<dyn Clock>,
}

impl TokenService {
    pub fn new(
        settings: TokenSettings,
        signer: Arc<ArcSwap<TokenSigner>>,
        hasher: Arc<SecretHasher>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            settings,
            signer,
            hasher,
            clock,
        }
    }

    /// The `client_credentials` grant. Issuer and audience are the snapshot's, by which tokens are verified.
    pub fn exchange(
        &self,
        snapshot: &Snapshot,
        request: TokenRequest<'_>,
    ) -> Result<MintedToken, TokenError> {
        let now = self.clock.now();
        if !snapshot.catalog.client_auth.allow(request.method) {
            return Err(method_off(request.method));
        }
        let Client { id, key, app } = match request.method {
            ClientAuthMethod::TlsClientAuth => by_certificate(snapshot, &request, now)?,
            ClientAuthMethod::ClientSecretBasic | ClientAuthMethod::ClientSecretPost => {
                self.by_secret(snapshot, &request, now)?
            }
        };
        refuse_foreign_network(key, request.address)?;
        let scopes = granted(key, request.scope)?;
        let issued_at = now.whole_seconds();
        let expires_at = self.end(key, request.certificate, issued_at);
        let claims = Claims {
            issuer: snapshot.catalog.issuer.as_ref().to_owned(),
            audience: snapshot.catalog.issuer.as_ref().to_owned(),
            id: TokenId::from_bits(random::id_bits(now)),
            app: app.id,
            key: id,
            subject: None,
            scopes,
            issued_at,
            expires_at,
            certificate: request.certificate.map(|proof| proof.fingerprint),
        };
        Ok(MintedToken {
            access_token: self.signer.load().sign(&claims),
            expires_in: expires_at.since(issued_at),
            bound: claims.certificate.is_some(),
            key: claims.key,
            app: claims.app,
            id: claims.id,
            scopes: claims.scopes,
        })
    }

    fn by_secret<'s>(
        &self,
        snapshot: &'s Snapshot,
        request: &TokenRequest<'_>,
        now: Timestamp,
    ) -> Result<Client<'s>, TokenError> {
        let Some(secret) = request.secret else {
            return Err(unproved_client(Reason::CredentialMissing));
        };
        let id = request.client_id.parse::<KeyId>().ok();
        let known = id.and_then(|id| Some((id, snapshot.keys.get(&id)?)));
        // The secret is hashed and compared before anything is decided: an unknown Key takes as long as a known one.
        let digest = known.map_or(SecretDigest([0; 32]), |(_, entry)| entry.digest);
        let matches = self.hasher.matches(secret, &digest);
        let named = parse_key(secret).map_err(unproved_client)?;
        let (id, _) = known.ok_or(unproved_client(Reason::KeyUnknown))?;
        if !matches || named != id {
            return Err(unproved_client(Reason::KeyWrong));
        }
        // From here on the client has proved the Key, so it may learn of other faults.
        let (key, app) = snapshot.live_key(id, now).map_err(proved_client)?;
        match request.certificate {
            Some(proof) if proof.app.id != app.id => Err(TokenError {
                code: "invalid_client",
                reason: Reason::AppsDiffer,
                shown: Reason::AppsDiffer,
                description: "the certificate and the key belong to different Apps",
            }),
            _ => Ok(Client { id, key, app }),
        }
    }

    /// The end of a token: no token outlives the credential that it was minted from.
    fn end(
        &self,
        key: &KeyEntry,
        certificate: Option<&CertificateProof>,
        issued_at: Timestamp,
    ) -> Timestamp {
        let ttl = match certificate {
            Some(_) => self.settings.ttl_bound,
            None => self.settings.ttl,
        };
        let certificate_end = certificate.map(|proof| proof.validity.not_after);
        [key.expires_at, certificate_end]
            .into_iter()
            .flatten()
            .fold(issued_at.plus(ttl), Timestamp::min)
            .whole_seconds()
            .max(issued_at)
    }
}

/// The authenticated client: a valid Key, and its App.
struct Client<'s> {
    id: KeyId,
    key: &'s KeyEntry,
    app: &'s Arc<App>,
}

/// Authenticates by a certificate of the Key's own App (RFC 8705, 2): no secret goes over the wire.
///
/// It authenticates no other Key. The id was only named, so the answer does not say if another App has such a Key, nor
/// the state of that App.
fn by_certificate<'s>(
    snapshot: &'s Snapshot,
    request: &TokenRequest<'_>,
    now: Timestamp,
) -> Result<Client<'s>, TokenError> {
    if request.secret.is_some() {
        return Err(TokenError {
            code: "invalid_request",
            reason: Reason::InputInvalid,
            shown: Reason::InputInvalid,
            description: "a client authenticates in one way, by its secret or by its certificate",
        });
    }
    let proof = request
        .certificate
        .ok_or(unproved_client(Reason::CertMissing))?;
    let id = request.client_id.parse::<KeyId>().ok();
    let id = id.ok_or(unproved_client(Reason::KeyMalformed))?;
    let (key, app) = snapshot.live_key(id, now).map_err(unproved_client)?;
    if proof.app.id != app.id {
        return Err(unproved_client(Reason::AppsDiffer));
    }
    Ok(Client { id, key, app })
}

/// A method that the configuration leaves out. Nothing of the client has been checked.
const fn method_off(method: ClientAuthMethod) -> TokenError {
    let (reason, description) = match method {
        ClientAuthMethod::ClientSecretBasic => (
            Reason::InputInvalid,
            "client_secret_basic is not accepted here: send client_id and client_secret in the body",
        ),
        ClientAuthMethod::ClientSecretPost => (
            Reason::InputInvalid,
            "client_secret_post is not accepted here: send id and secret in the Authorization field",
        ),
        ClientAuthMethod::TlsClientAuth => (
            Reason::CredentialMissing,
            "a certificate alone (tls_client_auth) is not accepted here: send the client's secret, too",
        ),
    };
    TokenError {
        code: "invalid_client",
        reason,
        shown: reason,
        description,
    }
}

fn refuse_foreign_network(key: &KeyEntry, address: IpAddr) -> Result<(), TokenError> {
    // An IPv4 caller may arrive on a socket for both families.
    let address = address.to_canonical();
    if key.networks.is_empty() || key.networks.iter().any(|net| net.contains(&address)) {
        return Ok(());
    }
    Err(TokenError {
        code: "unauthorized_client",
        reason: Reason::KeyNetwork,
        shown: Reason::KeyNetwork,
        description: "the key may not be used from this address",
    })
}

/// The requested scopes, if the key has them all; all scopes of the key when none are requested.
fn granted(key: &KeyEntry, asked: Option<&str>) -> Result<ScopeSet, TokenError> {
    // A parameter without a value is treated as absent (RFC 6749, 3.1).
    let Some(asked) = asked.filter(|asked| !asked.is_empty()) else {
        return Ok(key.scopes.clone());
    };
    let refused = TokenError {
        code: "invalid_scope",
        reason: Reason::ScopeInvalid,
        shown: Reason::ScopeInvalid,
        description: "the requested scope is malformed, or exceeds the scopes of the key",
    };
    let asked: ScopeSet = asked.parse().ok().ok_or(refused)?;
    if key.scopes.covers(&asked) {
        Ok(asked)
    } else {
        Err(refused)
    }
}

/// The one answer for every client that did not authenticate; only a client that sent no credential learns that. The
/// reason is for the record.
const fn unproved_client(reason: Reason) -> TokenError {
    TokenError {
        shown: match reason {
            Reason::CertMissing | Reason::CredentialMissing => reason,
            _ => Reason::CredentialInvalid,
        },
        ..proved_client(reason)
    }
}

/// The answer for a client that has proved its Key, while the Key or its App is not valid.
const fn proved_client(reason: Reason) -> TokenError {
    TokenError {
        code: "invalid_client",
        reason,
        shown: reason.shown(),
        description: "the client is not known, or did not prove itself",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::keys::NewKey;
    use crate::control::testing::{ACTOR, CSR, Fixture, OTHER_CSR, new_key};
    use crate::crypto::api_key::generate_key;
    use crate::crypto::jwt;
    use crate::domain::api_key::{ApiKey, Environment};
    use crate::domain::credential::RevocationReason;
    use crate::domain::secret::Secret;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const TTL: Duration = Duration::from_mins(15);
    const TTL_BOUND: Duration = Duration::from_hours(1);

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
            let settings = TokenSettings {
                ttl: TTL,
                ttl_bound: TTL_BOUND,
            };
            let hasher = fixture.hasher.clone();
            let service = TokenService::new(
                settings,
                Arc::new(ArcSwap::new(signer.clone())),
                hasher,
                fixture.clock.clone(),
            );
            Self {
                fixture,
                service,
                signer,
            }
        }

        fn exchange(&self, request: TokenRequest<'_>) -> Result<MintedToken, TokenError> {
            self.service.exchange(&self.fixture.snapshot(), request)
        }

        /// By the key's own id and secret, over a connection without a certificate.
        fn by_secret(&self, id: &str, secret: &Secret) -> Result<MintedToken, TokenError> {
            self.exchange(TokenRequest {
                client_id: id,
                secret: Some(secret.expose()),
                ..nothing()
            })
        }

        fn claims(&self, token: &MintedToken) -> Claims {
            let keys = [self.signer.verification_key()];
            let now = self.fixture.clock.now();
            jwt::verify(&token.access_token, &keys, "https://gateway.test", now).unwrap()
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

    fn nothing() -> TokenRequest<'static> {
        TokenRequest {
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
        let token = desk.by_secret(&key.id.to_string(), &secret).unwrap();
        assert_eq!((token.expires_in, token.bound), (TTL, false));
        assert_eq!((token.key, token.app), (key.id, key.app));
        let claims = desk.claims(&token);
        assert_eq!(
            (claims.key, claims.app, claims.id),
            (key.id, key.app, token.id)
        );
        assert_eq!(claims.scopes, key.scopes);
        assert_eq!(claims.certificate, None);
        assert_eq!(claims.expires_at.since(claims.issued_at), TTL);
        assert!(!format!("{token:?}").contains(&token.access_token));
        let request = TokenRequest {
            secret: Some(secret.expose()),
            ..nothing()
        };
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
        let unknown = generate_key(unknown_id, Environment::Live);
        let wrong = generate_key(good.id, Environment::Live);
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
            let refused = desk.by_secret(&id, secret).unwrap_err();
            assert_eq!(refused, unproved_client(reason));
            assert_eq!(refused.shown, Reason::CredentialInvalid);
        }
        // This client has proved its key, and may learn the reason why it is not valid now.
        let refused = desk.by_secret(&text(&asleep), &asleep_secret).unwrap_err();
        assert_eq!(refused, proved_client(Reason::AppSuspended));
        assert_eq!(refused.shown, Reason::AppSuspended);
        let silent = desk.exchange(TokenRequest {
            client_id: &text(&good),
            ..nothing()
        });
        assert_eq!(
            silent.unwrap_err(),
            unproved_client(Reason::CredentialMissing)
        );
        assert!(desk.by_secret(&text(&good), &good_secret).is_ok());
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
            let minted = desk.exchange(TokenRequest {
                client_id: &id,
                secret: Some(secret.expose()),
                scope: asked,
                ..nothing()
            });
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
        let ask = |certificate| TokenRequest {
            client_id: &id,
            secret: Some(secret.expose()),
            certificate: Some(certificate),
            ..nothing()
        };
        let token = desk.exchange(ask(&own)).unwrap();
        assert_eq!((token.expires_in, token.bound), (TTL_BOUND, true));
        assert_eq!(desk.claims(&token).certificate, Some(own.fingerprint));
        let refused = desk.exchange(ask(&foreign)).unwrap_err();
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
        let ask = |certificate| TokenRequest {
            client_id: &id,
            method: ClientAuthMethod::TlsClientAuth,
            certificate,
            ..nothing()
        };
        let token = desk.exchange(ask(Some(&own))).unwrap();
        assert!(token.bound);
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
                TokenRequest {
                    client_id: &asleep.id.to_string(),
                    ..ask(Some(&own))
                },
                Reason::AppSuspended,
                Reason::CredentialInvalid,
            ),
            (ask(None), Reason::CertMissing, Reason::CertMissing),
            (
                TokenRequest {
                    client_id: &unknown,
                    ..ask(Some(&own))
                },
                Reason::KeyUnknown,
                Reason::CredentialInvalid,
            ),
            (
                TokenRequest {
                    client_id: "acme",
                    ..ask(Some(&own))
                },
                Reason::KeyMalformed,
                Reason::CredentialInvalid,
            ),
        ] {
            let refused = desk.exchange(request).unwrap_err();
            assert_eq!(refused, unproved_client(reason));
            assert_eq!(refused.shown, shown, "{reason}");
        }
        let both = desk.exchange(TokenRequest {
            secret: Some(secret.expose()),
            ..ask(Some(&own))
        });
        assert_eq!(both.unwrap_err().code, "invalid_request");

        let reason = RevocationReason::default();
        let control = &desk.fixture.control;
        control.revoke_key(&ACTOR, key.id, reason).await.unwrap();
        let refused = desk.exchange(ask(Some(&own))).unwrap_err();
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
            let minted = desk.exchange(TokenRequest {
                client_id: &id,
                secret: Some(secret.expose()),
                address: address.parse().unwrap(),
                ..nothing()
            });
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
        let token = desk.by_secret(&key.id.to_string(), &secret).unwrap();
        assert_eq!(token.expires_in, Duration::from_mins(5));
        assert_eq!(Some(desk.claims(&token).expires_at), key.expires_at);
    }
}
