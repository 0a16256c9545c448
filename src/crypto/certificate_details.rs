//! Details of a certificate: the texts that upstreams get in header fields.
//!
//! They are read when a field is made from them and not with every handshake, since few gateways need them.

use x509_parser::extensions::GeneralName;

use super::hash;
use super::subject::{self, Attribute};
use super::x509::{MalformedCertificate, is_signed_by, parse};

/// The facts about a certificate's holder and issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateDetails {
    /// The subject in the form of RFC 2253, printable ASCII only.
    pub subject: String,
    /// The subject's attributes in the certificate's order.
    pub subject_attributes: Vec<Attribute>,
    /// The issuer in the same form.
    pub issuer: String,
    pub issuer_attributes: Vec<Attribute>,
    /// The names as the certificate holds them: a writer has to escape them.
    pub names: Vec<AlternativeName>,
    /// SHA-1 of the whole certificate. No decision depends on it; other proxies send it.
    pub sha1: [u8; 20],
}

/// A subject alternative name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlternativeName {
    Dns(String),
    Email(String),
    Ip(String),
    Uri(String),
}

impl CertificateDetails {
    /// Reads a certificate that the handshake has verified.
    pub fn read(der: &[u8]) -> Result<Self, MalformedCertificate> {
        let certificate = parse(der)?;
        let names = certificate.subject_alternative_name();
        let names = names.ok().ok_or(MalformedCertificate)?;
        let names = names.map(|extension| &extension.value.general_names);
        Ok(Self {
            subject: subject::to_rfc2253(certificate.subject()),
            subject_attributes: subject::attributes(certificate.subject()),
            issuer: subject::to_rfc2253(certificate.issuer()),
            issuer_attributes: subject::attributes(certificate.issuer()),
            names: names.into_iter().flatten().filter_map(name).collect(),
            sha1: hash::sha1(der),
        })
    }
}

/// The certificates of the authority that have signed leaves: the one that signs now, and those before it.
#[derive(Clone, Debug, Default)]
pub struct Issuers(Vec<Vec<u8>>);

impl Issuers {
    pub fn new(issuing: Vec<Vec<u8>>) -> Self {
        Self(issuing)
    }

    /// The chain above a leaf, without the root; empty when another authority has signed the leaf.
    pub fn above(&self, leaf: &[u8]) -> &[Vec<u8>] {
        let named: Vec<_> = self.0.iter().filter(|issuer| names(leaf, issuer)).collect();
        let issuer = match &named[..] {
            // The handshake has verified the leaf, so there is only one candidate.
            [only] => Some(*only),
            several => several
                .iter()
                .copied()
                .find(|issuer| is_signed_by(leaf, issuer).unwrap_or_default()),
        };
        issuer.map_or(&[], std::slice::from_ref)
    }
}

/// True if a certificate names this one as its issuer.
fn names(leaf: &[u8], issuer: &[u8]) -> bool {
    match (parse(leaf), parse(issuer)) {
        (Ok(leaf), Ok(issuer)) => leaf.issuer().as_raw() == issuer.subject().as_raw(),
        _ => false,
    }
}

fn name(name: &GeneralName<'_>) -> Option<AlternativeName> {
    match name {
        GeneralName::DNSName(text) => Some(AlternativeName::Dns((*text).to_owned())),
        GeneralName::RFC822Name(text) => Some(AlternativeName::Email((*text).to_owned())),
        GeneralName::URI(text) => Some(AlternativeName::Uri((*text).to_owned())),
        GeneralName::IPAddress(octets) => subject::address(octets).map(AlternativeName::Ip),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{DnType, SanType};

    use super::*;
    use crate::crypto::authority::Authority;
    use crate::crypto::testing::{Pki, client_params, hours, now};

    #[test]
    fn a_certificate_is_told_as_it_was_made() {
        let mut params = client_params(hours(-1, 1));
        params
            .distinguished_name
            .push(DnType::OrganizationName, "A, \"B\"");
        params.subject_alt_names = vec![
            SanType::DnsName("a.test".try_into().unwrap()),
            SanType::URI("urn:a,DNS:b".try_into().unwrap()),
            SanType::Rfc822Name("a@b.test".try_into().unwrap()),
            SanType::IpAddress([10, 0, 0, 1].into()),
        ];
        let pki = Pki::new();
        let der = pki.client(&params).chain.remove(0);
        let details = CertificateDetails::read(&der).unwrap();
        assert_eq!(details.subject, r#"O=A\, \"B\",CN=partner"#);
        assert_eq!(details.issuer, "CN=Test Issuing");
        assert_eq!(details.sha1, hash::sha1(&der));
        let attribute = |oid: &str, value: &str| Attribute {
            oid: oid.to_owned(),
            value: value.to_owned(),
        };
        assert_eq!(
            details.subject_attributes,
            [
                attribute("2.5.4.3", "partner"),
                attribute("2.5.4.10", "A, \"B\"")
            ]
        );
        assert_eq!(
            details.issuer_attributes,
            [attribute("2.5.4.3", "Test Issuing")]
        );
        assert_eq!(
            details.names,
            [
                AlternativeName::Dns("a.test".to_owned()),
                AlternativeName::Uri("urn:a,DNS:b".to_owned()),
                AlternativeName::Email("a@b.test".to_owned()),
                AlternativeName::Ip("10.0.0.1".to_owned()),
            ]
        );
        assert_eq!(
            CertificateDetails::read(b"garbage"),
            Err(MalformedCertificate)
        );
    }

    #[test]
    fn the_chain_is_told_of_leaves_of_our_own_only() {
        let (pki, mut other) = (Pki::new(), client_params(hours(-1, 1)));
        let leaf = pki.client(&other).chain.remove(0);
        let issuers = Issuers::new(pki.authority.issuers());
        assert_eq!(issuers.above(&leaf), pki.authority.issuers());
        assert_eq!(issuers.above(&leaf).len(), 1);
        let key = rcgen::KeyPair::generate().unwrap();
        other.distinguished_name.push(DnType::CommonName, "other");
        let foreign = other.self_signed(&key).unwrap();
        assert!(issuers.above(foreign.der()).is_empty());
        assert!(issuers.above(b"garbage").is_empty());
        assert!(Issuers::default().above(&leaf).is_empty());
    }

    #[test]
    fn a_leaf_of_before_is_told_of_with_the_one_that_signed_it() {
        let pki = Pki::new();
        let (root, key) = (&pki.generated.root_cert_pem, &pki.generated.root_key_pem);
        // An operator may give both the same name.
        let (cert, key) = Authority::generate_issuing(root, key, "Test Issuing", now()).unwrap();
        let next = Authority::load(&cert, &key, root, now()).unwrap();
        let retired = &pki.generated.issuing_cert_pem;
        let next = next.with_retired(retired, now()).unwrap();
        let issuers = Issuers::new(next.issuers());
        let leaf = pki.client(&client_params(hours(-1, 1))).chain.remove(0);
        assert_eq!(issuers.above(&leaf), pki.authority.issuers());
        let (pem, _) = next.issue_server(&["a.test".to_owned()], now()).unwrap();
        let leaf = crate::crypto::x509::pem_to_der(&pem).unwrap();
        assert_eq!(issuers.above(&leaf), &next.issuers()[..1]);
    }
}
