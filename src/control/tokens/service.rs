//! The token service and its dependencies.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::crypto::api_key::SecretHasher;
use crate::crypto::jwt::TokenSigner;
use crate::domain::time::Clock;

/// The lifetimes of tokens.
#[derive(Clone, Debug)]
pub struct TokenSettings {
    pub ttl: Duration,
    /// The lifetime of tokens that are bound to a certificate, and so useless to a thief.
    pub ttl_bound: Duration,
}

/// The token service. Its operations are one file for each grant, and one for each neighbour of the token endpoint.
#[derive(Debug)]
pub struct TokenService {
    pub(super) settings: TokenSettings,
    /// The current signer, replaced by rotations; see `control::token_keys`.
    pub(super) signer: Arc<ArcSwap<TokenSigner>>,
    pub(super) hasher: Arc<SecretHasher>,
    pub(super) clock: Arc<dyn Clock>,
}

impl TokenService {
    pub fn new(
        settings: TokenSettings,
        signer: Arc<ArcSwap<TokenSigner>>,
        hasher: Arc<SecretHasher>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            settings,
            signer,
            hasher,
            clock,
        }
    }
}
