//! The uses of client authentication in the store, by which a change of an App's settings is judged.
//!
//! They are tickets: one for each App, with its last uses. A use is written when its way was not used within the last
//! hour, so that a client that asks a thousand times a second writes once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::control::error::Error;
use crate::crypto::hash;
use crate::domain::client_use::{ClientUse, KEPT_FOR, lately, noted};
use crate::domain::id::AppId;
use crate::domain::time::Timestamp;
use crate::domain::token::ClientAuthMethod;
use crate::store::tickets::{Ticket, TicketId, Tickets};

/// The kind of the tickets.
const KIND: &str = "client_uses";

/// The time for which a use is not written again.
const QUIET: Duration = Duration::from_hours(1);

/// A method, with a certificate or without, and with an auth token or without.
type Way = (ClientAuthMethod, bool, bool);

/// The uses that this process has written. It has at most twenty for each App, since only clients that have proved
/// themselves are noted.
#[derive(Debug, Default)]
pub struct ClientUses {
    written: Mutex<HashMap<(AppId, Way), Timestamp>>,
    /// Held while a ticket is taken and put back with one use more: two at once would lose one another's.
    writing: Mutex<()>,
}

impl ClientUses {
    /// True if this use is to be written: once, and then not for an hour.
    pub fn is_due(&self, app: AppId, used: &ClientUse) -> bool {
        let way = (app, used.way());
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let due = |last: &Timestamp| used.last_used_at >= last.plus(QUIET);
        if written.get(&way).is_some_and(|last| !due(last)) {
            return false;
        }
        written.insert(way, used.last_used_at);
        true
    }

    /// Writes a use among the others of its App. Blocks.
    pub fn write(&self, tickets: &dyn Tickets, app: AppId, used: ClientUse) -> Result<(), Error> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        write(tickets, app, used)
    }
}

fn write(tickets: &dyn Tickets, app: AppId, used: ClientUse) -> Result<(), Error> {
    let (id, now) = (id(app), used.last_used_at);
    let before = tickets.take(&id, now)?;
    let all = noted(read_all(before.as_ref()), used);
    let payload = serde_json::to_vec(&all);
    let payload = payload.map_err(|error| Error::internal("the uses cannot be written", error))?;
    let ticket = Ticket::new(id, payload, now.plus(KEPT_FOR));
    let ticket = ticket.map_err(|error| Error::internal("the uses cannot be written", error))?;
    tickets.put(ticket, now)?;
    Ok(())
}

/// The uses of an App that still count at `now`.
pub fn read(tickets: &dyn Tickets, app: AppId, now: Timestamp) -> Result<Vec<ClientUse>, Error> {
    let found = tickets.ticket(&id(app), now)?;
    Ok(lately(read_all(found.as_ref()), now))
}

/// The uses in a ticket. What another version has written and this one cannot read is no use.
fn read_all(ticket: Option<&Ticket>) -> Vec<ClientUse> {
    let read = |ticket: &Ticket| serde_json::from_slice(ticket.payload()).ok();
    ticket.and_then(read).unwrap_or_default()
}

fn id(app: AppId) -> TicketId {
    TicketId {
        kind: KIND,
        digest: hash::sha256(app.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::backend::SqliteStore;

    const NOW: Timestamp = Timestamp::from_unix_seconds(10_000_000);

    const fn used(certificate: bool, last_used_at: Timestamp) -> ClientUse {
        ClientUse {
            method: ClientAuthMethod::ClientSecretBasic,
            certificate,
            without_auth_token: false,
            last_used_at,
        }
    }

    #[test]
    fn of_uses_that_are_written_at_once_none_is_lost() {
        let (store, noted) = (SqliteStore::in_memory().unwrap(), ClientUses::default());
        let app = AppId::from_bits(1);
        let methods = ClientAuthMethod::ALL;
        std::thread::scope(|scope| {
            for method in methods {
                let used = ClientUse {
                    method,
                    ..used(false, NOW)
                };
                let (store, noted) = (&store, &noted);
                scope.spawn(move || noted.write(store, app, used).unwrap());
            }
        });
        assert_eq!(read(&store, app, NOW).unwrap().len(), methods.len());
    }

    #[test]
    fn the_uses_of_an_app_are_kept_together_and_forgotten() {
        let store = SqliteStore::in_memory().unwrap();
        let (app, other) = (AppId::from_bits(1), AppId::from_bits(2));
        let read = |app, now| read(&store, app, now).unwrap();
        assert_eq!(read(app, NOW), []);
        for used in [used(false, NOW), used(true, NOW)] {
            write(&store, app, used).unwrap();
        }
        let later = NOW.plus(QUIET);
        write(&store, app, used(false, later)).unwrap();
        assert_eq!(read(app, later), [used(true, NOW), used(false, later)]);
        assert_eq!(read(other, later), []);
        assert_eq!(read(app, NOW.plus(KEPT_FOR)).len(), 2);
        assert_eq!(read(app, later.plus(KEPT_FOR)), [used(false, later)]);
        assert_eq!(read(app, later.plus(KEPT_FOR).plus(QUIET)), []);
    }

    #[test]
    fn a_way_is_written_once_an_hour() {
        let uses = ClientUses::default();
        let app = AppId::from_bits(1);
        let due = |certificate, at| uses.is_due(app, &used(certificate, at));
        assert!(due(false, NOW));
        assert!(!due(false, NOW));
        assert!(due(true, NOW), "another way");
        assert!(!due(false, NOW.plus(QUIET / 2)));
        assert!(due(false, NOW.plus(QUIET)));
        assert!(!due(false, NOW.plus(QUIET)));
    }
}
