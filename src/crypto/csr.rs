//! Certificate signing requests (PKCS #10): verified, judged, and reduced to the one part that we use, the public key.

use aws_lc_rs::signature::{self, UnparsedPublicKey};
use serde::Serialize;
use x509_parser::asn1_rs::{BitString, oid};
use x509_parser::extensions::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName,
};
use x509_parser::oid_registry::{
    OID_PKCS1_MD5WITHRSAENC, OID_PKCS1_RSASSAPSS, OID_PKCS1_SHA1WITHRSA, OID_PKCS1_SHA256WITHRSA,
    OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA, OID_SHA1_WITH_RSA, OID_SIG_ECDSA_WITH_SHA256,
    OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ECDSA_WITH_SHA512, OID_SIG_ED25519,
    OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_KEY_USAGE,
    OID_X509_EXT_SUBJECT_ALT_NAME, Oid,
};
use x509_parser::prelude::FromDer;
use x509_parser::verify::verify_signature;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo, X509Name};

use super::pkcs10::{Pkcs10, Wish};
use super::public_key::{self, KeyFault};
use super::{csr_file, der, hash, subject};
use crate::domain::certificate::{Fingerprint, KeyAlgorithm};
use crate::domain::reason::Reason;

/// A public key that the profile accepts and whose owner has proved to hold the private half.
///
/// Nothing else of the CSR is kept, so nothing else of it can get into a certificate.
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

    /// SHA-256 of the `SubjectPublicKeyInfo`, by which the registry knows the key.
    pub const fn key_digest(&self) -> Fingerprint {
        self.key_digest
    }
}

/// A refusal to sign a CSR, in words for the partner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct CsrRefusal {
    pub reason: Reason,
    pub detail: String,
}

/// The content of a CSR and our judgement of it, for `countersign csr inspect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CsrReport {
    pub verdict: Verdict,
    pub reason: Option<Reason>,
    pub detail: Option<String>,
    pub subject: Option<String>,
    pub key: Option<KeyAlgorithm>,
    pub key_bits: Option<usize>,
    pub signature_algorithm: Option<String>,
    /// True if the CSR is signed by its own key; absent when we do not verify its algorithm.
    pub signature_valid: Option<bool>,
    /// Names and extensions that the CSR asks for. They are shown, and never granted.
    pub requested: Vec<String>,
    pub key_digest: Option<Fingerprint>,
    /// The kinds of key that are allowed.
    pub keys_allowed: Vec<KeyAlgorithm>,
}

impl CsrReport {
    /// The same report, refused for a reason that the CSR itself does not show.
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

/// The judgement: signed or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Accepted,
    Refused,
}

/// Judges a CSR in PEM or DER by the `allowed` kinds of key.
pub fn judge(input: &[u8], allowed: &[KeyAlgorithm]) -> Result<Csr, CsrRefusal> {
    let der = to_der(input)?;
    judge_parsed(&parse(&der)?, allowed)
}

/// Describes a CSR and judges it by the `allowed` kinds of key.
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
    let parts = &request.parts;
    let key = public_key::classify(&request.spki).ok();
    let algorithm = parts.algorithm_oid();
    let known = SIGNATURES.iter().find(|known| known.oid == algorithm);
    // Neither is used, so neither has to be readable.
    let subject = X509Name::from_der(parts.subject.raw).ok();
    let wishes = parts.wishes().unwrap_or_default();
    CsrReport {
        verdict: verdict(refusal.as_ref()),
        reason: refusal.as_ref().map(|refusal| refusal.reason),
        detail: refusal.map(|refusal| refusal.detail),
        subject: subject.map(|(_, name)| subject::to_rfc2253(&name)),
        key,
        key_bits: public_key::bits(&request.spki),
        signature_algorithm: Some(
            known.map_or_else(|| algorithm.to_id_string(), |known| known.name.to_owned()),
        ),
        signature_valid: key.map(|key| is_proved(&request, key)),
        requested: wishes.iter().flat_map(describe).collect(),
        key_digest: Some(hash::fingerprint(parts.public_key.raw)),
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
    csr_file::to_der(input).map_err(|fault| malformed(fault.to_string()))
}

