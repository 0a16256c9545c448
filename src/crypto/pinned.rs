//! rustls's verifier of upstreams whose trust comes from a file: its authorities, and its certificates as themselves.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::verify_server_name,
};

use super::x509;
use crate::domain::time::Timestamp;

/// The verifier that trusts a certificate in the file, byte for byte, as itself: by its name and its dates. Any other
/// certificate has to lead to an authority in the file.
#[derive(Debug)]
pub struct PinnedVerifier {
    pinned: Vec<CertificateDer<'static>>,
    /// Absent when no certificate of the file may sign others.
    chains: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PinnedVerifier {
    pub fn new(
        certificates: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<Self>, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            // webpki takes every anchor for an authority and ignores what its certificate says.
            let vouches = !x509::is_no_authority(certificate).is_ok_and(|leaf| leaf);
            if vouches {
                roots.add(certificate.clone())?;
            }
        }
        let algorithms = provider.signature_verification_algorithms;
        let chains = if roots.is_empty() {
            None
        } else {
            let builder = WebPkiServerVerifier::builder_with_provider(roots.into(), provider);
            let built = builder.build();
            Some(built.map_err(|error| Error::General(error.to_string()))?)
        };
        Ok(Arc::new(Self {
            pinned: certificates,
            chains,
            algorithms,
        }))
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.pinned.iter().any(|known| known == end_entity) {
            verify_itself(end_entity, server_name, now)?;
            return Ok(ServerCertVerified::assertion());
        }
        match &self.chains {
            Some(chains) => chains.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The remaining checks of a certificate that is trusted as itself.
fn verify_itself(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<(), Error> {
    let leaf = x509::read_leaf(certificate).ok();
    let leaf = leaf.ok_or(CertificateError::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let now = Timestamp::from_unix_seconds(now);
    if now < leaf.validity.not_before {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > leaf.validity.not_after {
        return Err(CertificateError::Expired.into());
    }
    // Made by hand, such a certificate often has its name in the subject only.
    if leaf.sans.is_empty() {
        let subject = x509::common_name(certificate).ok().flatten();
        let named = subject.is_some_and(|subject| subject.eq_ignore_ascii_case(&name.to_str()));
        return named
            .then_some(())
            .ok_or_else(|| CertificateError::NotValidForName.into());
    }
    verify_server_name(&ParsedCertificate::try_from(certificate)?, name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};

    struct Made {
        key: KeyPair,
        params: CertificateParams,
        der: CertificateDer<'static>,
    }

    fn made(names: &[&str], is_ca: IsCa) -> Made {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = is_ca;
        params
            .distinguished_name
            .push(DnType::CommonName, "api.test");
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        Made { key, params, der }
    }

    const YEAR_2026: u64 = 1_790_000_000;

    fn verify(
        file: &[&CertificateDer<'static>],
        shown: &CertificateDer<'_>,
        name: &str,
        at: u64,
    ) -> Option<Error> {
        let file = file.iter().map(|der| (*der).clone()).collect();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at));
        let verifier = PinnedVerifier::new(file, crate::crypto::provider::provider()).unwrap();
        verifier
            .verify_server_cert(shown, &[], &name, &[], now)
            .err()
    }

    fn kinds() -> [IsCa; 3] {
        [
            IsCa::NoCa,
            IsCa::ExplicitNoCa,
            IsCa::Ca(BasicConstraints::Unconstrained),
        ]
    }

    #[test]
    fn a_certificate_in_the_file_is_trusted_as_itself_whatever_it_says_of_authority() {
        for is_ca in kinds() {
            let pinned = made(&["api.test"], is_ca);
            let other = made(&["api.test"], is_ca);
            assert_eq!(
                verify(&[&pinned.der], &pinned.der, "api.test", YEAR_2026),
                None
            );
            let stranger = verify(&[&pinned.der], &other.der, "api.test", YEAR_2026);
            assert!(stranger.is_some(), "{is_ca:?}: only those bytes");
            let both = [&other.der, &pinned.der];
            assert_eq!(verify(&both, &pinned.der, "api.test", YEAR_2026), None);
        }
    }

    #[test]
    fn its_name_and_its_dates_are_still_checked() {
        let pinned = made(&["api.test"], IsCa::NoCa);
        let check = |name, at| verify(&[&pinned.der], &pinned.der, name, at);
        assert!(matches!(
            check("other.test", YEAR_2026),
            Some(Error::InvalidCertificate(
                CertificateError::NotValidForNameContext { .. }
            ))
        ));
        assert_eq!(
            check("api.test", 1_000),
            Some(CertificateError::NotValidYet.into())
        );
        let far = 100_000_000_000;
        assert_eq!(
            check("api.test", far),
            Some(CertificateError::Expired.into())
        );
    }

    #[test]
    fn without_alternative_names_it_is_known_by_its_subject() {
        let pinned = made(&[], IsCa::NoCa);
        assert_eq!(
            verify(&[&pinned.der], &pinned.der, "API.test", YEAR_2026),
            None
        );
        let other = verify(&[&pinned.der], &pinned.der, "test", YEAR_2026);
        assert_eq!(other, Some(CertificateError::NotValidForName.into()));
    }

    #[test]
    fn a_certificate_that_is_no_authority_vouches_for_no_other() {
        for (is_ca, trusted) in [
            (IsCa::ExplicitNoCa, false),
            (IsCa::Ca(BasicConstraints::Unconstrained), true),
        ] {
            let Made { key, params, der } = made(&["api.test"], is_ca);
            let issuer = rcgen::Issuer::new(params, key);
            let params = CertificateParams::new(vec!["api.test".to_owned()]).unwrap();
            let forged = params.signed_by(&KeyPair::generate().unwrap(), &issuer);
            let refused = verify(&[&der], forged.unwrap().der(), "api.test", YEAR_2026);
            assert_eq!(refused.is_none(), trusted, "{refused:?}");
        }
    }
}
