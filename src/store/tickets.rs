//! Tickets: what is used once, or many times a minute, and belongs to no revision and no audit event.
//!
//! Sessions, refresh tokens, nonces, one-time links and deliveries are tickets. The registry's acts would be a change of
//! the snapshot, a line of the audit trail and a place in the one queue for each use of them.

use std::fmt;

use super::error::Error;
use crate::domain::id::AppId;
use crate::domain::time::Timestamp;

/// The maximum size of a payload: a ticket refers to things and does not carry them.
const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// The name of a ticket: its kind, and the digest of the secret or id that its holder shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TicketId {
    /// The kind, a constant of the room that uses it; kinds have nothing in common.
    pub kind: &'static str,
    pub digest: [u8; 32],
}

/// A thing that is kept until it is taken or has expired.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    pub id: TicketId,
    /// The content, which the store does not read. At most [`PAYLOAD_BYTES_MAX`].
    payload: Vec<u8>,
    /// The end; the ticket is there up to this time, and gone after it.
    pub expires_at: Timestamp,
}

/// A payload of more than [`PAYLOAD_BYTES_MAX`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payload of a ticket has at most 64 KiB")]
pub struct PayloadTooLarge;

impl Ticket {
    pub fn new(
        id: TicketId,
        payload: Vec<u8>,
        expires_at: Timestamp,
    ) -> Result<Self, PayloadTooLarge> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(PayloadTooLarge);
        }
        Ok(Self {
            id,
            payload,
            expires_at,
        })
    }

    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

/// The payload may be confidential, so that its size is all that is shown.
impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("id", &self.id)
            .field("payload", &self.payload.len())
            .field("expires_at", &self.expires_at)
            .finish()
    }
}

/// The fate of a ticket that was put within a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    Kept,
    /// One with its id is there.
    Taken,
    /// The App has as many as it may have.
    Full,
}

/// The place of tickets. Calls block on a disk, and return once the result is safe there.
///
/// An expired ticket is not there, swept or not.
pub trait Tickets: Send + Sync + fmt::Debug {
    /// Keeps a ticket. False, and nothing is kept, if one with its id is there at `now`.
    fn put(&self, ticket: Ticket, now: Timestamp) -> Result<bool, Error>;

    /// Keeps a ticket of an App, which may have at most `max` of this kind, expired ones included until they are swept.
    fn put_within(
        &self,
        ticket: Ticket,
        app: AppId,
        max: u32,
        now: Timestamp,
    ) -> Result<Put, Error>;

    /// The ticket with this id, which stays.
    fn ticket(&self, id: &TicketId, now: Timestamp) -> Result<Option<Ticket>, Error>;

    /// Takes the ticket with this id: of all who try, one gets it.
    fn take(&self, id: &TicketId, now: Timestamp) -> Result<Option<Ticket>, Error>;

    /// Removes at most `max` tickets that have expired, the oldest first. Returns their number.
    fn sweep(&self, now: Timestamp, max: u32) -> Result<u32, Error>;
}
