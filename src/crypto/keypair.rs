//! Private keys: made here, kept as PKCS #8 in PEM, never seen elsewhere but as a [`Secret`].

use rcgen::KeyPair;
use zeroize::Zeroizing;

use super::pem;
use crate::domain::secret::Secret;

/// A new P-256 key.
pub fn generate() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate()
}

/// The private key in PEM.
pub fn to_secret(pair: &KeyPair) -> Secret {
    let der = Zeroizing::new(pair.serialize_der());
    Secret::new(pem::encode("PRIVATE KEY", &der))
}

/// Reads a private key in PEM, whichever of the usual forms it has.
pub fn from_secret(text: &Secret) -> Result<KeyPair, rcgen::Error> {
    KeyPair::from_pem(text.expose())
}
