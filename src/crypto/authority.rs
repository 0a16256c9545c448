//! The certificate authority: generated or the operator's own, tested when loaded, and checking each certificate it
//! signs.

use std::net::IpAddr;
use std::time::Duration;

use rcgen::string::Ia5String;
use rcgen::{CertificateParams, Issuer, KeyPair, PublicKeyData, SanType};
use rustls::pki_types::CertificateDer;

use super::csr::Csr;
use super::keypair::KeyError;
use super::pem;
use super::pem_fault::InvalidPem;
use super::verifier::{self, Purpose};
use super::x509::{self, Leaf, MalformedCertificate};
use super::{hash, issue, keypair};
use crate::domain::certificate::{Fingerprint, KeyAlgorithm, Profile};
use crate::domain::id::{AppId, AuthorityId};
use crate::domain::name::Name;
use crate::domain::secret::Secret;
use crate::domain::time::{Timestamp, Validity};

/// The lifetime of a generated root: longer than anyone keeps a deployment unchanged.
const ROOT_LIFETIME: Duration = Duration::from_hours(24 * 3652);

/// The lifetime of a generated issuing authority: it is replaced while its root stays.
const ISSUING_LIFETIME: Duration = Duration::from_hours(24 * 1826);

/// The lifetime of a server certificate with its back-dating: 90 days, the maximum that Mozilla's TLS profiles
/// recommend.
const SERVER_LIFETIME: Duration = Duration::from_hours(24 * 90);

/// The maximum number of characters of a common name (RFC 5280, upper bounds).
const COMMON_NAME_CHARS_MAX: usize = 64;

/// An authority that can sign.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    leaf: Leaf,
    /// The validity of the root that the issuing certificate leads to.
    root: Validity,
    /// All configured roots, including those that are not valid now.
    roots: Vec<(CertificateDer<'static>, Validity)>,
    id: AuthorityId,
    chain_pem: String,
    ca_pem: String,
    anchors: Vec<CertificateDer<'static>>,
    /// Earlier issuing certificates; they are among the anchors too.
    retired: Vec<CertificateDer<'static>>,
}

/// A new root and a new issuing authority, as they are kept in files.
#[derive(Debug)]
#[expect(
    clippy::struct_field_names,
    reason = "the writer of the files has to know that they are PEM"
)]
pub struct GeneratedAuthority {
    pub root_cert_pem: String,
    pub root_key_pem: Secret,
    pub issuing_cert_pem: String,
    pub issuing_key_pem: Secret,
}

/// The names in a client certificate.
#[derive(Clone, Copy, Debug)]
pub struct LeafNames<'n> {
    pub app: AppId,
    /// The common name.
    pub name: &'n Name,
}

/// A certificate after it was signed and verified.
#[derive(Clone, Debug)]
pub struct Issued {
    pub pem: String,
    pub der: Vec<u8>,
    pub leaf: Leaf,
}

