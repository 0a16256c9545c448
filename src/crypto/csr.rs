//! Certificate signing requests (PKCS #10): proven, judged, and reduced to the one thing we take from them, the key.

use aws_lc_rs::signature::{self, UnparsedPublicKey};
use serde::Serialize;
use x509_parser::asn1_rs::oid;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{ParsedExtension, X509Extension};
use x509_parser::oid_registry::{
    OID_PKCS1_MD5WITHRSAENC, OID_PKCS1_RSASSAPSS, OID_PKCS1_SHA1WITHRSA, OID_PKCS1_SHA256WITHRSA,
    OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA, OID_SHA1_WITH_RSA, OID_SIG_ECDSA_WITH_SHA256,
    OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ECDSA_WITH_SHA512, OID_SIG_ED25519, Oid,
};
use x509_parser::prelude::FromDer;

use super::public_key::{self, KeyFault};
use super::{der, hash, pem, subject};
use crate::domain::certificate::{Fingerprint, KeyAlgorithm};
use crate::domain::reason::Reason;

/// The most bytes of a request: one with an RSA key of 4096 bits has less than 3 KiB.
const INPUT_BYTES_MAX: usize = 64 * 1024;

/// A public key whose owner has proved to hold the private half, and which the profile accepts.
///
/// Nothing else of the request is kept, so nothing else of it can get into a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csr {
    spki: Vec<u8>,
    key: KeyAlgorithm,
    key_digest: Fingerprint,
}

impl Csr {
    /// The `SubjectPublicKeyInfo` in DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The kind of key.
    pub const fn key(&self) -> KeyAlgorithm {
        self.key
    }

    /// SHA-256 of the `SubjectPublicKeyInfo`: what the registry knows the key by.
    pub const fn key_digest(&self) -> Fingerprint {
        self.key_digest
    }
}

/// Why a request is not signed, in words for the partner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct CsrRefusal {
    pub reason: Reason,
    pub detail: String,
}

/// What a request says and what we think of it, for `countersign csr inspect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CsrReport {
    pub verdict: Verdict,
    pub reason: Option<Reason>,
    pub detail: Option<String>,
    pub subject: Option<String>,
    pub key: Option<KeyAlgorithm>,
    pub key_bits: Option<usize>,
    pub signature_algorithm: Option<String>,
    /// Whether the request is signed by its own key; unknown when we do not verify its algorithm.
    pub signature_valid: Option<bool>,
    /// Names and extensions that the request asks for. They are shown, and never granted.
    pub requested: Vec<String>,
    pub key_digest: Option<Fingerprint>,
    /// The kinds of key that it was judged by.
    pub keys_allowed: Vec<KeyAlgorithm>,
}

impl CsrReport {
    /// The same, refused for something that the request itself does not show.
    #[must_use]
    pub fn refused(self, reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Refused,
            reason: Some(reason),
            detail: Some(detail.into()),
            ..self
        }
    }
}

/// Whether a request would be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Accepted,
    Refused,
}

/// Judges a request in PEM or DER by what is `allowed`.
pub fn judge(input: &[u8], allowed: &[KeyAlgorithm]) -> Result<Csr, CsrRefusal> {
    let der = to_der(input)?;
    judge_parsed(&parse(&der)?, allowed)
}

/// Describes a request and judges it by what is `allowed`.
pub fn inspect(input: &[u8], allowed: &[KeyAlgorithm]) -> CsrReport {
    let der = match to_der(input) {
        Ok(der) => der,
        Err(refusal) => return unreadable(refusal, allowed),
    };
    let request = match parse(&der) {
        Ok(request) => request,
        Err(refusal) => return unreadable(refusal, allowed),
    };
    let refusal = judge_parsed(&request, allowed).err();
    let info = &request.certification_request_info;
    let key = public_key::classify(&info.subject_pki).ok();
    let algorithm = &request.signature_algorithm.algorithm;
    let known = SIGNATURES.iter().find(|known| known.oid == *algorithm);
    CsrReport {
        verdict: verdict(refusal.as_ref()),
        reason: refusal.as_ref().map(|refusal| refusal.reason),
        detail: refusal.map(|refusal| refusal.detail),
        subject: Some(subject::to_rfc2253(&info.subject)),
        key,
        key_bits: public_key::bits(&info.subject_pki),
        signature_algorithm: Some(
            known.map_or_else(|| algorithm.to_id_string(), |known| known.name.to_owned()),
        ),
        signature_valid: key.map(|key| is_proved(&request, key)),
        requested: extensions(&request).flat_map(describe).collect(),
        key_digest: Some(hash::fingerprint(info.subject_pki.raw)),
        keys_allowed: allowed.to_vec(),
    }
}

