//! The fields of Amazon's application load balancer that verifies client certificates: `X-Amzn-Mtls-Clientcert-…`.

use http::HeaderName;

use super::certificate::Certificate;
use super::encode;
use super::fields::Fields;

const SERIAL: HeaderName = HeaderName::from_static("x-amzn-mtls-clientcert-serial-number");
const ISSUER: HeaderName = HeaderName::from_static("x-amzn-mtls-clientcert-issuer");
const SUBJECT: HeaderName = HeaderName::from_static("x-amzn-mtls-clientcert-subject");
const VALIDITY: HeaderName = HeaderName::from_static("x-amzn-mtls-clientcert-validity");
const LEAF: HeaderName = HeaderName::from_static("x-amzn-mtls-clientcert-leaf");

/// Every name that is set here.
#[cfg(test)]
pub const NAMES: [HeaderName; 5] = [SERIAL, ISSUER, SUBJECT, VALIDITY, LEAF];

pub fn push(fields: &mut Fields, certificate: &Certificate<'_>) {
    let details = &certificate.details;
    let validity = certificate.proof.validity;
    let span = format!(
        "NotBefore={};NotAfter={}",
        validity.not_before.whole_seconds(),
        validity.not_after.whole_seconds()
    );
    fields.push(SERIAL, &certificate.serial());
    fields.push_bounded(ISSUER, &details.issuer);
    fields.push_bounded(SUBJECT, &details.subject);
    fields.push(VALIDITY, &span);
    fields.push_bounded(LEAF, &encode::percent(&certificate.pem(), b"+=/"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::identity_headers::Preset;
    use crate::proxy::identity_headers::testing::{Scene, percent_decoded, preset};

    #[test]
    fn a_backend_behind_the_load_balancer_reads_what_it_knows() {
        let scene = Scene::new();
        let headers = scene.headers(&preset(Preset::Alb));
        let value = |name: HeaderName| headers.value(name.as_str()).unwrap();
        assert_eq!(value(SERIAL), "8001");
        assert_eq!(value(ISSUER), "CN=Test Issuing");
        assert_eq!(value(SUBJECT), "CN=prod");
        assert_eq!(
            value(VALIDITY),
            "NotBefore=2026-01-01T00:00:00Z;NotAfter=2026-12-31T23:59:59Z"
        );
        let leaf = value(LEAF);
        assert!(leaf.starts_with("-----BEGIN%20CERTIFICATE-----%0AMII"));
        assert!(!leaf.contains("%2B") && !leaf.contains("%2F") && !leaf.contains("%3D"));
        assert_eq!(percent_decoded(leaf), scene.pem());
    }

    #[test]
    fn nothing_is_said_of_a_caller_without_a_certificate() {
        let headers = Scene::new()
            .without_certificate()
            .headers(&preset(Preset::Alb));
        for name in NAMES {
            assert_eq!(headers.value(name.as_str()), None, "{name}");
        }
    }
}
