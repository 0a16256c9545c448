//! The fields of nginx in its usual configuration: `proxy_set_header X-SSL-Client-S-DN $ssl_client_s_dn` and its kin.

use data_encoding::HEXLOWER;
use http::HeaderName;

use super::certificate::Certificate;
use super::encode;
use super::fields::Fields;

const VERIFY: HeaderName = HeaderName::from_static("x-ssl-client-verify");
const CERT: HeaderName = HeaderName::from_static("x-ssl-client-cert");
const S_DN: HeaderName = HeaderName::from_static("x-ssl-client-s-dn");
const I_DN: HeaderName = HeaderName::from_static("x-ssl-client-i-dn");
const SERIAL: HeaderName = HeaderName::from_static("x-ssl-client-serial");
const FINGERPRINT: HeaderName = HeaderName::from_static("x-ssl-client-fingerprint");
const V_START: HeaderName = HeaderName::from_static("x-ssl-client-v-start");
const V_END: HeaderName = HeaderName::from_static("x-ssl-client-v-end");

/// Every name that is set here.
#[cfg(test)]
pub const NAMES: [HeaderName; 8] = [
    VERIFY,
    CERT,
    S_DN,
    I_DN,
    SERIAL,
    FINGERPRINT,
    V_START,
    V_END,
];

pub fn push(fields: &mut Fields, certificate: Option<&Certificate<'_>>) {
    let Some(certificate) = certificate else {
        return fields.push(VERIFY, "NONE");
    };
    let details = &certificate.details;
    fields.push(VERIFY, "SUCCESS");
    fields.push_bounded(CERT, &encode::percent(&certificate.pem(), b""));
    fields.push_bounded(S_DN, &details.subject);
    fields.push_bounded(I_DN, &details.issuer);
    fields.push(SERIAL, &certificate.serial());
    fields.push(FINGERPRINT, &HEXLOWER.encode(&details.sha1));
    let validity = certificate.proof.validity;
    fields.push(V_START, &encode::openssl_time(validity.not_before));
    fields.push(V_END, &encode::openssl_time(validity.not_after));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::identity_headers::Preset;
    use crate::proxy::identity_headers::testing::{Scene, percent_decoded, preset};

    #[test]
    fn a_backend_behind_nginx_reads_what_it_knows() {
        let scene = Scene::new();
        let headers = scene.headers(&preset(Preset::Nginx));
        let value = |name: HeaderName| headers.value(name.as_str()).unwrap();
        assert_eq!(value(VERIFY), "SUCCESS");
        assert_eq!(value(S_DN), "CN=prod");
        assert_eq!(value(I_DN), "CN=Test Issuing");
        assert_eq!(value(SERIAL), "8001");
        assert_eq!(value(FINGERPRINT).len(), 40);
        assert_eq!(value(V_START), "Jan  1 00:00:00 2026 GMT");
        assert_eq!(value(V_END), "Dec 31 23:59:59 2026 GMT");
        let pem = value(CERT);
        assert!(pem.starts_with("-----BEGIN%20CERTIFICATE-----%0AMII"));
        assert!(pem.ends_with("%0A-----END%20CERTIFICATE-----%0A"));
        assert!(!pem.contains(['+', '/', '=']));
        assert_eq!(percent_decoded(pem), scene.pem());
    }

    #[test]
    fn a_caller_without_a_certificate_is_none() {
        let headers = Scene::new()
            .without_certificate()
            .headers(&preset(Preset::Nginx));
        assert_eq!(headers.value(VERIFY.as_str()), Some("NONE"));
        assert_eq!(headers.value(S_DN.as_str()), None);
    }

    #[test]
    fn names_are_escaped_as_openssl_does() {
        let headers = Scene::hostile().headers(&preset(Preset::Nginx));
        assert_eq!(
            headers.value(S_DN.as_str()),
            Some(r#"O=\"\;\, CN=root,CN=a\0D\0AX-Evil: 1\00z\C3\BCrich\\"#)
        );
    }
}
