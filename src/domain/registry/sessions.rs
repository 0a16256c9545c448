//! Rules for sessions: one for each device, so many for each user, and a refresh token that is used once.

use super::super::api_key::SecretDigest;
use super::super::session::{Session, SessionEnd};
use super::super::time::Timestamp;
use super::super::token_end::{TokenEnd, TokensOf};
use super::change::Allowed;

/// The changes of sessions that a rule allows, with the tokens that end with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionChanges {
    pub sessions: Vec<Allowed<Session>>,
    pub ends: Vec<Allowed<TokenEnd>>,
}

/// The most sessions of a user, and of an App with all its users. The second bounds what an App can make the store
/// keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionsMax {
    pub per_user: usize,
    pub per_app: u64,
}

/// A new session. The user's older session on the same device ends, and the oldest ones beyond the maximum.
///
/// `of_user` are the sessions of its App and user, and `of_app` is the number of its App's, live or not. Nothing changes
/// if the App has as many sessions as it may.
pub fn open(
    session: Session,
    of_user: &[Session],
    of_app: u64,
    max: SessionsMax,
    now: Timestamp,
) -> SessionChanges {
    let mut changes = SessionChanges::default();
    if of_app >= max.per_app {
        return changes;
    }
    let live = of_user.iter().filter(|known| known.is_live(now));
    let (replaced, mut kept): (Vec<_>, Vec<_>) =
        live.partition(|known| known.device.is_some() && known.device == session.device);
    kept.sort_by_key(|known| known.refreshed_at);
    let crowded = (kept.len() + 1).saturating_sub(max.per_user);
    for known in replaced {
        changes.end(known, SessionEnd::Replaced, now);
    }
    for known in kept.into_iter().take(crowded) {
        changes.end(known, SessionEnd::Crowded, now);
    }
    changes.sessions.push(Allowed::created(session));
    changes
}

/// The digests of a refresh token's two parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    pub family: SecretDigest,
    pub refresh: SecretDigest,
}

/// The next refresh token, and the ends that come with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    pub refresh: SecretDigest,
    pub idle_until: Timestamp,
    pub tokens_until: Timestamp,
}

/// The session with its next refresh token, if `shown` is the one that is valid now.
///
/// The session ends if `shown` was used before: one of the two who use it is a thief. Nothing changes if the session
/// has ended, or the token was never one of its own.
pub fn refresh(session: &Session, shown: Shown, next: Next, now: Timestamp) -> SessionChanges {
    let mut changes = SessionChanges::default();
    if session.family != shown.family || !session.is_live(now) {
        return changes;
    }
    if session.refresh != shown.refresh {
        changes.end(session, SessionEnd::Reused, now);
        return changes;
    }
    changes.sessions.push(Allowed::changed(Session {
        refreshed_at: now,
        refresh: next.refresh,
        idle_until: next.idle_until,
        tokens_until: session.tokens_until.max(next.tokens_until),
        ..session.clone()
    }));
    changes
}

/// These sessions, ended, as far as they are live.
pub fn end<'a>(
    sessions: impl IntoIterator<Item = &'a Session>,
    end: SessionEnd,
    now: Timestamp,
) -> SessionChanges {
    let mut changes = SessionChanges::default();
    for session in sessions {
        if session.is_live(now) {
            changes.end(session, end, now);
        }
    }
    changes
}

/// The end of one token.
pub const fn end_token(end: TokenEnd) -> Allowed<TokenEnd> {
    Allowed::created(end)
}

impl SessionChanges {
    /// The session that the change is about: the one that opened or was refreshed, or that ended instead.
    pub fn subject(&self) -> Option<&Session> {
        self.sessions.last().map(Allowed::value)
    }

