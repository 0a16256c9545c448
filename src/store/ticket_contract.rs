//! The suite that every place of tickets passes: `ticket_promises!(make)` generates a test for each promise.

use std::thread;
use std::time::Duration;

use super::contract::NOW;
use super::tickets::{PayloadTooLarge, Put, Ticket, TicketId, Tickets};
use crate::domain::id::AppId;
use crate::domain::time::Timestamp;

/// Generates a test for each promise; `$make` returns a new store, and everything that must outlive it.
macro_rules! ticket_promises {
    ($make:expr) => {
        ticket_promises!($make;
            a_ticket_is_kept_until_it_is_taken,
            a_ticket_is_put_once,
            of_fifty_who_take_a_ticket_one_gets_it,
            fifty_tickets_put_at_once_are_all_there,
            an_expired_ticket_is_not_there,
            a_sweep_removes_what_has_expired_and_has_a_bound,
            kinds_have_nothing_in_common,
            an_app_has_so_many_tickets_of_a_kind_and_no_more,
        );
    };
    ($make:expr; $($promise:ident),* $(,)?) => {$(
        #[test]
        fn $promise() {
            let (store, _keep) = $make;
            crate::store::ticket_contract::$promise(&store);
        }
    )*};
}
pub(super) use ticket_promises;

const SECOND: Duration = Duration::from_secs(1);

fn id(number: u8) -> TicketId {
    TicketId {
        kind: "session",
        digest: [number; 32],
    }
}

fn ticket(number: u8, expires_at: Timestamp) -> Ticket {
    let payload = vec![0, number, 255];
    Ticket::new(id(number), payload, expires_at).unwrap()
}

fn later(seconds: u32) -> Timestamp {
    NOW.plus(SECOND * seconds)
}

pub(super) fn a_ticket_is_kept_until_it_is_taken(store: &dyn Tickets) {
    assert_eq!(store.ticket(&id(1), NOW).unwrap(), None);
    assert_eq!(store.take(&id(1), NOW).unwrap(), None);
    let ticket = ticket(1, later(9));
    assert!(store.put(ticket.clone(), NOW).unwrap());
    for _ in 0..2 {
        let found = store.ticket(&id(1), NOW).unwrap();
        assert_eq!(found.as_ref(), Some(&ticket));
    }
    assert_eq!(store.take(&id(1), NOW).unwrap(), Some(ticket));
    assert_eq!(store.take(&id(1), NOW).unwrap(), None);
    assert_eq!(store.ticket(&id(1), NOW).unwrap(), None);
}

pub(super) fn a_ticket_is_put_once(store: &dyn Tickets) {
    let first = ticket(1, later(9));
    assert!(store.put(first.clone(), NOW).unwrap());
    let second = Ticket::new(id(1), Vec::new(), later(20)).unwrap();
    assert!(!store.put(second.clone(), NOW).unwrap());
    assert_eq!(store.ticket(&id(1), NOW).unwrap(), Some(first));
    // Its place is free once it has expired, swept or not.
    assert!(store.put(second.clone(), later(10)).unwrap());
    assert_eq!(store.take(&id(1), later(10)).unwrap(), Some(second));
    let large = Ticket::new(id(2), vec![0; 64 * 1024 + 1], NOW);
    assert_eq!(large, Err(PayloadTooLarge));
}

pub(super) fn of_fifty_who_take_a_ticket_one_gets_it(store: &dyn Tickets) {
    assert!(store.put(ticket(1, later(9)), NOW).unwrap());
    let got: usize = thread::scope(|scope| {
        let mut threads = Vec::new();
        for _ in 0..50 {
            threads.push(scope.spawn(|| store.take(&id(1), NOW).unwrap()));
        }
        let got = threads.into_iter().map(|thread| thread.join().unwrap());
        got.flatten().count()
    });
    assert_eq!(got, 1);
}

pub(super) fn fifty_tickets_put_at_once_are_all_there(store: &dyn Tickets) {
    thread::scope(|scope| {
        for number in 0..50 {
            scope.spawn(move || {
                assert!(store.put(ticket(number, later(9)), NOW).unwrap());
                assert_eq!(
                    store.ticket(&id(number), NOW).unwrap(),
                    Some(ticket(number, later(9)))
                );
            });
        }
    });
    for number in 0..50 {
        assert!(store.take(&id(number), NOW).unwrap().is_some());
    }
}

