//! Certificates: the parts of one that the domain keeps, read from DER, and its permitted uses.

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::KeyUsage;
use x509_parser::prelude::FromDer;

use super::pem;
use super::pem_fault::InvalidPem;
use super::{hash, public_key, subject};
use crate::domain::certificate::{Fingerprint, KeyAlgorithm, SerialNumber};
use crate::domain::time::{Timestamp, Validity};

/// The parts of an end-entity certificate that we read. Reading trusts nothing: the chain is verified elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// SHA-256 of the whole certificate.
    pub fingerprint: Fingerprint,
    /// SHA-256 of the `SubjectPublicKeyInfo`: the same key gives the same digest in every certificate.
    pub key_digest: Fingerprint,
    pub serial: SerialNumber,
    pub validity: Validity,
    /// The subject in the form of RFC 2253, printable ASCII only.
    pub subject: String,
    /// Alternative names with their kind, for example `DNS:a.example.com` and `URI:countersign:app:…`.
    pub sans: Vec<String>,
    /// The kind of key; `None` for a kind that we do not accept.
    pub key: Option<KeyAlgorithm>,
    /// The certificate itself, if a caller of the room keeps it.
    pub der: Option<Box<[u8]>>,
}

/// The uses that a certificate permits.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a bit of its own in the certificate"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub authority: bool,
    /// True if the key usage extension allows signatures; `None` when there is no such extension.
    pub digital_signature: Option<bool>,
    /// True if the key usage extension allows signing certificates.
    pub signs_certificates: bool,
    /// True if the key usage extension allows signing revocation lists.
    pub signs_lists: bool,
    /// True if clientAuth is named; anyExtendedKeyUsage or a missing extension is not enough.
    pub client_auth: bool,
}

/// The permission of a certificate to sign others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigningAuthority {
    /// True if it is an authority whose key usage, if it has any, allows signing certificates.
    pub signs: bool,
    /// The maximum number of authorities between it and a leaf.
    pub depth: usize,
}

/// Bytes that are not one certificate in DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a certificate in DER")]
pub struct MalformedCertificate;

/// Reads a certificate.
pub fn read_leaf(der: &[u8]) -> Result<Leaf, MalformedCertificate> {
    let certificate = parse(der)?;
    let key = certificate.public_key();
    Ok(Leaf {
        fingerprint: hash::fingerprint(der),
        key_digest: hash::fingerprint(key.raw),
        serial: serial(&certificate)?,
        validity: validity(&certificate),
        subject: subject::to_rfc2253(certificate.subject()),
        sans: sans(&certificate)?,
        key: public_key::classify(key).ok(),
        der: None,
    })
}

/// Reads the uses that a certificate permits.
pub fn read_usage(der: &[u8]) -> Result<Usage, MalformedCertificate> {
    let certificate = parse(der)?;
    let basic = unique(certificate.basic_constraints())?;
    let key_usage = unique(certificate.key_usage())?.map(|extension| extension.value);
    let extended = unique(certificate.extended_key_usage())?;
    Ok(Usage {
        authority: basic.is_some_and(|extension| extension.value.ca),
        digital_signature: key_usage.map(KeyUsage::digital_signature),
        signs_certificates: key_usage.is_some_and(KeyUsage::key_cert_sign),
        signs_lists: key_usage.is_some_and(KeyUsage::crl_sign),
        client_auth: extended.is_some_and(|extension| extension.value.client_auth),
    })
}

/// The issuer of a certificate in the form of RFC 2253, printable ASCII only.
pub fn read_issuer(der: &[u8]) -> Result<String, MalformedCertificate> {
    Ok(subject::to_rfc2253(parse(der)?.issuer()))
}

/// Reads the permission of a certificate to sign others.
pub fn read_authority(der: &[u8]) -> Result<SigningAuthority, MalformedCertificate> {
    let certificate = parse(der)?;
    let basic = unique(certificate.basic_constraints())?.map(|extension| extension.value);
    let key_usage = unique(certificate.key_usage())?.map(|extension| extension.value);
    let depth = basic.and_then(|basic| basic.path_len_constraint);
    Ok(SigningAuthority {
        signs: basic.is_some_and(|basic| basic.ca) && key_usage.is_none_or(KeyUsage::key_cert_sign),
        depth: depth.map_or(usize::MAX, |depth| {
            usize::try_from(depth).unwrap_or(usize::MAX)
        }),
    })
}

/// True if a certificate names `issuer` as its issuer.
pub fn is_named_issuer(der: &[u8], issuer: &[u8]) -> Result<bool, MalformedCertificate> {
    Ok(parse(der)?.issuer() == parse(issuer)?.subject())
}

/// True if a certificate says that it may not sign others. One that says nothing about it may be an old authority.
pub fn is_no_authority(der: &[u8]) -> Result<bool, MalformedCertificate> {
    let certificate = parse(der)?;
    let basic = unique(certificate.basic_constraints())?;
    Ok(basic.is_some_and(|extension| !extension.value.ca))
}

/// The common name of a certificate's subject, if there is one.
pub fn common_name(der: &[u8]) -> Result<Option<String>, MalformedCertificate> {
    let certificate = parse(der)?;
    let mut names = certificate.subject().iter_common_name();
    let (Some(name), None) = (names.next(), names.next()) else {
        return Ok(None);
    };
    Ok(name.as_str().ok().map(str::to_owned))
}

/// The `SubjectPublicKeyInfo` of a certificate, as its bytes.
pub fn read_public_key(der: &[u8]) -> Result<Vec<u8>, MalformedCertificate> {
    Ok(parse(der)?.public_key().raw.to_vec())
}

