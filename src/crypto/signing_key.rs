//! The texts of signing keys: sealed for the store, and opened for as long as one signature takes.

use aws_lc_rs::hmac;

use super::seal::{Column, SealError, Sealer, SealingKey};
use crate::domain::id::KeyId;
use crate::domain::sealed::Sealed;
use crate::domain::secret::Secret;

/// The place of the texts.
const TEXTS: Column = Column {
    table: "keys",
    column: "sealed",
};

/// The sealer of the texts of signing keys.
#[derive(Debug)]
pub struct SigningTexts(Sealer);

impl SigningTexts {
    pub fn new(secret: &Secret) -> Result<Self, SealError> {
        Ok(Self(SealingKey::new(secret)?.sealer(TEXTS)?))
    }

    /// Seals the text of a key.
    pub fn seal(&self, id: KeyId, text: &Secret) -> Result<Sealed, SealError> {
        self.0.seal(&row(id), text.expose().as_bytes())
    }

    /// Checks that the text of a key can be opened.
    pub fn check(&self, id: KeyId, sealed: &Sealed) -> Result<(), SealError> {
        self.0.open(&row(id), sealed).map(|_| ())
    }

    /// True if `tag` is the HMAC-SHA256 of `message` under the text of the key; constant time.
    pub fn verifies(
        &self,
        id: KeyId,
        sealed: &Sealed,
        message: &[u8],
        tag: &[u8],
    ) -> Result<bool, SealError> {
        let text = self.0.open(&row(id), sealed)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &text);
        Ok(hmac::verify(&key, message, tag).is_ok())
    }
}

fn row(id: KeyId) -> [u8; 16] {
    u128::from(id).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_verifies_signatures_of_its_own_key_only() {
        let texts = SigningTexts::new(&Secret::new("a sealing key".to_owned())).unwrap();
        let (id, other) = (KeyId::from_bits(1), KeyId::from_bits(2));
        let sealed = texts
            .seal(id, &Secret::new("sg_live_1".to_owned()))
            .unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"sg_live_1");
        let tag = hmac::sign(&key, b"message");
        let verifies = |id, message: &[u8]| texts.verifies(id, &sealed, message, tag.as_ref());
        assert_eq!(verifies(id, b"message"), Ok(true));
        assert_eq!(verifies(id, b"another"), Ok(false));
        assert_eq!(verifies(other, b"message"), Err(SealError::Damaged));
        assert_eq!(texts.check(id, &sealed), Ok(()));
        let foreign = SigningTexts::new(&Secret::new("another".to_owned())).unwrap();
        assert!(foreign.check(id, &sealed).is_err());
    }
}