fn unreadable(refusal: CsrRefusal, allowed: &[KeyAlgorithm]) -> CsrReport {
    CsrReport {
        verdict: verdict(Some(&refusal)),
        reason: Some(refusal.reason),
        detail: Some(refusal.detail),
        subject: None,
        key: None,
        key_bits: None,
        signature_algorithm: None,
        signature_valid: None,
        requested: Vec::new(),
        key_digest: None,
        keys_allowed: allowed.to_vec(),
    }
}

const fn verdict(refusal: Option<&CsrRefusal>) -> Verdict {
    match refusal {
        None => Verdict::Accepted,
        Some(_) => Verdict::Refused,
    }
}

fn to_der(input: &[u8]) -> Result<Vec<u8>, CsrRefusal> {
    if input.len() > INPUT_BYTES_MAX {
        return Err(malformed("the request is larger than 64 KiB"));
    }
    if input.first() == Some(&0x30) {
        return Ok(input.to_vec());
    }
    let text = std::str::from_utf8(input)
        .ok()
        .ok_or_else(|| malformed("the request is neither PEM nor DER"))?;
    let sections = pem::sections(text).map_err(|error| malformed(&error.to_string()))?;
    if sections
        .iter()
        .any(|section| section.label.ends_with("PRIVATE KEY"))
    {
        // It has left its owner's machine, so it is no longer only its owner's.
        return Err(malformed(
            "this contains a private key: it never leaves its machine; make a new key and send only the request",
        ));
    }
    match <[pem::Section; 1]>::try_from(sections) {
        Ok([section]) if is_request(&section.label) => Ok(section.der),
        Ok([section]) => Err(malformed(&format!(
            "this is a {}, not a CERTIFICATE REQUEST",
            section.label
        ))),
        Err(_) => Err(malformed(
            "there is more than one PEM section; send one request",
        )),
    }
}

/// The second label is an old one that Java's keytool and Windows still write.
fn is_request(label: &str) -> bool {
    label == "CERTIFICATE REQUEST" || label == "NEW CERTIFICATE REQUEST"
}

fn parse(der: &[u8]) -> Result<X509CertificationRequest<'_>, CsrRefusal> {
    match X509CertificationRequest::from_der(der) {
        Ok(([], request)) if request.certification_request_info.version.0 == 0 => Ok(request),
        Ok(([], _)) => Err(malformed("the request's version is not 1")),
        Ok(_) => Err(malformed("there are bytes after the end of the request")),
        Err(_) => Err(malformed("the request is not a PKCS #10 structure in DER")),
    }
}

fn judge_parsed(
    request: &X509CertificationRequest<'_>,
    allowed: &[KeyAlgorithm],
) -> Result<Csr, CsrRefusal> {
    let spki = &request.certification_request_info.subject_pki;
    let key = public_key::classify(spki).map_err(|fault| refuse_key(&fault))?;
    judge_signature(request, key)?;
    extensions(request).try_for_each(judge_extension)?;
    if !allowed.contains(&key) {
        let names: Vec<_> = allowed.iter().map(|kind| kind.as_str()).collect();
        let detail = format!(
            "the profile accepts {}, not {}",
            names.join(", "),
            key.as_str()
        );
        return Err(refuse(Reason::CsrKeyType, detail));
    }
    Ok(Csr {
        spki: spki.raw.to_vec(),
        key,
        key_digest: hash::fingerprint(spki.raw),
    })
}

fn judge_signature(
    request: &X509CertificationRequest<'_>,
    key: KeyAlgorithm,
) -> Result<(), CsrRefusal> {
    let algorithm = &request.signature_algorithm.algorithm;
    let known = SIGNATURES
        .iter()
        .find(|known| known.oid == *algorithm)
        .ok_or_else(|| {
            let detail = format!("the signature algorithm {algorithm} is not accepted");
            refuse(Reason::CsrSignature, detail)
        })?;
    if known.keys == SignedBy::Nobody {
        let detail = format!(
            "the request is signed with {}, which is weak; use SHA-256",
            known.name
        );
        return Err(refuse(Reason::CsrSignature, detail));
    }
    if !known.keys.fit(key) {
        let detail = format!("a {} key cannot sign with {}", key.as_str(), known.name);
        return Err(refuse(Reason::CsrSignature, detail));
    }
    if !is_canonical(request, known) {
        return Err(malformed("the request is not written in DER"));
    }
    if is_proved(request, key) {
        return Ok(());
    }
    let mut detail = "the request is not signed by the key that it contains".to_owned();
    if known.oid == OID_PKCS1_RSASSAPSS {
        detail.push_str(", or the salt of RSASSA-PSS is not as long as the digest");
    }
    Err(refuse(Reason::CsrSignature, detail))
}

