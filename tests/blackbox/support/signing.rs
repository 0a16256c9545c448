//! The partner's side of signed requests (RFC 9421), written apart from the gateway's.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use aws_lc_rs::{digest, hmac};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Value, json};

use super::gateway::HOST;

/// Whatever signs.
pub enum Signer {
    Text(String),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    pub fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Text(text) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes());
                hmac::sign(&key, message).as_ref().to_vec()
            }
            Self::P256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message).unwrap();
                signature.as_ref().to_vec()
            }
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// The public half, for the App.
    pub fn jwk(&self, kid: &str) -> Value {
        let text = |octets: &[u8]| BASE64URL_NOPAD.encode(octets);
        match self {
            Self::Text(_) => panic!("a text has no public half"),
            Self::P256(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": text(&point[1..33]), "y": text(&point[33..])})
            }
            Self::Ed25519(pair) => {
                let x = text(pair.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x})
            }
        }
    }
}

/// A request that is to be signed.
#[derive(Clone)]
pub struct Unsigned {
    pub method: &'static str,
    pub target: String,
    pub body: Vec<u8>,
    /// What is covered, besides the digest of a body.
    pub components: Vec<&'static str>,
    /// The seconds that the partner's clock is ahead.
    pub ahead: i64,
    /// More parameters of the signature.
    pub params: String,
}

impl Unsigned {
    pub fn get(target: &str) -> Self {
        Self {
            method: "GET",
            target: target.to_owned(),
            body: Vec::new(),
            components: vec!["@method", "@target-uri"],
            ahead: 0,
            params: format!(";nonce=\"{}\"", nonce()),
        }
    }

    pub fn post(target: &str, body: &[u8]) -> Self {
        Self {
            method: "POST",
            body: body.to_vec(),
            ..Self::get(target)
        }
    }

    /// The fields of the signed request.
    pub fn sign(&self, signer: &Signer, keyid: &str) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        let mut components = self.components.clone();
        if !self.body.is_empty() {
            let digest = digest::digest(&digest::SHA256, &self.body);
            let digest = format!("sha-256=:{}:", BASE64.encode(digest.as_ref()));
            fields.push(("Content-Digest".to_owned(), digest));
            components.push("content-digest");
        }
        let listed: Vec<_> = components
            .iter()
            .map(|name| format!("\"{name}\""))
            .collect();
        let created = now() + self.ahead;
        let params = format!(
            "({});created={created};keyid=\"{keyid}\"{}",
            listed.join(" "),
            self.params
        );
        let mut base = String::new();
        for name in &components {
            let _ = writeln!(base, "\"{name}\": {}", self.value(name, &fields));
        }
        let _ = write!(base, "\"@signature-params\": {params}");
        let signature = BASE64.encode(&signer.sign(base.as_bytes()));
        fields.push(("Signature-Input".to_owned(), format!("sig={params}")));
        fields.push(("Signature".to_owned(), format!("sig=:{signature}:")));
        fields
    }

    fn value(&self, name: &str, fields: &[(String, String)]) -> String {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        match name {
            "@method" => self.method.to_owned(),
            "@authority" => HOST.to_owned(),
            "@target-uri" => format!("https://{HOST}{}", self.target),
            "@path" => path.to_owned(),
            "@query" => format!("?{query}"),
            name => {
                let mut named = fields.iter();
                let found = named.find(|(known, _)| known.eq_ignore_ascii_case(name));
                found.unwrap().1.clone()
            }
        }
    }
}

/// Fields as a client takes them.
pub fn borrowed(fields: &[(String, String)]) -> Vec<(&str, &str)> {
    fields
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect()
}

fn now() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "the partner's clock")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

fn nonce() -> String {
    let mut octets = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut octets).unwrap();
    BASE64URL_NOPAD.encode(&octets)
}
