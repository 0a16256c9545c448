//! The keys that sign and verify access tokens, as they are held and found again at a start.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use data_encoding::BASE64URL_NOPAD;
use tokio::sync::Mutex;

use super::authority::{self, Opened};
use super::retired_key::RetiredKey;
use crate::crypto::jwt::TokenSigner;
use crate::domain::time::Timestamp;
use crate::domain::token::VerificationKey;

/// The keys that sign and verify access tokens.
#[derive(Debug)]
pub struct TokenKeys {
    pub(super) path: PathBuf,
    /// The longest that a token lives.
    pub(super) lifetime: Duration,
    pub(super) signer: Arc<ArcSwap<TokenSigner>>,
    /// Held for as long as a rotation takes, so that there is one at a time.
    pub(super) retired: Mutex<Vec<RetiredKey>>,
}

impl TokenKeys {
    /// Loads the key in `path`, and those before it that still verify; makes one when there is no such file.
    pub fn open(
        path: &Path,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Opened<Self>, authority::Error> {
        let signer = authority::open_or_create_token_signer(path)?;
        let current = signer.value.verification_key().kid;
        let mut retired = authority::retired_token_keys(&place_of_retired(path))?;
        // A process that ended in the middle of a rotation may have left the key that still signs among them.
        retired.retain(|key| key.until > now && key.kid != current);
        let value = Self {
            path: path.to_owned(),
            lifetime,
            signer: Arc::new(ArcSwap::from_pointee(signer.value)),
            retired: Mutex::new(retired),
        };
        Ok(Opened {
            value,
            created: signer.created,
        })
    }

    /// What signs now, and after each rotation.
    pub fn signer(&self) -> Arc<ArcSwap<TokenSigner>> {
        Arc::clone(&self.signer)
    }

    /// What verifies tokens.
    pub async fn verification_keys(&self) -> Arc<[VerificationKey]> {
        verifying(&self.signer.load(), &self.retired.lock().await)
    }
}

/// Beside the key: `token-signing.pem.retired`.
pub(super) fn place_of_retired(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".retired");
    PathBuf::from(name)
}

/// What verifies tokens while `signer` signs them; it comes first.
pub(super) fn verifying(signer: &TokenSigner, retired: &[RetiredKey]) -> Arc<[VerificationKey]> {
    let retired = retired.iter().filter_map(|key| {
        let point = BASE64URL_NOPAD.decode(key.point.as_bytes()).ok()?;
        let kid = key.kid.clone();
        Some(VerificationKey { kid, point })
    });
    [signer.verification_key()]
        .into_iter()
        .chain(retired)
        .collect()
}
