//! The suite that every place of sessions passes: `session_promises!(make)` generates a test for each promise.

use std::thread;
use std::time::Duration;

use super::act::Act;
use super::contract::{NOW, app, done, event, new};
use super::repository::Store;
use super::sessions::{Concerned, Known, OF_USER_MAX, Sessions};
use crate::domain::api_key::{Environment, SecretDigest};
use crate::domain::id::{AppId, SessionId, TokenId};
use crate::domain::listing::{Page, SessionFilter};
use crate::domain::registry::change::Allowed;
use crate::domain::registry::sessions::{self as rules, Next, SessionChanges, SessionsMax, Shown};
use crate::domain::session::{Session, SessionEnd};
use crate::domain::time::Timestamp;
use crate::domain::token_end::{TokenEnd, TokensOf};

/// Generates a test for each promise; `$make` returns a new store, and everything that must outlive it.
macro_rules! session_promises {
    ($make:expr) => {
        session_promises!($make;
            a_session_is_read_as_it_was_written_and_as_it_became,
            a_login_ends_the_older_session_of_its_device,
            of_fifty_who_refresh_with_a_token_one_does,
            sessions_that_have_ended_hide_no_live_one,
            sessions_are_filtered_and_counted,
            an_app_ends_so_many_tokens_and_no_more,
            what_has_ended_is_swept_after_a_while,
            an_operator_ends_a_session_with_an_event,
        );
    };
    ($make:expr; $($promise:ident),* $(,)?) => {$(
        #[test]
        fn $promise() {
            let (store, _keep) = $make;
            crate::store::session_contract::$promise(&store);
        }
    )*};
}
pub(super) use session_promises;

/// A store with both places.
pub(super) trait Both: Store + Sessions {}
impl<T: Store + Sessions> Both for T {}

const HOUR: Duration = Duration::from_hours(1);
const MAX: SessionsMax = SessionsMax {
    per_user: 3,
    per_app: 10_000,
};

fn session(number: u8, user: &str, device: Option<&str>) -> Session {
    Session {
        id: SessionId::from_bits(number.into()),
        app: AppId::from_bits(1),
        environment: Environment::Test,
        user: user.parse().unwrap(),
        proof_key: None,
        device: device.map(|device| device.parse().unwrap()),
        scopes: "a b".parse().unwrap(),
        created_at: NOW,
        refreshed_at: NOW,
        expires_at: NOW.plus(HOUR * 9),
        idle_until: NOW.plus(HOUR * 5),
        tokens_until: NOW.plus(HOUR),
        family: SecretDigest([number; 32]),
        refresh: SecretDigest([number + 100; 32]),
        ended: None,
    }
}

fn open(store: &dyn Both, session: &Session) -> SessionChanges {
    let concerned = Concerned::User(session.app, session.user.clone(), NOW);
    let session = session.clone();
    let rule =
        move |known: &Known| rules::open(session.clone(), &known.sessions, known.of_app, MAX, NOW);
    Sessions::change(store, concerned, Box::new(rule)).unwrap()
}

fn refresh(store: &dyn Both, id: SessionId, shown: Shown, to: u8) -> SessionChanges {
    let next = Next {
        refresh: SecretDigest([to; 32]),
        idle_until: NOW.plus(HOUR * 6),
        tokens_until: NOW.plus(HOUR * 2),
    };
    let rule = move |known: &Known| {
        let session = known.sessions.first();
        session
            .map(|session| rules::refresh(session, shown, next, NOW))
            .unwrap_or_default()
    };
    Sessions::change(store, Concerned::One(id), Box::new(rule)).unwrap()
}

fn shown(session: &Session) -> Shown {
    Shown {
        family: session.family,
        refresh: session.refresh,
    }
}

pub(super) fn a_session_is_read_as_it_was_written_and_as_it_became(store: &dyn Both) {
    done(store, &[new(app(1))]);
    for (number, device) in [(1, Some("phone")), (2, None)] {
        let session = session(number, "alice", device);
        assert_eq!(store.session(session.id).unwrap(), None);
        open(store, &session);
        assert_eq!(store.session(session.id).unwrap(), Some(session.clone()));
        let changes = refresh(store, session.id, shown(&session), 50 + number);
        let kept = store.session(session.id).unwrap();
        assert_eq!(kept.as_ref(), changes.subject());
        assert_eq!(kept.unwrap().refresh, SecretDigest([50 + number; 32]));
    }
}

