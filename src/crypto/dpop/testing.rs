//! A client that makes proofs, for tests.

use std::cell::Cell;

use data_encoding::BASE64URL_NOPAD;
use serde_json::json;

use crate::crypto::jwk::{Algorithm, Jwk};
use crate::crypto::jwk_testing::TestKey;
use crate::domain::thumbprint::Thumbprint;
use crate::domain::time::Timestamp;

/// A holder of a key.
pub struct Prover {
    key: TestKey,
    made: Cell<u32>,
}

impl Prover {
    pub fn new() -> Self {
        Self {
            key: TestKey::p256(),
            made: Cell::new(0),
        }
    }

    pub fn thumbprint(&self) -> Thumbprint {
        Jwk::read(&self.key.jwk("k")).unwrap().thumbprint()
    }

    /// A proof with a `jti` of its own, for the token with this digest.
    pub fn prove(
        &self,
        method: &str,
        target: &str,
        now: Timestamp,
        token: Option<&[u8; 32]>,
        nonce: Option<&str>,
    ) -> String {
        self.made.set(self.made.get() + 1);
        let mut claims = json!({
            "jti": format!("proof {}", self.made.get()),
            "htm": method,
            "htu": target,
            "iat": now.unix_seconds(),
        });
        if let Some(token) = token {
            claims["ath"] = BASE64URL_NOPAD.encode(token).into();
        }
        if let Some(nonce) = nonce {
            claims["nonce"] = nonce.into();
        }
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.key.jwk("k")});
        let (header, claims) = (header.to_string(), claims.to_string());
        self.key.seal(Algorithm::Es256, &header, &claims)
    }
}
