//! The fields of Traefik's `passTLSClientCert`: `X-Forwarded-Tls-Client-Cert` and `-Info`.
//!
//! Traefik forwards the certificate that its client sent. Here it is the valid certificate, and that alone.

use data_encoding::BASE64;
use http::HeaderName;

use crate::crypto::subject::Attribute;

use super::certificate::Certificate;
use super::encode;
use super::fields::Fields;

const CERT: HeaderName = HeaderName::from_static("x-forwarded-tls-client-cert");
const INFO: HeaderName = HeaderName::from_static("x-forwarded-tls-client-cert-info");

/// Every name that is set here.
#[cfg(test)]
pub const NAMES: [HeaderName; 2] = [CERT, INFO];

/// The attributes of a subject in Traefik's fields, in its order and under its names.
const SUBJECT: [(&str, &str); 8] = [
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("2.5.4.6", "C"),
    ("2.5.4.8", "ST"),
    ("2.5.4.7", "L"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.5", "SN"),
    ("2.5.4.3", "CN"),
];

pub fn push(fields: &mut Fields, certificate: &Certificate<'_>) {
    // PEM without its lines and ends is base64.
    fields.push_bounded(CERT, &BASE64.encode(certificate.der));
    fields.push_bounded(INFO, &encode::query(&info(certificate)));
}

fn info(certificate: &Certificate<'_>) -> String {
    let details = &certificate.details;
    let validity = certificate.proof.validity;
    // Traefik leaves out an issuer's organisational unit.
    let issuer = SUBJECT.into_iter().filter(|(_, name)| *name != "OU");
    let parts = [
        ("Subject", name(&details.subject_attributes, SUBJECT)),
        ("Issuer", name(&details.issuer_attributes, issuer)),
        (
            "SerialNumber",
            encode::decimal(certificate.proof.serial.as_bytes()),
        ),
        ("NB", validity.not_before.unix_seconds().to_string()),
        ("NA", validity.not_after.unix_seconds().to_string()),
        ("SAN", certificate.all_names().join(",")),
    ];
    let parts: Vec<_> = parts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| format!("{key}=\"{value}\""))
        .collect();
    parts.join(";")
}

fn name<'t>(
    attributes: &[Attribute],
    kinds: impl IntoIterator<Item = (&'t str, &'t str)>,
) -> String {
    let mut parts = Vec::new();
    for (oid, name) in kinds {
        let found = attributes.iter().filter(|attribute| attribute.oid == oid);
        let found = found.filter(|attribute| !attribute.value.is_empty());
        parts.extend(
            found.map(|attribute| format!("{name}={}", encode::hexpairs(&attribute.value))),
        );
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::identity_headers::Preset;
    use crate::proxy::identity_headers::testing::{Scene, percent_decoded, preset};

    #[test]
    fn a_backend_behind_traefik_reads_what_it_knows() {
        let scene = Scene::new();
        let headers = scene.headers(&preset(Preset::Traefik));
        assert_eq!(
            headers.value(CERT.as_str()),
            Some(&*BASE64.encode(scene.der()))
        );
        let info = headers.value(INFO.as_str()).unwrap();
        assert!(
            info.starts_with("Subject%3D%22CN%3Dprod%22%3BIssuer%3D%22CN%3DTest+Issuing%22%3B")
        );
        assert_eq!(
            percent_decoded(&info.replace('+', " ")),
            concat!(
                "Subject=\"CN=prod\";Issuer=\"CN=Test Issuing\";SerialNumber=\"32769\";",
                "NB=\"1767225600\";NA=\"1798761599\";",
                "SAN=\"a.test,countersign:app:app_00000000000000000000000001\""
            )
        );
    }

    #[test]
    fn attributes_come_in_traefiks_order() {
        let attribute = |oid: &str, value: &str| Attribute {
            oid: oid.to_owned(),
            value: value.to_owned(),
        };
        let attributes = [
            attribute("2.5.4.3", "prod"),
            attribute("2.5.4.10", "Acme, Inc."),
            attribute("2.5.4.6", "DE"),
            attribute("2.5.4.10", "Second"),
            attribute("2.5.4.11", ""),
            attribute("1.2.3", "unknown"),
        ];
        assert_eq!(
            name(&attributes, SUBJECT),
            r"C=DE,O=Acme\2C Inc.,O=Second,CN=prod"
        );
    }

    #[test]
    fn no_value_leaves_its_quotes() {
        let headers = Scene::hostile().headers(&preset(Preset::Traefik));
        let info = headers.value(INFO.as_str()).unwrap();
        let info = percent_decoded(&info.replace('+', " "));
        assert_eq!(info.matches('"').count(), 12);
        assert!(info.starts_with(
            "Subject=\"O=\\22\\3B\\2C CN=root,CN=a\\0D\\0AX-Evil: 1\\00z\u{fc}rich\\5C\";Issuer="
        ));
        assert!(info.ends_with("SAN=\"a.test%2C%20DNS:admin.test,urn:x%3B%22%2C%20URI:y\""));
    }
}
