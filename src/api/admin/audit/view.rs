//! Audit events as operators see them.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::domain::id::{AppId, AuditEventId};
use crate::domain::record::AuditEvent;
use crate::domain::time::Timestamp;

/// One administrative change.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEvent)]
pub struct AuditEventView {
    #[schema(value_type = String)]
    id: AuditEventId,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// The author, for example `local:uid=0` or `token:ops:adm_…`.
    actor: String,
    /// The action, for example `cert.revoke`.
    action: String,
    /// The id of the changed object.
    subject: String,
    #[schema(value_type = Option<String>)]
    app: Option<AppId>,
    #[schema(value_type = Object)]
    detail: Value,
}

impl From<AuditEvent> for AuditEventView {
    fn from(event: AuditEvent) -> Self {
        Self {
            id: event.id,
            at: event.at,
            actor: event.actor,
            action: event.action,
            subject: event.subject,
            app: event.app,
            detail: event.detail,
        }
    }
}