/// An authority that cannot be generated, loaded or used to sign.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("the authority's {part} cannot be read")]
    Unreadable {
        part: &'static str,
        source: InvalidPem,
    },
    #[error("the issuing certificate cannot be read")]
    Malformed(#[from] MalformedCertificate),
    #[error("the issuing key cannot be used")]
    Key(#[source] KeyError),
    #[error("the issuing certificate belongs to another key")]
    KeyMismatch,
    #[error(
        "the issuing certificate is not a CA certificate: it needs CA:TRUE and the key usage keyCertSign"
    )]
    NotAuthority,
    #[error("the issuing key is weak, or its type is not accepted")]
    WeakKey,
    #[error("the issuing certificate is not valid now, only from {} to {}", .0.not_before, .0.not_after)]
    NotNow(Validity),
    #[error("the root certificate is not valid now, only from {} to {}", .0.not_before, .0.not_after)]
    RootNotNow(Validity),
    #[error("a root certificate cannot be read")]
    RootMalformed(#[source] MalformedCertificate),
    #[error(
        "{0} in retired.pem is no earlier issuing certificate of this authority: none of its roots signed it, \
         or it may not sign certificates"
    )]
    Foreign(String),
    #[error(
        "{subject} (SHA-256 {fingerprint}) would no longer be trusted, and partners with certificates below it \
         would be refused: keep roots in root.pem, and append an issuing certificate that is replaced to retired.pem; \
         a restart does not check it"
    )]
    Forgotten {
        subject: String,
        fingerprint: Fingerprint,
    },
    #[error(
        "a certificate signed by this authority does not verify: the root may not belong to it, or its subject repeats attribute types, which this version cannot issue for"
    )]
    SelfTest(#[source] rustls::Error),
    #[error("the profile does not accept {} keys", .0.as_str())]
    KeyNotAllowed(KeyAlgorithm),
    #[error("the lifetime must be greater than zero and not longer than the profile allows")]
    Lifetime,
    #[error("{0:?} cannot be the name of a server")]
    Host(String),
    #[error("the certificate could not be signed")]
    Sign(#[source] rcgen::Error),
    #[error("the signed certificate differs from the intended one")]
    Unfaithful,
}

impl Authority {
    /// Generates a root and an issuing authority, both with P-256 keys.
    pub fn generate(name: &str, now: Timestamp) -> Result<GeneratedAuthority, AuthorityError> {
        let root_key = keypair::generate().map_err(AuthorityError::Key)?;
        let issuing_key = keypair::generate().map_err(AuthorityError::Key)?;
        let span = |lifetime| Validity {
            not_before: now.minus(issue::BACKDATE).whole_seconds(),
            not_after: now.plus(lifetime).whole_seconds(),
        };
        let root = issue::root(&format!("{name} Root"), span(ROOT_LIFETIME))
            .map_err(AuthorityError::Sign)?;
        let root_cert = root.self_signed(&root_key).map_err(AuthorityError::Sign)?;
        let root_key_pem = keypair::to_secret(&root_key);
        let issuing = issue::issuing(&format!("{name} Issuing"), span(ISSUING_LIFETIME))
            .and_then(|params| params.signed_by(&issuing_key, &Issuer::new(root, root_key)))
            .map_err(AuthorityError::Sign)?;
        Ok(GeneratedAuthority {
            root_cert_pem: x509::der_to_pem(root_cert.der()),
            root_key_pem,
            issuing_cert_pem: x509::der_to_pem(issuing.der()),
            issuing_key_pem: keypair::to_secret(&issuing_key),
        })
    }

    /// Loads an authority. Everything that could fail at the first request fails here.
    ///
    /// `root_certs_pem` may hold several certificates; one of those that are valid now has to lead to the issuing
    /// certificate. Roots that are not valid now are not trusted.
    pub fn load(
        issuing_cert_pem: &str,
        issuing_key_pem: &Secret,
        root_certs_pem: &str,
        now: Timestamp,
    ) -> Result<Self, AuthorityError> {
        let unreadable = |part| move |source| AuthorityError::Unreadable { part, source };
        let certificate = x509::pem_to_der(issuing_cert_pem)
            .map_err(unreadable("issuing certificate (issuing.pem)"))?;
        let roots = pem::certificates(root_certs_pem)
            .map_err(unreadable("root certificates (root.pem)"))?;
        let roots = with_validity(roots)?;
        let key = keypair::from_secret(issuing_key_pem).map_err(AuthorityError::Key)?;
        let leaf = judge_issuing(&certificate, &key, now)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(AuthorityError::Sign)?;
        // Verifiers of chains do not check the dates of an anchor.
        let counting = roots.iter().filter(|(_, span)| span.contains(now));
        let counting = counting.map(|(root, _)| root);
        let mut authority = Self::assemble(issuer, certificate, leaf, counting);
        authority.root = authority.self_test(&roots, now)?;
        authority.roots = roots;
        Ok(authority)
    }

    /// The same authority, which also trusts its earlier issuing certificates: they verify partners who send only their
    /// leaf, until it expires. Each has to be signed by a root of this authority. Those that are not valid now, or
    /// whose root is not, are not trusted.
    pub fn with_retired(
        mut self,
        retired_certs_pem: &str,
        now: Timestamp,
    ) -> Result<Self, AuthorityError> {
        let part = "retired certificates (retired.pem)";
        let retired = pem::certificates(retired_certs_pem)
            .map_err(|source| AuthorityError::Unreadable { part, source })?;
        for certificate in retired {
            if self.anchors.contains(&certificate) {
                continue;
            }
            let leaf = x509::read_leaf(&certificate)?;
            let usage = x509::read_usage(&certificate)?;
            let (mut ours, mut counts) = (false, false);
            for (root, span) in &self.roots {
                if x509::is_signed_by(&certificate, root)? {
                    ours = true;
                    counts |= span.contains(now) && leaf.validity.contains(now);
                }
            }
            if !ours || !usage.authority || !usage.signs_certificates {
                return Err(AuthorityError::Foreign(leaf.subject));
            }
            if counts {
                self.anchors.push(certificate.clone());
            }
            self.retired.push(certificate);
        }
        Ok(self)
    }

    /// True if both are one authority with the same trust.
    pub fn is_same(&self, other: &Self) -> bool {
        self.certificate == other.certificate && self.anchors == other.anchors
    }

    /// Refuses to replace `running` if a certificate that it trusts would no longer be trusted: a reload must not
    /// invalidate a partner's certificate. A certificate that has expired meanwhile is not required.
    pub fn may_succeed(&self, running: &Self, now: Timestamp) -> Result<(), AuthorityError> {
        let forgotten = |anchor: &&CertificateDer<'_>| !self.anchors.contains(anchor);
        for anchor in running.anchors.iter().filter(forgotten) {
            let leaf = x509::read_leaf(anchor)?;
            if !leaf.validity.has_ended(now) {
                return Err(AuthorityError::Forgotten {
                    subject: leaf.subject,
                    fingerprint: leaf.fingerprint,
                });
            }
        }
        Ok(())
    }

    fn assemble<'r>(
        issuer: Issuer<'static, KeyPair>,
        certificate: CertificateDer<'static>,
        leaf: Leaf,
        roots: impl Iterator<Item = &'r CertificateDer<'static>>,
    ) -> Self {
        let mut anchors = vec![certificate.clone()];
        anchors.extend(roots.filter(|root| **root != certificate).cloned());
        Self {
            issuer,
            root: leaf.validity,
            roots: Vec::new(),
            id: id_of(&leaf),
            chain_pem: x509::der_to_pem(&certificate),
            ca_pem: anchors
                .iter()
                .map(|anchor| x509::der_to_pem(anchor))
                .collect(),
            certificate,
            leaf,
            anchors,
            retired: Vec::new(),
        }
    }

    /// The first 128 bits of the issuing certificate's SHA-256.
    pub const fn id(&self) -> AuthorityId {
        self.id
    }

    /// The earlier end of the issuing certificate and its root, and so the end of everything that was signed.
    pub fn not_after(&self) -> Timestamp {
        self.leaf.validity.not_after.min(self.root.not_after)
    }

    /// The ends of the root and of the issuing certificate.
    pub fn ends(&self) -> (Timestamp, Timestamp) {
        (self.root.not_after, self.leaf.validity.not_after)
    }

    /// The certificates that partners download to trust the gateway: the issuing certificate and the roots, in PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The issuing certificate in PEM, to be sent after a leaf.
    pub fn chain_pem(&self) -> &str {
        &self.chain_pem
    }

    /// The certificates between a leaf and the roots, in DER: the issuing certificate and the earlier ones.
    pub fn issuers(&self) -> Vec<Vec<u8>> {
        let all = [&self.certificate].into_iter().chain(&self.retired);
        all.map(|certificate| certificate.to_vec()).collect()
    }

    /// The trust anchors of client certificates. The issuing certificate is one of them, so that partners who send only
    /// their leaf are verified too.
    pub fn anchors(&self) -> Vec<CertificateDer<'static>> {
        self.anchors.clone()
    }

    /// Signs a client certificate for the key of `csr`. Everything else in it comes from `names` and `profile`.
    pub fn sign(
        &self,
        csr: &Csr,
        names: LeafNames<'_>,
        lifetime: Duration,
        profile: &Profile,
        now: Timestamp,
    ) -> Result<Issued, AuthorityError> {
        if !profile.keys.contains(&csr.key()) {
            return Err(AuthorityError::KeyNotAllowed(csr.key()));
        }
        if lifetime > profile.lifetime_max {
            return Err(AuthorityError::Lifetime);
        }
        let validity = self.span(profile.backdate, lifetime, now)?;
        let app = san(SanType::URI, &format!("countersign:app:{}", names.app))?;
        let params = issue::client(names.name.as_str(), vec![app], validity)
            .map_err(AuthorityError::Sign)?;
        let key =
            rcgen::SubjectPublicKeyInfo::from_der(csr.spki()).map_err(AuthorityError::Sign)?;
        let issued = self.issue(&params, &key, validity)?;
        self.verify(&issued, Purpose::ClientAuth, now)?;
        Ok(issued)
    }

    /// Generates a key and a certificate for one of our servers: the chain in PEM, and the key.
    pub fn issue_server(
        &self,
        hosts: &[String],
        now: Timestamp,
    ) -> Result<(String, Secret), AuthorityError> {
        let names: Vec<_> = hosts
            .iter()
            .map(|host| server_name(host))
            .collect::<Result<_, _>>()?;
        let first = hosts
            .first()
            .ok_or_else(|| AuthorityError::Host(String::new()))?;
        let fits = first.len() <= COMMON_NAME_CHARS_MAX;
        let common_name = if fits { first.as_str() } else { "countersign" };
        let ahead = SERVER_LIFETIME.saturating_sub(issue::BACKDATE);
        let validity = self.span(issue::BACKDATE, ahead, now)?;
        let params = issue::server(common_name, names, validity).map_err(AuthorityError::Sign)?;
        let key = keypair::generate().map_err(AuthorityError::Key)?;
        let issued = self.issue(&params, &key, validity)?;
        self.verify(&issued, Purpose::ServerAuth, now)?;
        Ok((issued.pem + &self.chain_pem, keypair::to_secret(&key)))
    }

    /// The validity of a leaf: back-dated, and always within the issuer's and the root's.
    fn span(
        &self,
        backdate: Duration,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Validity, AuthorityError> {
        let issuer = self.leaf.validity;
        if !issuer.contains(now) {
            return Err(AuthorityError::NotNow(issuer));
        }
        if !self.root.contains(now) {
            return Err(AuthorityError::RootNotNow(self.root));
        }
        let begin = issuer.not_before.max(self.root.not_before);
        if lifetime < Duration::from_secs(1) {
            return Err(AuthorityError::Lifetime);
        }
        Ok(Validity {
            not_before: now.minus(backdate).whole_seconds().max(begin),
            not_after: now.plus(lifetime).whole_seconds().min(self.not_after()),
        })
    }

    fn issue(
        &self,
        params: &CertificateParams,
        key: &impl PublicKeyData,
        validity: Validity,
    ) -> Result<Issued, AuthorityError> {
        let certificate = params
            .signed_by(key, &self.issuer)
            .map_err(AuthorityError::Sign)?;
        let der = certificate.der().to_vec();
        let leaf = x509::read_leaf(&der)?;
        let key = hash::fingerprint(&key.subject_public_key_info());
        if leaf.key_digest != key || leaf.validity != validity {
            return Err(AuthorityError::Unfaithful);
        }
        let pem = x509::der_to_pem(&der);
        Ok(Issued { pem, der, leaf })
    }

    fn verify(
        &self,
        issued: &Issued,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        let anchors = std::slice::from_ref(&self.certificate);
        verifier::verify_chain(&issued.der, &[], anchors, purpose, now)
            .map_err(AuthorityError::SelfTest)
    }

    /// Signs a certificate that is discarded, and verifies it up to the issuing certificate and up to a root. Returns
    /// that root's validity; of several roots, the validity that ends last.
    fn self_test(
        &self,
        roots: &[(CertificateDer<'static>, Validity)],
        now: Timestamp,
    ) -> Result<Validity, AuthorityError> {
        let validity = self.span(Duration::ZERO, Duration::from_mins(1), now)?;
        let params =
            issue::client("self-test", Vec::new(), validity).map_err(AuthorityError::Sign)?;
        let key = keypair::generate().map_err(AuthorityError::Key)?;
        let issued = self.issue(&params, &key, validity)?;
        self.verify(&issued, Purpose::ClientAuth, now)?;
        let through = std::slice::from_ref(&self.certificate);
        let leads_to = |root: &CertificateDer<'static>| {
            let root = std::slice::from_ref(root);
            verifier::verify_chain(&issued.der, through, root, Purpose::ClientAuth, now)
        };
        let mut refused = None;
        let mut above: Vec<Validity> = Vec::new();
        for (root, span) in roots {
            match leads_to(root) {
                Ok(()) => above.push(*span),
                Err(error) => refused = Some(AuthorityError::SelfTest(error)),
            }
        }
        let counting = above.iter().filter(|span| span.contains(now));
        match (counting.max_by_key(|span| span.not_after), above.last()) {
            (Some(root), _) => Ok(*root),
            (None, Some(root)) => Err(AuthorityError::RootNotNow(*root)),
            (None, None) => Err(refused.unwrap_or(AuthorityError::NotAuthority)),
        }
    }
}

#[cfg(test)]
impl Authority {
    /// Generates another issuing authority below a root: its certificate and its key, in PEM.
    pub fn generate_issuing(
        root_cert_pem: &str,
        root_key_pem: &Secret,
        name: &str,
        now: Timestamp,
    ) -> Result<(String, Secret), AuthorityError> {
        let root = x509::pem_to_der(root_cert_pem).expect("the root that was generated");
        let root_key = keypair::from_secret(root_key_pem).map_err(AuthorityError::Key)?;
        let root = Issuer::from_ca_cert_der(&root, root_key).map_err(AuthorityError::Sign)?;
        let validity = Validity {
            not_before: now.minus(issue::BACKDATE).whole_seconds(),
            not_after: now.plus(ISSUING_LIFETIME).whole_seconds(),
        };
        let key = keypair::generate().map_err(AuthorityError::Key)?;
        let certificate = issue::issuing(name, validity)
            .and_then(|params| params.signed_by(&key, &root))
            .map_err(AuthorityError::Sign)?;
        Ok((
            x509::der_to_pem(certificate.der()),
            keypair::to_secret(&key),
        ))
    }
}

fn with_validity(
    roots: Vec<CertificateDer<'static>>,
) -> Result<Vec<(CertificateDer<'static>, Validity)>, AuthorityError> {
    let spans = roots.into_iter().map(|root| {
        let leaf = x509::read_leaf(&root).map_err(AuthorityError::RootMalformed)?;
        Ok((root, leaf.validity))
    });
    spans.collect()
}

fn judge_issuing(
    certificate: &CertificateDer<'_>,
    key: &KeyPair,
    now: Timestamp,
) -> Result<Leaf, AuthorityError> {
    let leaf = x509::read_leaf(certificate)?;
    if x509::read_public_key(certificate)? != key.subject_public_key_info() {
        return Err(AuthorityError::KeyMismatch);
    }
    let usage = x509::read_usage(certificate)?;
    if !usage.authority || !usage.signs_certificates {
        return Err(AuthorityError::NotAuthority);
    }
    if leaf.key.is_none() {
        return Err(AuthorityError::WeakKey);
    }
    if !leaf.validity.contains(now) {
        return Err(AuthorityError::NotNow(leaf.validity));
    }
    Ok(leaf)
}

fn id_of(leaf: &Leaf) -> AuthorityId {
    let (first, _) = leaf
        .fingerprint
        .as_bytes()
        .split_first_chunk()
        .expect("32 octets begin with 16");
    AuthorityId::from_bits(u128::from_be_bytes(*first))
}

fn server_name(host: &str) -> Result<SanType, AuthorityError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let name = host.strip_prefix("*.").unwrap_or(host);
    match rustls::pki_types::DnsName::try_from(name) {
        Ok(_) => san(SanType::DnsName, host),
        Err(_) => Err(AuthorityError::Host(host.to_owned())),
    }
}

