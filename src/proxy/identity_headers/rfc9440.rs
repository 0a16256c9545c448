//! `Client-Cert` and `Client-Cert-Chain` (RFC 9440): certificates as byte sequences of RFC 8941.

use data_encoding::BASE64;
use http::HeaderName;

use super::certificate::Certificate;
use super::fields::Fields;

const CERT: HeaderName = HeaderName::from_static("client-cert");
const CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");

/// Adds the certificate, and its chain if `chain`. The chain is never sent without the certificate (RFC 9440, 2.3).
pub fn push(fields: &mut Fields, certificate: &Certificate<'_>, chain: bool) {
    let pushed = fields.push_bounded(CERT, &byte_sequence(certificate.der));
    if pushed && chain && !certificate.chain.is_empty() {
        let chain: Vec<_> = certificate
            .chain
            .iter()
            .map(|issuer| byte_sequence(issuer))
            .collect();
        fields.push_bounded(CHAIN, &chain.join(", "));
    }
}

fn byte_sequence(der: &[u8]) -> String {
    format!(":{}:", BASE64.encode(der))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::identity_headers::IdentityHeaders;
    use crate::proxy::identity_headers::fields::Omitted;
    use crate::proxy::identity_headers::testing::{Scene, wanted};

    fn with_chain(bytes_max: usize) -> IdentityHeaders {
        IdentityHeaders {
            client_cert: true,
            client_cert_chain: true,
            client_cert_bytes_max: bytes_max,
            ..wanted()
        }
    }

    #[test]
    fn certificates_are_byte_sequences() {
        let scene = Scene::new();
        let headers = scene.headers(&with_chain(4096));
        assert_eq!(
            headers.value("client-cert"),
            Some(&*byte_sequence(scene.der()))
        );
        assert_eq!(
            headers.value("client-cert-chain"),
            Some(&*byte_sequence(scene.issuer()))
        );
        let alone = scene.headers(&IdentityHeaders {
            client_cert: true,
            ..wanted()
        });
        assert_eq!(alone.value("client-cert-chain"), None);
        assert_eq!(byte_sequence(b"abc"), ":YWJj:");
    }

    #[test]
    fn what_is_too_large_is_left_out_and_the_chain_goes_with_it() {
        let scene = Scene::new();
        let length = byte_sequence(scene.der()).len();
        let headers = scene.headers(&with_chain(length - 1));
        assert_eq!(headers.value("client-cert"), None);
        assert_eq!(headers.value("client-cert-chain"), None);
        assert_eq!(headers.omitted, Some(Omitted::TooLarge));
        assert_eq!(
            headers.value("x-countersign-client-cert-omitted"),
            Some("too_large")
        );
    }
}