pub(super) fn a_login_ends_the_older_session_of_its_device(store: &dyn Both) {
    done(store, &[new(app(1))]);
    let first = session(1, "alice", Some("phone"));
    open(store, &first);
    open(store, &session(2, "bob", Some("phone")));
    let changes = open(store, &session(3, "alice", Some("phone")));
    assert_eq!(changes.ends.len(), 1);
    let ended = store.session(first.id).unwrap().unwrap().ended;
    assert_eq!(ended, Some((NOW, SessionEnd::Replaced)));
    let other = store.session(SessionId::from_bits(2)).unwrap().unwrap();
    assert_eq!(other.ended, None);
    let ends = store.load().unwrap().token_ends;
    assert_eq!(
        ends.get(&TokensOf::Session(first.id)),
        Some(&first.tokens_until)
    );
    assert_eq!(ends.len(), 1);
}

pub(super) fn of_fifty_who_refresh_with_a_token_one_does(store: &dyn Both) {
    done(store, &[new(app(1))]);
    let session = session(1, "alice", None);
    open(store, &session);
    let (id, shown) = (session.id, shown(&session));
    let refreshed: usize = thread::scope(|scope| {
        let mut threads = Vec::new();
        for number in 0..50 {
            threads.push(scope.spawn(move || refresh(store, id, shown, number)));
        }
        let changes = threads.into_iter().map(|thread| thread.join().unwrap());
        let live = |changes: &SessionChanges| {
            let subject = changes.subject();
            subject.is_some_and(|session| session.ended.is_none())
        };
        changes.filter(live).count()
    });
    assert_eq!(refreshed, 1);
    let ended = store.session(id).unwrap().unwrap().ended;
    assert_eq!(ended, Some((NOW, SessionEnd::Reused)));
}

pub(super) fn sessions_that_have_ended_hide_no_live_one(store: &dyn Both) {
    done(store, &[new(app(1))]);
    let stolen = session(1, "alice", Some("desk"));
    open(store, &stolen);
    let ended = SessionChanges {
        sessions: (0..=OF_USER_MAX)
            .map(|number| {
                Allowed::unjudged(
                    Session {
                        id: SessionId::from_bits(1000 + u128::from(number)),
                        ended: Some((NOW, SessionEnd::Replaced)),
                        ..session(2, "alice", Some("phone"))
                    },
                    true,
                )
            })
            .collect(),
        ends: Vec::new(),
    };
    let many = Concerned::One(stolen.id);
    Sessions::change(store, many, Box::new(move |_| ended.clone())).unwrap();
    open(store, &session(3, "alice", Some("desk")));
    let ended = store.session(stolen.id).unwrap().unwrap().ended;
    assert_eq!(ended, Some((NOW, SessionEnd::Replaced)));
}

