//! Sessions of users, as operators see and end them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::apps;
use super::audit::event;
use super::error::Error;
use super::publish::Changed;
use super::service::Control;
use super::writer::Plan;
use crate::domain::admin::Actor;
use crate::domain::device::DeviceId;
use crate::domain::id::{AppId, SessionId};
use crate::domain::listing::{Page, SessionFilter};
use crate::domain::registry::change::Change;
use crate::domain::registry::sessions::{self, SessionChanges};
use crate::domain::session::{Session, SessionEnd};
use crate::domain::time::Timestamp;
use crate::domain::token::Subject;
use crate::store::sessions::Sessions;

/// The longest life of an access token, as the configuration bounds it. A refresh that runs at the same time may have
/// minted one since the session was read.
const TOKEN_TTL_MAX: Duration = Duration::from_hours(24);

/// The sessions of a user that one change ends: all that a user may have.
const OF_USER_MAX: u32 = 1000;

/// The filter of an operator for a list of sessions.
#[derive(Clone, Debug, Default)]
pub struct SessionQuery {
    /// The App's id or name.
    pub app: Option<String>,
    pub user: Option<Subject>,
    pub device: Option<DeviceId>,
}

impl Control {
    pub async fn session(&self, id: SessionId) -> Result<Session, Error> {
        self.with_sessions(move |sessions| find(sessions, id)).await
    }

    /// The sessions that are live now.
    pub async fn sessions(
        &self,
        query: SessionQuery,
        page: Page<SessionId>,
    ) -> Result<Vec<Session>, Error> {
        let app = match query.app {
            None => None,
            Some(app) => Some(self.app(&app).await?.id),
        };
        let filter = SessionFilter {
            app,
            user: query.user,
            device: query.device,
            live_at: Some(self.now()),
        };
        self.with_sessions(move |sessions| Ok(sessions.sessions(&filter, &page)?))
            .await
    }

    /// Ends a session with all its tokens.
    pub async fn revoke_session(
        &self,
        actor: &Actor,
        id: SessionId,
    ) -> Result<Changed<Session>, Error> {
        let (actor, now) = (actor.clone(), self.now());
        let kept = Arc::clone(self.sessions_kept());
        let revoked = self.commit(move |_| {
            let session = find(&*kept, id)?;
            let changes = ended(std::slice::from_ref(&session), now);
            let Some(value) = changes.subject().cloned() else {
                return Err(Error::conflict(format!("{id} has ended already")));
            };
            let detail = json!({"user": session.user, "device": session.device});
            Ok(Plan {
                changes: as_changes(changes),
                event: event(
                    &actor,
                    now,
                    "session.revoke",
                    &id,
                    Some(session.app),
                    detail,
                ),
                value,
            })
        });
        revoked.await?.in_force(id)
    }

    /// Ends every session of a user of this App, with all their tokens. Returns their number.
    pub async fn revoke_user(
        &self,
        actor: &Actor,
        app: &str,
        user: Subject,
    ) -> Result<Changed<u32>, Error> {
        let (actor, now, app) = (actor.clone(), self.now(), app.to_owned());
        let kept = Arc::clone(self.sessions_kept());
        let subject = user.to_string();
        let revoked = self.commit(move |draft| {
            let app = apps::find(draft, &app)?.id;
            let changes = ended(&of_user(&*kept, app, &user, now)?, now);
            let count = u32::try_from(changes.sessions.len()).unwrap_or(u32::MAX);
            let detail = json!({"sessions_ended": count});
            Ok(Plan {
                changes: as_changes(changes),
                event: event(&actor, now, "user.revoke", &user, Some(app), detail),
                value: count,
            })
        });
        revoked.await?.in_force(subject)
    }

    async fn with_sessions<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Sessions) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let sessions = Arc::clone(self.sessions_kept());
        tokio::task::spawn_blocking(move || work(&*sessions))
            .await
            .map_err(|error| Error::internal("the operation was not carried out", error))?
    }
}

fn find(sessions: &dyn Sessions, id: SessionId) -> Result<Session, Error> {
    let found = sessions.session(id)?;
    found.ok_or_else(|| Error::not_found("session", id))
}

fn of_user(
    sessions: &dyn Sessions,
    app: AppId,
    user: &Subject,
    now: Timestamp,
) -> Result<Vec<Session>, Error> {
    let filter = SessionFilter {
        app: Some(app),
        user: Some(user.clone()),
        device: None,
        live_at: Some(now),
    };
    Ok(sessions.sessions(&filter, &Page::first(OF_USER_MAX))?)
}

/// The sessions ended, with every token that they can have.
fn ended(sessions: &[Session], now: Timestamp) -> SessionChanges {
    let latest = |session: &Session| Session {
        tokens_until: now.plus(TOKEN_TTL_MAX),
        ..session.clone()
    };
    let sessions: Vec<_> = sessions.iter().map(latest).collect();
    sessions::end(&sessions, SessionEnd::Revoked, now)
}

fn as_changes(changes: SessionChanges) -> Vec<Change> {
    let sessions = changes.sessions.into_iter().map(Change::from);
    sessions
        .chain(changes.ends.into_iter().map(Change::from))
        .collect()
}