pub(super) fn an_expired_ticket_is_not_there(store: &dyn Tickets) {
    assert!(store.put(ticket(1, later(9)), NOW).unwrap());
    assert!(store.ticket(&id(1), later(9)).unwrap().is_some());
    let after = later(9).plus(Duration::from_millis(1));
    assert_eq!(store.ticket(&id(1), after).unwrap(), None);
    assert_eq!(store.take(&id(1), after).unwrap(), None);
}

pub(super) fn a_sweep_removes_what_has_expired_and_has_a_bound(store: &dyn Tickets) {
    for number in 1..=5 {
        let end = later(number.into());
        assert!(store.put(ticket(number, end), NOW).unwrap());
    }
    assert_eq!(store.sweep(NOW, 10).unwrap(), 0);
    assert_eq!(store.sweep(later(4), 2).unwrap(), 2);
    // The oldest went first: the third is there for one who looks with an earlier clock.
    assert!(store.ticket(&id(2), NOW).unwrap().is_none());
    assert!(store.ticket(&id(3), NOW).unwrap().is_some());
    assert_eq!(store.sweep(later(4), 2).unwrap(), 1);
    assert_eq!(store.sweep(later(4), 2).unwrap(), 0);
    assert!(store.ticket(&id(4), later(4)).unwrap().is_some());
    assert_eq!(store.sweep(later(9), 10).unwrap(), 2);
}

pub(super) fn kinds_have_nothing_in_common(store: &dyn Tickets) {
    let other = TicketId {
        kind: "nonce",
        ..id(1)
    };
    assert!(store.put(ticket(1, later(9)), NOW).unwrap());
    assert_eq!(store.take(&other, NOW).unwrap(), None);
    let nonce = Ticket::new(other, Vec::new(), later(9)).unwrap();
    assert!(store.put(nonce, NOW).unwrap());
    let found = store.take(&id(1), NOW).unwrap().unwrap();
    assert_eq!(found.payload(), [0, 1, 255]);
    let found = store.take(&other, NOW).unwrap().unwrap();
    assert!(found.payload().is_empty());
}

pub(super) fn an_app_has_so_many_tickets_of_a_kind_and_no_more(store: &dyn Tickets) {
    let (app, other) = (AppId::from_bits(1), AppId::from_bits(2));
    let put = |number: u8, app: AppId, now: Timestamp| {
        store
            .put_within(ticket(number, later(9)), app, 2, now)
            .unwrap()
    };
    assert_eq!(put(1, app, NOW), Put::Kept);
    assert_eq!(put(1, app, NOW), Put::Taken);
    assert_eq!(put(2, app, NOW), Put::Kept);
    assert_eq!(put(3, app, NOW), Put::Full);
    assert_eq!(put(3, other, NOW), Put::Kept);
    let nonce = Ticket::new(
        TicketId {
            kind: "nonce",
            ..id(4)
        },
        Vec::new(),
        later(9),
    );
    let nonce = store.put_within(nonce.unwrap(), app, 2, NOW);
    assert_eq!(nonce.unwrap(), Put::Kept);
    // A ticket that is taken or swept makes room.
    assert!(store.take(&id(1), NOW).unwrap().is_some());
    assert_eq!(put(5, app, NOW), Put::Kept);
    assert_eq!(put(6, app, NOW), Put::Full);
    assert_eq!(store.sweep(later(10), 10).unwrap(), 4);
    assert_eq!(put(6, app, NOW), Put::Kept);
    // One that has expired gives its place to another of its name, and is counted once.
    assert_eq!(put(7, app, NOW), Put::Kept);
    assert!(store.take(&id(7), NOW).unwrap().is_some());
    let again = Ticket::new(id(6), Vec::new(), later(30)).unwrap();
    let again = store.put_within(again, app, 2, later(10)).unwrap();
    assert_eq!(again, Put::Kept);
    assert!(store.take(&id(6), later(10)).unwrap().is_some());
    for number in [8, 9] {
        assert_eq!(put(number, app, NOW), Put::Kept, "{number}");
    }
    assert_eq!(put(10, app, NOW), Put::Full);
}