fn san(kind: fn(Ia5String) -> SanType, text: &str) -> Result<SanType, AuthorityError> {
    Ia5String::try_from(text)
        .map(kind)
        .map_err(AuthorityError::Sign)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::testing::{Identity, Pki, client_params, hours, now};
    use crate::crypto::{csr, der, jwt};
    use rcgen::{BasicConstraints, DnType, IsCa, KeyUsagePurpose};

    const HOUR: Duration = Duration::from_hours(1);

    fn names(name: &Name) -> LeafNames<'_> {
        LeafNames {
            app: AppId::from_bits(7),
            name,
        }
    }

    fn name() -> Name {
        "acme".parse().unwrap()
    }

    fn request(pem: &str) -> Csr {
        csr::judge(pem.as_bytes(), &KeyAlgorithm::ALL).unwrap()
    }

    fn sign(
        authority: &Authority,
        csr: &Csr,
        lifetime: Duration,
    ) -> Result<Issued, AuthorityError> {
        let name = name();
        authority.sign(csr, names(&name), lifetime, &Profile::default(), now())
    }

    #[test]
    fn every_kind_of_key_gets_a_certificate_that_verifies() {
        let pki = Pki::new();
        for (pem, key) in [
            (include_str!("testdata/csr/p256.pem"), KeyAlgorithm::P256),
            (
                include_str!("testdata/csr/p384-sha256.pem"),
                KeyAlgorithm::P384,
            ),
            (
                include_str!("testdata/csr/ed25519.pem"),
                KeyAlgorithm::Ed25519,
            ),
            (
                include_str!("testdata/csr/rsa2048.pem"),
                KeyAlgorithm::Rsa2048,
            ),
            (
                include_str!("testdata/csr/rsa3072.pem"),
                KeyAlgorithm::Rsa3072,
            ),
            (
                include_str!("testdata/csr/rsa4096.pem"),
                KeyAlgorithm::Rsa4096,
            ),
        ] {
            let csr = request(pem);
            let issued = sign(&pki.authority, &csr, HOUR).unwrap();
            assert_eq!(issued.leaf.key, Some(key));
            assert_eq!(issued.leaf.key_digest, csr.key_digest());
            assert_eq!(x509::pem_to_der(&issued.pem).unwrap().as_ref(), issued.der);
        }
    }

    /// This request asks for host names, server usage and an identifier of its own.
    #[test]
    fn nothing_but_the_key_comes_from_the_request() {
        let pki = Pki::new();
        let csr = request(include_str!("testdata/csr/wants-much.pem"));
        let issued = sign(&pki.authority, &csr, HOUR).unwrap();
        assert_eq!(issued.leaf.subject, "CN=acme");
        assert_eq!(
            issued.leaf.sans,
            ["URI:countersign:app:app_00000000000000000000000007"]
        );
        let usage = x509::read_usage(&issued.der).unwrap();
        let expected = x509::Usage {
            authority: false,
            digital_signature: Some(true),
            signs_certificates: false,
            signs_lists: false,
            client_auth: true,
        };
        assert_eq!(usage, expected);
        let verify = |purpose| pki.authority.verify(&issued, purpose, now());
        assert!(verify(Purpose::ClientAuth).is_ok());
        assert!(verify(Purpose::ServerAuth).is_err());
    }

    #[test]
    fn serial_numbers_are_random_even_for_one_key() {
        let pki = Pki::new();
        let csr = request(include_str!("testdata/csr/p256.pem"));
        let serial = || sign(&pki.authority, &csr, HOUR).unwrap().leaf.serial;
        let (one, other) = (serial(), serial());
        assert_ne!(one, other);
        assert_eq!(one.as_bytes().len(), 20);
    }

    #[test]
    fn leaves_are_back_dated_and_do_not_outlive_their_issuer() {
        let pki = Pki::new();
        let csr = request(include_str!("testdata/csr/p256.pem"));
        let at = now();
        let profile = Profile {
            lifetime_max: Duration::from_hours(24 * 4000),
            ..Profile::default()
        };
        let name = name();
        let signed = |lifetime| {
            let issued = pki
                .authority
                .sign(&csr, names(&name), lifetime, &profile, at);
            issued.unwrap().leaf.validity
        };
        let short = signed(HOUR);
        assert_eq!(short.not_before, at.minus(Duration::from_mins(5)));
        assert_eq!(short.not_after, at.plus(HOUR));
        let long = signed(Duration::from_hours(24 * 3999));
        assert_eq!(long.not_after, pki.authority.not_after());
    }

    #[test]
    fn the_profile_bounds_what_is_signed() {
        let pki = Pki::new();
        let csr = request(include_str!("testdata/csr/p256.pem"));
        let name = name();
        let with = |profile: &Profile, lifetime| {
            pki.authority
                .sign(&csr, names(&name), lifetime, profile, now())
        };
        let profile = Profile {
            keys: vec![KeyAlgorithm::P384],
            ..Profile::default()
        };
        let refused = with(&profile, HOUR);
        assert!(matches!(
            refused,
            Err(AuthorityError::KeyNotAllowed(KeyAlgorithm::P256))
        ));
        let profile = Profile::default();
        for lifetime in [profile.lifetime_max + HOUR, Duration::ZERO] {
            let refused = with(&profile, lifetime);
            assert!(matches!(refused, Err(AuthorityError::Lifetime)));
        }
    }

    #[test]
    fn an_authority_that_has_expired_signs_nothing() {
        let pki = Pki::new();
        let csr = request(include_str!("testdata/csr/p256.pem"));
        let late = pki.authority.not_after().plus(HOUR);
        let name = name();
        let refused = pki
            .authority
            .sign(&csr, names(&name), HOUR, &Profile::default(), late);
        assert!(matches!(refused, Err(AuthorityError::NotNow(_))));
        assert!(matches!(load(&pki, late), Err(AuthorityError::NotNow(_))));
    }

    fn load(pki: &Pki, at: Timestamp) -> Result<Authority, AuthorityError> {
        let files = &pki.generated;
        Authority::load(
            &files.issuing_cert_pem,
            &files.issuing_key_pem,
            &files.root_cert_pem,
            at,
        )
    }

    /// A root for each validity, all with one name and key, and an issuing authority below them.
    fn under(roots: &[Validity], issuing: Validity) -> Result<Authority, AuthorityError> {
        let key = KeyPair::generate().unwrap();
        let params = |span| issue::root("Corp Root", span).unwrap();
        let pem = |span: &Validity| {
            let root = params(*span).self_signed(&key).unwrap();
            x509::der_to_pem(root.der())
        };
        let roots: String = roots.iter().map(pem).collect();
        let issuer = Issuer::new(params(issuing), key);
        let key = KeyPair::generate().unwrap();
        let issuing = issue::issuing("Corp Issuing", issuing).unwrap();
        let issuing = issuing.signed_by(&key, &issuer).unwrap();
        let key = keypair::to_secret(&key);
        Authority::load(&x509::der_to_pem(issuing.der()), &key, &roots, now())
    }

    #[test]
    fn a_root_that_does_not_count_now_is_no_root() {
        let day = hours(-24, 24);
        for span in [hours(-48, -1), hours(1, 48)] {
            let refused = under(&[span], day).unwrap_err();
            assert!(matches!(refused, AuthorityError::RootNotNow(at) if at == span));
        }
        // Beside a valid root, an expired one is not trusted and does no harm.
        let ended = hours(-48, -1);
        for roots in [[ended, day], [day, ended]] {
            let authority = under(&roots, day).unwrap();
            assert_eq!(authority.anchors().len(), 2);
            assert_eq!(authority.ca_pem().matches("BEGIN CERTIFICATE").count(), 2);
        }
    }

    #[test]
    fn a_retired_certificate_that_has_ended_is_trusted_by_nobody_and_not_missed() {
        let root_key = KeyPair::generate().unwrap();
        let root = issue::root("Corp Root", hours(-24, 24)).unwrap();
        let root_pem = x509::der_to_pem(root.self_signed(&root_key).unwrap().der());
        let root = Issuer::new(root, root_key);
        let issuing = |span| {
            let key = KeyPair::generate().unwrap();
            let params = issue::issuing("Corp Issuing", span).unwrap();
            let pem = x509::der_to_pem(params.signed_by(&key, &root).unwrap().der());
            (pem, keypair::to_secret(&key))
        };
        let (pem, key) = issuing(hours(-24, 12));
        let retired = issuing(hours(-24, 12)).0 + &issuing(hours(-24, -1)).0;
        let at = |when| {
            let authority = Authority::load(&pem, &key, &root_pem, when).unwrap();
            authority.with_retired(&retired, when).unwrap()
        };
        let earlier = now().minus(HOUR * 2);
        let (before, after) = (at(earlier), at(now()));
        assert_eq!((before.anchors().len(), after.anchors().len()), (4, 3));
        assert!(after.may_succeed(&before, now()).is_ok());
        let early = after.may_succeed(&before, earlier);
        assert!(matches!(early, Err(AuthorityError::Forgotten { .. })));
    }

    #[test]
    fn nothing_outlives_the_root() {
        let csr = request(include_str!("testdata/csr/p256.pem"));
        let end_of = |authority: &Authority| {
            let issued = sign(authority, &csr, Duration::from_hours(24)).unwrap();
            assert_eq!(issued.leaf.validity.not_after, authority.not_after());
            authority.not_after()
        };
        let authority = under(&[hours(-24, 2)], hours(-24, 12)).unwrap();
        assert_eq!(end_of(&authority), authority.root.not_after);
        let late = authority.not_after().plus(HOUR);
        let name = name();
        let refused = authority.sign(&csr, names(&name), HOUR, &Profile::default(), late);
        assert!(matches!(refused, Err(AuthorityError::RootNotNow(_))));
        // Of two roots with one key, the younger one decides.
        let authority = under(&[hours(-24, 2), hours(-24, 48)], hours(-24, 12)).unwrap();
        assert_eq!(end_of(&authority), authority.leaf.validity.not_after);
    }

    #[test]
    fn an_authority_is_the_same_after_loading_it_again() {
        let pki = Pki::new();
        let again = load(&pki, now()).unwrap();
        assert_eq!(again.id(), pki.authority.id());
        assert_eq!(again.anchors().len(), 2);
        assert_eq!(again.ca_pem().matches("BEGIN CERTIFICATE").count(), 2);
        assert!(again.ca_pem().starts_with(again.chain_pem()));
        assert_ne!(again.id(), Pki::new().authority.id());
    }

    #[test]
    fn generated_authorities_are_bounded() {
        let pki = Pki::new();
        let root = x509::pem_to_der(&pki.generated.root_cert_pem).unwrap();
        let root = x509::read_leaf(&root).unwrap();
        assert_eq!(root.subject, "CN=Test Root");
        assert_eq!(pki.authority.leaf.subject, "CN=Test Issuing");
        assert!(pki.authority.not_after() < root.validity.not_after);
        // The issuing authority cannot make another one.
        let mut params = client_params(hours(-1, 1));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.extended_key_usages.clear();
        let sub = pki.client(&params);
        let sub_issuer = Issuer::new(params, sub.key);
        let key = KeyPair::generate().unwrap();
        let leaf = client_params(hours(-1, 1))
            .signed_by(&key, &sub_issuer)
            .unwrap();
        let through = [sub.chain[0].clone(), pki.authority.certificate.clone()];
        let root = [x509::pem_to_der(&pki.generated.root_cert_pem).unwrap()];
        let verify = |leaf: &[u8], through: &[CertificateDer<'_>]| {
            verifier::verify_chain(leaf, through, &root, Purpose::ClientAuth, now())
        };
        assert!(verify(leaf.der(), &through).is_err());
        let leaf = pki.client(&client_params(hours(-1, 1)));
        assert!(verify(&leaf.chain[0], &through).is_ok());
    }

    #[test]
    fn trust_that_cannot_be_loaded_is_an_error() {
        let (pki, other) = (Pki::new(), Pki::new());
        let files = &pki.generated;
        let load = |cert: &str, key: &Secret, roots: &str| {
            Authority::load(cert, key, roots, now()).unwrap_err()
        };
        let (cert, key) = (&files.issuing_cert_pem, &files.issuing_key_pem);
        let root = &files.root_cert_pem;
        for broken in ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n"] {
            let error = load(broken, key, root);
            assert!(
                matches!(error, AuthorityError::Unreadable { .. }),
                "{error}"
            );
            let error = load(cert, key, broken);
            assert!(
                matches!(error, AuthorityError::Unreadable { .. }),
                "{error}"
            );
            let error = load(cert, &Secret::new(broken.to_owned()), root);
            assert!(matches!(error, AuthorityError::Key(_)), "{error}");
        }
        let error = load(&x509::der_to_pem(b"x"), key, root);
        assert!(matches!(error, AuthorityError::Malformed(_)), "{error}");
        let error = load(cert, &other.generated.issuing_key_pem, root);
        assert!(matches!(error, AuthorityError::KeyMismatch), "{error}");
        let error = load(cert, &jwt::TokenSigner::generate(), root);
        assert!(matches!(error, AuthorityError::KeyMismatch), "{error}");
        let error = load(cert, key, &other.generated.root_cert_pem);
        assert!(matches!(error, AuthorityError::SelfTest(_)), "{error}");
    }

    #[test]
    fn a_leaf_is_no_authority() {
        let pki = Pki::new();
        let leaf = pki.client(&client_params(hours(-1, 1)));
        let refused = Authority::load(
            &x509::der_to_pem(&leaf.chain[0]),
            &keypair::to_secret(&leaf.key),
            pki.authority.ca_pem(),
            now(),
        );
        assert!(matches!(refused, Err(AuthorityError::NotAuthority)));
    }

    fn root_of_ones_own(params: impl FnOnce(&mut CertificateParams), key: KeyPair) -> Identity {
        let mut own = issue::root("Corp CA", hours(-1, 1)).unwrap();
        params(&mut own);
        let chain = vec![own.self_signed(&key).unwrap().der().clone()];
        Identity { chain, key }
    }

    fn bring(own: &Identity) -> Result<Authority, AuthorityError> {
        let pem = x509::der_to_pem(&own.chain[0]);
        Authority::load(&pem, &keypair::to_secret(&own.key), &pem, now())
    }

    #[test]
    fn one_certificate_may_be_root_and_issuer_at_once() {
        for algorithm in [
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
            &rcgen::PKCS_ED25519,
            &rcgen::PKCS_RSA_SHA256,
        ] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let own = root_of_ones_own(|_| (), key);
            let authority = bring(&own).unwrap();
            assert_eq!(authority.anchors().len(), 1);
            let csr = request(include_str!("testdata/csr/p256.pem"));
            assert!(sign(&authority, &csr, HOUR).is_ok());
        }
    }

    #[test]
    fn an_authority_that_may_not_sign_is_refused() {
        let key = || KeyPair::generate().unwrap();
        let own = root_of_ones_own(
            |params| params.key_usages = vec![KeyUsagePurpose::CrlSign],
            key(),
        );
        assert!(matches!(bring(&own), Err(AuthorityError::NotAuthority)));
        let own = root_of_ones_own(|params| params.is_ca = IsCa::ExplicitNoCa, key());
        assert!(matches!(bring(&own), Err(AuthorityError::NotAuthority)));
        let p521 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
        let own = root_of_ones_own(|_| (), p521);
        assert!(matches!(bring(&own), Err(AuthorityError::WeakKey)));
    }

    /// rcgen writes other bytes for such a name, and no chain would verify: loading reports it.
    #[test]
    fn a_subject_that_cannot_be_written_again_is_noticed_at_load() {
        let with_components = |types: [u64; 2]| {
            let name = |params: &mut CertificateParams| {
                for (last, value) in types.into_iter().zip(["com", "corp"]) {
                    let oid = vec![0, 9, 2342, 19_200_300, 100, 1, last];
                    params
                        .distinguished_name
                        .push(DnType::CustomDnType(oid), value);
                }
            };
            root_of_ones_own(name, KeyPair::generate().unwrap())
        };
        let mut own = with_components([25, 26]);
        assert!(bring(&own).is_ok());
        // rcgen cannot repeat a type itself: the second one is made the same as the first, and signed again.
        own.chain = vec![replace_and_sign(&own, [100, 1, 26], [100, 1, 25])];
        let leaf = x509::read_leaf(&own.chain[0]).unwrap();
        assert_eq!(leaf.subject, "DC=corp,DC=com,CN=Corp CA");
        assert!(matches!(bring(&own), Err(AuthorityError::SelfTest(_))));
    }

    fn replace_and_sign(own: &Identity, from: [u8; 3], to: [u8; 3]) -> CertificateDer<'static> {
        use rcgen::SigningKey;
        use x509_parser::prelude::{FromDer, X509Certificate};
        let (_, parsed) = X509Certificate::from_der(&own.chain[0]).unwrap();
        let mut signed = parsed.tbs_certificate.as_ref().to_vec();
        while let Some(place) = signed.windows(3).position(|window| window == from) {
            signed[place..place + 3].copy_from_slice(&to);
        }
        let oid = parsed.signature_algorithm.algorithm.as_bytes();
        let oid = der::value(der::OBJECT_IDENTIFIER, &[oid]);
        let algorithm = der::value(der::SEQUENCE, &[&oid]);
        let signature = own.key.sign(&signed).unwrap();
        let signature = der::value(der::BIT_STRING, &[&[0], &signature]);
        der::value(der::SEQUENCE, &[&signed, &algorithm, &signature]).into()
    }

    #[test]
    fn several_attributes_of_a_subject_are_kept() {
        let own = root_of_ones_own(
            |params| {
                params
                    .distinguished_name
                    .push(DnType::OrganizationName, "Corp, Inc.");
                params.distinguished_name.push(DnType::CountryName, "DE");
            },
            KeyPair::generate().unwrap(),
        );
        let authority = bring(&own).unwrap();
        assert_eq!(authority.leaf.subject, "C=DE,O=Corp\\, Inc.,CN=Corp CA");
    }

    #[test]
    fn servers_have_names_and_addresses() {
        let pki = Pki::new();
        let hosts = ["localhost", "*.a.test", "127.0.0.1", "::1"].map(str::to_owned);
        let (chain, key) = pki.authority.issue_server(&hosts, now()).unwrap();
        let chain = pem::certificates(&chain).unwrap();
        assert_eq!(chain.len(), 2);
        let leaf = x509::read_leaf(&chain[0]).unwrap();
        assert_eq!(
            leaf.sans,
            ["DNS:localhost", "DNS:*.a.test", "IP:127.0.0.1", "IP:::1"]
        );
        assert!(keypair::from_secret(&key).is_ok());
        for bad in ["", "a b", "*", "*.*.a", "a\r\nb", "ä.test", "-a"] {
            let refused = pki.authority.issue_server(&[bad.to_owned()], now());
            assert!(matches!(refused, Err(AuthorityError::Host(_))), "{bad:?}");
        }
        assert!(pki.authority.issue_server(&[], now()).is_err());
    }
}
