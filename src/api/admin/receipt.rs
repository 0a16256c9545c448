//! The receipt of a change, as operators see it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::record::Receipt;

/// Proof that a change is in force, when `confirmed` is true. Else it is stored, and a worker has not answered in time:
/// the gateway's log says which one, and the change takes effect there as soon as it moves.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Receipt)]
pub struct ReceiptView {
    /// The snapshot's version.
    version: u64,
    /// True if every worker has answered in time.
    confirmed: bool,
    /// The workers that decide by it now.
    workers: u32,
    /// These, and those that have not answered in time; 0 when none could be asked.
    workers_total: u32,
    /// Connections that were closed because what they were opened with has ended.
    connections_closed: u32,
}

impl From<Receipt> for ReceiptView {
    fn from(receipt: Receipt) -> Self {
        Self {
            version: receipt.version,
            confirmed: receipt.confirmed,
            workers: receipt.workers,
            workers_total: receipt.workers_total,
            connections_closed: receipt.connections_closed,
        }
    }
}
