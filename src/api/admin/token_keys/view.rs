//! Token keys as operators see them: by the ids that tokens and the JWKS name them by.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::admin::receipt::ReceiptView;
use crate::control::publish::Changed;
use crate::control::token_keys::TokenKeyStatus;
use crate::domain::time::Timestamp;

/// A key that verifies access tokens.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TokenKey)]
pub struct TokenKeyView {
    /// The key's id in tokens and in the JWKS.
    kid: String,
    /// `active` for the one that signs, `retiring` for those before it.
    state: &'static str,
    /// The time when the last token that it signed has expired; null while it signs.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
}

/// All keys that verify access tokens, the one that signs first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TokenKeys)]
pub struct TokenKeysView {
    items: Vec<TokenKeyView>,
}

/// The keys that verify tokens after a rotation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RotatedTokenKey)]
pub struct RotatedTokenKeyView {
    /// The one that signs from now on.
    token_key: TokenKeyView,
    retiring: Vec<TokenKeyView>,
    receipt: ReceiptView,
}

impl From<TokenKeyStatus> for TokenKeyView {
    fn from(key: TokenKeyStatus) -> Self {
        Self {
            kid: key.kid,
            state: match key.until {
                None => "active",
                Some(_) => "retiring",
            },
            until: key.until,
        }
    }
}

impl From<Vec<TokenKeyStatus>> for TokenKeysView {
    fn from(keys: Vec<TokenKeyStatus>) -> Self {
        Self {
            items: keys.into_iter().map(Into::into).collect(),
        }
    }
}

impl RotatedTokenKeyView {
    /// `None` when no key signs, which does not happen.
    pub fn of(rotated: Changed<Vec<TokenKeyStatus>>) -> Option<Self> {
        let mut keys = rotated.value.into_iter().map(TokenKeyView::from);
        Some(Self {
            token_key: keys.next()?,
            retiring: keys.collect(),
            receipt: rotated.receipt.into(),
        })
    }
}
