//! Sealing: secrets that the gateway has to read again are stored encrypted, and open in their own row and column only.
//!
//! An envelope is its version (1 byte), the id of the sealing key (8), the nonce (12), the ciphertext, and the tag (16).
//! The algorithm is AES-256-GCM-SIV (RFC 8452), which a repeated nonce does not break. Each column has a key of its own,
//! derived from the operator's secret (RFC 5869). The associated data name the table, the column and the row, so that an
//! envelope that was moved to another row does not open there.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf;
use zeroize::Zeroizing;

use crate::domain::sealed::Sealed;
use crate::domain::secret::Secret;

/// The version of the envelope.
const VERSION: u8 = 1;

/// The bytes of a key's id.
const ID_BYTES: usize = 8;

/// The bytes of a key of AES-256.
const KEY_BYTES: usize = 32;

/// The bytes before the ciphertext.
const HEAD_BYTES: usize = 1 + ID_BYTES + NONCE_LEN;

/// Separates these derivations from others that begin with the same secret.
const SALT: &[u8] = b"countersign sealing 1";

/// The column whose values are sealed. Each has a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    pub table: &'static str,
    pub column: &'static str,
}

/// The id of a sealing key, which does not reveal it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SealingKeyId([u8; ID_BYTES]);

impl fmt::Display for SealingKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for SealingKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A secret that cannot be sealed, or an envelope that cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error(
        "it was sealed under another sealing key: that one has the id {found}, and this one {ours}"
    )]
    OtherKey {
        found: SealingKeyId,
        ours: SealingKeyId,
    },
    #[error("it has the form {0}, which this version does not know")]
    Version(u8),
    #[error("it is damaged, or was sealed for another row")]
    Damaged,
    #[error("the cipher has failed")]
    Cipher,
}

/// The operator's sealing key.
pub struct SealingKey {
    derived: hkdf::Prk,
    id: SealingKeyId,
}

impl SealingKey {
    pub fn new(secret: &Secret) -> Result<Self, SealError> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT);
        let derived = salt.extract(secret.expose().as_bytes());
        let mut id = [0_u8; ID_BYTES];
        expand(&derived, &[b"id"], &mut id)?;
        Ok(Self {
            derived,
            id: SealingKeyId(id),
        })
    }

    #[cfg(test)]
    pub const fn id(&self) -> SealingKeyId {
        self.id
    }

    /// The sealer of one column.
    pub fn sealer(&self, of: Column) -> Result<Sealer, SealError> {
        let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
        let purpose = [
            b"column".as_slice(),
            of.table.as_bytes(),
            b".",
            of.column.as_bytes(),
        ];
        expand(&self.derived, &purpose, key.as_mut_slice())?;
        let key = RandomizedNonceKey::new(&AES_256_GCM_SIV, key.as_slice());
        Ok(Sealer {
            key: key.ok().ok_or(SealError::Cipher)?,
            id: self.id,
            of,
        })
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.id)
    }
}

/// The sealer of one column.
pub struct Sealer {
    key: RandomizedNonceKey,
    id: SealingKeyId,
    of: Column,
}

impl Sealer {
    /// Seals the secret of one row.
    pub fn seal(&self, row: &[u8], secret: &[u8]) -> Result<Sealed, SealError> {
        // The capacity is for the tag too: no copy of the secret stays behind.
        let mut text = Vec::with_capacity(secret.len() + AES_256_GCM_SIV.tag_len());
        text.extend_from_slice(secret);
        let associated = Aad::from(self.associated(row));
        let nonce = self.key.seal_in_place_append_tag(associated, &mut text);
        let nonce = nonce.ok().ok_or(SealError::Cipher)?;
        let mut envelope = Vec::with_capacity(HEAD_BYTES + text.len());
        envelope.push(VERSION);
        envelope.extend_from_slice(&self.id.0);
        envelope.extend_from_slice(nonce.as_ref());
        envelope.append(&mut text);
        Ok(Sealed::new(envelope))
    }

    /// Opens the secret of one row.
    pub fn open(&self, row: &[u8], sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (nonce, text) = self.read(sealed.as_bytes())?;
        let mut text = Zeroizing::new(text.to_vec());
        let associated = Aad::from(self.associated(row));
        let opened = self.key.open_in_place(nonce, associated, &mut text);
        let len = opened.ok().ok_or(SealError::Damaged)?.len();
        text.truncate(len);
        Ok(text)
    }

