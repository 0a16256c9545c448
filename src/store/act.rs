//! Acts: administrative changes, as the store keeps them.

use crate::domain::record::AuditEvent;
use crate::domain::registry::change::Change;

/// One administrative change: the objects with their new values, and the audit event. It adds one to the revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// The objects in their order; none for an event alone.
    pub changes: Vec<Change>,
    pub event: AuditEvent,
}