/// Whether the request is signed by the key that it contains: the proof that its sender holds the private half.
fn is_proved(request: &X509CertificationRequest<'_>, key: KeyAlgorithm) -> bool {
    if request.signature_algorithm.algorithm != OID_SIG_ECDSA_WITH_SHA512 {
        return request.verify_signature().is_ok();
    }
    // x509-parser does not know this one, which Java writes when it is asked for SHA512withECDSA.
    let algorithm = match key {
        KeyAlgorithm::P256 => &signature::ECDSA_P256_SHA512_ASN1,
        KeyAlgorithm::P384 => &signature::ECDSA_P384_SHA512_ASN1,
        _ => return false,
    };
    let info = &request.certification_request_info;
    UnparsedPublicKey::new(algorithm, &info.subject_pki.subject_public_key.data)
        .verify(info.raw, &request.signature_value.data)
        .is_ok()
}

/// Whether what stands around the signed part, written again, gives the same bytes. The parser takes more.
fn is_canonical(request: &X509CertificationRequest<'_>, known: &Signature) -> bool {
    let parameters = match (known.keys, &request.signature_algorithm.parameters) {
        (SignedBy::Rsa, Some(parameters)) if known.oid == OID_PKCS1_RSASSAPSS => {
            der::value(der::SEQUENCE, &[parameters.data])
        }
        (SignedBy::Rsa, _) => der::value(der::NULL, &[]),
        _ => Vec::new(),
    };
    let oid = der::value(der::OBJECT_IDENTIFIER, &[known.oid.as_bytes()]);
    let algorithm = der::value(der::SEQUENCE, &[&oid, &parameters]);
    let signature = der::value(der::BIT_STRING, &[&[0], &request.signature_value.data]);
    let info = request.certification_request_info.raw;
    der::value(der::SEQUENCE, &[info, &algorithm, &signature]) == request.as_raw()
}

/// Refuses what would make an authority of a partner. Other wishes are harmless, because none is granted.
fn judge_extension(extension: &X509Extension<'_>) -> Result<(), CsrRefusal> {
    let wish = match extension.parsed_extension() {
        ParsedExtension::BasicConstraints(basic) if basic.ca => "to be a certificate authority",
        ParsedExtension::KeyUsage(usage) if usage.key_cert_sign() => "to sign certificates",
        ParsedExtension::KeyUsage(usage) if usage.crl_sign() => "to sign revocation lists",
        ParsedExtension::ParseError { .. } => {
            let detail = format!("the requested extension {} cannot be read", extension.oid);
            return Err(malformed(&detail));
        }
        _ => return Ok(()),
    };
    Err(refuse(
        Reason::CsrAttributes,
        format!("the request asks {wish}"),
    ))
}

/// The extensions that a request asks for, in all of its attributes: a second list must not go unseen.
fn extensions<'r>(
    request: &'r X509CertificationRequest<'r>,
) -> impl Iterator<Item = &'r X509Extension<'r>> {
    request
        .certification_request_info
        .iter_attributes()
        .filter_map(|attribute| match attribute.parsed_attribute() {
            ParsedCriAttribute::ExtensionRequest(wishes) => Some(&wishes.extensions),
            _ => None,
        })
        .flatten()
}

fn describe(extension: &X509Extension<'_>) -> Vec<String> {
    match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => {
            let names = names.general_names.iter();
            names.filter_map(subject::alternative).collect()
        }
        ParsedExtension::BasicConstraints(basic) => {
            vec![format!(
                "basicConstraints CA:{}",
                if basic.ca { "TRUE" } else { "FALSE" }
            )]
        }
        ParsedExtension::KeyUsage(usage) => vec![format!("keyUsage {usage}")],
        ParsedExtension::ExtendedKeyUsage(usage) => vec![extended_key_usage(usage)],
        _ => vec![format!("extension {}", extension.oid)],
    }
}

