//! Requests for certificates that use what is not judged of them: nothing but the key reaches a certificate, and what
//! proves nothing is refused by its true cause.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use data_encoding::BASE64;
use rcgen::PublicKeyData as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::support::gateway::{Gateway, config};
use crate::support::pki;
use crate::support::process::{countersign, run};

const ROUTES: &str = "      - { match: { prefix: / }, require: mtls, upstream: api }";

const NULL: &[u8] = &[5, 0];
const V1: &[u8] = &[2, 1, 0];
/// OIDs with their tag and length.
const EC_KEY: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const P384: &[u8] = &[6, 5, 0x2b, 0x81, 4, 0, 0x22];
const ECDSA_SHA256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const ECDSA_SHA384: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];
const ECDSA_SHA512: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4];
const RSA_SHA256: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
const ED25519: &[u8] = &[6, 3, 0x2b, 0x65, 0x70];
const CHALLENGE: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 7];
const EXTENSIONS: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14];
const MICROSOFT: &[u8] = &[6, 10, 0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 1, 14];
/// One that nobody knows.
const OTHER: &[u8] = &[6, 3, 0x2a, 3, 4];
const SAN: &[u8] = &[6, 3, 0x55, 0x1d, 17];
const BASIC: &[u8] = &[6, 3, 0x55, 0x1d, 19];
const USAGE: &[u8] = &[6, 3, 0x55, 0x1d, 15];
const EXTENDED: &[u8] = &[6, 3, 0x55, 0x1d, 37];
const NAMES: &[u8] = &[6, 3, 0x55, 0x1d, 30];
const CA: &[u8] = &[0x30, 3, 1, 1, 0xff];

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len();
    let mut out = vec![tag];
    match length {
        0..=0x7f => out.push(u8::try_from(length).unwrap()),
        0x80..=0xff => out.extend([0x81, u8::try_from(length).unwrap()]),
        _ => {
            out.push(0x82);
            out.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    out.extend(content);
    out
}

fn seq(parts: &[&[u8]]) -> Vec<u8> {
    der(0x30, parts)
}

fn bits(bytes: &[u8]) -> Vec<u8> {
    der(3, &[&[0], bytes])
}

/// An attribute with these values.
fn attribute(kind: &[u8], values: &[&[u8]]) -> Vec<u8> {
    seq(&[kind, &der(0x31, values)])
}

fn list(attributes: &[&[u8]]) -> Vec<u8> {
    der(0xa0, attributes)
}

/// A list of one extension.
fn wish(kind: &[u8], value: &[u8]) -> Vec<u8> {
    seq(&[&seq(&[kind, &der(4, &[value])])])
}

fn critical(kind: &[u8], value: &[u8]) -> Vec<u8> {
    seq(&[&seq(&[kind, &[1, 1, 0xff], &der(4, &[value])])])
}

/// A name with this one value of its common name.
fn name(tag: u8, text: &[u8]) -> Vec<u8> {
    let pair = seq(&[&[6, 3, 0x55, 4, 3], &der(tag, &[text])]);
    seq(&[&der(0x31, &[&pair])])
}

/// Names of another party, as a `subjectAltName`.
fn other_party() -> Vec<u8> {
    let names = [
        (0x82, "evil.example.test"),
        (0x81, "root@evil.test"),
        (0x86, "spiffe://evil.test/admin"),
    ];
    let names = names.map(|(tag, text)| der(tag, &[text.as_bytes()]));
    seq(&[&names.concat()])
}

/// A P-256 key whose owner writes requests by hand.
struct Forger {
    pair: EcdsaKeyPair,
    spki: Vec<u8>,
}

impl Forger {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        Self {
            pair: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key.serialize_der())
                .unwrap(),
            spki: key.subject_public_key_info(),
        }
    }

    fn info(&self, version: &[u8], subject: &[u8], attributes: &[u8]) -> Vec<u8> {
        seq(&[version, subject, &self.spki, attributes])
    }

    fn signature(&self, info: &[u8]) -> Vec<u8> {
        let signature = self.pair.sign(&SystemRandom::new(), info).unwrap();
        bits(signature.as_ref())
    }

    /// The request with this first part.
    fn sign(&self, info: &[u8]) -> Vec<u8> {
        seq(&[info, &seq(&[ECDSA_SHA256]), &self.signature(info)])
    }

    /// An honest request with these attributes.
    fn asking(&self, attributes: &[u8]) -> Vec<u8> {
        self.sign(&self.info(V1, &name(0x0c, b"acme"), attributes))
    }
}

