//! Rules for admin tokens: created, and revoked once.

use super::super::admin::AdminToken;
use super::super::time::Timestamp;
use super::change::Allowed;
use super::refusal::{Refusal, unless_revoked};

/// A new admin token. Nothing else decides about it.
pub const fn create(token: AdminToken) -> Allowed<AdminToken> {
    Allowed::created(token)
}

/// The token, revoked. The first revocation stands.
pub fn revoke(token: AdminToken, at: Timestamp) -> Result<Allowed<AdminToken>, Refusal> {
    unless_revoked(token.id, token.revoked_at)?;
    Ok(Allowed::changed(AdminToken {
        revoked_at: Some(at),
        ..token
    }))
}
