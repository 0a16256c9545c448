//! The forms of our certificates: the parameters of each kind.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType,
};
use time::OffsetDateTime;

use super::random;
use crate::domain::time::{Timestamp, Validity};

/// The back-dating of every certificate that is not a partner's, for clocks that are slow.
pub const BACKDATE: Duration = Duration::from_mins(5);

/// A root that signs issuing authorities.
pub fn root(name: &str, validity: Validity) -> Result<CertificateParams, rcgen::Error> {
    authority(name, BasicConstraints::Constrained(1), validity)
}

/// An authority that signs leaves and no further authority.
pub fn issuing(name: &str, validity: Validity) -> Result<CertificateParams, rcgen::Error> {
    let mut params = authority(name, BasicConstraints::Constrained(0), validity)?;
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// A certificate that authenticates a client and nothing else.
pub fn client(
    common_name: &str,
    names: Vec<SanType>,
    validity: Validity,
) -> Result<CertificateParams, rcgen::Error> {
    let purpose = ExtendedKeyUsagePurpose::ClientAuth;
    leaf(common_name, names, purpose, validity)
}

/// A certificate that authenticates a server and nothing else.
pub fn server(
    common_name: &str,
    names: Vec<SanType>,
    validity: Validity,
) -> Result<CertificateParams, rcgen::Error> {
    let purpose = ExtendedKeyUsagePurpose::ServerAuth;
    leaf(common_name, names, purpose, validity)
}

fn authority(
    name: &str,
    constraints: BasicConstraints,
    validity: Validity,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = base(name, validity)?;
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn leaf(
    common_name: &str,
    names: Vec<SanType>,
    purpose: ExtendedKeyUsagePurpose,
    validity: Validity,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = base(common_name, validity)?;
    // Writes CA:FALSE, and makes rcgen write the subject key identifier.
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    params.subject_alt_names = names;
    Ok(params)
}

fn base(common_name: &str, validity: Validity) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.serial_number = Some(serial().to_vec().into());
    params.not_before = date(validity.not_before)?;
    params.not_after = date(validity.not_after)?;
    Ok(params)
}

/// 20 random octets that read as a positive number without a leading zero: 158 random bits.
///
/// rcgen's own serial follows from the key, so a renewal with the same key would repeat it.
fn serial() -> [u8; 20] {
    let mut octets: [u8; 20] = random::bytes();
    if let Some(first) = octets.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    octets
}

fn date(at: Timestamp) -> Result<OffsetDateTime, rcgen::Error> {
    OffsetDateTime::from_unix_timestamp(at.unix_seconds())
        .ok()
        .ok_or(rcgen::Error::Time)
}
