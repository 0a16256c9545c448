//! Callers for this folder's tests: their proofs, and their identity headers.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::caller::{self, HeaderInputs};
use super::fields::Omitted;
use crate::crypto::certificate_details::Issuers;
use crate::crypto::x509::{self, Leaf};
use crate::domain::app::App;
use crate::domain::certificate::Fingerprint;
use crate::domain::id::{AppId, CertificateId, KeyId, TokenId};
use crate::domain::identity::{Bearer, CertificateProof, Identity, KeyFacts};
use crate::domain::identity_headers::{IdentityHeaders, Preset};
use crate::domain::time::Timestamp;
use crate::domain::token::Claims;

/// A partner's certificate, one whose names are meant to be misread, and the issuer of both.
const PARTNER: &str = include_str!("testdata/partner.pem");
const HOSTILE: &str = include_str!("testdata/hostile.pem");
const ISSUING: &str = include_str!("testdata/issuing.pem");

/// A caller of the App `acme`, with a certificate unless it is taken away.
#[derive(Debug)]
pub struct Scene {
    pem: &'static str,
    leaf: Leaf,
    issuing: Vec<u8>,
    proved: bool,
    bearer: Option<Bearer>,
}

/// The identity headers of an upstream.
#[derive(Debug)]
pub struct Headers {
    list: Vec<(HeaderName, HeaderValue)>,
    pub omitted: Option<Omitted>,
}

impl Scene {
    pub fn new() -> Self {
        Self::of(PARTNER)
    }

    /// A certificate whose names hold separators, quotation marks, ends of lines, NUL and letters beyond ASCII.
    pub fn hostile() -> Self {
        Self::of(HOSTILE)
    }

    fn of(pem: &'static str) -> Self {
        let der = x509::pem_to_der(pem).unwrap();
        let mut leaf = x509::read_leaf(&der).unwrap();
        leaf.der = Some(der.as_ref().into());
        Self {
            pem,
            leaf,
            issuing: x509::pem_to_der(ISSUING).unwrap().to_vec(),
            proved: true,
            bearer: None,
        }
    }

    /// The same caller with an access token for this user, or for none.
    pub fn with_token(mut self, user: Option<&str>) -> Self {
        let claims = Claims {
            issuer: "https://a.test".to_owned(),
            audience: "https://a.test".to_owned(),
            id: TokenId::from_bits(4),
            app: AppId::from_bits(1),
            key: KeyId::from_bits(3),
            subject: user.map(|user| user.parse().unwrap()),
            scopes: "orders:read".parse().unwrap(),
            issued_at: Timestamp::from_unix_seconds(0),
            expires_at: Timestamp::MAX,
            certificate: None,
            proof_key: None,
            session: None,
        };
        self.bearer = Some(Bearer::Token {
            app: app(),
            claims: Arc::new(claims),
            facts: KeyFacts::default(),
        });
        self
    }

    /// The same caller, whose connection showed a certificate that the identity does not rest on.
    pub fn without_certificate(mut self) -> Self {
        self.proved = false;
        self.bearer.get_or_insert_with(|| Bearer::Key {
            id: KeyId::from_bits(3),
            app: app(),
            scopes: "orders:read".parse().unwrap(),
            facts: KeyFacts::default(),
        });
        self
    }

    /// The same caller, whose connection did not keep its certificate.
    pub fn not_kept(mut self) -> Self {
        self.leaf.der = None;
        self
    }

    pub fn identity(&self) -> Identity {
        let proof = CertificateProof {
            id: CertificateId::from_bits(2),
            app: app(),
            fingerprint: self.leaf.fingerprint,
            serial: self.leaf.serial,
            validity: self.leaf.validity,
        };
        let proof = self.proved.then_some(&proof);
        Identity::of(proof, self.bearer.as_ref()).unwrap().unwrap()
    }

    pub fn headers(&self, wanted: &IdentityHeaders) -> Headers {
        let (list, omitted) = caller::fields(HeaderInputs {
            identity: &self.identity(),
            leaf: Some(&self.leaf),
            issuers: &Issuers::new(vec![self.issuing.clone()]),
            wanted,
        });
        Headers { list, omitted }
    }

    pub fn fingerprint(&self) -> Fingerprint {
        self.leaf.fingerprint
    }

    pub fn der(&self) -> &[u8] {
        self.leaf.der.as_deref().unwrap()
    }

    pub fn pem(&self) -> String {
        self.pem.to_owned()
    }

    pub fn issuer(&self) -> &[u8] {
        &self.issuing
    }
}

impl Headers {
    pub fn text(&self) -> Vec<String> {
        let list = self.list.iter();
        list.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect()
    }

    pub fn names(&self) -> Vec<String> {
        self.list.iter().map(|(name, _)| name.to_string()).collect()
    }

    /// The value of a field, which is set once at most.
    pub fn value(&self, name: &str) -> Option<&str> {
        let mut found = self.list.iter().filter(|(known, _)| known == name);
        let value = found.next();
        assert!(found.next().is_none(), "{name} is set twice");
        value.map(|(_, value)| value.to_str().unwrap())
    }
}

fn app() -> Arc<App> {
    Arc::new(App::sample(1, "acme"))
}

/// Settings with a limit on values and nothing else.
pub fn wanted() -> IdentityHeaders {
    IdentityHeaders {
        client_cert_bytes_max: 4096,
        ..IdentityHeaders::default()
    }
}

pub fn preset(preset: Preset) -> IdentityHeaders {
    IdentityHeaders {
        presets: vec![preset],
        ..wanted()
    }
}

/// Undoes percent-encoding, as a backend does.
pub fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            let digits = std::str::from_utf8(&digits).unwrap().to_owned();
            bytes.push(u8::from_str_radix(&digits, 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}
