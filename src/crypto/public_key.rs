//! Public keys: their kinds, and the checks that refuse weak ones.

use rcgen::PublicKeyData;
use x509_parser::asn1_rs::Tag;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521,
    OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519,
};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::RSAPublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::domain::certificate::KeyAlgorithm;

/// A public key that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    #[error("the public key {0}")]
    Malformed(&'static str),
    #[error("{0}")]
    Kind(String),
    #[error("{0}")]
    Weak(String),
}

/// The kind of a public key; refuses a key that is weak, unusual, or not in DER's form.
pub fn classify(spki: &SubjectPublicKeyInfo<'_>) -> Result<KeyAlgorithm, KeyFault> {
    let algorithm = &spki.algorithm.algorithm;
    let key = spki.subject_public_key.data.as_ref();
    let kind = if *algorithm == OID_PKCS1_RSAENCRYPTION {
        rsa(key)?
    } else if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        elliptic(spki, key)?
    } else if *algorithm == OID_SIG_ED25519 {
        ed25519(key)?
    } else {
        let kind = format!("keys of the type {algorithm} are not accepted");
        return Err(KeyFault::Kind(kind));
    };
    if is_canonical(spki) {
        return Ok(kind);
    }
    Err(KeyFault::Malformed(
        if spki.algorithm.parameters.is_none() && *algorithm == OID_PKCS1_RSAENCRYPTION {
            "lacks the NULL after its algorithm (RFC 3279, 2.3.1)"
        } else {
            "is not written in the one form that DER and its algorithm's standard prescribe"
        },
    ))
}

/// The size of a key in bits, as people name it; `None` when the kind is not known.
pub fn bits(spki: &SubjectPublicKeyInfo<'_>) -> Option<usize> {
    let key = spki.subject_public_key.data.as_ref();
    if spki.algorithm.algorithm == OID_PKCS1_RSAENCRYPTION {
        let (_, key) = RSAPublicKey::from_der(key).ok()?;
        return Some(bit_length(key.modulus));
    }
    if spki.algorithm.algorithm == OID_SIG_ED25519 {
        return Some(256);
    }
    let curve = curve(spki)?;
    [
        (OID_EC_P256, 256),
        (OID_NIST_EC_P384, 384),
        (OID_NIST_EC_P521, 521),
    ]
    .into_iter()
    .find_map(|(oid, bits)| (curve == oid).then_some(bits))
}

fn rsa(key: &[u8]) -> Result<KeyAlgorithm, KeyFault> {
    let Ok(([], key)) = RSAPublicKey::from_der(key) else {
        return Err(KeyFault::Malformed(
            "is not an RSA key as PKCS #1 writes it",
        ));
    };
    let bits = bit_length(key.modulus);
    let even = key.modulus.last().is_none_or(|byte| byte % 2 == 0);
    if bits < 2048 {
        let weak = format!("an RSA key of {bits} bits is weak; it needs at least 2048");
        return Err(KeyFault::Weak(weak));
    }
    if even || key.exponent != [1, 0, 1] {
        let weak = "an RSA key needs the public exponent 65537 and an odd modulus".to_owned();
        return Err(KeyFault::Weak(weak));
    }
    match bits {
        2048 => Ok(KeyAlgorithm::Rsa2048),
        3072 => Ok(KeyAlgorithm::Rsa3072),
        4096 => Ok(KeyAlgorithm::Rsa4096),
        _ => Err(KeyFault::Kind(format!(
            "an RSA key has 2048, 3072 or 4096 bits here, not {bits}"
        ))),
    }
}

fn elliptic(spki: &SubjectPublicKeyInfo<'_>, point: &[u8]) -> Result<KeyAlgorithm, KeyFault> {
    // Explicit parameters instead of a curve's name have let attackers choose the generator (CVE-2020-0601).
    let Some(curve) = curve(spki) else {
        let kind = "an elliptic curve key has to name its curve".to_owned();
        return Err(KeyFault::Kind(kind));
    };
    let (algorithm, length) = if curve == OID_EC_P256 {
        (KeyAlgorithm::P256, 65)
    } else if curve == OID_NIST_EC_P384 {
        (KeyAlgorithm::P384, 97)
    } else {
        let kind = format!("keys on the curve {curve} are not accepted; use P-256 or P-384");
        return Err(KeyFault::Kind(kind));
    };
    match point.first() {
        Some(4) if point.len() == length => Ok(algorithm),
        Some(2 | 3) => Err(KeyFault::Kind(
            "an elliptic curve key has to be written uncompressed".to_owned(),
        )),
        _ => Err(KeyFault::Malformed("is not a point of its curve's length")),
    }
}

/// Points of small order: anyone can make signatures that verify under them. The sign bit is ignored.
const ED25519_SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

fn ed25519(key: &[u8]) -> Result<KeyAlgorithm, KeyFault> {
    let Ok(mut point) = <[u8; 32]>::try_from(key) else {
        return Err(KeyFault::Malformed("does not have the 32 bytes of Ed25519"));
    };
    if let Some(last) = point.last_mut() {
        *last &= 0x7f;
    }
    let written = data_encoding::HEXLOWER.encode(&point);
    if ED25519_SMALL_ORDER.contains(&written.as_str()) {
        let weak = "an Ed25519 key of small order proves nothing".to_owned();
        return Err(KeyFault::Weak(weak));
    }
    Ok(KeyAlgorithm::Ed25519)
}

fn curve<'k>(spki: &'k SubjectPublicKeyInfo<'_>) -> Option<x509_parser::der_parser::Oid<'k>> {
    if spki.algorithm.algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY {
        return None;
    }
    // The library reads the bytes of any type as a name.
    let parameters = spki.algorithm.parameters.as_ref()?;
    parameters
        .as_oid()
        .ok()
        .filter(|_| parameters.tag() == Tag::Oid)
}

/// True if the encoded key equals the bytes that came: the certificate then holds exactly the key that was sent.
fn is_canonical(spki: &SubjectPublicKeyInfo<'_>) -> bool {
    rcgen::SubjectPublicKeyInfo::from_der(spki.raw)
        .is_ok_and(|read| read.subject_public_key_info() == spki.raw)
}

/// The bits of a big-endian number without its leading zeros.
fn bit_length(number: &[u8]) -> usize {
    let significant = number.iter().skip_while(|byte| **byte == 0);
    let octets = significant.clone().count();
    let unused = significant.take(1).map(|first| first.leading_zeros());
    octets * 8 - unused.sum::<u32>() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_counted_from_the_first_one() {
        for (number, bits) in [
            (&[][..], 0),
            (&[0], 0),
            (&[1], 1),
            (&[0, 0x80], 8),
            (&[0x7f, 0xff], 15),
            (&[0, 0, 1, 0], 9),
        ] {
            assert_eq!(bit_length(number), bits, "{number:?}");
        }
    }

    #[test]
    fn ed25519_keys_of_small_order_are_weak() {
        for written in ED25519_SMALL_ORDER {
            let mut key = data_encoding::HEXLOWER.decode(written.as_bytes()).unwrap();
            assert!(matches!(ed25519(&key), Err(KeyFault::Weak(_))), "{written}");
            key[31] |= 0x80;
            assert!(matches!(ed25519(&key), Err(KeyFault::Weak(_))), "{written}");
        }
        assert_eq!(ed25519(&[9; 32]), Ok(KeyAlgorithm::Ed25519));
        assert!(matches!(ed25519(&[9; 31]), Err(KeyFault::Malformed(_))));
    }
}