    /// The nonce of an envelope, and what stands behind it.
    fn read<'e>(&self, envelope: &'e [u8]) -> Result<(Nonce, &'e [u8]), SealError> {
        let (version, rest) = envelope.split_first().ok_or(SealError::Damaged)?;
        if *version != VERSION {
            return Err(SealError::Version(*version));
        }
        let (id, rest) = rest.split_first_chunk().ok_or(SealError::Damaged)?;
        let found = SealingKeyId(*id);
        if found != self.id {
            return Err(SealError::OtherKey {
                found,
                ours: self.id,
            });
        }
        let (nonce, text) = rest
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(SealError::Damaged)?;
        Ok((Nonce::assume_unique_for_key(*nonce), text))
    }

    /// The name of the place. No name of a table or a column has a zero in it, so that two places have two names.
    fn associated(&self, row: &[u8]) -> Vec<u8> {
        let Column { table, column } = self.of;
        [
            &[VERSION],
            table.as_bytes(),
            &[0],
            column.as_bytes(),
            &[0],
            row,
        ]
        .concat()
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Sealer({}.{} {})",
            self.of.table, self.of.column, self.id
        )
    }
}

/// The number of bytes that are derived.
#[derive(Clone, Copy)]
struct Bytes(usize);

impl hkdf::KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand(from: &hkdf::Prk, purpose: &[&[u8]], into: &mut [u8]) -> Result<(), SealError> {
    let derived = from.expand(purpose, Bytes(into.len()));
    let filled = derived.and_then(|derived| derived.fill(into));
    filled.ok().ok_or(SealError::Cipher)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: Column = Column {
        table: "keys",
        column: "text",
    };

    fn key(secret: &str) -> SealingKey {
        SealingKey::new(&Secret::new(secret.to_owned())).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_only() {
        let key = key("a secret of the operator");
        let sealer = key.sealer(TEXTS).unwrap();
        let envelope = sealer.seal(b"row 1", b"sg_live_1").unwrap();
        assert_eq!(*sealer.open(b"row 1", &envelope).unwrap(), b"sg_live_1");
        assert_eq!(sealer.open(b"row 2", &envelope), Err(SealError::Damaged));
        for (table, column) in [("keys", "other"), ("other", "text")] {
            let other = key.sealer(Column { table, column }).unwrap();
            assert_eq!(other.open(b"row 1", &envelope), Err(SealError::Damaged));
        }
        let again = key.sealer(TEXTS).unwrap();
        assert_eq!(*again.open(b"row 1", &envelope).unwrap(), b"sg_live_1");
    }

    #[test]
    fn another_key_is_named_as_the_cause() {
        let (one, other) = (key("one"), key("other"));
        let envelope = one.sealer(TEXTS).unwrap().seal(b"row", b"text").unwrap();
        let refused = other.sealer(TEXTS).unwrap().open(b"row", &envelope);
        let (found, ours) = (one.id(), other.id());
        assert_eq!(refused, Err(SealError::OtherKey { found, ours }));
        assert_ne!(found.to_string(), ours.to_string());
    }

    #[test]
    fn no_changed_byte_is_opened() {
        let sealer = key("a secret").sealer(TEXTS).unwrap();
        let envelope = sealer.seal(b"row", b"text").unwrap();
        for place in 0..envelope.as_bytes().len() {
            let mut changed = envelope.as_bytes().to_vec();
            changed[place] ^= 1;
            assert!(
                sealer.open(b"row", &Sealed::new(changed)).is_err(),
                "{place}"
            );
            let cut = Sealed::new(&envelope.as_bytes()[..place]);
            assert!(sealer.open(b"row", &cut).is_err(), "{place}");
        }
    }

    #[test]
    fn two_envelopes_of_one_secret_differ_and_show_nothing() {
        let key = key("a secret");
        let sealer = key.sealer(TEXTS).unwrap();
        let one = sealer.seal(b"row", b"sg_live_1").unwrap();
        let other = sealer.seal(b"row", b"sg_live_1").unwrap();
        assert_ne!(one, other);
        let holds = |envelope: &Sealed| {
            envelope
                .as_bytes()
                .windows(9)
                .any(|part| part == b"sg_live_1")
        };
        assert!(!holds(&one));
        let shown = format!("{key:?} {sealer:?} {one:?}");
        assert!(!shown.contains("a secret"), "{shown}");
    }
}
