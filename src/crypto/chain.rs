//! A certificate with its chain and its private key, out of the files that an operator has: the leaf is found by the
//! key and put first, and oddities of the chain are reported.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SigningKey};

use super::pem;
use super::pem_fault::InvalidPem;
use super::x509::{self, MalformedCertificate};
use crate::domain::secret::Secret;
use crate::domain::time::{Timestamp, Validity};

/// The remaining lifetime at which a certificate is worth a warning: time enough for a renewal by hand.
const SOON: Duration = Duration::from_hours(30 * 24);

/// A chain in the order in which it is sent, and the private key of its first certificate.
#[derive(Debug)]
pub struct Chain {
    certificates: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
    reordered: bool,
}

/// Files that give no chain and private key.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    #[error("the certificate cannot be read")]
    Pem(#[from] InvalidPem),
    #[error("a certificate cannot be read")]
    Certificate(#[from] MalformedCertificate),
    #[error("the private key cannot be read")]
    PrivateKey(#[source] InvalidPem),
    #[error("the private key is of a kind that TLS does not use here")]
    KeyKind(#[source] rustls::Error),
    #[error("the private key belongs to another certificate than {0}")]
    OtherKey(String),
    #[error(
        "{0} certificates in the file belong to the private key, and none of them is the first; \
         put the one that is meant first"
    )]
    Ambiguous(usize),
}

impl ChainError {
    /// True if the private key is at fault, and not the certificate.
    pub const fn is_of_key(&self) -> bool {
        matches!(
            self,
            Self::PrivateKey(_) | Self::KeyKind(_) | Self::OtherKey(_)
        )
    }
}

/// An oddity of a chain that can still be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    Alone { issuer: String },
    Ended(Timestamp),
    EndsSoon(Timestamp),
    NotYet(Timestamp),
    Reordered,
    Unlinked { place: usize },
}

impl Chain {
    /// Reads a chain and a private key in PEM, and finds the certificate that the key belongs to.
    pub fn read(cert_pem: &str, key_pem: &Secret) -> Result<Self, ChainError> {
        let certificates = pem::certificates(cert_pem)?;
        let key = pem::private_key(key_pem).map_err(ChainError::PrivateKey)?;
        let key = any_supported_type(&key).map_err(ChainError::KeyKind)?;
        let place = place_of_leaf(&certificates, &*key)?;
        Ok(Self {
            certificates: match place {
                0 => certificates,
                place => in_order(certificates, place)?,
            },
            key,
            reordered: place != 0,
        })
    }

    /// The first certificate, which the key belongs to.
    pub fn leaf(&self) -> Result<x509::Leaf, MalformedCertificate> {
        let first = self.certificates.first().ok_or(MalformedCertificate)?;
        x509::read_leaf(first)
    }

    /// The chain and the key in the form that rustls takes.
    pub fn certified_key(self) -> CertifiedKey {
        CertifiedKey::new(self.certificates, self.key)
    }

    /// All oddities of the chain.
    pub fn remarks(&self, now: Timestamp) -> Result<Vec<Remark>, MalformedCertificate> {
        let mut remarks: Vec<Remark> = of_time(&self.leaf()?.validity, now).into_iter().collect();
        if self.reordered {
            remarks.push(Remark::Reordered);
        }
        if let [only] = &self.certificates[..]
            && let Some(issuer) = x509::foreign_issuer(only)?
        {
            remarks.push(Remark::Alone { issuer });
        }
        let pairs = self.certificates.windows(2).enumerate();
        for (place, pair) in pairs {
            if let [below, above] = pair
                && !x509::is_signed_by(below, above)?
            {
                remarks.push(Remark::Unlinked { place: place + 2 });
            }
        }
        Ok(remarks)
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alone { issuer } => write!(
                f,
                "the chain may not be complete: the file holds no certificate of the issuer {issuer}; \
                 append it, unless clients have it already"
            ),
            Self::Ended(at) => write!(f, "the certificate has expired at {at}; clients refuse it"),
            Self::EndsSoon(at) => write!(f, "the certificate expires at {at}"),
            Self::NotYet(at) => write!(f, "the certificate is not valid before {at}"),
            Self::Reordered => f.write_str(
                "the certificate of the private key is not the first in the file; it is sent first all the same",
            ),
            Self::Unlinked { place } => write!(
                f,
                "certificate {place} that is sent did not sign the one before it; clients may refuse the chain"
            ),
        }
    }
}

fn of_time(validity: &Validity, now: Timestamp) -> Option<Remark> {
    if validity.has_ended(now) {
        Some(Remark::Ended(validity.not_after))
    } else if now < validity.not_before {
        Some(Remark::NotYet(validity.not_before))
    } else if validity.has_ended(now.plus(SOON)) {
        Some(Remark::EndsSoon(validity.not_after))
    } else {
        None
    }
}

