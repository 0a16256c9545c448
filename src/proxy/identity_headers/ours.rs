//! Our own fields, `X-Countersign-…`.

use http::HeaderName;

use crate::crypto::x509::Leaf;
use crate::domain::identity::{Bearer, Identity};
use crate::domain::identity_headers::IdentityHeaders;

use super::encode;
use super::fields::Fields;

const APP_ID: HeaderName = HeaderName::from_static("x-countersign-app-id");
const APP_NAME: HeaderName = HeaderName::from_static("x-countersign-app-name");
const AUTH_METHOD: HeaderName = HeaderName::from_static("x-countersign-auth-method");
const CREDENTIAL_ID: HeaderName = HeaderName::from_static("x-countersign-credential-id");
const SCOPES: HeaderName = HeaderName::from_static("x-countersign-scopes");
const SUBJECT: HeaderName = HeaderName::from_static("x-countersign-subject");
const CERT_SERIAL: HeaderName = HeaderName::from_static("x-countersign-client-cert-serial");
const CERT_SHA256: HeaderName = HeaderName::from_static("x-countersign-client-cert-sha256");
const CERT_NOT_AFTER: HeaderName = HeaderName::from_static("x-countersign-client-cert-not-after");
const CERT_SUBJECT: HeaderName = HeaderName::from_static("x-countersign-client-cert-subject");
const CERT_SANS: HeaderName = HeaderName::from_static("x-countersign-client-cert-sans");

/// Adds the fields that every upstream gets, and those that are enabled for this one.
pub fn push(
    fields: &mut Fields,
    identity: &Identity,
    leaf: Option<&Leaf>,
    wanted: &IdentityHeaders,
) {
    if let Some(app) = identity.app() {
        fields.push(APP_ID, &app.id.to_string());
        fields.push(APP_NAME, app.name.as_str());
    }
    if let Some(credential) = identity.credential() {
        fields.push(CREDENTIAL_ID, &credential);
    }
    fields.push(AUTH_METHOD, identity.method().as_str());
    if let Some(scopes) = identity.bearer().and_then(Bearer::scopes) {
        fields.push(SCOPES, &scopes.to_string());
    }
    if let Some(subject) = identity.subject().filter(|_| wanted.subject) {
        fields.push(SUBJECT, subject.as_str());
    }
    if let Some(proof) = identity.certificate() {
        fields.push(CERT_SERIAL, &proof.serial.to_string());
        fields.push(CERT_SHA256, &proof.fingerprint.to_string());
        if wanted.client_cert_not_after {
            let end = proof.validity.not_after.whole_seconds();
            fields.push(CERT_NOT_AFTER, &end.to_string());
        }
        if let Some(leaf) = leaf {
            push_names(fields, leaf, wanted);
        }
    }
}

/// Adds the holder's names in the certificate: our own profile's form, or those of an imported one.
fn push_names(fields: &mut Fields, leaf: &Leaf, wanted: &IdentityHeaders) {
    if wanted.client_cert_subject {
        fields.push_bounded(CERT_SUBJECT, &encode::separable(&leaf.subject));
    }
    if wanted.client_cert_sans && !leaf.sans.is_empty() {
        // A blank inside of a name would let it look like two.
        let names = leaf.sans.iter();
        let names: Vec<_> = names
            .map(|name| encode::separable(name).replace(' ', "\\20"))
            .collect();
        fields.push_bounded(CERT_SANS, &names.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::identity_headers::fields::Omitted;
    use crate::proxy::identity_headers::testing::{Scene, wanted};

    #[test]
    fn everybody_is_told_who_calls() {
        let scene = Scene::new();
        let headers = scene.headers(&IdentityHeaders::default());
        assert_eq!(
            headers.text(),
            [
                "x-countersign-app-id: app_00000000000000000000000001",
                "x-countersign-app-name: acme",
                "x-countersign-credential-id: crt_00000000000000000000000002",
                "x-countersign-auth-method: mtls",
                "x-countersign-client-cert-serial: 8001",
                &format!("x-countersign-client-cert-sha256: {}", scene.fingerprint()),
            ]
        );
    }

    #[test]
    fn the_user_is_told_whom_a_token_speaks_for() {
        let scene = Scene::new().with_token(Some("alice@example.com"));
        let on = IdentityHeaders {
            subject: true,
            ..IdentityHeaders::default()
        };
        assert_eq!(
            scene.headers(&on).value("x-countersign-subject"),
            Some("alice@example.com")
        );
        let off = scene.headers(&IdentityHeaders::default());
        assert_eq!(off.value("x-countersign-subject"), None);
        let for_nobody = Scene::new().with_token(None).headers(&on);
        assert_eq!(for_nobody.value("x-countersign-subject"), None);
        assert_eq!(
            for_nobody.value("x-countersign-scopes"),
            Some("orders:read")
        );
        assert_eq!(
            Scene::new().headers(&on).value("x-countersign-subject"),
            None,
            "a certificate speaks for its App alone"
        );
    }

    #[test]
    fn facts_about_the_certificate_are_told_where_they_are_wanted() {
        let wanted = IdentityHeaders {
            client_cert_not_after: true,
            client_cert_subject: true,
            client_cert_sans: true,
            ..wanted()
        };
        let headers = Scene::new().headers(&wanted);
        let value = |name| headers.value(name).unwrap();
        assert_eq!(
            value("x-countersign-client-cert-not-after"),
            "2026-12-31T23:59:59Z"
        );
        assert_eq!(value("x-countersign-client-cert-subject"), "CN=prod");
        assert_eq!(
            value("x-countersign-client-cert-sans"),
            "DNS:a.test, URI:countersign:app:app_00000000000000000000000001"
        );
    }

    /// A reader that cuts at the separators finds the certificate's names and no others, for any content.
    #[test]
    fn names_cannot_pretend_to_be_several() {
        let wanted = IdentityHeaders {
            client_cert_subject: true,
            client_cert_sans: true,
            ..wanted()
        };
        let headers = Scene::hostile().headers(&wanted);
        assert_eq!(
            headers.value("x-countersign-client-cert-subject"),
            Some(r"O=\22\3B\2C CN=root,CN=a\0D\0AX-Evil: 1\00z\C3\BCrich\5C")
        );
        assert_eq!(
            headers.value("x-countersign-client-cert-sans"),
            Some(r"DNS:a.test\2C\20DNS:admin.test, URI:urn:x\3B\22\2C\20URI:y")
        );
        assert_eq!(headers.omitted, None);
    }

    #[test]
    fn long_names_are_left_out() {
        let wanted = IdentityHeaders {
            client_cert_subject: true,
            client_cert_sans: true,
            client_cert_bytes_max: 20,
            ..wanted()
        };
        let headers = Scene::new().headers(&wanted);
        assert_eq!(
            headers.value("x-countersign-client-cert-subject"),
            Some("CN=prod")
        );
        assert_eq!(headers.value("x-countersign-client-cert-sans"), None);
        assert_eq!(headers.omitted, Some(Omitted::TooLarge));
    }
}
