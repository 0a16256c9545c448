//! Sessions as operators see them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::admin::receipt::ReceiptView;
use crate::control::publish::Changed;
use crate::domain::device::DeviceId;
use crate::domain::id::{AppId, SessionId};
use crate::domain::scope::ScopeSet;
use crate::domain::session::{Session, SessionEnd};
use crate::domain::time::Timestamp;
use crate::domain::token::Subject;

/// A session of a user as operators see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
pub struct SessionView {
    /// `sid` in its access tokens.
    #[schema(value_type = String)]
    id: SessionId,
    #[schema(value_type = String)]
    app: AppId,
    /// The user, as the App names it.
    #[schema(value_type = String)]
    user: Subject,
    #[schema(value_type = Option<String>)]
    device: Option<DeviceId>,
    #[schema(value_type = Vec<String>)]
    scopes: ScopeSet,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    refreshed_at: Timestamp,
    /// The end, if it is not refreshed before.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// `crowded`, `replaced`, `reused` or `revoked`.
    #[schema(value_type = Option<String>)]
    end_reason: Option<SessionEnd>,
}

/// A session after a change, and the proof that the change is in force.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChangedSession)]
pub struct ChangedSessionView {
    session: SessionView,
    receipt: ReceiptView,
}

impl From<Session> for SessionView {
    fn from(session: Session) -> Self {
        let (ended_at, end_reason) = session.ended.unzip();
        Self {
            id: session.id,
            app: session.app,
            user: session.user,
            device: session.device,
            scopes: session.scopes,
            created_at: session.created_at,
            refreshed_at: session.refreshed_at,
            expires_at: session.idle_until.min(session.expires_at),
            ended_at,
            end_reason,
        }
    }
}

impl From<Changed<Session>> for ChangedSessionView {
    fn from(changed: Changed<Session>) -> Self {
        Self {
            session: changed.value.into(),
            receipt: changed.receipt.into(),
        }
    }
}