/// True if `issuer` signed a certificate: the names match, and the signature verifies.
pub fn is_signed_by(der: &[u8], issuer: &[u8]) -> Result<bool, MalformedCertificate> {
    let (certificate, issuer) = (parse(der)?, parse(issuer)?);
    Ok(certificate.issuer() == issuer.subject()
        && certificate
            .verify_signature(Some(issuer.public_key()))
            .is_ok())
}

/// The issuer of a certificate; `None` when it names itself.
pub fn foreign_issuer(der: &[u8]) -> Result<Option<String>, MalformedCertificate> {
    let certificate = parse(der)?;
    let is_own = certificate.issuer() == certificate.subject();
    Ok((!is_own).then(|| subject::to_rfc2253(certificate.issuer())))
}

/// The first certificate of a PEM text: in a chain, the leaf.
pub fn pem_to_der(text: &str) -> Result<CertificateDer<'static>, InvalidPem> {
    let mut certificates = pem::certificates(text)?.into_iter();
    certificates
        .next()
        .ok_or(InvalidPem::Nothing("there is no certificate"))
}

/// A certificate in PEM.
pub fn der_to_pem(der: &[u8]) -> String {
    pem::encode("CERTIFICATE", der)
}

pub(super) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, MalformedCertificate> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(MalformedCertificate),
    }
}

/// An extension that occurs twice is contradictory, so it is refused.
fn unique<T, E>(found: Result<T, E>) -> Result<T, MalformedCertificate> {
    found.ok().ok_or(MalformedCertificate)
}

fn serial(certificate: &X509Certificate<'_>) -> Result<SerialNumber, MalformedCertificate> {
    let octets = certificate.raw_serial();
    if octets.first().is_none_or(|first| *first >= 0x80) {
        return Err(MalformedCertificate); // a negative number
    }
    SerialNumber::from_bytes(octets)
        .ok()
        .ok_or(MalformedCertificate)
}

fn validity(certificate: &X509Certificate<'_>) -> Validity {
    let validity = certificate.validity();
    Validity {
        not_before: Timestamp::from_unix_seconds(validity.not_before.timestamp()),
        not_after: Timestamp::from_unix_seconds(validity.not_after.timestamp()),
    }
}

fn sans(certificate: &X509Certificate<'_>) -> Result<Vec<String>, MalformedCertificate> {
    let names = unique(certificate.subject_alternative_name())?;
    let names = names.map(|extension| &extension.value.general_names);
    Ok(names
        .into_iter()
        .flatten()
        .filter_map(subject::alternative)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::testing::{Pki, client_params, hours};
    use proptest::prelude::*;
    use rcgen::{DnType, DnValue, SanType};

    #[test]
    fn a_leaf_is_read_as_it_was_made() {
        let validity = hours(-1, 1);
        let mut params = client_params(validity);
        params.serial_number = Some(vec![0x80, 1].into());
        params
            .distinguished_name
            .push(DnType::OrganizationName, "A+B, \"C\"");
        params
            .distinguished_name
            .push(DnType::CustomDnType(vec![1, 2, 3]), "x");
        let bmp = rcgen::string::BmpString::try_from("zürich").unwrap();
        params
            .distinguished_name
            .push(DnType::LocalityName, DnValue::BmpString(bmp));
        params.subject_alt_names = vec![
            SanType::DnsName("a.test".try_into().unwrap()),
            SanType::URI("urn:a,DNS:b".try_into().unwrap()),
            SanType::Rfc822Name("a@b.test".try_into().unwrap()),
            SanType::IpAddress([10, 0, 0, 1].into()),
        ];
        let pki = Pki::new();
        let identity = pki.client(&params);
        let leaf = read_leaf(&identity.chain[0]).unwrap();
        assert_eq!(leaf.validity, validity);
        assert_eq!(leaf.serial.to_string(), "8001");
        assert_eq!(leaf.fingerprint, hash::fingerprint(&identity.chain[0]));
        assert_eq!(leaf.key, Some(KeyAlgorithm::P256));
        assert_eq!(
            leaf.subject,
            r#"L=z\C3\BCrich,1.2.3=x,O=A\+B\, \"C\",CN=partner"#
        );
        assert_eq!(
            leaf.sans,
            [
                "DNS:a.test",
                "URI:urn:a\\,DNS:b",
                "email:a@b.test",
                "IP:10.0.0.1"
            ]
        );
        let key = read_public_key(&identity.chain[0]).unwrap();
        assert_eq!(leaf.key_digest, hash::fingerprint(&key));
    }

    #[test]
    fn only_one_whole_certificate_is_read() {
        let pki = Pki::new();
        let good = pki.client(&client_params(hours(-1, 1))).chain.remove(0);
        let mut longer = good.to_vec();
        longer.push(0);
        for bad in [&b""[..], b"garbage", &longer, &good[..good.len() - 1]] {
            assert_eq!(read_leaf(bad), Err(MalformedCertificate));
            assert_eq!(read_usage(bad), Err(MalformedCertificate));
        }
    }

    proptest! {
        #[test]
        fn no_damage_makes_the_reader_panic(
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let sample = include_str!("testdata/certificate/repeated-attributes.pem");
            let mut der = pem_to_der(sample).unwrap().to_vec();
            for (place, byte) in damage {
                let place = place.index(der.len());
                der[place] = byte;
            }
            let _ = (read_leaf(&der), read_usage(&der));
            der.truncate(cut.index(der.len()));
            let _ = (read_leaf(&der), read_usage(&der));
        }
    }
}