    fn end(&mut self, session: &Session, end: SessionEnd, now: Timestamp) {
        self.sessions.push(Allowed::changed(Session {
            ended: Some((now, end)),
            ..session.clone()
        }));
        // Tokens that have expired need no end.
        if session.tokens_until > now {
            self.ends.push(Allowed::created(TokenEnd {
                of: TokensOf::Session(session.id),
                app: session.app,
                until: session.tokens_until,
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::api_key::Environment;
    use crate::domain::id::{AppId, SessionId};

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_000_000);
    const MAX: SessionsMax = SessionsMax {
        per_user: 3,
        per_app: 10,
    };

    fn session(number: u8, device: Option<&str>) -> Session {
        let hour = Duration::from_hours(1);
        Session {
            id: SessionId::from_bits(number.into()),
            app: AppId::from_bits(1),
            environment: Environment::Live,
            user: "alice".parse().unwrap(),
            proof_key: None,
            device: device.map(|device| device.parse().unwrap()),
            scopes: "".parse().unwrap(),
            created_at: NOW,
            refreshed_at: NOW.plus(Duration::from_secs(number.into())),
            expires_at: NOW.plus(hour * 9),
            idle_until: NOW.plus(hour * 5),
            tokens_until: NOW.plus(hour),
            family: SecretDigest([number; 32]),
            refresh: SecretDigest([number + 100; 32]),
            ended: None,
        }
    }

    fn opened(of_user: &[Session], device: Option<&str>) -> Vec<(u128, Option<SessionEnd>)> {
        let changes = open(session(9, device), of_user, 0, MAX, NOW);
        let sessions = changes.sessions.iter().map(Allowed::value);
        sessions
            .map(|session| (session.id.into(), session.ended.map(|(_, end)| end)))
            .collect()
    }

    #[test]
    fn a_login_ends_the_older_session_of_its_device_and_what_is_too_much() {
        use SessionEnd::{Crowded, Replaced};
        let phone = session(1, Some("phone"));
        let desk = session(2, Some("desk"));
        let none = session(3, None);
        assert_eq!(opened(&[], None), [(9, None)]);
        let of_user = [phone.clone(), desk.clone()];
        assert_eq!(
            opened(&of_user, Some("phone")),
            [(1, Some(Replaced)), (9, None)]
        );
        assert_eq!(opened(&of_user, Some("tablet")), [(9, None)]);
        let of_user = [none, phone.clone(), desk];
        assert_eq!(opened(&of_user, None), [(1, Some(Crowded)), (9, None)]);
        assert_eq!(
            opened(&of_user, Some("phone")),
            [(1, Some(Replaced)), (9, None)]
        );
        let ended = Session {
            ended: Some((NOW, Replaced)),
            ..phone
        };
        assert_eq!(opened(&[ended], Some("phone")), [(9, None)]);
        let full = open(session(9, None), &[], 10, MAX, NOW);
        assert_eq!(full, SessionChanges::default());
    }

    #[test]
    fn the_tokens_of_an_ended_session_end_until_they_expire() {
        let with = session(1, None);
        let without = Session {
            tokens_until: NOW,
            ..session(2, None)
        };
        let past = Session {
            idle_until: NOW,
            ..session(3, None)
        };
        let changes = end([&with, &without, &past], SessionEnd::Revoked, NOW);
        assert_eq!(changes.sessions.len(), 2);
        let ends: Vec<_> = changes.ends.iter().map(Allowed::value).collect();
        let expected = TokenEnd {
            of: TokensOf::Session(with.id),
            app: with.app,
            until: with.tokens_until,
        };
        assert_eq!(ends, [&expected]);
    }

    #[test]
    fn a_refresh_token_is_used_once_and_a_stranger_ends_nothing() {
        let known = session(1, None);
        let next = Next {
            refresh: SecretDigest([7; 32]),
            idle_until: NOW.plus(Duration::from_hours(6)),
            tokens_until: NOW.plus(Duration::from_mins(5)),
        };
        let shown = |family: u8, token: u8| Shown {
            family: SecretDigest([family; 32]),
            refresh: SecretDigest([token; 32]),
        };
        let changes = refresh(&known, shown(1, 101), next, NOW);
        let [refreshed] = changes.sessions.as_slice() else {
            panic!("{changes:?}");
        };
        let refreshed = refreshed.value().clone();
        assert_eq!((refreshed.ended, refreshed.refresh), (None, next.refresh));
        assert_eq!(refreshed.tokens_until, known.tokens_until, "the later one");
        let again = refresh(&refreshed, shown(1, 101), next, NOW);
        let ended = again
            .sessions
            .first()
            .and_then(|session| session.value().ended);
        assert_eq!(ended, Some((NOW, SessionEnd::Reused)));
        assert_eq!(again.ends.len(), 1);
        let nothing = SessionChanges::default();
        assert_eq!(refresh(&refreshed, shown(2, 7), next, NOW), nothing);
        let late = NOW.plus(Duration::from_hours(7));
        assert_eq!(refresh(&refreshed, shown(1, 7), next, late), nothing);
    }
}
