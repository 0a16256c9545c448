//! A client with a key of its own, which proves it with DPoP (RFC 9449) and signs assertions with it (RFC 7523).

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use super::client::{Answer, Partner};

/// A holder of a key on P-256.
pub struct Prover {
    pair: EcdsaKeyPair,
    made: AtomicU32,
}

impl Prover {
    pub fn new() -> Self {
        Self {
            pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            made: AtomicU32::new(0),
        }
    }

    pub fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let text = |octets: &[u8]| BASE64URL_NOPAD.encode(octets);
        json!({"kty": "EC", "crv": "P-256", "x": text(x), "y": text(y)})
    }

    pub fn header(&self) -> Value {
        json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk()})
    }

    /// The claims of a new proof.
    pub fn claims(&self, method: &str, target: &str) -> Value {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        #[expect(clippy::disallowed_methods, reason = "a client has a clock of its own")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        json!({"jti": format!("j{number}"), "htm": method, "htu": target, "iat": now.as_secs()})
    }

    /// The public half as a JWK set, for the settings of an App.
    pub fn jwks(&self) -> String {
        let mut jwk = self.jwk();
        jwk["kid"] = "k".into();
        json!({"keys": [jwk]}).to_string()
    }

    /// The claims of a new assertion of this client.
    pub fn assertion_claims(&self, client: &str, audience: &str) -> Value {
        let mut claims = self.claims("", "");
        let now = claims["iat"].as_u64().unwrap();
        claims["iss"] = client.into();
        claims["sub"] = client.into();
        claims["aud"] = audience.into();
        claims["exp"] = (now + 60).into();
        claims
    }

    pub fn assertion(&self, client: &str, audience: &str) -> String {
        let header = json!({"alg": "ES256", "kid": "k", "typ": "JWT"});
        self.seal(&header, &self.assertion_claims(client, audience))
    }

    pub fn seal(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let content = format!("{}.{}", part(header), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), content.as_bytes());
        let signature = BASE64URL_NOPAD.encode(signature.unwrap().as_ref());
        format!("{content}.{signature}")
    }

    pub fn prove(&self, method: &str, target: &str, token: Option<&str>) -> String {
        self.prove_with(method, target, token, None)
    }

    pub fn prove_with(
        &self,
        method: &str,
        target: &str,
        token: Option<&str>,
        nonce: Option<&str>,
    ) -> String {
        let mut claims = self.claims(method, target);
        if let Some(token) = token {
            claims["ath"] = ath(token).into();
        }
        if let Some(nonce) = nonce {
            claims["nonce"] = nonce.into();
        }
        self.seal(&self.header(), &claims)
    }
}

/// `ath` of a token.
pub fn ath(token: &str) -> String {
    BASE64URL_NOPAD.encode(digest(&SHA256, token.as_bytes()).as_ref())
}

/// A call with a token that is bound to a key, and this proof.
pub fn call(partner: &Partner, path: &str, token: &str, proof: &str) -> Answer {
    let authorization = format!("DPoP {token}");
    partner.get_with(path, &[("Authorization", &authorization), ("DPoP", proof)])
}
