//! Facts about a client certificate, and the profile of signed certificates.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ascii::Ascii;
use super::credential::{CredentialState, RevocationReason};
use super::id::{AppId, AuthorityId, CertificateId};
use super::name::Name;
use super::time::{Timestamp, Validity};

/// SHA-256 of a whole certificate in DER.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// 64 hexadecimal digits in lower case.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Ascii::<64>::EMPTY.and_hex(&self.0).as_str())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 fingerprint has 64 hexadecimal digits")]
pub struct InvalidFingerprint;

impl std::str::FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE
            .decode(text.as_bytes())
            .ok()
            .ok_or(InvalidFingerprint)?;
        bytes.try_into().map(Self).ok().ok_or(InvalidFingerprint)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A certificate's serial number: 1 to 20 octets, positive (RFC 5280, 4.1.2.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SerialNumber {
    len: u8,
    bytes: [u8; 20],
}

/// Octets that are not a serial number of RFC 5280.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a serial number has 1 to 20 octets and is positive")]
pub struct InvalidSerialNumber;

impl SerialNumber {
    /// Takes the octets as DER holds them; a leading zero octet that only keeps the sign is dropped.
    pub fn from_bytes(octets: &[u8]) -> Result<Self, InvalidSerialNumber> {
        let significant = match octets {
            [0, rest @ ..] if !rest.is_empty() => rest,
            all => all,
        };
        let mut bytes = [0_u8; 20];
        let len = significant.len();
        bytes
            .get_mut(..len)
            .ok_or(InvalidSerialNumber)?
            .copy_from_slice(significant);
        let zero = bytes.iter().all(|byte| *byte == 0);
        match u8::try_from(len) {
            Ok(len) if len > 0 && !zero => Ok(Self { len, bytes }),
            _ => Err(InvalidSerialNumber),
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.len))
            .unwrap_or(&self.bytes)
    }

    /// Hexadecimal digits in lower case, two an octet.
    pub fn text(&self) -> Ascii<40> {
        Ascii::EMPTY.and_hex(self.as_bytes())
    }
}

impl fmt::Display for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

impl fmt::Debug for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for SerialNumber {
    type Err = InvalidSerialNumber;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE
            .decode(text.as_bytes())
            .ok()
            .ok_or(InvalidSerialNumber)?;
        Self::from_bytes(&bytes)
    }
}

impl Serialize for SerialNumber {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SerialNumber {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A client certificate as the registry keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    pub id: CertificateId,
    pub app: AppId,
    /// Unique among the App's certificates that count; a rotation may carry the name on.
    pub name: Name,
    pub authority: AuthorityId,
    pub fingerprint: Fingerprint,
    /// SHA-256 of the `SubjectPublicKeyInfo` in DER: the same key gives the same digest in every certificate.
    pub key_digest: Fingerprint,
    pub serial: SerialNumber,
    pub key: KeyAlgorithm,
    pub subject: String,
    pub validity: Validity,
    pub state: CredentialState,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
    pub revocation_reason: Option<RevocationReason>,
    /// The certificate itself, in PEM.
    pub pem: String,
}

/// Kinds of key that a partner may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyAlgorithm {
    P256,
    P384,
    Ed25519,
    Rsa2048,
    Rsa3072,
    Rsa4096,
}

impl KeyAlgorithm {
    pub const ALL: [Self; 6] = [
        Self::P256,
        Self::P384,
        Self::Ed25519,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::Ed25519 => "ed25519",
            Self::Rsa2048 => "rsa2048",
            Self::Rsa3072 => "rsa3072",
            Self::Rsa4096 => "rsa4096",
        }
    }
}

/// The rules for signed certificates. Only the public key comes from the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The lifetime of a certificate by default.
    pub lifetime: Duration,
    /// The most that anyone may ask for.
    pub lifetime_max: Duration,
    pub keys: Vec<KeyAlgorithm>,
    /// The time by which `notBefore` is back-dated, for partners with slow clocks.
    pub backdate: Duration,
    /// The maximum number of active certificates of one App; two allow rotation with an overlap.
    pub active_max: u32,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_hours(2160),
            lifetime_max: Duration::from_hours(9552),
            keys: vec![
                KeyAlgorithm::P256,
                KeyAlgorithm::P384,
                KeyAlgorithm::Ed25519,
                KeyAlgorithm::Rsa2048,
                KeyAlgorithm::Rsa3072,
                KeyAlgorithm::Rsa4096,
            ],
            backdate: Duration::from_mins(5),
            active_max: 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_positive_and_at_most_twenty_octets() {
        assert_eq!(
            SerialNumber::from_bytes(&[0, 0x80, 1]).unwrap().to_string(),
            "8001"
        );
        assert_eq!("0a".parse::<SerialNumber>().unwrap().as_bytes(), [10]);
        for bad in [&[][..], &[0], &[0, 0], &[1; 21]] {
            assert!(SerialNumber::from_bytes(bad).is_err(), "{bad:?}");
        }
        assert!(SerialNumber::from_bytes(&[1; 20]).is_ok());
    }

    #[test]
    fn fingerprints_read_as_they_are_written() {
        let print = Fingerprint::from_bytes([0xab; 32]);
        assert_eq!(print.to_string().parse::<Fingerprint>().unwrap(), print);
        assert!("ab".parse::<Fingerprint>().is_err());
    }
}