pub(super) fn sessions_are_filtered_and_counted(store: &dyn Both) {
    done(store, &[new(app(1)), new(app(2))]);
    open(store, &session(1, "alice", Some("phone")));
    open(store, &session(2, "alice", Some("desk")));
    open(store, &session(3, "bob", Some("phone")));
    let of_other = Session {
        app: AppId::from_bits(2),
        ..session(4, "alice", None)
    };
    open(store, &of_other);
    let found = |filter: SessionFilter| {
        let found = store.sessions(&filter, &Page::first(9)).unwrap();
        let ids = found.iter().map(|session| u128::from(session.id));
        ids.collect::<Vec<_>>()
    };
    let of_app = SessionFilter {
        app: Some(AppId::from_bits(1)),
        ..SessionFilter::default()
    };
    assert_eq!(found(SessionFilter::default()), [1, 2, 3, 4]);
    assert_eq!(found(of_app.clone()), [1, 2, 3]);
    let user = Some("alice".parse().unwrap());
    let of_user = SessionFilter { user, ..of_app };
    assert_eq!(found(of_user.clone()), [1, 2]);
    let device = Some("desk".parse().unwrap());
    assert_eq!(found(SessionFilter { device, ..of_user }), [2]);
    for (at, expected) in [(NOW, 4), (NOW.plus(HOUR * 5), 0)] {
        let live = SessionFilter {
            live_at: Some(at),
            ..SessionFilter::default()
        };
        assert_eq!(found(live).len(), expected);
    }
    let page = Page {
        after: Some(SessionId::from_bits(2)),
        limit: 1,
    };
    let next = store.sessions(&SessionFilter::default(), &page).unwrap();
    assert_eq!(next[0].id, SessionId::from_bits(3));
    let counted = std::sync::Arc::new(std::sync::Mutex::new(0));
    let count = counted.clone();
    let rule = move |known: &Known| {
        *count.lock().unwrap() = known.of_app;
        SessionChanges::default()
    };
    let concerned = Concerned::User(AppId::from_bits(1), "carol".parse().unwrap(), NOW);
    Sessions::change(store, concerned, Box::new(rule)).unwrap();
    assert_eq!(*counted.lock().unwrap(), 3);
}

fn token_end(number: u8, until: Timestamp) -> TokenEnd {
    TokenEnd {
        of: TokensOf::Token(TokenId::from_bits(number.into())),
        app: AppId::from_bits(1),
        until,
    }
}

pub(super) fn an_app_ends_so_many_tokens_and_no_more(store: &dyn Both) {
    for (number, fits) in [(1, true), (2, true), (3, false)] {
        let end = rules::end_token(token_end(number, NOW.plus(HOUR)));
        assert_eq!(store.end_token(end, 2).unwrap(), fits);
    }
    let of_other = TokenEnd {
        app: AppId::from_bits(2),
        ..token_end(4, NOW.plus(HOUR))
    };
    assert!(store.end_token(rules::end_token(of_other), 2).unwrap());
    assert_eq!(store.load().unwrap().token_ends.len(), 3);
}

pub(super) fn what_has_ended_is_swept_after_a_while(store: &dyn Both) {
    done(store, &[new(app(1))]);
    let first = session(1, "alice", Some("phone"));
    open(store, &first);
    open(store, &session(2, "alice", Some("phone")));
    open(store, &session(3, "bob", None));
    let later = NOW.plus(Duration::from_secs(1));
    assert_eq!(Sessions::sweep(store, NOW, NOW, 10).unwrap(), 0);
    assert_eq!(Sessions::sweep(store, later, NOW, 10).unwrap(), 1);
    assert_eq!(store.session(first.id).unwrap(), None);
    assert_eq!(store.load().unwrap().token_ends.len(), 1);
    assert_eq!(
        Sessions::sweep(store, later, NOW.plus(HOUR), 10).unwrap(),
        1
    );
    assert_eq!(store.load().unwrap().token_ends.len(), 0);
    let after = NOW.plus(HOUR * 6);
    assert_eq!(Sessions::sweep(store, after, after, 1).unwrap(), 1);
    assert_eq!(Sessions::sweep(store, after, after, 9).unwrap(), 1);
}

pub(super) fn an_operator_ends_a_session_with_an_event(store: &dyn Both) {
    done(store, &[new(app(1))]);
    let session = session(1, "alice", None);
    open(store, &session);
    let changes = rules::end([&session], SessionEnd::Revoked, NOW);
    let before = store.revision().unwrap();
    let act = Act {
        changes: changes
            .sessions
            .into_iter()
            .map(Into::into)
            .chain(changes.ends.into_iter().map(Into::into))
            .collect(),
        event: event(),
    };
    Store::change(store, before, &[act]).unwrap();
    let ended = store.session(session.id).unwrap().unwrap().ended;
    assert_eq!(ended, Some((NOW, SessionEnd::Revoked)));
    let since = store.changes_since(before).unwrap();
    assert_eq!(since.entries.len(), 1);
    let again = refresh(store, session.id, shown(&session), 9);
    assert_eq!(again, SessionChanges::default());
}
