//! The fields of Kong: the consumer's of every authentication plugin, the certificate's of `mtls-auth` and
//! `tls-metadata-headers`.

use data_encoding::HEXLOWER;
use http::HeaderName;

use crate::domain::identity::{Bearer, Identity};

use super::certificate::Certificate;
use super::encode;
use super::fields::Fields;

const CONSUMER_ID: HeaderName = HeaderName::from_static("x-consumer-id");
const CONSUMER_USERNAME: HeaderName = HeaderName::from_static("x-consumer-username");
const CREDENTIAL: HeaderName = HeaderName::from_static("x-credential-identifier");
const SCOPE: HeaderName = HeaderName::from_static("x-authenticated-scope");
const USER: HeaderName = HeaderName::from_static("x-authenticated-userid");
const CERT: HeaderName = HeaderName::from_static("x-client-cert");
const SERIAL: HeaderName = HeaderName::from_static("x-client-cert-serial");
const ISSUER_DN: HeaderName = HeaderName::from_static("x-client-cert-issuer-dn");
const SUBJECT_DN: HeaderName = HeaderName::from_static("x-client-cert-subject-dn");
const FINGERPRINT: HeaderName = HeaderName::from_static("x-client-cert-fingerprint");
const DN: HeaderName = HeaderName::from_static("x-client-cert-dn");
const SAN: HeaderName = HeaderName::from_static("x-client-cert-san");

/// Every name that is set here.
#[cfg(test)]
pub const NAMES: [HeaderName; 12] = [
    CONSUMER_ID,
    CONSUMER_USERNAME,
    CREDENTIAL,
    SCOPE,
    USER,
    CERT,
    SERIAL,
    ISSUER_DN,
    SUBJECT_DN,
    FINGERPRINT,
    DN,
    SAN,
];

pub fn push(fields: &mut Fields, identity: &Identity, certificate: Option<&Certificate<'_>>) {
    if let Some(app) = identity.app() {
        fields.push(CONSUMER_ID, &app.id.to_string());
        fields.push(CONSUMER_USERNAME, app.name.as_str());
    }
    if let Some(credential) = identity.credential() {
        fields.push(CREDENTIAL, &credential);
    }
    if let Some(scopes) = identity.bearer().and_then(Bearer::scopes) {
        fields.push(SCOPE, &scopes.to_string());
    }
    if let Some(subject) = identity.subject() {
        fields.push(USER, subject.as_str());
    }
    if let Some(certificate) = certificate {
        push_certificate(fields, certificate);
    }
}

fn push_certificate(fields: &mut Fields, certificate: &Certificate<'_>) {
    let details = &certificate.details;
    fields.push_bounded(CERT, &encode::percent(&certificate.pem(), b""));
    fields.push(SERIAL, &certificate.serial());
    fields.push_bounded(ISSUER_DN, &details.issuer);
    fields.push_bounded(SUBJECT_DN, &details.subject);
    fields.push(FINGERPRINT, &HEXLOWER.encode(&details.sha1));
    fields.push_bounded(DN, &details.subject);
    let names = certificate.all_names();
    if !names.is_empty() {
        fields.push_bounded(SAN, &names.join(","));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::identity_headers::Preset;
    use crate::proxy::identity_headers::testing::{Scene, percent_decoded, preset};

    #[test]
    fn a_backend_behind_kong_reads_what_it_knows() {
        let scene = Scene::new().with_token(Some("alice"));
        let headers = scene.headers(&preset(Preset::Kong));
        let value = |name: HeaderName| headers.value(name.as_str()).unwrap();
        assert_eq!(value(CONSUMER_ID), "app_00000000000000000000000001");
        assert_eq!(value(CONSUMER_USERNAME), "acme");
        assert_eq!(value(CREDENTIAL), "key_00000000000000000000000003");
        assert_eq!(value(SCOPE), "orders:read");
        assert_eq!(value(USER), "alice");
        assert_eq!(value(SERIAL), "8001");
        assert_eq!(value(ISSUER_DN), "CN=Test Issuing");
        assert_eq!(value(SUBJECT_DN), "CN=prod");
        assert_eq!(value(DN), "CN=prod");
        assert_eq!(value(FINGERPRINT).len(), 40);
        assert_eq!(
            value(SAN),
            "a.test,countersign:app:app_00000000000000000000000001"
        );
        assert_eq!(percent_decoded(value(CERT)), scene.pem());
    }

    #[test]
    fn a_consumer_without_a_certificate_is_one_all_the_same() {
        let scene = Scene::new().with_token(None).without_certificate();
        let headers = scene.headers(&preset(Preset::Kong));
        assert_eq!(headers.value(CONSUMER_USERNAME.as_str()), Some("acme"));
        assert_eq!(headers.value(USER.as_str()), None);
        assert_eq!(headers.value(CERT.as_str()), None);
        assert_eq!(headers.omitted, None);
    }

    #[test]
    fn alternative_names_stay_apart() {
        let headers = Scene::hostile().headers(&preset(Preset::Kong));
        assert_eq!(
            headers.value(SAN.as_str()),
            Some("a.test%2C%20DNS:admin.test,urn:x%3B%22%2C%20URI:y")
        );
    }
}
