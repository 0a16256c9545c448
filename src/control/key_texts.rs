//! The texts of new keys: made, and turned into what the registry keeps of them.

use std::sync::Arc;

use super::error::Error;
use crate::crypto::api_key::{SecretHasher, generate_key};
use crate::crypto::signing_key::SigningTexts;
use crate::domain::api_key::{Environment, KeyKind, KeyTail};
use crate::domain::id::KeyId;
use crate::domain::registry::keys::NewText;
use crate::domain::secret::Secret;

/// The maker of texts.
#[derive(Clone, Debug)]
pub(super) struct KeyTexts {
    pub hasher: Arc<SecretHasher>,
    /// Absent if the configuration has no sealing key.
    pub signing: Option<Arc<SigningTexts>>,
}

impl KeyTexts {
    /// A new text, and what is kept of it.
    pub fn make(
        &self,
        id: KeyId,
        kind: KeyKind,
        environment: Environment,
    ) -> Result<(NewText, Secret), Error> {
        let secret = generate_key(id, kind, environment);
        let sealed = match (kind, &self.signing) {
            (KeyKind::Signing, None) => {
                return Err(Error::invalid(
                    "a signing key needs keys.sealing_key in the configuration: the secret under which its text is stored",
                ));
            }
            (KeyKind::Signing, Some(texts)) => {
                let sealed = texts.seal(id, &secret);
                Some(sealed.map_err(|error| Error::internal("the key cannot be sealed", error))?)
            }
            (KeyKind::Publishable | KeyKind::Secret, _) => None,
        };
        let text = NewText {
            id,
            digest: self.hasher.digest(secret.expose()),
            tail: KeyTail::of(secret.expose()),
            sealed,
        };
        Ok((text, secret))
    }
}
