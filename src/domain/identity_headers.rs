//! Optional identity headers for upstreams, beyond those that every upstream gets.

use std::sync::Arc;
use std::time::Duration;

/// The optional identity headers of a route. Routes with the same headers share one value.
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
    /// The maximum size of one value that is made from a certificate; a longer value is omitted and reported.
    pub client_cert_bytes_max: usize,
    /// `X-Countersign-Assertion`.
    pub assertion: Option<AssertionPlan>,
    /// Other proxies whose fields are set too, each once.
    pub presets: Vec<Preset>,
    /// The value of `By` in `X-Forwarded-Client-Cert`: the gateway's own name. Omitted when absent.
    pub xfcc_by: Option<Arc<str>>,
}

impl IdentityHeaders {
    /// True if a header needs the certificate itself.
    pub fn need_certificate(&self) -> bool {
        self.client_cert || !self.presets.is_empty()
    }
}

/// The settings of an upstream's assertion.
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
    /// `X-SSL-Client-…`, as in the usual configuration of nginx.
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