fn gateway() -> Gateway {
    let gateway = Gateway::start(&config("http://127.0.0.1:9", ROUTES));
    gateway.cli_json(&["app", "create", "acme"]);
    gateway
}

fn written(gateway: &Gateway, bytes: &[u8]) -> PathBuf {
    let file = gateway.dir().join("hostile.csr");
    fs::write(&file, bytes).unwrap();
    file
}

const SIGN: [&str; 8] = [
    "cert",
    "sign",
    "--app",
    "acme",
    "--name",
    "x",
    "--csr",
    "hostile.csr",
];

/// Signs a request and gives the certificate in DER; its place in the registry is free again after that.
#[track_caller]
fn signed(gateway: &Gateway, bytes: &[u8], what: &str) -> Vec<u8> {
    written(gateway, bytes);
    let said = gateway.cli(&[&SIGN[..], &["--output", "json"]].concat());
    assert_eq!(said.code, 0, "{what}: {said:?}");
    let made = said.json();
    let id = made["certificate"]["id"].as_str().unwrap();
    gateway.cli(&["cert", "revoke", id, "--yes"]).ok();
    let chain = made["chain_pem"].as_str().unwrap().as_bytes();
    x509_parser::pem::parse_x509_pem(chain).unwrap().1.contents
}

/// Everything of a certificate that must be the same for each request: all but its key, serial number and dates.
fn shape(certificate: &X509Certificate<'_>) -> Vec<String> {
    let mut shape = vec![
        certificate.version().0.to_string(),
        certificate.subject().to_string(),
        certificate.issuer().to_string(),
        certificate.signature_algorithm.algorithm.to_id_string(),
        format!("{:?} {:?}", certificate.issuer_uid, certificate.subject_uid),
    ];
    shape.extend(certificate.extensions().iter().map(|extension| {
        // The key's own identifier follows from the key.
        let value = match extension.oid.to_id_string().as_str() {
            "2.5.29.14" => &[],
            _ => extension.value,
        };
        format!("{} {} {value:x?}", extension.oid, extension.critical)
    }));
    shape
}

#[track_caller]
fn judged(reference: &[u8], made: &[u8], spki: &[u8], what: &str) {
    let (_, reference) = X509Certificate::from_der(reference).unwrap();
    let (rest, certificate) = X509Certificate::from_der(made).unwrap();
    assert_eq!(rest, [0; 0], "{what}");
    assert_eq!(shape(&certificate), shape(&reference), "{what}");
    assert_eq!(certificate.public_key().raw, spki, "{what}");
    assert!(!certificate.is_ca(), "{what}");
    let usage = certificate.key_usage().unwrap().unwrap().value;
    assert_eq!(usage.flags, 1, "{what}: digitalSignature alone");
    for marker in [&b"evil"[..], b"e\0v\0i\0l", b"\0e\0v\0i\0l"] {
        let found = made.windows(marker.len()).any(|bytes| bytes == marker);
        assert!(!found, "{what}: {}", made.escape_ascii());
    }
}