/// A CSR with its public key in a form that can be examined.
struct Request<'d> {
    parts: Pkcs10<'d>,
    spki: SubjectPublicKeyInfo<'d>,
}

fn parse(der: &[u8]) -> Result<Request<'_>, CsrRefusal> {
    let parts = Pkcs10::read(der)
        .map_err(|fault| malformed(csr_file::seems(der).unwrap_or_else(|| fault.to_string())))?;
    let at = parts.public_key.at;
    let unreadable = || malformed(format!("the public key, at byte {at}, cannot be read"));
    let (rest, spki) = SubjectPublicKeyInfo::from_der(parts.public_key.raw)
        .ok()
        .ok_or_else(unreadable)?;
    if !rest.is_empty() {
        return Err(unreadable());
    }
    Ok(Request { parts, spki })
}

fn judge_parsed(request: &Request<'_>, allowed: &[KeyAlgorithm]) -> Result<Csr, CsrRefusal> {
    let Request { parts, spki } = request;
    let key = public_key::classify(spki).map_err(|fault| refuse_key(&fault, parts))?;
    judge_signature(request, key)?;
    let wishes = parts
        .wishes()
        .map_err(|fault| malformed(fault.to_string()))?;
    wishes.iter().try_for_each(judge_wish)?;
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

fn judge_signature(request: &Request<'_>, key: KeyAlgorithm) -> Result<(), CsrRefusal> {
    let parts = &request.parts;
    let (algorithm, at) = (parts.algorithm_oid(), parts.algorithm.at);
    let known = SIGNATURES
        .iter()
        .find(|known| known.oid == algorithm)
        .ok_or_else(|| {
            let detail =
                format!("the signature algorithm {algorithm}, at byte {at}, is not accepted");
            refuse(Reason::CsrSignature, detail)
        })?;
    if known.keys == SignedBy::Nobody {
        let detail = format!(
            "the request is signed with {}, at byte {at}, which is weak; use SHA-256",
            known.name
        );
        return Err(refuse(Reason::CsrSignature, detail));
    }
    if !known.keys.fit(key) {
        let (key, name) = (key.as_str(), known.name);
        let detail = format!("a {key} key cannot sign with {name}, at byte {at}");
        return Err(refuse(Reason::CsrSignature, detail));
    }
    if !has_its_parameters(parts, known) {
        let at = parts.algorithm_parameters.map_or(at, |value| value.at);
        let detail = format!(
            "the signature algorithm {} has parameters, at byte {at}, that do not go with it",
            known.name
        );
        return Err(malformed(detail));
    }
    if is_proved(request, key) {
        return Ok(());
    }
    let at = parts.signature.at;
    let mut detail = format!(
        "the signature, at byte {at}, was not made by the private key of the public key in the request, \
         or the request was changed after it"
    );
    if known.oid == OID_PKCS1_RSASSAPSS {
        detail.push_str(", or the salt of RSASSA-PSS is not as long as the digest");
    }
    Err(refuse(Reason::CsrSignature, detail))
}

/// True if the parameters beside an algorithm's name add nothing to it, or are those with which the signature is
/// verified.
///
/// PKCS #1's NULL may be left out (RFC 4055, 5). ECDSA has none, and tools that write NULL there mean none.
fn has_its_parameters(parts: &Pkcs10<'_>, known: &Signature) -> bool {
    let parameters = parts.algorithm_parameters;
    let tag = parameters.map(|value| value.tag);
    let is_null = tag == Some(der::NULL) && parameters.is_some_and(|null| null.content.is_empty());
    match known.keys {
        SignedBy::Rsa if known.oid == OID_PKCS1_RSASSAPSS => tag == Some(der::SEQUENCE),
        SignedBy::Ecdsa | SignedBy::Rsa => parameters.is_none() || is_null,
        SignedBy::Ed25519 | SignedBy::Nobody => parameters.is_none(),
    }
}

/// True if the CSR is signed by the key that it contains: the proof that its sender holds the private half.
fn is_proved(request: &Request<'_>, key: KeyAlgorithm) -> bool {
    let Request { parts, spki } = request;
    if parts.algorithm_oid() != OID_SIG_ECDSA_WITH_SHA512 {
        let signature = BitString::new(0, parts.signature_bytes);
        return AlgorithmIdentifier::from_der(parts.algorithm.raw).is_ok_and(|(_, algorithm)| {
            verify_signature(spki, &algorithm, &signature, parts.info.raw).is_ok()
        });
    }
    // x509-parser does not know this one, which Java writes for SHA512withECDSA.
    let algorithm = match key {
        KeyAlgorithm::P256 => &signature::ECDSA_P256_SHA512_ASN1,
        KeyAlgorithm::P384 => &signature::ECDSA_P384_SHA512_ASN1,
        _ => return false,
    };
    UnparsedPublicKey::new(algorithm, &spki.subject_public_key.data)
        .verify(parts.info.raw, parts.signature_bytes)
        .is_ok()
}

/// Refuses a request for the rights of an authority. Other wishes are harmless, because none is granted, so they need
/// not even be readable.
fn judge_wish(wish: &Wish<'_>) -> Result<(), CsrRefusal> {
    let at = wish.at;
    let unreadable = || {
        let detail = format!(
            "the requested extension {}, at byte {at}, cannot be read",
            wish.oid
        );
        malformed(detail)
    };
    let wanted = if wish.oid == OID_X509_EXT_BASIC_CONSTRAINTS {
        let basic = whole::<BasicConstraints>(wish.value).ok_or_else(unreadable)?;
        basic.ca.then_some("to be a certificate authority")
    } else if wish.oid == OID_X509_EXT_KEY_USAGE {
        let usage = whole::<KeyUsage>(wish.value).ok_or_else(unreadable)?;
        let lists = usage.crl_sign().then_some("to sign revocation lists");
        let certificates = usage.key_cert_sign().then_some("to sign certificates");
        certificates.or(lists)
    } else {
        None
    };
    wanted.map_or(Ok(()), |wanted| {
        let detail = format!("the request asks {wanted}, at byte {at}");
        Err(refuse(Reason::CsrAttributes, detail))
    })
}

/// The value of an extension, if it can be parsed and has no bytes after it.
fn whole<'d, T: FromDer<'d, x509_parser::error::X509Error>>(value: &'d [u8]) -> Option<T> {
    match T::from_der(value) {
        Ok(([], read)) => Some(read),
        _ => None,
    }
}

fn describe(wish: &Wish<'_>) -> Vec<String> {
    let number = || vec![format!("extension {}", wish.oid)];
    if wish.oid == OID_X509_EXT_SUBJECT_ALT_NAME {
        let names = whole::<SubjectAlternativeName<'_>>(wish.value);
        return names.map_or_else(number, |names| {
            let names = names.general_names.iter();
            names.filter_map(subject::alternative).collect()
        });
    }
    let text = if wish.oid == OID_X509_EXT_BASIC_CONSTRAINTS {
        let basic = whole::<BasicConstraints>(wish.value);
        basic.map(|basic| {
            let word = if basic.ca { "TRUE" } else { "FALSE" };
            format!("basicConstraints CA:{word}")
        })
    } else if wish.oid == OID_X509_EXT_KEY_USAGE {
        whole::<KeyUsage>(wish.value).map(|usage| format!("keyUsage {usage}"))
    } else if wish.oid == OID_X509_EXT_EXTENDED_KEY_USAGE {
        whole::<ExtendedKeyUsage<'_>>(wish.value).map(|usage| extended_key_usage(&usage))
    } else {
        None
    };
    text.map_or_else(number, |text| vec![text])
}

fn extended_key_usage(usage: &ExtendedKeyUsage<'_>) -> String {
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

/// A signature algorithm of CSRs.
struct Signature {
    oid: Oid<'static>,
    name: &'static str,
    keys: SignedBy,
}

/// The keys whose signatures of an algorithm we accept.
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

/// Algorithms that are not listed are refused by their number; those listed for no key are refused by their name.
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

fn refuse_key(fault: &KeyFault, parts: &Pkcs10<'_>) -> CsrRefusal {
    let reason = match fault {
        KeyFault::Malformed(_) => Reason::CsrMalformed,
        KeyFault::Kind(_) => Reason::CsrKeyType,
        KeyFault::Weak(_) => Reason::CsrKeyWeak,
    };
    let at = parts.public_key.at;
    refuse(
        reason,
        format!("{fault} (the public key begins at byte {at})"),
    )
}

const fn malformed(detail: String) -> CsrRefusal {
    refuse(Reason::CsrMalformed, detail)
}

const fn refuse(reason: Reason, detail: String) -> CsrRefusal {
    CsrRefusal { reason, detail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::pem;
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
        let key = crate::crypto::keypair::generate().unwrap().serialize_der();
        let certificate = include_str!("testdata/certificate/repeated-attributes.pem");
        let certificate = crate::crypto::x509::pem_to_der(certificate).unwrap();
        for (input, words) in [
            (&b"0"[..], "the request, at byte 0, is cut off"),
            (&[0xff, 0xfe], "it is empty"),
            (&key, "contains a private key"),
            (&certificate, "this is a CERTIFICATE, not"),
            (b"hello", "no PEM section"),
        ] {
            let refusal = judge(input, &KeyAlgorithm::ALL).unwrap_err();
            assert_eq!(refusal.reason, Reason::CsrMalformed, "{}", refusal.detail);
            assert!(refusal.detail.contains(words), "{}", refusal.detail);
        }
    }

    /// The names of refused parts, with their place: `openssl asn1parse` counts the same way.
    #[test]
    fn a_refusal_names_the_part_and_its_place() {
        for (text, words) in [
            (
                sample!("rsa1024"),
                "1024 bits is weak; it needs at least 2048 (the public key begins at byte",
            ),
            (
                sample!("p256-explicit"),
                "has to name its curve (the public key begins at byte",
            ),
            (
                sample!("p256-sha1"),
                "is signed with ecdsa-with-SHA1, at byte",
            ),
            (
                sample!("wants-ca"),
                "asks to be a certificate authority, at byte",
            ),
        ] {
            let refusal = judge(text.as_bytes(), &KeyAlgorithm::ALL).unwrap_err();
            assert!(refusal.detail.contains(words), "{}", refusal.detail);
        }
        let other = pem::sections(sample!("ed25519")).unwrap().remove(0).der;
        let last = other.len() - 1;
        let mut changed = other.to_vec();
        changed[last] ^= 1;
        let refusal = judge(&changed, &KeyAlgorithm::ALL).unwrap_err();
        let at = format!("the signature, at byte {}, was not made", last - 66);
        assert!(refusal.detail.contains(&at), "{}", refusal.detail);
    }

    /// Unused parts of a CSR, each in a form that some tool writes.
    #[test]
    fn what_is_not_used_is_not_judged() {
        let utf8 = |text: &str| der::value(0x0c, &[text.as_bytes()]);
        let attribute = |number: &[u8], value: &[u8]| {
            let oid = der::value(der::OBJECT_IDENTIFIER, &[number]);
            der::value(der::SEQUENCE, &[&oid, &der::value(der::SET, &[value])])
        };
        let list = |attributes: &[u8]| der::value(der::CONTEXT_0, &[attributes]);
        let password =
            |tag: u8, text: &[u8]| list(&attribute(CHALLENGE, &der::value(tag, &[text])));
        let no_name = der::value(der::SEQUENCE, &[]);
        let name = |value: &[u8]| {
            let oid = der::value(der::OBJECT_IDENTIFIER, &[&[0x55, 4, 3]]);
            let pair = der::value(der::SEQUENCE, &[&oid, value]);
            der::value(der::SEQUENCE, &[&der::value(der::SET, &[&pair])])
        };
        let plain = name(&utf8("acme"));
        let bad_name = der::value(der::SEQUENCE, &[&[0xff; 3]]);
        for (what, version, subject, attributes) in [
            ("nothing odd", 0, &plain, list(&[])),
            ("no attributes", 0, &plain, Vec::new()),
            ("version 3", 2, &plain, list(&[])),
            ("an empty subject", 0, &no_name, list(&[])),
            (
                "a subject in Teletex",
                0,
                &name(&der::value(0x14, &[b"Z\xfcrich"])),
                list(&[]),
            ),
            (
                "a subject in BMP",
                0,
                &name(&der::value(0x1e, &[b"\0a\0b"])),
                list(&[]),
            ),
            (
                "half a character of BMP",
                0,
                &name(&der::value(0x1e, &[b"\0a\0"])),
                list(&[]),
            ),
            ("a subject that cannot be read", 0, &bad_name, list(&[])),
            ("a password in BMP", 0, &plain, password(0x1e, b"\0a\0b")),
            ("a password in T61", 0, &plain, password(0x14, b"p\xe4ss")),
            ("a password in IA5", 0, &plain, password(0x16, b"secret")),
            (
                "a password in UTF-8",
                0,
                &plain,
                password(0x0c, "p\u{e4}ss".as_bytes()),
            ),
            (
                "a password in a universal string",
                0,
                &plain,
                password(0x1c, b"\0\0\0a"),
            ),
            ("an empty password", 0, &plain, password(0x13, b"")),
            (
                "an attribute of BER",
                0,
                &plain,
                list(&attribute(&[0x2a, 3], &[0x24, 0x80, 0, 0])),
            ),
            (
                "an unknown attribute",
                0,
                &plain,
                list(&attribute(&[0x2a, 3], &[5, 0])),
            ),
            (
                "no extensions",
                0,
                &plain,
                list(&attribute(EXTENSIONS, &no_name)),
            ),
            (
                "a strange extension",
                0,
                &plain,
                list(&attribute(EXTENSIONS, &asking(&[0x2a, 3], &[0xff]))),
            ),
            (
                "unreadable names",
                0,
                &plain,
                list(&attribute(EXTENSIONS, &asking(&[0x55, 0x1d, 17], &[0xff]))),
            ),
        ] {
            let made = signed(version, subject, &attributes);
            let report = inspect(&made, &KeyAlgorithm::ALL);
            assert_eq!(report.verdict, Verdict::Accepted, "{what}: {report:?}");
            assert_eq!(report.signature_valid, Some(true), "{what}");
        }
        // A request for the rights of an authority is refused in either attribute.
        let wants = der::value(der::SEQUENCE, &[&[1, 1, 0xff]]);
        for kind in [EXTENSIONS, &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 1, 14]] {
            for (value, reason) in [
                (&wants[..], Reason::CsrAttributes),
                (&[0x30, 3, 1, 1, 1], Reason::CsrAttributes),
                (&[0xff], Reason::CsrMalformed),
            ] {
                let asked = list(&attribute(kind, &asking(&[0x55, 0x1d, 19], value)));
                let refusal = judge(&signed(0, &plain, &asked), &KeyAlgorithm::ALL);
                assert_eq!(
                    refusal.map_err(|refusal| refusal.reason),
                    Err(reason),
                    "{kind:?}"
                );
            }
        }
    }

    const CHALLENGE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 7];
    const EXTENSIONS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14];

    /// A list of one extension.
    fn asking(number: &[u8], value: &[u8]) -> Vec<u8> {
        let oid = der::value(der::OBJECT_IDENTIFIER, &[number]);
        let value = der::value(der::OCTET_STRING, &[value]);
        der::value(
            der::SEQUENCE,
            &[&der::value(der::SEQUENCE, &[&oid, &value])],
        )
    }

    /// A CSR of these parts with a new key, signed.
    fn signed(version: u8, subject: &[u8], attributes: &[u8]) -> Vec<u8> {
        use aws_lc_rs::rand::SystemRandom;
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
        use rcgen::PublicKeyData as _;
        let key = crate::crypto::keypair::generate().unwrap();
        let spki = key.subject_public_key_info();
        let info = der::value(
            der::SEQUENCE,
            &[&[2, 1, version], subject, &spki, attributes],
        );
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key.serialize_der());
        let signature = pair.unwrap().sign(&SystemRandom::new(), &info).unwrap();
        let oid = OID_SIG_ECDSA_WITH_SHA256;
        let oid = der::value(der::OBJECT_IDENTIFIER, &[oid.as_bytes()]);
        let algorithm = der::value(der::SEQUENCE, &[&oid]);
        let signature = der::value(der::BIT_STRING, &[&[0], signature.as_ref()]);
        der::value(der::SEQUENCE, &[&info, &algorithm, &signature])
    }

    /// Parameters beside the signature's algorithm: PKCS #1's NULL may be left out, and no other is allowed.
    #[test]
    fn parameters_that_say_nothing_may_be_left_out() {
        let null = der::value(der::NULL, &[]);
        for (name, text, parameters, accepted) in [
            ("RSA without NULL", sample!("rsa2048"), &b""[..], true),
            ("RSA with NULL", sample!("rsa2048"), &null, true),
            ("RSA with a number", sample!("rsa2048"), &[2, 1, 0], false),
            (
                "RSA with a long NULL",
                sample!("rsa2048"),
                &[5, 1, 0],
                false,
            ),
            ("ECDSA without any", sample!("p256"), &[], true),
            ("ECDSA with NULL", sample!("p256"), &null, true),
            ("ECDSA with a curve", sample!("p256"), &[6, 1, 0x2a], false),
            ("Ed25519 without any", sample!("ed25519"), &[], true),
            ("Ed25519 with NULL", sample!("ed25519"), &null, false),
            ("PSS without any", sample!("rsa2048-pss"), &[], false),
            ("PSS with NULL", sample!("rsa2048-pss"), &null, false),
        ] {
            let der = pem::sections(text).unwrap().remove(0).der;
            let parts = Pkcs10::read(&der).unwrap();
            let oid = parts.algorithm_oid.raw;
            let algorithm = der::value(der::SEQUENCE, &[oid, parameters]);
            let again = [parts.info.raw, &algorithm, parts.signature.raw];
            let verdict = judge(&der::value(der::SEQUENCE, &again), &KeyAlgorithm::ALL);
            assert_eq!(verdict.is_ok(), accepted, "{name}: {verdict:?}");
            if let Err(refusal) = verdict {
                assert!(
                    refusal.detail.contains("at byte"),
                    "{name}: {}",
                    refusal.detail
                );
            }
        }
    }

    #[test]
    fn bytes_after_the_request_are_refused() {
        let mut der = pem::sections(sample!("p256")).unwrap().remove(0).der;
        der.push(0);
        let refusal = judge(&der, &KeyAlgorithm::ALL).unwrap_err();
        assert_eq!(refusal.reason, Reason::CsrMalformed);
    }

    /// Anyone who changes another's CSR, or copies another's key into one, proves nothing.
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
            let mut der = pem::sections(samples[which]).unwrap().remove(0).der.to_vec();
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
