//! Proof that a change is in force, as operators see it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::record::Receipt;

/// Proof that a change is in force.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Receipt)]
pub struct ReceiptView {
    /// The snapshot's version.
    version: u64,
    /// The workers that decide by it now.
    workers: u32,
    /// Connections that were closed because what they were opened with has ended.
    connections_closed: u32,
}

impl From<Receipt> for ReceiptView {
    fn from(receipt: Receipt) -> Self {
        Self {
            version: receipt.version,
            workers: receipt.workers,
            connections_closed: receipt.connections_closed,
        }
    }
}