#[test]
fn nothing_of_a_request_but_its_key_reaches_the_certificate() {
    let gateway = gateway();
    let forger = Forger::new();
    let reference = signed(&gateway, &forger.asking(&list(&[])), "an honest request");
    let plain = name(0x0c, b"acme");
    let names = wish(SAN, &other_party());
    let inner = Forger::new().asking(&list(&[]));
    let root = fs::read_to_string(gateway.dir().join("authority/root.pem")).unwrap();
    let root = x509_parser::pem::parse_x509_pem(root.as_bytes()).unwrap().1;
    let root = root.parse_x509().unwrap().subject().as_raw().to_vec();
    let bmp = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_be_bytes).collect() };
    let ca_of_ours = wish(BASIC, CA);
    for (what, version, subject, attributes) in [
        (
            "names of another party",
            V1,
            &plain,
            list(&[&attribute(EXTENSIONS, &[&names])]),
        ),
        (
            "names in Microsoft's attribute",
            V1,
            &plain,
            list(&[&attribute(MICROSOFT, &[&names])]),
        ),
        (
            "names in a second value",
            V1,
            &plain,
            list(&[&attribute(EXTENSIONS, &[&seq(&[]), &names])]),
        ),
        (
            "names in a second attribute",
            V1,
            &plain,
            list(&[
                &attribute(EXTENSIONS, &[&seq(&[])]),
                &attribute(EXTENSIONS, &[&names]),
            ]),
        ),
        (
            "names of version 3",
            &[2, 1, 2],
            &plain,
            list(&[&attribute(EXTENSIONS, &[&names])]),
        ),
        (
            "names of version 2",
            &[2, 1, 1],
            &plain,
            list(&[&attribute(EXTENSIONS, &[&names])]),
        ),
        (
            "critical names",
            V1,
            &plain,
            list(&[&attribute(EXTENSIONS, &[&critical(SAN, &other_party())])]),
        ),
        (
            "names that cannot be read",
            V1,
            &plain,
            list(&[&attribute(EXTENSIONS, &[&wish(SAN, b"\xffevil")])]),
        ),
        (
            "every usage",
            V1,
            &plain,
            list(&[&attribute(
                EXTENSIONS,
                &[&wish(EXTENDED, &seq(&[&[6, 4, 0x55, 0x1d, 37, 0]]))],
            )]),
        ),
        (
            "other usages of the key",
            V1,
            &plain,
            list(&[&attribute(
                EXTENSIONS,
                &[&wish(USAGE, &[3, 2, 0, 0b1111_1000])],
            )]),
        ),
        (
            "a long path",
            V1,
            &plain,
            list(&[&attribute(EXTENSIONS, &[&wish(BASIC, &[0x30, 0])])]),
        ),
        (
            "constraints on names",
            V1,
            &plain,
            list(&[&attribute(EXTENSIONS, &[&critical(NAMES, &seq(&[]))])]),
        ),
        (
            "an unknown extension",
            V1,
            &plain,
            list(&[&attribute(EXTENSIONS, &[&critical(OTHER, b"evil")])]),
        ),
        (
            "an authority by an unknown attribute",
            V1,
            &plain,
            list(&[&attribute(OTHER, &[&ca_of_ours])]),
        ),
        (
            "a password in BMP",
            V1,
            &plain,
            list(&[&attribute(CHALLENGE, &[&der(0x1e, &[&bmp("evil")])])]),
        ),
        (
            "a password in T61",
            V1,
            &plain,
            list(&[&attribute(CHALLENGE, &[&der(0x14, &[b"\xe4evil"])])]),
        ),
        (
            "a password in IA5",
            V1,
            &plain,
            list(&[&attribute(CHALLENGE, &[&der(0x16, &[b"evil"])])]),
        ),
        (
            "half a character of BMP",
            V1,
            &plain,
            list(&[&attribute(CHALLENGE, &[&der(0x1e, &[b"\0e\0v\0i\0l\0"])])]),
        ),
        (
            "extensions as a password",
            V1,
            &plain,
            list(&[&attribute(CHALLENGE, &[&names])]),
        ),
        (
            "passwords by the dozen",
            V1,
            &plain,
            list(&[&attribute(CHALLENGE, &[&der(0x13, &[b"evil"])]).repeat(12)]),
        ),
        (
            "a request in a request",
            V1,
            &plain,
            list(&[&attribute(OTHER, &[&inner])]),
        ),
        ("no attributes", V1, &plain, Vec::new()),
        ("the root's name", V1, &root, list(&[])),
        (
            "a name with a NUL",
            V1,
            &name(0x0c, b"acme\0.evil.test"),
            list(&[]),
        ),
        ("a name in BMP", V1, &name(0x1e, &bmp("evil")), list(&[])),
        ("a name in T61", V1, &name(0x14, b"\xe4evil"), Vec::new()),
        ("a name of bytes", V1, &seq(&[b"\xff\xffevil"]), Vec::new()),
    ] {
        let made = signed(
            &gateway,
            &forger.sign(&forger.info(version, subject, &attributes)),
            what,
        );
        judged(&reference, &made, &forger.spki, what);
    }
    // A request so short that the length of its DER is a letter.
    let short = Ed25519KeyPair::generate().unwrap();
    let point = bits(short.public_key().as_ref());
    let spki = seq(&[&seq(&[ED25519]), &point]);
    let info = seq(&[V1, &seq(&[]), &spki]);
    let bytes = seq(&[&info, &seq(&[ED25519]), &bits(short.sign(&info).as_ref())]);
    assert_eq!(bytes[1], b'}');
    judged(
        &reference,
        &signed(&gateway, &bytes, "a short one"),
        &spki,
        "a short one",
    );
    // The algorithm's parameters stand outside of what is signed.
    let info = forger.info(V1, &plain, &list(&[]));
    for (what, algorithm) in [
        ("without NULL", seq(&[ECDSA_SHA256])),
        ("with NULL", seq(&[ECDSA_SHA256, NULL])),
    ] {
        let bytes = seq(&[&info, &algorithm, &forger.signature(&info)]);
        judged(
            &reference,
            &signed(&gateway, &bytes, what),
            &forger.spki,
            what,
        );
    }
}

