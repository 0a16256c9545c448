//! Private keys: generated here, kept as PKCS #8 in PEM, and seen elsewhere only as a [`Secret`].

use rcgen::KeyPair;
use zeroize::Zeroizing;

use super::pem;
use super::pem_fault::InvalidPem;
use crate::domain::secret::Secret;

/// A new P-256 key.
pub fn generate() -> Result<KeyPair, KeyError> {
    Ok(KeyPair::generate()?)
}

/// The private key in PEM.
pub fn to_secret(pair: &KeyPair) -> Secret {
    let der = Zeroizing::new(pair.serialize_der());
    Secret::new(pem::encode("PRIVATE KEY", &der))
}

/// A private key that cannot be read or cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the private key cannot be read")]
    Pem(#[from] InvalidPem),
    #[error("the private key is of a kind that cannot sign here")]
    Kind(#[from] rcgen::Error),
}

/// Reads a private key in PEM, in any of the usual forms.
pub fn from_secret(text: &Secret) -> Result<KeyPair, KeyError> {
    let der = pem::private_key(text)?;
    Ok(KeyPair::try_from(&der)?)
}
