//! The parts that tests of the edges need beside [`super::testing`]: a token service, and a server with a certificate
//! of today.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::testing::Fixture;
use super::tokens::service::{TokenService, TokenSettings};
use crate::crypto::authority::Authority;
use crate::crypto::jwt::TokenSigner;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;

/// A token service with the fixture's own hasher and clock, and the defaults of the configuration.
pub fn token_service(fixture: &Fixture) -> TokenService {
    let settings = TokenSettings {
        ttl: Duration::from_mins(15),
        ttl_bound: Duration::from_hours(1),
    };
    let signer = TokenSigner::load(&TokenSigner::generate()).unwrap();
    let signer = Arc::new(ArcSwap::from_pointee(signer));
    let (hasher, clock) = (fixture.hasher.clone(), fixture.clock.clone());
    TokenService::new(settings, signer, hasher, clock)
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
