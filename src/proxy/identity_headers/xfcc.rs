//! Envoy's `X-Forwarded-Client-Cert`, with its keys in its order: `By`, `Hash`, `Cert`, `Chain`, `Subject`, `URI`, `DNS`.

use http::HeaderName;

use super::certificate::{Certificate, Kind};
use super::encode;
use super::fields::Fields;

const XFCC: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// Every name that is set here.
#[cfg(test)]
pub const NAMES: [HeaderName; 1] = [XFCC];

/// Adds one element for the one hop that is ours. If it is too long, the chain is left out first and the certificate
/// next: the caller's names are short.
pub fn push(fields: &mut Fields, certificate: &Certificate<'_>, by: Option<&str>) {
    let with_chain = || vec![cert(certificate), chain(certificate)];
    let with_cert = || vec![cert(certificate)];
    let bodies: [&dyn Fn() -> Vec<String>; 2] = [&with_chain, &with_cert];
    for body in bodies {
        let text = element(certificate, by, body());
        if fields.fits(&XFCC, &text) {
            fields.push_bounded(XFCC, &text);
            return;
        }
    }
    fields.push_bounded(XFCC, &element(certificate, by, Vec::new()));
}

fn element(certificate: &Certificate<'_>, by: Option<&str>, bodies: Vec<String>) -> String {
    let mut parts = Vec::new();
    parts.extend(by.map(|by| format!("By={by}")));
    parts.push(format!("Hash={}", certificate.proof.fingerprint));
    parts.extend(bodies);
    // Escapes in their form without quotation marks: readers differ in how they take a backslash before one.
    let subject = encode::separable(&certificate.details.subject);
    parts.push(format!("Subject=\"{subject}\""));
    let uris = certificate.names(Kind::Uri);
    if uris.is_empty() {
        parts.push("URI=".to_owned());
    }
    parts.extend(uris.iter().map(|uri| format!("URI={}", quoted(uri))));
    let names = certificate.names(Kind::Dns);
    parts.extend(names.iter().map(|name| format!("DNS={}", quoted(name))));
    parts.join(";")
}

fn cert(certificate: &Certificate<'_>) -> String {
    format!("Cert=\"{}\"", encode::percent(&certificate.pem(), b""))
}

fn chain(certificate: &Certificate<'_>) -> String {
    let chain = encode::percent(&certificate.chain_pem(), b"");
    format!("Chain=\"{chain}\"")
}

/// A value that holds a separator stands in quotes. `,`, `;` and `"` are percent-encoded before, so only `=` is left.
fn quoted(value: &str) -> String {
    if value.contains('=') {
        format!("\"{value}\"")
    } else {
        value.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::identity_headers::{IdentityHeaders, Preset};
    use crate::proxy::identity_headers::fields::Omitted;
    use crate::proxy::identity_headers::testing::{Scene, percent_decoded, preset};

    fn headers(scene: &Scene, bytes_max: usize) -> (Vec<String>, Option<Omitted>) {
        let wanted = IdentityHeaders {
            client_cert_bytes_max: bytes_max,
            xfcc_by: Some("spiffe://example.test/gateway".into()),
            ..preset(Preset::Xfcc)
        };
        let headers = scene.headers(&wanted);
        let value = headers.value(XFCC.as_str()).unwrap_or_default();
        let parts = value.split(';').map(str::to_owned).collect();
        (parts, headers.omitted)
    }

    #[test]
    fn a_backend_behind_envoy_reads_what_it_knows() {
        let scene = Scene::new();
        let (parts, omitted) = headers(&scene, 8192);
        let [by, hash, cert, chain, subject, uri, dns] = &parts[..] else {
            panic!("{parts:?}");
        };
        assert_eq!(by, "By=spiffe://example.test/gateway");
        assert_eq!(*hash, format!("Hash={}", scene.fingerprint()));
        assert_eq!(subject, "Subject=\"CN=prod\"");
        assert_eq!(uri, "URI=countersign:app:app_00000000000000000000000001");
        assert_eq!(dns, "DNS=a.test");
        let within = |part: &str, key: &str| {
            let value = part.strip_prefix(key).unwrap();
            let value = value.strip_prefix("=\"").unwrap();
            percent_decoded(value.strip_suffix('"').unwrap())
        };
        assert_eq!(within(cert, "Cert"), scene.pem());
        let chain = within(chain, "Chain");
        assert!(chain.starts_with(&scene.pem()));
        assert_eq!(chain.matches("BEGIN").count(), 2);
        assert_eq!(omitted, None);
    }

    #[test]
    fn by_is_left_out_where_the_gateway_has_no_name() {
        let headers = Scene::new().headers(&preset(Preset::Xfcc));
        assert!(headers.value(XFCC.as_str()).unwrap().starts_with("Hash="));
    }

    #[test]
    fn the_chain_goes_before_the_certificate_and_the_name_stays() {
        let scene = Scene::new();
        let keys = |bytes_max| {
            let (parts, omitted) = headers(&scene, bytes_max);
            let keys: Vec<_> = parts
                .iter()
                .map(|part| part.split('=').next().unwrap_or_default().to_owned())
                .collect();
            (keys.join(" "), omitted)
        };
        let whole = scene
            .headers(&preset(Preset::Xfcc))
            .value(XFCC.as_str())
            .unwrap()
            .len();
        assert_eq!(
            keys(whole),
            (
                "By Hash Cert Subject URI DNS".to_owned(),
                Some(Omitted::TooLarge)
            ),
            "By makes it longer"
        );
        assert_eq!(
            keys(500),
            (
                "By Hash Subject URI DNS".to_owned(),
                Some(Omitted::TooLarge)
            )
        );
        assert_eq!(keys(50), (String::new(), Some(Omitted::TooLarge)));
    }

    #[test]
    fn no_value_becomes_another_key() {
        let (parts, _) = headers(&Scene::hostile(), 8192);
        let tail = &parts[4..];
        assert_eq!(
            tail,
            [
                r#"Subject="O=\22\3B\2C CN=root,CN=a\0D\0AX-Evil: 1\00z\C3\BCrich\5C""#,
                "URI=urn:x%3B%22%2C%20URI:y",
                "DNS=a.test%2C%20DNS:admin.test",
            ]
        );
        assert_eq!(quoted("urn:a=b"), "\"urn:a=b\"");
    }
}