#[test]
fn a_request_that_proves_nothing_is_refused_whatever_is_odd_about_it() {
    let gateway = gateway();
    let (forger, victim) = (Forger::new(), Forger::new());
    let plain = name(0x0c, b"acme");
    let none = list(&[]);
    let honest = forger.info(V1, &plain, &none);
    let signature = forger.signature(&honest);
    let ecdsa = seq(&[ECDSA_SHA256]);
    let around =
        |info: &[u8], algorithm: &[u8], signature: &[u8]| seq(&[info, algorithm, signature]);
    let by = |algorithm: &[u8]| around(&honest, algorithm, &signature);
    let asking = |attributes: &[&[u8]]| forger.asking(&list(attributes));
    let password = attribute(CHALLENGE, &[&der(0x1e, &[b"\0a\0b"])]);
    let point = victim.pair.public_key().as_ref();
    let moved = seq(&[
        V1,
        &plain,
        &seq(&[&seq(&[EC_KEY, P384]), &bits(point)]),
        &none,
    ]);
    let rsa_key = seq(&[
        V1,
        &plain,
        &seq(&[&seq(&[RSA_SHA256, NULL]), &bits(point)]),
        &none,
    ]);
    let mut cases: Vec<(&str, Vec<u8>, &str)> = Vec::new();
    // Somebody else's key, however the rest is written.
    for version in [0, 1, 2] {
        for attributes in [Vec::new(), none.clone(), list(&[&password])] {
            let info = victim.info(&[2, 1, version], &plain, &attributes);
            for algorithm in [seq(&[ECDSA_SHA256]), seq(&[ECDSA_SHA256, NULL])] {
                let bytes = around(&info, &algorithm, &forger.signature(&info));
                cases.push(("a key of somebody else", bytes, "csr_signature"));
            }
        }
    }
    cases.extend([
        (
            "a version changed behind the signature",
            around(&forger.info(&[2, 1, 2], &plain, &none), &ecdsa, &signature),
            "csr_signature",
        ),
        (
            "attributes taken out",
            around(&forger.info(V1, &plain, &[]), &ecdsa, &signature),
            "csr_signature",
        ),
        (
            "attributes put in",
            around(
                &forger.info(V1, &plain, &list(&[&password])),
                &ecdsa,
                &signature,
            ),
            "csr_signature",
        ),
        (
            "another name",
            around(
                &forger.info(V1, &name(0x14, b"other"), &none),
                &ecdsa,
                &signature,
            ),
            "csr_signature",
        ),
        (
            "an empty signature",
            around(&honest, &ecdsa, &bits(b"")),
            "csr_signature",
        ),
        (
            "r and s of zero",
            around(&honest, &ecdsa, &bits(&[0x30, 6, 2, 1, 0, 2, 1, 0])),
            "csr_signature",
        ),
        (
            "bits left over",
            around(&honest, &ecdsa, &der(3, &[&[1], &signature[3..]])),
            "csr_malformed",
        ),
        // Algorithms inside and outside that differ.
        (
            "signed as SHA-384",
            by(&seq(&[ECDSA_SHA384])),
            "csr_signature",
        ),
        (
            "signed as SHA-512",
            by(&seq(&[ECDSA_SHA512])),
            "csr_signature",
        ),
        (
            "signed as RSA",
            by(&seq(&[RSA_SHA256, NULL])),
            "csr_signature",
        ),
        (
            "signed as RSA without NULL",
            by(&seq(&[RSA_SHA256])),
            "csr_signature",
        ),
        ("signed as Ed25519", by(&seq(&[ED25519])), "csr_signature"),
        (
            "signed by the key's own algorithm",
            by(&seq(&[EC_KEY])),
            "csr_signature",
        ),
        (
            "signed by what nobody knows",
            by(&seq(&[OTHER])),
            "csr_signature",
        ),
        ("a point of another curve", forger.sign(&moved), "csr_"),
        ("a point as an RSA key", forger.sign(&rsa_key), "csr_"),
        // Parameters that say something.
        (
            "a curve as a parameter",
            by(&seq(&[ECDSA_SHA256, P384])),
            "csr_malformed",
        ),
        (
            "a NULL that holds something",
            by(&seq(&[ECDSA_SHA256, &[5, 1, 0]])),
            "csr_malformed",
        ),
        (
            "a NULL of a long length",
            by(&seq(&[ECDSA_SHA256, &[5, 0x81, 0]])),
            "csr_malformed",
        ),
        (
            "two NULLs",
            by(&seq(&[ECDSA_SHA256, NULL, NULL])),
            "csr_malformed",
        ),
        // Versions that nobody writes.
        (
            "version 3",
            forger.sign(&forger.info(&[2, 1, 3], &plain, &none)),
            "csr_malformed",
        ),
        (
            "version -1",
            forger.sign(&forger.info(&[2, 1, 0xff], &plain, &none)),
            "csr_malformed",
        ),
        (
            "version 256",
            forger.sign(&forger.info(&[2, 2, 1, 0], &plain, &none)),
            "csr_malformed",
        ),
        (
            "version 0 in two bytes",
            forger.sign(&forger.info(&[2, 2, 0, 0], &plain, &none)),
            "csr_malformed",
        ),
        (
            "no version",
            forger.sign(&seq(&[&plain, &forger.spki, &none])),
            "csr_malformed",
        ),
        // Bytes behind.
        (
            "a byte behind it",
            [forger.sign(&honest), vec![0]].concat(),
            "csr_malformed",
        ),
        (
            "another request behind it",
            [forger.sign(&honest), victim.asking(&none)].concat(),
            "csr_malformed",
        ),
        (
            "a part behind the signature",
            seq(&[&honest, &ecdsa, &signature, NULL]),
            "csr_malformed",
        ),
        (
            "a part behind the attributes",
            forger.sign(&seq(&[V1, &plain, &forger.spki, &none, &none])),
            "csr_malformed",
        ),
        (
            "a part behind the key",
            forger.sign(&seq(&[V1, &plain, &seq(&[&forger.spki[2..], NULL]), &none])),
            "csr_",
        ),
        (
            "two keys",
            forger.sign(&seq(&[V1, &plain, &forger.spki, &victim.spki, &none])),
            "csr_malformed",
        ),
        // An authority, wherever it is asked for.
        (
            "an authority",
            asking(&[&attribute(EXTENSIONS, &[&wish(BASIC, CA)])]),
            "csr_attributes",
        ),
        (
            "an authority by Microsoft",
            asking(&[&attribute(MICROSOFT, &[&wish(BASIC, CA)])]),
            "csr_attributes",
        ),
        (
            "an authority behind a password",
            asking(&[&password, &attribute(EXTENSIONS, &[&critical(BASIC, CA)])]),
            "csr_attributes",
        ),
        (
            "an authority in a second list",
            asking(&[&attribute(EXTENSIONS, &[&seq(&[]), &wish(BASIC, CA)])]),
            "csr_attributes",
        ),
        (
            "an authority in a second attribute",
            asking(&[
                &attribute(EXTENSIONS, &[&seq(&[])]),
                &attribute(EXTENSIONS, &[&wish(BASIC, CA)]),
            ]),
            "csr_attributes",
        ),
        (
            "an authority behind none",
            asking(&[&attribute(
                EXTENSIONS,
                &[&[wish(BASIC, &[0x30, 0]), wish(BASIC, CA)].concat()],
            )]),
            "csr_attributes",
        ),
        (
            "an authority in BER",
            asking(&[&attribute(EXTENSIONS, &[&wish(BASIC, &[0x30, 3, 1, 1, 1])])]),
            "csr_attributes",
        ),
        (
            "an authority of version 3",
            forger.sign(&forger.info(
                &[2, 1, 2],
                &plain,
                &list(&[&attribute(EXTENSIONS, &[&wish(BASIC, CA)])]),
            )),
            "csr_attributes",
        ),
        (
            "signing of certificates",
            asking(&[&attribute(EXTENSIONS, &[&wish(USAGE, &[3, 2, 2, 4])])]),
            "csr_attributes",
        ),
        (
            "signing of revocation lists",
            asking(&[&attribute(EXTENSIONS, &[&wish(USAGE, &[3, 2, 1, 2])])]),
            "csr_attributes",
        ),
        (
            "constraints that cannot be read",
            asking(&[&attribute(EXTENSIONS, &[&wish(BASIC, b"\xff")])]),
            "csr_malformed",
        ),
        (
            "constraints with bytes behind",
            asking(&[&attribute(EXTENSIONS, &[&wish(BASIC, &[0x30, 0, 0])])]),
            "csr_malformed",
        ),
        (
            "extensions that are no list",
            asking(&[&attribute(EXTENSIONS, &[&der(4, &[CA])])]),
            "csr_malformed",
        ),
    ]);
    for (what, bytes, expected) in cases {
        written(&gateway, &bytes);
        let refused = gateway.cli(&SIGN);
        assert_eq!(refused.code, 6, "{what}: {refused:?}");
        assert!(refused.stderr.contains(expected), "{what}: {refused:?}");
        let offline = countersign(gateway.dir(), &["csr", "inspect", "hostile.csr"]);
        assert_eq!(offline.code, 6, "{what}: {offline:?}");
    }
    assert_eq!(gateway.cli_json(&["cert", "list"]), serde_json::json!([]));
    signed(&gateway, &forger.sign(&honest), "the honest one");
}