fn extended_key_usage(usage: &x509_parser::extensions::ExtendedKeyUsage<'_>) -> String {
    let named = [
        (usage.any, "any"),
        (usage.client_auth, "clientAuth"),
        (usage.server_auth, "serverAuth"),
        (usage.code_signing, "codeSigning"),
        (usage.email_protection, "emailProtection"),
    ];
    let named = named
        .iter()
        .filter(|(set, _)| *set)
        .map(|(_, name)| (*name).to_owned());
    let other = usage.other.iter().map(Oid::to_id_string);
    format!(
        "extendedKeyUsage {}",
        named.chain(other).collect::<Vec<_>>().join(", ")
    )
}

/// A signature algorithm that requests come with.
struct Signature {
    oid: Oid<'static>,
    name: &'static str,
    keys: SignedBy,
}

/// Whose signatures of an algorithm we accept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SignedBy {
    Ecdsa,
    Ed25519,
    Nobody,
    Rsa,
}

impl SignedBy {
    const fn fit(self, key: KeyAlgorithm) -> bool {
        use KeyAlgorithm as K;
        match self {
            Self::Ecdsa => matches!(key, K::P256 | K::P384),
            Self::Ed25519 => matches!(key, K::Ed25519),
            Self::Nobody => false,
            Self::Rsa => matches!(key, K::Rsa2048 | K::Rsa3072 | K::Rsa4096),
        }
    }
}

/// What is not here is refused by its number; what is here for nobody is refused by its name.
static SIGNATURES: [Signature; 12] = [
    algorithm(
        OID_SIG_ECDSA_WITH_SHA256,
        "ecdsa-with-SHA256",
        SignedBy::Ecdsa,
    ),
    algorithm(
        OID_SIG_ECDSA_WITH_SHA384,
        "ecdsa-with-SHA384",
        SignedBy::Ecdsa,
    ),
    algorithm(
        OID_SIG_ECDSA_WITH_SHA512,
        "ecdsa-with-SHA512",
        SignedBy::Ecdsa,
    ),
    algorithm(OID_SIG_ED25519, "Ed25519", SignedBy::Ed25519),
    algorithm(
        OID_PKCS1_SHA256WITHRSA,
        "sha256WithRSAEncryption",
        SignedBy::Rsa,
    ),
    algorithm(
        OID_PKCS1_SHA384WITHRSA,
        "sha384WithRSAEncryption",
        SignedBy::Rsa,
    ),
    algorithm(
        OID_PKCS1_SHA512WITHRSA,
        "sha512WithRSAEncryption",
        SignedBy::Rsa,
    ),
    algorithm(OID_PKCS1_RSASSAPSS, "RSASSA-PSS", SignedBy::Rsa),
    algorithm(
        OID_PKCS1_SHA1WITHRSA,
        "sha1WithRSAEncryption",
        SignedBy::Nobody,
    ),
    algorithm(OID_SHA1_WITH_RSA, "sha1WithRSA", SignedBy::Nobody),
    algorithm(oid!(1.2.840.10045.4.1), "ecdsa-with-SHA1", SignedBy::Nobody),
    algorithm(
        OID_PKCS1_MD5WITHRSAENC,
        "md5WithRSAEncryption",
        SignedBy::Nobody,
    ),
];

const fn algorithm(oid: Oid<'static>, name: &'static str, keys: SignedBy) -> Signature {
    Signature { oid, name, keys }
}

fn refuse_key(fault: &KeyFault) -> CsrRefusal {
    let reason = match fault {
        KeyFault::Malformed => Reason::CsrMalformed,
        KeyFault::Kind(_) => Reason::CsrKeyType,
        KeyFault::Weak(_) => Reason::CsrKeyWeak,
    };
    refuse(reason, fault.to_string())
}

fn malformed(detail: &str) -> CsrRefusal {
    refuse(Reason::CsrMalformed, detail.to_owned())
}

