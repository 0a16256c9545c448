//! The keys that sign and verify access tokens, in memory and in their files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use data_encoding::BASE64URL_NOPAD;
use tokio::sync::Mutex;

use super::authority::{self, Opened};
use super::retired_key::RetiredKey;
use crate::crypto::access_token::AccessTokens;
use crate::crypto::jwt::TokenSigner;
use crate::domain::time::Timestamp;
use crate::domain::token::VerificationKey;

/// The keys that sign and verify access tokens.
#[derive(Debug)]
pub struct TokenKeys {
    pub(super) path: PathBuf,
    /// The maximum lifetime of a token.
    pub(super) lifetime: Duration,
    pub(super) signer: Arc<ArcSwap<TokenSigner>>,
    /// The key of opaque tokens, which no rotation changes: what is in them is signed.
    access_tokens: Arc<AccessTokens>,
    /// The earlier keys; locked during a rotation, so that there is one rotation at a time.
    pub(super) retired: Mutex<Vec<RetiredKey>>,
}

impl TokenKeys {
    /// Loads the key in `path`, and the earlier keys that still verify; generates a key when there is no such file.
    pub fn open(
        path: &Path,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Opened<Self>, authority::Error> {
        let signer = authority::open_or_create_token_signer(path)?;
        let access_tokens = authority::open_or_create_access_key(&place_of_access_key(path))?;
        let current = signer.value.verification_key().kid;
        let mut retired = authority::retired_token_keys(&place_of_retired(path))?;
        // A process that ended during a rotation may have left the key that still signs among them.
        retired.retain(|key| key.until > now && key.kid != current);
        let value = Self {
            path: path.to_owned(),
            lifetime,
            signer: Arc::new(ArcSwap::from_pointee(signer.value)),
            access_tokens: Arc::new(access_tokens),
            retired: Mutex::new(retired),
        };
        Ok(Opened {
            value,
            created: signer.created,
        })
    }

    /// The current signer, replaced by each rotation.
    pub fn signer(&self) -> Arc<ArcSwap<TokenSigner>> {
        Arc::clone(&self.signer)
    }

    pub fn access_tokens(&self) -> Arc<AccessTokens> {
        Arc::clone(&self.access_tokens)
    }

    /// The keys that verify tokens.
    pub async fn verification_keys(&self) -> Arc<[VerificationKey]> {
        verifying(&self.signer.load(), &self.retired.lock().await)
    }
}

/// The path of the earlier keys, beside the key: `token-signing.pem.retired`.
pub(super) fn place_of_retired(path: &Path) -> PathBuf {
    beside(path, ".retired")
}

/// The path of the key of opaque tokens, beside the key: `token-signing.pem.opaque`.
fn place_of_access_key(path: &Path) -> PathBuf {
    beside(path, ".opaque")
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// The keys that verify tokens while `signer` signs them; its own key comes first.
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