/// A subject in any string type is shown to an operator, and is no command to its terminal and no line of a verdict.
#[test]
fn what_a_request_says_of_itself_is_data_to_who_reads_it() {
    let gateway = gateway();
    let forger = Forger::new();
    let bmp = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_be_bytes).collect() };
    let hostile = "a\u{1b}[2J\u{1b}]0;evil\u{7}\nVERDICT  accepted\r\u{202e}b\u{9b}31m";
    let latin1 = b"a\x1b[2J\nVERDICT  accepted\r\x9b31mb";
    for subject in [
        name(0x0c, hostile.as_bytes()),
        name(0x1e, &bmp(hostile)),
        name(0x14, latin1),
        name(0x16, latin1),
        name(0x13, latin1),
        name(0x1c, b"\0\0\0\x1b\0\0\0\n"),
    ] {
        let wanted = der(0x82, &[hostile.as_bytes()]);
        let mail = der(0x81, &[latin1]);
        let wanted = wish(SAN, &seq(&[&wanted, &mail]));
        let asked = [
            attribute(EXTENSIONS, &[&wanted]),
            attribute(EXTENSIONS, &[&wish(BASIC, CA)]),
        ]
        .concat();
        let bytes = forger.sign(&forger.info(V1, &subject, &list(&[&asked])));
        let file = written(&gateway, &bytes);
        for said in [
            countersign(gateway.dir(), &["csr", "inspect", file.to_str().unwrap()]),
            gateway.cli(&["csr", "inspect", file.to_str().unwrap()]),
            gateway.cli(&SIGN),
        ] {
            assert_eq!(said.code, 6, "{said:?}");
            let shown = format!("{}{}", said.stdout, said.stderr);
            let escapes = ['\u{1b}', '\u{7}', '\r', '\u{9b}', '\u{202e}'];
            assert!(!shown.contains(escapes), "{said:?}");
            let mut lines = shown.lines();
            assert!(!lines.any(|line| line.starts_with("VERDICT")), "{said:?}");
        }
    }
    assert!(!gateway.log().contains('\u{1b}'));
}

