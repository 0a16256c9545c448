//! Auth tokens as the store keeps them: tickets that are good for one login.

use serde::{Deserialize, Serialize};

use crate::crypto::hash;
use crate::domain::device::DeviceId;
use crate::domain::id::{AppId, KeyId};
use crate::domain::scope::ScopeSet;
use crate::domain::token::Subject;
use crate::store::tickets::TicketId;

/// The kind of the tickets that stand for auth tokens.
const KIND: &str = "auth_token";

/// The content of an auth token's ticket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Vouched {
    pub app: AppId,
    /// The Key that vouched; the auth token ends with it.
    pub key: KeyId,
    pub user: Subject,
    pub device: Option<DeviceId>,
    pub scopes: ScopeSet,
}

/// The name of an auth token's ticket.
pub(super) fn ticket_id(auth_token: &str) -> TicketId {
    TicketId {
        kind: KIND,
        digest: hash::sha256(auth_token.as_bytes()),
    }
}
