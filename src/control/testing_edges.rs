//! The parts that tests of the edges need beside [`super::testing`]: a token service, and a server with a certificate
//! of today.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::testing::Fixture;
use super::tokens::service::{TokenParts, TokenService, TokenSettings};
use crate::crypto::access_token::AccessTokens;
use crate::crypto::authority::Authority;
use crate::crypto::dpop::proofs::Proofs;
use crate::crypto::jwt::TokenSigner;
use crate::domain::registry::sessions::SessionsMax;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;

/// A token service with the fixture's own hasher and clock, and the defaults of the configuration.
pub fn token_service(fixture: &Fixture) -> TokenService {
    let signer = TokenSigner::load(&TokenSigner::generate()).unwrap();
    token_service_by(fixture, Arc::new(signer))
}

/// The same service, which signs with this key.
pub fn token_service_by(fixture: &Fixture, signer: Arc<TokenSigner>) -> TokenService {
    token_service_for(fixture, signer, Duration::from_hours(24 * 30))
}

/// The same service, whose sessions live for `session_ttl` after a refresh.
pub fn token_service_for(
    fixture: &Fixture,
    signer: Arc<TokenSigner>,
    session_ttl: Duration,
) -> TokenService {
    let day = Duration::from_hours(24);
    let settings = TokenSettings {
        ttl: Duration::from_mins(15),
        ttl_bound: Duration::from_hours(1),
        auth_token_ttl: Duration::from_mins(10),
        session_ttl,
        refresh_ttl: day * 90,
        sessions_max: SessionsMax {
            per_user: 20,
            per_app: 1000,
        },
        tickets_max: 100,
    };
    TokenService::new(TokenParts {
        settings,
        signer: Arc::new(ArcSwap::new(signer)),
        hasher: fixture.hasher.clone(),
        clock: fixture.clock.clone(),
        tickets: fixture.store.clone(),
        published: Arc::clone(fixture.control.published()),
        sessions: fixture.store.clone(),
        publisher: fixture.control.publisher().clone(),
        proofs: Proofs::sample(),
        access_tokens: AccessTokens::sample(),
    })
}

/// A server's certificate, which TLS clients check by the real time, and its authority.
#[expect(clippy::struct_field_names, reason = "all three are texts in PEM")]
#[derive(Debug)]
pub struct Server {
    pub ca_pem: String,
    pub chain_pem: String,
    pub key_pem: Secret,
}

impl Server {
    pub fn new(host: &str, now: Timestamp) -> Self {
        let made = Authority::generate("Test", now).unwrap();
        let (cert, key) = (&made.issuing_cert_pem, &made.issuing_key_pem);
        let authority = Authority::load(cert, key, &made.root_cert_pem, now).unwrap();
        let (chain_pem, key_pem) = authority.issue_server(&[host.to_owned()], now).unwrap();
        Self {
            ca_pem: authority.ca_pem().to_owned(),
            chain_pem,
            key_pem,
        }
    }
}