fn utf16(text: &str) -> Vec<u8> {
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    units.flat_map(u16::to_le_bytes).collect()
}

fn block(label: &str, der: &[u8]) -> String {
    let body = BASE64.encode(der);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

/// The DER of a PEM file of OpenSSL's, by this command of it.
fn to_der(dir: &Path, command: &[&str], file: &Path) -> Vec<u8> {
    let more = [
        "-in",
        file.to_str().unwrap(),
        "-outform",
        "DER",
        "-out",
        "out.der",
    ];
    run(dir, "openssl", &[command, &more].concat()).ok();
    fs::read(dir.join("out.der")).unwrap()
}

#[test]
fn a_file_hides_no_second_request_and_no_private_key() {
    let gateway = gateway();
    let dir = gateway.dir();
    let (made, second) = (pki::request(dir, "made"), pki::request(dir, "second"));
    let text = |file: &Path| fs::read_to_string(file).unwrap();
    let (good, other, key) = (text(&made.csr), text(&second.csr), text(&made.key));
    let (good_der, other_der) = (
        to_der(dir, &["req"], &made.csr),
        to_der(dir, &["req"], &second.csr),
    );
    let (key_der, sec1_der) = (
        to_der(dir, &["pkcs8", "-topk8", "-nocrypt"], &made.key),
        to_der(dir, &["ec"], &made.key),
    );
    let old = other.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST");
    let cr = |text: &str| text.replace('\n', "\r");
    let sec1 = key.replace("PRIVATE KEY", "EC PRIVATE KEY");
    let sealed = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let middle = good.len() / 2;
    let wide = utf16(&good);
    let cut_wide = [&wide[..=2 * middle], &wide[2 * middle + 2..]].concat();
    let more_wide = [&wide[..2 * middle], b"A", &wide[2 * middle..]].concat();
    let alone = [&wide[..2 * middle], &[0, 0xd8], &wide[2 * middle..]].concat();
    let marked = format!("{}\u{feff}{}", &good[..middle], &good[middle..]);
    let one_block = block("CERTIFICATE REQUEST", &[&good_der[..], &other_der].concat());
    let nested = good.replacen('\n', &format!("\n{other}"), 1);
    let (several, private) = ("2 requests here", "contains a private key");
    let refused: [(&str, Vec<u8>, &str); 24] = [
        ("two requests", format!("{good}{other}").into(), several),
        (
            "one under the old label",
            format!("{good}{old}").into(),
            several,
        ),
        (
            "two joined by a mark",
            format!("{good}\u{feff}{other}").into(),
            several,
        ),
        ("two in UTF-16", utf16(&format!("{good}{other}")), several),
        (
            "two with CR alone",
            cr(&format!("{good}{other}")).into(),
            several,
        ),
        (
            "one with CR behind one with LF",
            format!("{good}{}", cr(&other)).into(),
            several,
        ),
        (
            "one with LF behind one with CR",
            format!("{}{other}", cr(&good)).into(),
            several,
        ),
        ("two in one block", one_block.into(), "bytes after its end"),
        (
            "DER behind DER",
            [&good_der[..], &other_der].concat(),
            "bytes after its end",
        ),
        (
            "PEM behind DER",
            [&good_der[..], other.as_bytes()].concat(),
            "bytes after its end",
        ),
        ("one inside of another", nested.into(), "its own END line"),
        ("a key behind", format!("{good}{key}").into(), private),
        ("a key before", format!("{key}{good}").into(), private),
        ("an older key", format!("{good}{sec1}").into(), private),
        (
            "a key with a passphrase",
            format!("{good}{sealed}").into(),
            private,
        ),
        ("a key in UTF-16", utf16(&format!("{good}{key}")), private),
        (
            "a key with CR behind one with LF",
            format!("{good}{}", cr(&key)).into(),
            private,
        ),
        (
            "a key under the label of requests",
            block("CERTIFICATE REQUEST", &key_der).into(),
            private,
        ),
        ("a key in DER", key_der, private),
        ("an older key in DER", sec1_der, private),
        ("a mark within the base64", marked.into(), "not base64"),
        ("UTF-16 that lost a byte", cut_wide, ""),
        ("UTF-16 with a byte too many", more_wide, ""),
        ("half a pair of UTF-16", alone, "not base64"),
    ];
    let body: String = key.lines().skip(1).take(1).collect();
    for (what, bytes, words) in refused {
        written(&gateway, &bytes);
        let said = gateway.cli(&SIGN);
        assert_eq!(said.code, 6, "{what}: {said:?}");
        assert!(said.stderr.contains("csr_malformed"), "{what}: {said:?}");
        let offline = countersign(dir, &["csr", "inspect", "hostile.csr", "--output", "json"]);
        assert_eq!(offline.code, 6, "{what}: {offline:?}");
        for said in [said, offline] {
            let shown = format!("{}{}", said.stdout, said.stderr);
            assert!(shown.contains(words), "{what}: {said:?}");
            assert!(!shown.contains(&body), "{what}: {said:?}");
        }
    }
    assert!(!gateway.log().contains(&body));
    assert_eq!(gateway.cli_json(&["cert", "list"]), serde_json::json!([]));
    // What is left over changes nothing about whose key is signed.
    let reference = signed(&gateway, good.as_bytes(), "the honest one");
    let (_, honest) = X509Certificate::from_der(&reference).unwrap();
    let spki = honest.public_key().raw.to_vec();
    for (what, bytes) in [
        (
            "a mark at a line's beginning",
            good.replace('\n', "\n\u{feff}").into_bytes(),
        ),
        ("a byte behind UTF-16", [&wide[..], b"e"].concat()),
        (
            "a certificate behind",
            format!("{good}{}", text(&dir.join("authority/root.pem"))).into(),
        ),
        (
            "words around",
            format!("CN=evil\nCA:TRUE\n{good}\nbasicConstraints=CA:TRUE,evil\n").into(),
        ),
        (
            "a field before the base64",
            good.replacen('\n', "\nSubject: evil\n\n", 1).into(),
        ),
    ] {
        judged(&reference, &signed(&gateway, &bytes, what), &spki, what);
    }
}
