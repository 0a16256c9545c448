//! The certificate of a caller, in the forms of the identity headers.

use crate::crypto::certificate_details::{AlternativeName, CertificateDetails, Issuers};
use crate::crypto::x509::{self, Leaf, MalformedCertificate};
use crate::domain::identity::CertificateProof;

use super::encode;

/// A valid certificate, with everything that may be sent of it.
#[derive(Debug)]
pub struct Certificate<'a> {
    pub proof: &'a CertificateProof,
    pub der: &'a [u8],
    /// The certificates that it was verified with, from its issuer upwards.
    pub chain: &'a [Vec<u8>],
    pub details: CertificateDetails,
}

impl<'a> Certificate<'a> {
    /// Parses the certificate that the connection kept; `None` when it kept none.
    pub fn read(
        proof: &'a CertificateProof,
        leaf: &'a Leaf,
        issuers: &'a Issuers,
    ) -> Result<Option<Self>, MalformedCertificate> {
        let Some(der) = leaf.der.as_deref() else {
            return Ok(None);
        };
        Ok(Some(Self {
            proof,
            der,
            chain: issuers.above(der),
            details: CertificateDetails::read(der)?,
        }))
    }

    pub fn pem(&self) -> String {
        x509::der_to_pem(self.der)
    }

    /// The certificate and its chain, one after the other.
    pub fn chain_pem(&self) -> String {
        let mut pem = self.pem();
        for issuer in self.chain {
            pem.push_str(&x509::der_to_pem(issuer));
        }
        pem
    }

    /// The serial number in upper-case hexadecimal digits, as OpenSSL writes it.
    pub fn serial(&self) -> String {
        self.proof.serial.to_string().to_ascii_uppercase()
    }

    /// The alternative names of one kind, escaped.
    pub fn names(&self, of: Kind) -> Vec<String> {
        let names = self.details.names.iter();
        names
            .filter_map(|name| {
                let (kind, text) = match name {
                    AlternativeName::Dns(text) => (Kind::Dns, text),
                    AlternativeName::Email(text) => (Kind::Email, text),
                    AlternativeName::Ip(text) => (Kind::Ip, text),
                    AlternativeName::Uri(text) => (Kind::Uri, text),
                };
                (kind == of).then(|| encode::percent(text, encode::SAFE_IN_NAMES))
            })
            .collect()
    }

    /// The alternative names of all kinds, escaped, in the order in which Go lists them.
    pub fn all_names(&self) -> Vec<String> {
        let kinds = [Kind::Dns, Kind::Email, Kind::Ip, Kind::Uri];
        kinds
            .into_iter()
            .flat_map(|kind| self.names(kind))
            .collect()
    }
}

/// Kinds of alternative names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Dns,
    Email,
    Ip,
    Uri,
}
