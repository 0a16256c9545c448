//! The scopes of a grant.

use crate::control::tokens::error::TokenError;
use crate::domain::reason::Reason;
use crate::domain::scope::ScopeSet;

/// The requested scopes, if `held` has them all; all of `held` when none are requested.
pub(in crate::control::tokens) fn granted(
    held: &ScopeSet,
    asked: Option<&str>,
) -> Result<ScopeSet, TokenError> {
    // A parameter without a value is treated as absent (RFC 6749, 3.1).
    let Some(asked) = asked.filter(|asked| !asked.is_empty()) else {
        return Ok(held.clone());
    };
    let refused = TokenError::new(
        "invalid_scope",
        Reason::ScopeInvalid,
        "the requested scope is malformed, or exceeds what the client may have",
    );
    let asked: ScopeSet = asked.parse().ok().ok_or(refused)?;
    if held.covers(&asked) {
        Ok(asked)
    } else {
        Err(refused)
    }
}
