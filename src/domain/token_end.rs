//! Ends of tokens before their expiry: the walk has to know of them until the tokens expire.

use super::id::{AppId, SessionId, TokenId};
use super::time::Timestamp;

/// Names the access tokens that ended: one, or all of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokensOf {
    Session(SessionId),
    Token(TokenId),
}

/// The end of access tokens before their expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenEnd {
    pub of: TokensOf,
    pub app: AppId,
    /// The expiry of the last of these tokens; the end is forgotten after it.
    pub until: Timestamp,
}