const fn refuse(reason: Reason, detail: String) -> CsrRefusal {
    CsrRefusal { reason, detail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    macro_rules! sample {
        ($name:literal) => {
            include_str!(concat!("testdata/csr/", $name, ".pem"))
        };
    }

    fn verdict_on(text: &str) -> Result<KeyAlgorithm, Reason> {
        judge(text.as_bytes(), &KeyAlgorithm::ALL)
            .map(|csr| csr.key())
            .map_err(|refusal| refusal.reason)
    }

    #[test]
    fn requests_are_granted_and_refused_by_key_and_signature() {
        use KeyAlgorithm as K;
        use Reason as R;
        for (name, text, expected) in [
            ("p256", sample!("p256"), Ok(K::P256)),
            ("p256-sha512", sample!("p256-sha512"), Ok(K::P256)),
            // openssl's default for P-384, which rcgen's own parser turns into an unreadable certificate.
            ("p384-sha256", sample!("p384-sha256"), Ok(K::P384)),
            ("p384-sha384", sample!("p384-sha384"), Ok(K::P384)),
            ("ed25519", sample!("ed25519"), Ok(K::Ed25519)),
            ("rsa2048", sample!("rsa2048"), Ok(K::Rsa2048)),
            ("rsa2048-pss", sample!("rsa2048-pss"), Ok(K::Rsa2048)),
            ("rsa3072", sample!("rsa3072"), Ok(K::Rsa3072)),
            ("rsa4096", sample!("rsa4096"), Ok(K::Rsa4096)),
            ("new-header", sample!("new-header"), Ok(K::P256)),
            ("wants-much", sample!("wants-much"), Ok(K::P256)),
            ("p256-sha1", sample!("p256-sha1"), Err(R::CsrSignature)),
            (
                "rsa2048-sha1",
                sample!("rsa2048-sha1"),
                Err(R::CsrSignature),
            ),
            ("rsa2048-md5", sample!("rsa2048-md5"), Err(R::CsrSignature)),
            ("rsa1024", sample!("rsa1024"), Err(R::CsrKeyWeak)),
            ("rsa2048-e3", sample!("rsa2048-e3"), Err(R::CsrKeyWeak)),
            ("rsa2560", sample!("rsa2560"), Err(R::CsrKeyType)),
            ("rsa8192", sample!("rsa8192"), Err(R::CsrKeyType)),
            ("p521", sample!("p521"), Err(R::CsrKeyType)),
            ("secp256k1", sample!("secp256k1"), Err(R::CsrKeyType)),
            (
                "p256-explicit",
                sample!("p256-explicit"),
                Err(R::CsrKeyType),
            ),
            (
                "p256-compressed",
                sample!("p256-compressed"),
                Err(R::CsrKeyType),
            ),
            ("ed448", sample!("ed448"), Err(R::CsrKeyType)),
            ("dsa", sample!("dsa"), Err(R::CsrKeyType)),
            ("wants-ca", sample!("wants-ca"), Err(R::CsrAttributes)),
            (
                "wants-cert-sign",
                sample!("wants-cert-sign"),
                Err(R::CsrAttributes),
            ),
            (
                "wants-crl-sign",
                sample!("wants-crl-sign"),
                Err(R::CsrAttributes),
            ),
        ] {
            assert_eq!(verdict_on(text), expected, "{name}");
        }
    }

    #[test]
    fn der_is_read_as_well_as_pem() {
        let der = pem::sections(sample!("p256")).unwrap().remove(0).der;
        let csr = judge(&der, &KeyAlgorithm::ALL).unwrap();
        let same = judge(sample!("p256").as_bytes(), &KeyAlgorithm::ALL).unwrap();
        assert_eq!(csr, same);
        assert_eq!(csr.key_digest(), hash::fingerprint(csr.spki()));
    }

    #[test]
    fn the_profile_decides_which_keys_are_accepted() {
        let refusal = judge(sample!("p256").as_bytes(), &[KeyAlgorithm::P384]).unwrap_err();
        assert_eq!(refusal.reason, Reason::CsrKeyType);
        assert_eq!(refusal.detail, "the profile accepts p384, not p256");
    }

    #[test]
    fn what_is_not_a_request_is_refused_in_words_that_help() {
        let two = format!("{0}{0}", sample!("p256"));
        let key = pem::encode("PRIVATE KEY", b"x");
        let certificate = pem::encode("CERTIFICATE", b"x");
        let empty = pem::encode("CERTIFICATE REQUEST", b"");
        let large = "a".repeat(INPUT_BYTES_MAX + 1);
        for (text, words) in [
            ("", "no PEM section"),
            ("0", "not a PKCS #10 structure"),
            ("hello", "no PEM section"),
            (two.as_str(), "more than one PEM section"),
            (&key, "contains a private key"),
            (&certificate, "this is a CERTIFICATE, not"),
            (&empty, "not a PKCS #10 structure"),
            (&large, "larger than 64 KiB"),
        ] {
            let refusal = judge(text.as_bytes(), &KeyAlgorithm::ALL).unwrap_err();
            assert_eq!(refusal.reason, Reason::CsrMalformed, "{text:.40}");
            assert!(refusal.detail.contains(words), "{}", refusal.detail);
        }
        let refusal = judge(&[0xff, 0xfe], &KeyAlgorithm::ALL).unwrap_err();
        assert!(refusal.detail.contains("neither PEM nor DER"));
    }

    #[test]
    fn bytes_after_the_request_are_refused() {
        let mut der = pem::sections(sample!("p256")).unwrap().remove(0).der;
        der.push(0);
        let refusal = judge(&der, &KeyAlgorithm::ALL).unwrap_err();
        assert_eq!(refusal.reason, Reason::CsrMalformed);
    }

    /// Whoever changes a request of someone else, or copies someone else's key into one, proves nothing.
    #[test]
    fn no_changed_byte_goes_unnoticed() {
        for text in [sample!("p256"), sample!("rsa2048"), sample!("ed25519")] {
            let der = pem::sections(text).unwrap().remove(0).der;
            for place in 0..der.len() {
                let mut changed = der.clone();
                changed[place] ^= 1;
                assert!(judge(&changed, &KeyAlgorithm::ALL).is_err(), "{place}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_judge_panic(input in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = judge(&input, &KeyAlgorithm::ALL);
            let _ = inspect(&input, &KeyAlgorithm::ALL);
        }

        #[test]
        fn no_damage_makes_the_judge_panic(
            which in 0_usize..6,
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let samples = [
                sample!("p256"),
                sample!("rsa1024"),
                sample!("p256-explicit"),
                sample!("rsa2048-pss"),
                sample!("wants-much"),
                sample!("dsa"),
            ];
            let mut der = pem::sections(samples[which]).unwrap().remove(0).der;
            for (place, byte) in damage {
                let place = place.index(der.len());
                der[place] = byte;
            }
            let _ = inspect(&der, &KeyAlgorithm::ALL);
            der.truncate(cut.index(der.len()));
            let _ = inspect(&der, &KeyAlgorithm::ALL);
        }
    }

    #[test]
    fn a_report_shows_what_was_asked_for() {
        let report = inspect(sample!("wants-much").as_bytes(), &[KeyAlgorithm::P256]);
        assert_eq!(report.verdict, Verdict::Accepted);
        assert_eq!(report.keys_allowed, [KeyAlgorithm::P256]);
        assert_eq!(report.subject.as_deref(), Some("CN=partner"));
        assert_eq!(report.key, Some(KeyAlgorithm::P256));
        assert_eq!(report.key_bits, Some(256));
        assert_eq!(
            report.signature_algorithm.as_deref(),
            Some("ecdsa-with-SHA256")
        );
        assert_eq!(report.signature_valid, Some(true));
        assert_eq!(
            report.requested,
            [
                "DNS:a.example.com",
                "IP:10.0.0.1",
                "URI:urn:x",
                "extendedKeyUsage serverAuth, 1.2.3.4",
                "extension 2.5.29.14",
                "basicConstraints CA:FALSE",
            ]
        );
    }

    #[test]
    fn a_report_is_made_by_the_profile_that_it_is_given() {
        let report = inspect(sample!("p256").as_bytes(), &[KeyAlgorithm::Ed25519]);
        assert_eq!(report.verdict, Verdict::Refused);
        assert_eq!(report.reason, Some(Reason::CsrKeyType));
        assert_eq!(report.keys_allowed, [KeyAlgorithm::Ed25519]);
        let report = inspect(sample!("p256").as_bytes(), &KeyAlgorithm::ALL);
        let report = report.refused(Reason::CsrKeyRevoked, "lost");
        assert_eq!(report.verdict, Verdict::Refused);
        assert_eq!(report.detail.as_deref(), Some("lost"));
    }

    #[test]
    fn a_report_says_why_a_request_is_refused() {
        let report = inspect(sample!("rsa1024").as_bytes(), &KeyAlgorithm::ALL);
        assert_eq!(report.verdict, Verdict::Refused);
        assert_eq!(report.reason, Some(Reason::CsrKeyWeak));
        assert_eq!(report.key_bits, Some(1024));
        let json = serde_json::to_value(inspect(b"garbage", &[])).unwrap();
        assert_eq!(json["verdict"], "refused");
        assert_eq!(json["reason"], "csr_malformed");
        assert_eq!(json["subject"], serde_json::Value::Null);
    }
}
