//! Sessions of users: read and changed in one transaction, without a revision and an audit event.
//!
//! A login and a refresh are no administrative changes: there are thousands a second, and no snapshot has to know of
//! them. What ends with them is kept beside, and belongs to the snapshot.

use std::fmt;

use super::error::Error;
use crate::domain::id::{AppId, SessionId};
use crate::domain::listing::{Page, SessionFilter};
use crate::domain::registry::change::Allowed;
use crate::domain::registry::sessions::SessionChanges;
use crate::domain::session::Session;
use crate::domain::time::Timestamp;
use crate::domain::token::Subject;
use crate::domain::token_end::TokenEnd;

/// The sessions that a rule judges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Concerned {
    /// Those of one user of an App that are live at this time, newest first.
    User(AppId, Subject, Timestamp),
    One(SessionId),
}

/// The most sessions of a user that are read: more than a user may have.
pub const OF_USER_MAX: u32 = 1000;

/// The facts that a rule judges: the sessions, and the number of all sessions of a user's App.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    pub sessions: Vec<Session>,
    pub of_app: u64,
}

/// The rule for a change: it may be asked again.
pub type Rule = Box<dyn Fn(&Known) -> SessionChanges + Send>;

/// The place of sessions. Calls block on a disk, and return once the result is safe there.
pub trait Sessions: Send + Sync + fmt::Debug {
    fn session(&self, id: SessionId) -> Result<Option<Session>, Error>;

    /// Sessions in the order of their ids, which is the order of the logins.
    fn sessions(
        &self,
        filter: &SessionFilter,
        page: &Page<SessionId>,
    ) -> Result<Vec<Session>, Error>;

    /// Asks `rule` over these sessions, and keeps what it allows; nothing changes them meanwhile.
    fn change(&self, concerned: Concerned, rule: Rule) -> Result<SessionChanges, Error>;

    /// Keeps the end of one token, if its App has fewer than `max` that are not forgotten yet. False if it has.
    fn end_token(&self, end: Allowed<TokenEnd>, max: u32) -> Result<bool, Error>;

    /// Removes at most `max` sessions that ended or expired before `before`, and as many ends of tokens that have
    /// expired at `now`. Returns the number of both.
    fn sweep(&self, before: Timestamp, now: Timestamp, max: u32) -> Result<u32, Error>;
}
