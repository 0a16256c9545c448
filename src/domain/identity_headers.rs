//! Which header fields tell an upstream who calls, beyond those that every upstream gets.

use std::sync::Arc;
use std::time::Duration;

/// What the upstream of a route is told. Routes that are told the same share one.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a header field that an operator switches by itself"
)]
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct IdentityHeaders {
    /// `X-Countersign-Subject`.
    pub subject: bool,
    /// `X-Countersign-Client-Cert-Not-After`.
    pub client_cert_not_after: bool,
    /// `X-Countersign-Client-Cert-Subject`.
    pub client_cert_subject: bool,
    /// `X-Countersign-Client-Cert-Sans`.
    pub client_cert_sans: bool,
    /// `Client-Cert` (RFC 9440).
    pub client_cert: bool,
    /// `Client-Cert-Chain` (RFC 9440); only beside `Client-Cert`.
    pub client_cert_chain: bool,
    /// The most bytes of one value that is made from a certificate; a longer one is left out, and that is told.
    pub client_cert_bytes_max: usize,
    /// `X-Countersign-Assertion`.
    pub assertion: Option<AssertionPlan>,
    /// Other proxies whose fields are set too, each once.
    pub presets: Vec<Preset>,
    /// What `By` of `X-Forwarded-Client-Cert` says: the gateway's own name. Left out when there is none.
    pub xfcc_by: Option<Arc<str>>,
}

impl IdentityHeaders {
    /// Whether the certificate itself is needed, and not only what every connection knows of it.
    pub fn need_certificate(&self) -> bool {
        self.client_cert || !self.presets.is_empty()
    }
}

/// How an assertion is made for an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AssertionPlan {
    /// `aud`: whom it is for.
    pub audience: Arc<str>,
    /// From `iat` to `exp`.
    pub ttl: Duration,
}

/// Another proxy, whose names and encodings an upstream knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Preset {
    /// `X-Amzn-Mtls-Clientcert-…` of Amazon's application load balancer.
    Alb,
    /// `X-Client-Cert…`, `X-Consumer-…` of Kong.
    Kong,
    /// `X-SSL-Client-…`, as nginx is usually told to set them.
    Nginx,
    /// `X-Forwarded-Tls-Client-Cert…` of Traefik.
    Traefik,
    /// `X-Forwarded-Client-Cert` of Envoy.
    Xfcc,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fields_that_carry_a_certificate_need_it() {
        let plain = IdentityHeaders {
            subject: true,
            client_cert_not_after: true,
            client_cert_subject: true,
            client_cert_sans: true,
            assertion: Some(AssertionPlan {
                audience: "orders".into(),
                ttl: Duration::from_mins(1),
            }),
            ..IdentityHeaders::default()
        };
        assert!(!plain.need_certificate());
        let whole = IdentityHeaders {
            client_cert: true,
            ..IdentityHeaders::default()
        };
        assert!(whole.need_certificate());
        let preset = IdentityHeaders {
            presets: vec![Preset::Nginx],
            ..IdentityHeaders::default()
        };
        assert!(preset.need_certificate());
    }
}