/// The place of the certificate that the key belongs to. A file may hold an older certificate of the same key behind
/// it.
fn place_of_leaf(
    certificates: &[CertificateDer<'static>],
    key: &dyn SigningKey,
) -> Result<usize, ChainError> {
    let Some(public) = key.public_key() else {
        return Ok(0);
    };
    let mut fitting = Vec::new();
    for (place, certificate) in certificates.iter().enumerate() {
        if x509::read_public_key(certificate)? == *public {
            fitting.push(place);
        }
    }
    match (&fitting[..], certificates.first()) {
        ([0, ..], _) => Ok(0),
        ([only], _) => Ok(*only),
        ([], Some(first)) => Err(ChainError::OtherKey(x509::read_leaf(first)?.subject)),
        (several, _) => Err(ChainError::Ambiguous(several.len())),
    }
}

/// The leaf, then each issuer of the one before, then all other certificates in their order.
fn in_order(
    mut rest: Vec<CertificateDer<'static>>,
    leaf: usize,
) -> Result<Vec<CertificateDer<'static>>, MalformedCertificate> {
    let mut ordered = Vec::with_capacity(rest.len());
    let mut next = Some(leaf);
    while let Some(place) = next {
        let certificate = rest.remove(place);
        next = None;
        for (place, above) in rest.iter().enumerate() {
            if x509::is_signed_by(&certificate, above)? {
                next = Some(place);
                break;
            }
        }
        ordered.push(certificate);
    }
    ordered.append(&mut rest);
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::authority::Authority;
    use crate::crypto::keypair;
    use crate::crypto::testing::{Pki, hours, now};

    /// A server certificate with its issuer behind it, and its private key.
    fn server(authority: &Authority) -> (String, Secret) {
        authority
            .issue_server(&["a.test".to_owned()], now())
            .unwrap()
    }

    fn subjects(chain: &Chain) -> Vec<String> {
        let leaf = |der: &CertificateDer<'_>| x509::read_leaf(der).unwrap().subject;
        chain.certificates.iter().map(leaf).collect()
    }

    #[test]
    fn the_leaf_is_found_by_its_key_wherever_it_stands() {
        let pki = Pki::new();
        let (text, key) = server(&pki.authority);
        let root = &pki.generated.root_cert_pem;
        let issuing = &pki.generated.issuing_cert_pem;
        let leaf = x509::der_to_pem(&x509::pem_to_der(&text).unwrap());
        let straight = format!("{leaf}{issuing}{root}");
        let expected = subjects(&Chain::read(&straight, &key).unwrap());
        for (file, reordered) in [
            (straight, false),
            (format!("{issuing}{leaf}{root}"), true),
            (format!("{root}{issuing}{leaf}"), true),
            (format!("{issuing}{root}{leaf}"), true),
        ] {
            let chain = Chain::read(&file, &key).unwrap();
            assert_eq!(subjects(&chain), expected);
            let remarks = chain.remarks(now()).unwrap();
            assert_eq!(
                remarks.contains(&Remark::Reordered),
                reordered,
                "{remarks:?}"
            );
            assert_eq!(chain.certified_key().keys_match(), Ok(()));
        }
    }

    #[test]
    fn a_chain_without_its_key_is_refused_by_name() {
        let pki = Pki::new();
        let (text, key) = server(&pki.authority);
        let other = keypair::to_secret(&keypair::generate().unwrap());
        let leaf = x509::der_to_pem(&x509::pem_to_der(&text).unwrap());
        let issuing = &pki.generated.issuing_cert_pem;
        let encrypted = Secret::new(pem::encode("ENCRYPTED PRIVATE KEY", b"x"));
        let strange = Secret::new(pem::encode("PRIVATE KEY", b"x"));
        for (cert, key, words, of_key) in [
            (&leaf, &other, "another certificate than CN=a.test", true),
            (&leaf, &encrypted, "the private key cannot be read", true),
            (&leaf, &strange, "of a kind", true),
            (
                &format!("{issuing}{leaf}{leaf}"),
                &key,
                "2 certificates",
                false,
            ),
            (
                &pem::encode("PKCS7", b"x"),
                &key,
                "the certificate cannot be read",
                false,
            ),
            (
                &pem::encode("CERTIFICATE", b"x"),
                &key,
                "a certificate cannot be read",
                false,
            ),
        ] {
            let error = Chain::read(cert, key).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains(words), "{words}: {error}");
            assert_eq!(error.is_of_key(), of_key, "{words}");
        }
    }

    #[test]
    fn what_is_odd_about_a_chain_is_said() {
        let pki = Pki::new();
        let (text, key) = server(&pki.authority);
        let leaf = x509::der_to_pem(&x509::pem_to_der(&text).unwrap());
        let root = &pki.generated.root_cert_pem;
        let alone = Chain::read(&leaf, &key).unwrap().remarks(now()).unwrap();
        let issuer = "CN=Test Issuing".to_owned();
        assert_eq!(alone, [Remark::Alone { issuer }]);
        let gap = Chain::read(&format!("{leaf}{root}"), &key).unwrap();
        assert_eq!(gap.remarks(now()).unwrap(), [Remark::Unlinked { place: 2 }]);
        let whole = Chain::read(&text, &key).unwrap();
        assert_eq!(whole.remarks(now()).unwrap(), []);
        let validity = whole.leaf().unwrap().validity;
        let (begin, end) = (validity.not_before, validity.not_after);
        for (at, remark) in [
            (begin.minus(Duration::from_secs(1)), Remark::NotYet(begin)),
            (
                end.minus(Duration::from_hours(24 * 29)),
                Remark::EndsSoon(end),
            ),
            (end.plus(Duration::from_secs(1)), Remark::Ended(end)),
        ] {
            assert_eq!(whole.remarks(at).unwrap(), [remark]);
        }
        assert_eq!(of_time(&hours(-1, 24 * 31), now()), None);
    }
}
