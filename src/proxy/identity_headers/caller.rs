//! The identity headers of a caller, from its proofs and the operator's settings.

use http::{HeaderName, HeaderValue};

use crate::crypto::certificate_details::Issuers;
use crate::crypto::x509::Leaf;
use crate::domain::identity::Identity;
use crate::domain::identity_headers::{IdentityHeaders, Preset};

use super::certificate::Certificate;
use super::fields::{Fields, Omitted};
use super::{alb, kong, nginx, ours, rfc9440, traefik, xfcc};

/// A caller whose identity headers are made.
#[derive(Clone, Copy, Debug)]
pub struct HeaderInputs<'a> {
    pub identity: &'a Identity,
    /// The certificate that was shown on the connection. Its headers are set only if the identity rests on it.
    pub leaf: Option<&'a Leaf>,
    pub issuers: &'a Issuers,
    pub wanted: &'a IdentityHeaders,
}

/// Makes the fields, and returns the reason if some had to be left out.
pub fn fields(of: HeaderInputs<'_>) -> (Vec<(HeaderName, HeaderValue)>, Option<Omitted>) {
    let mut fields = Fields::new(of.wanted.client_cert_bytes_max);
    ours::push(&mut fields, of.identity, of.leaf, of.wanted);
    if of.wanted.need_certificate() {
        push_certificate(&mut fields, of);
    }
    fields.finish()
}

/// Adds the fields of the certificate: none, unless it is wanted and proved.
fn push_certificate(fields: &mut Fields, of: HeaderInputs<'_>) {
    let certificate = match (of.identity.certificate(), of.leaf) {
        (None, _) => None,
        (Some(proof), Some(leaf)) => match Certificate::read(proof, leaf, of.issuers) {
            Ok(Some(certificate)) => Some(certificate),
            Ok(None) | Err(_) => return fields.omit(Omitted::Unavailable),
        },
        (Some(_), None) => return fields.omit(Omitted::Unavailable),
    };
    let certificate = certificate.as_ref();
    if let Some(certificate) = certificate.filter(|_| of.wanted.client_cert) {
        rfc9440::push(fields, certificate, of.wanted.client_cert_chain);
    }
    for preset in &of.wanted.presets {
        match (preset, certificate) {
            (Preset::Kong, certificate) => kong::push(fields, of.identity, certificate),
            (Preset::Nginx, certificate) => nginx::push(fields, certificate),
            (Preset::Alb, Some(certificate)) => alb::push(fields, certificate),
            (Preset::Traefik, Some(certificate)) => traefik::push(fields, certificate),
            (Preset::Xfcc, Some(certificate)) => {
                xfcc::push(fields, certificate, of.wanted.xfcc_by.as_deref());
            }
            // These presets have no fields for a caller without a certificate.
            (Preset::Alb | Preset::Traefik | Preset::Xfcc, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::fields::headers;
    use crate::proxy::identity_headers::testing::{Scene, preset, wanted};

    const PRESETS: [Preset; 5] = [
        Preset::Alb,
        Preset::Kong,
        Preset::Nginx,
        Preset::Traefik,
        Preset::Xfcc,
    ];

    fn names(preset: Preset) -> Vec<HeaderName> {
        match preset {
            Preset::Alb => alb::NAMES.into(),
            Preset::Kong => kong::NAMES.into(),
            Preset::Nginx => nginx::NAMES.into(),
            Preset::Traefik => traefik::NAMES.into(),
            Preset::Xfcc => xfcc::NAMES.into(),
        }
    }

    /// Only the gateway may set these fields: each name is removed from requests, in every spelling, on every route.
    #[test]
    fn every_name_that_is_ever_set_is_reserved() {
        let everything = IdentityHeaders {
            subject: true,
            client_cert_not_after: true,
            client_cert_subject: true,
            client_cert_sans: true,
            client_cert: true,
            client_cert_chain: true,
            client_cert_bytes_max: 1000,
            presets: PRESETS.into(),
            ..wanted()
        };
        let scene = Scene::new().with_token(Some("alice"));
        let headers = scene.headers(&everything);
        assert_eq!(headers.omitted, Some(Omitted::TooLarge));
        let set = headers.names();
        for name in PRESETS.into_iter().flat_map(names) {
            assert!(headers::family(name.as_str()).is_some(), "{name}");
        }
        assert!(set.len() > 25, "{set:?}");
        for name in set {
            for spelling in [
                name.clone(),
                name.replace('-', "_"),
                name.replace('-', "."),
                name.to_ascii_uppercase(),
            ] {
                assert!(headers::family(&spelling).is_some(), "{spelling}");
            }
        }
    }

    #[test]
    fn a_preset_sets_its_own_names_and_no_others() {
        let scene = Scene::new().with_token(Some("alice"));
        let plain = scene.headers(&wanted()).names();
        for of in PRESETS {
            let mut headers = scene.headers(&preset(of)).names();
            headers.retain(|name| !plain.contains(name));
            headers.sort();
            let mut expected: Vec<_> = names(of).iter().map(ToString::to_string).collect();
            expected.sort();
            assert_eq!(headers, expected, "{of:?}");
        }
    }

    #[test]
    fn a_certificate_that_was_not_kept_is_not_told_of() {
        let scene = Scene::new().not_kept();
        for of in PRESETS {
            let headers = scene.headers(&preset(of));
            assert_eq!(headers.omitted, Some(Omitted::Unavailable), "{of:?}");
            assert_eq!(
                headers.value("x-countersign-client-cert-omitted"),
                Some("unavailable")
            );
            for name in names(of) {
                assert_eq!(headers.value(name.as_str()), None, "{name}");
            }
        }
        assert_eq!(
            scene.headers(&wanted()).omitted,
            None,
            "nobody asked for it"
        );
    }

    /// A route that requires a key alone proves no certificate, shown or not.
    #[test]
    fn a_certificate_that_proves_nothing_is_not_told_of() {
        let scene = Scene::new().with_token(None).without_certificate();
        let headers = scene.headers(&IdentityHeaders {
            client_cert_subject: true,
            client_cert: true,
            presets: PRESETS.into(),
            ..wanted()
        });
        let of_certificates = headers
            .names()
            .into_iter()
            .filter(|name| name.contains("cert"));
        assert_eq!(of_certificates.collect::<Vec<_>>(), Vec::<String>::new());
    }
}
