//! The suite that every backend passes: `promises!(make)` generates a test for each promise.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::change::Change;
use super::error::{Conflict, Error};
use super::repository::{Contents, Store};
use crate::domain::admin::{AdminToken, Role};
use crate::domain::api_key::{ApiKey, Environment, SecretDigest};
use crate::domain::app::{App, AppState};
use crate::domain::certificate::{Certificate, Fingerprint, KeyAlgorithm, SerialNumber};
use crate::domain::credential::{CredentialState, RevocationReason};
use crate::domain::id::{AdminTokenId, AppId, AuditEventId, AuthorityId, CertificateId, KeyId};
use crate::domain::listing::{AuditFilter, CertificateFilter, CredentialFilter, KeyFilter, Page};
use crate::domain::record::AuditEvent;
use crate::domain::shelf::Shelf;
use crate::domain::snapshot::{CertificateEntry, KeyEntry};
use crate::domain::time::{Timestamp, Validity};

/// Generates a test for each promise; `$make` returns a new store, and everything that must outlive it.
macro_rules! promises {
    ($make:expr) => {
        promises!($make;
            a_new_store_is_empty,
            every_value_is_read_as_it_was_written,
            every_change_has_one_revision_and_one_event,
            a_refused_change_undoes_the_ones_before_it,
            a_repeated_event_undoes_its_changes,
            names_of_apps_are_unique,
            an_app_changes_only_from_the_state_that_was_seen,
            a_revoked_app_gets_nothing_new,
            what_is_not_stored_is_missing,
            nothing_is_stored_twice,
            a_key_pair_belongs_to_one_app,
            a_compromised_key_pair_is_never_registered_again,
            only_so_many_certificates_count,
            certificates_retire_once_and_are_revoked_once,
            keys_retire_without_living_longer,
            admin_tokens_are_revoked_once,
            pages_follow_the_order_of_ids,
            credentials_are_filtered,
            the_audit_trail_comes_newest_first_and_filtered,
            threads_may_change_at_once,
        );
    };
    ($make:expr; $($promise:ident),* $(,)?) => {$(
        #[test]
        fn $promise() {
            let (store, _keep) = $make;
            crate::store::contract::$promise(&store);
        }
    )*};
}
pub(super) use promises;

pub(super) const NOW: Timestamp = Timestamp::from_unix_seconds(1_000_000);

pub(super) fn app(number: u128) -> App {
    App {
        id: AppId::from_bits(number),
        name: format!("app-{number}").parse().unwrap(),
        state: AppState::Active,
        contact: (number % 2 == 1).then(|| "ops@acme.example, Zoë".to_owned()),
        created_at: NOW,
    }
}

/// A certificate of `app`; every value in it that must be unique comes from `number`.
pub(super) fn certificate(number: u8, app: u128) -> Certificate {
    Certificate {
        id: CertificateId::from_bits(number.into()),
        app: AppId::from_bits(app),
        name: "prod".parse().unwrap(),
        authority: AuthorityId::from_bits(u128::MAX),
        fingerprint: Fingerprint::from_bytes([number; 32]),
        key_digest: Fingerprint::from_bytes([number ^ 0xff; 32]),
        serial: SerialNumber::from_bytes(&[number; 20]).unwrap(),
        key: KeyAlgorithm::Rsa3072,
        subject: "CN=acme".to_owned(),
        validity: Validity {
            not_before: NOW.minus(Duration::from_mins(5)),
            not_after: NOW.plus(Duration::from_hours(1)),
        },
        state: CredentialState::Active,
        created_at: NOW,
        revoked_at: None,
        revocation_reason: None,
        pem: format!("-----BEGIN CERTIFICATE-----\n{number}\n"),
    }
}

pub(super) fn key(number: u8, app: u128) -> ApiKey {
    ApiKey {
        id: KeyId::from_bits(number.into()),
        app: AppId::from_bits(app),
        name: "backend".parse().unwrap(),
        environment: Environment::Test,
        digest: SecretDigest([number; 32]),
        scopes: "orders:read orders:write".parse().unwrap(),
        networks: vec![
            "10.0.0.0/8".parse().unwrap(),
            "2001:db8::/32".parse().unwrap(),
        ],
        state: CredentialState::Active,
        created_at: NOW,
        expires_at: None,
        revoked_at: None,
        revocation_reason: None,
    }
}

fn admin_token(number: u8) -> AdminToken {
    AdminToken {
        id: AdminTokenId::from_bits(number.into()),
        name: "ci".parse().unwrap(),
        role: Role::Operator,
        digest: SecretDigest([number; 32]),
        created_at: NOW,
        expires_at: Some(NOW.plus(Duration::from_hours(1))),
        revoked_at: None,
    }
}

/// An event with a new id.
pub(super) fn event() -> AuditEvent {
    static LAST: AtomicU8 = AtomicU8::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    AuditEvent {
        // Later events have lower ids here, so that an order by id shows.
        id: AuditEventId::from_bits(u128::MAX - u128::from(number)),
        at: NOW,
        actor: "local:uid=0".to_owned(),
        action: "app.create".to_owned(),
        subject: "app_1".to_owned(),
        app: Some(AppId::from_bits(1)),
        detail: serde_json::json!({"name": "acme \"quoted\"", "count": 1}),
    }
}

fn add(certificate: Certificate) -> Change {
    Change::AddCertificate {
        certificate,
        active_max: 2,
        now: NOW,
    }
}

fn revoke(number: u8, reason: RevocationReason) -> Change {
    Change::RevokeCertificate {
        id: CertificateId::from_bits(number.into()),
        at: NOW,
        reason,
    }
}

pub(super) fn done(store: &dyn Store, changes: &[Change]) -> u64 {
    store.change(changes, &event()).unwrap()
}

/// Makes a change that must be refused, and checks that nothing of it was stored.
fn refused(store: &dyn Store, changes: &[Change]) -> Error {
    let before = store.load().unwrap();
    let events = events(store).len();
    let error = store.change(changes, &event()).unwrap_err();
    assert_eq!(store.load().unwrap(), before, "after {error:?}");
    assert_eq!(self::events(store).len(), events, "after {error:?}");
    error
}

fn conflict(store: &dyn Store, changes: &[Change]) -> Conflict {
    match refused(store, changes) {
        Error::Conflict(conflict) => conflict,
        other => panic!("{other:?}"),
    }
}

fn events(store: &dyn Store) -> Vec<AuditEvent> {
    store
        .audit(&AuditFilter::default(), &Page::first(1000))
        .unwrap()
}

/// A store with the Apps 1 and 2.
fn with_apps(store: &dyn Store) {
    done(
        store,
        &[Change::CreateApp(app(1)), Change::CreateApp(app(2))],
    );
}

pub(super) fn a_new_store_is_empty(store: &dyn Store) {
    assert_eq!(store.load().unwrap(), Contents::default());
    assert_eq!(store.revision().unwrap(), 0);
    assert_eq!(events(store), []);
    assert_eq!(store.app(AppId::from_bits(1)).unwrap(), None);
    assert_eq!(store.app_by_name(&app(1).name).unwrap(), None);
    assert_eq!(
        store.certificate(CertificateId::from_bits(1)).unwrap(),
        None
    );
    assert_eq!(store.key(KeyId::from_bits(1)).unwrap(), None);
    assert_eq!(store.admin_token(AdminTokenId::from_bits(1)).unwrap(), None);
}

pub(super) fn every_value_is_read_as_it_was_written(store: &dyn Store) {
    let mut bounded = key(2, 1);
    bounded.expires_at = Some(Timestamp::from_unix_millis(1_234_567));
    bounded.networks.clear();
    bounded.scopes = "".parse().unwrap();
    bounded.environment = Environment::Live;
    let mut ended = certificate(2, 2);
    ended.state = CredentialState::Revoked;
    ended.revoked_at = Some(NOW);
    ended.revocation_reason = Some(RevocationReason::CessationOfOperation);
    let event = event();
    let changes = [
        Change::CreateApp(app(1)),
        Change::CreateApp(app(2)),
        add(certificate(1, 1)),
        add(ended.clone()),
        Change::CreateKey(key(1, 1)),
        Change::CreateKey(bounded.clone()),
        Change::CreateAdminToken(admin_token(1)),
    ];
    store.change(&changes, &event).unwrap();

    assert_eq!(store.app(app(1).id).unwrap(), Some(app(1)));
    assert_eq!(store.app_by_name(&app(2).name).unwrap(), Some(app(2)));
    let first = certificate(1, 1);
    assert_eq!(store.certificate(first.id).unwrap().as_ref(), Some(&first));
    assert_eq!(store.certificate(ended.id).unwrap().as_ref(), Some(&ended));
    assert_eq!(
        store.certificates_by_key(&first.key_digest).unwrap(),
        std::slice::from_ref(&first)
    );
    assert_eq!(store.key(key(1, 1).id).unwrap(), Some(key(1, 1)));
    assert_eq!(store.key(bounded.id).unwrap().as_ref(), Some(&bounded));
    let token = admin_token(1);
    assert_eq!(store.admin_token(token.id).unwrap(), Some(token));
    assert_eq!(events(store), [event]);
    let expected = Contents {
        revision: 1,
        apps: Shelf::build([app(1), app(2)].map(|app| (app.id, Arc::new(app)))),
        certificates: Shelf::build(
            [&first, &ended]
                .map(|certificate| (certificate.fingerprint, CertificateEntry::from(certificate))),
        ),
        keys: Shelf::build([&key(1, 1), &bounded].map(|key| (key.id, KeyEntry::from(key)))),
    };
    assert_eq!(store.load().unwrap(), expected);
}

pub(super) fn every_change_has_one_revision_and_one_event(store: &dyn Store) {
    assert_eq!(done(store, &[Change::CreateApp(app(1))]), 1);
    assert_eq!(done(store, &[]), 2);
    let more = [Change::CreateApp(app(2)), Change::CreateApp(app(3))];
    assert_eq!(done(store, &more), 3);
    assert_eq!(store.revision().unwrap(), 3);
    assert_eq!(events(store).len(), 3);
}

pub(super) fn a_refused_change_undoes_the_ones_before_it(store: &dyn Store) {
    with_apps(store);
    let changes = [
        Change::CreateApp(app(3)),
        add(certificate(1, 3)),
        Change::CreateKey(key(1, 1)),
        Change::CreateApp(app(1)),
        Change::CreateApp(app(4)),
    ];
    assert_eq!(conflict(store, &changes), Conflict::NameTaken);
    assert_eq!(store.app(app(3).id).unwrap(), None);
    let digest = certificate(1, 3).key_digest;
    assert_eq!(store.certificates_by_key(&digest).unwrap(), []);
    // An undone change does not conflict with the next one.
    done(store, &changes[..3]);
}

pub(super) fn a_repeated_event_undoes_its_changes(store: &dyn Store) {
    let event = event();
    store.change(&[Change::CreateApp(app(1))], &event).unwrap();
    let error = store.change(&[Change::CreateApp(app(2))], &event);
    assert!(matches!(error, Err(Error::Conflict(Conflict::Duplicate))));
    assert_eq!(store.app(app(2).id).unwrap(), None);
    assert_eq!(store.revision().unwrap(), 1);
}

pub(super) fn names_of_apps_are_unique(store: &dyn Store) {
    with_apps(store);
    let mut other = app(3);
    other.name = app(1).name;
    assert_eq!(
        conflict(store, &[Change::CreateApp(other)]),
        Conflict::NameTaken
    );
}

pub(super) fn an_app_changes_only_from_the_state_that_was_seen(store: &dyn Store) {
    use AppState::{Active, Revoked, Suspended};
    with_apps(store);
    let set = |from, to| {
        let id = AppId::from_bits(1);
        [Change::SetAppState { id, from, to }]
    };
    assert_eq!(
        conflict(store, &set(Suspended, Active)),
        Conflict::StateChanged
    );
    done(store, &set(Active, Suspended));
    assert_eq!(store.app(app(1).id).unwrap().unwrap().state, Suspended);
    assert_eq!(
        conflict(store, &set(Active, Suspended)),
        Conflict::StateChanged
    );
    done(store, &set(Suspended, Active));
    done(store, &set(Active, Revoked));
    for from in AppState::ALL {
        assert_eq!(conflict(store, &set(from, Active)), Conflict::StateChanged);
    }
    assert_eq!(store.app(app(2).id).unwrap().unwrap().state, Active);
}

pub(super) fn a_revoked_app_gets_nothing_new(store: &dyn Store) {
    with_apps(store);
    let set = |from, to| Change::SetAppState {
        id: AppId::from_bits(1),
        from,
        to,
    };
    done(store, &[set(AppState::Active, AppState::Suspended)]);
    done(
        store,
        &[add(certificate(1, 1)), Change::CreateKey(key(1, 1))],
    );
    done(store, &[set(AppState::Suspended, AppState::Revoked)]);
    for change in [add(certificate(2, 1)), Change::CreateKey(key(2, 1))] {
        assert_eq!(conflict(store, &[change]), Conflict::StateChanged);
    }
}

pub(super) fn what_is_not_stored_is_missing(store: &dyn Store) {
    with_apps(store);
    let reason = RevocationReason::Unspecified;
    let (certificate_id, key_id) = (CertificateId::from_bits(9), KeyId::from_bits(9));
    for change in [
        Change::SetAppState {
            id: AppId::from_bits(9),
            from: AppState::Active,
            to: AppState::Revoked,
        },
        add(certificate(1, 9)),
        revoke(9, reason),
        Change::RetireCertificate { id: certificate_id },
        Change::CreateKey(key(1, 9)),
        Change::RetireKey {
            id: key_id,
            expires_at: NOW,
        },
        Change::RevokeKey {
            id: key_id,
            at: NOW,
            reason,
        },
        Change::RevokeAdminToken {
            id: AdminTokenId::from_bits(9),
            at: NOW,
        },
    ] {
        let error = refused(store, std::slice::from_ref(&change));
        assert!(matches!(error, Error::Missing), "{change:?}: {error:?}");
    }
}

pub(super) fn nothing_is_stored_twice(store: &dyn Store) {
    with_apps(store);
    done(
        store,
        &[
            add(certificate(1, 1)),
            Change::CreateKey(key(1, 1)),
            Change::CreateAdminToken(admin_token(1)),
        ],
    );
    let mut same_app = app(1);
    same_app.name = "other".parse().unwrap();
    let first = certificate(1, 1);
    let mut same_id = certificate(2, 1);
    same_id.id = first.id;
    let mut same_fingerprint = certificate(2, 1);
    same_fingerprint.fingerprint = first.fingerprint;
    let mut same_serial = certificate(2, 1);
    same_serial.serial = first.serial;
    for change in [
        Change::CreateApp(same_app),
        add(same_id),
        add(same_fingerprint),
        add(same_serial.clone()),
        Change::CreateKey(key(1, 2)),
        Change::CreateAdminToken(admin_token(1)),
    ] {
        let conflict = conflict(store, std::slice::from_ref(&change));
        assert_eq!(conflict, Conflict::Duplicate, "{change:?}");
    }
    // Another authority has its own serial numbers.
    same_serial.authority = AuthorityId::from_bits(7);
    done(store, &[add(same_serial)]);
}

pub(super) fn a_key_pair_belongs_to_one_app(store: &dyn Store) {
    with_apps(store);
    done(store, &[add(certificate(1, 1))]);
    let mut same_key = certificate(2, 2);
    same_key.key_digest = certificate(1, 1).key_digest;
    let of_other = add(same_key.clone());
    assert_eq!(
        conflict(store, std::slice::from_ref(&of_other)),
        Conflict::KeyOfOtherApp
    );
    done(store, &[revoke(1, RevocationReason::Superseded)]);
    assert_eq!(conflict(store, &[of_other]), Conflict::KeyOfOtherApp);
    same_key.app = AppId::from_bits(1);
    done(store, &[add(same_key)]);
    let digest = certificate(1, 1).key_digest;
    assert_eq!(store.certificates_by_key(&digest).unwrap().len(), 2);
}

pub(super) fn a_compromised_key_pair_is_never_registered_again(store: &dyn Store) {
    with_apps(store);
    done(store, &[add(certificate(1, 1))]);
    done(store, &[revoke(1, RevocationReason::KeyCompromise)]);
    let mut same_key = certificate(2, 1);
    same_key.key_digest = certificate(1, 1).key_digest;
    assert_eq!(conflict(store, &[add(same_key)]), Conflict::KeyCompromised);
    done(store, &[add(certificate(3, 1))]);
}

pub(super) fn only_so_many_certificates_count(store: &dyn Store) {
    with_apps(store);
    done(store, &[add(certificate(1, 1)), add(certificate(2, 1))]);
    let third = || add(certificate(3, 1));
    assert_eq!(conflict(store, &[third()]), Conflict::TooManyActive);
    done(store, &[add(certificate(4, 2))]);
    // A retiring certificate is still valid.
    let id = CertificateId::from_bits(1);
    let retire = Change::RetireCertificate { id };
    assert_eq!(conflict(store, &[retire, third()]), Conflict::TooManyActive);
    // One that is revoked in the same change is not, nor one that has expired.
    done(store, &[revoke(1, RevocationReason::Superseded), third()]);
    let at = |now| Change::AddCertificate {
        certificate: certificate(5, 1),
        active_max: 2,
        now,
    };
    let end = certificate(3, 1).validity.not_after;
    let last = end.plus(Duration::from_millis(999));
    assert_eq!(conflict(store, &[at(last)]), Conflict::TooManyActive);
    done(store, &[at(end.plus(Duration::from_secs(1)))]);
}

pub(super) fn certificates_retire_once_and_are_revoked_once(store: &dyn Store) {
    with_apps(store);
    done(store, &[add(certificate(1, 1))]);
    let id = CertificateId::from_bits(1);
    let retire = Change::RetireCertificate { id };
    let state = || store.certificate(id).unwrap().unwrap().state;
    done(store, std::slice::from_ref(&retire));
    assert_eq!(state(), CredentialState::Retiring);
    assert_eq!(
        conflict(store, std::slice::from_ref(&retire)),
        Conflict::StateChanged
    );
    done(store, &[revoke(1, RevocationReason::PrivilegeWithdrawn)]);
    let revoked = store.certificate(id).unwrap().unwrap();
    assert_eq!(revoked.state, CredentialState::Revoked);
    assert_eq!(revoked.revoked_at, Some(NOW));
    assert_eq!(
        revoked.revocation_reason,
        Some(RevocationReason::PrivilegeWithdrawn)
    );
    let entries = store.load().unwrap().certificates;
    let entry = entries.get(&certificate(1, 1).fingerprint).unwrap();
    assert_eq!(entry.state, CredentialState::Revoked);
    for change in [revoke(1, RevocationReason::Superseded), retire] {
        assert_eq!(conflict(store, &[change]), Conflict::StateChanged);
    }
}

pub(super) fn keys_retire_without_living_longer(store: &dyn Store) {
    with_apps(store);
    let end = NOW.plus(Duration::from_hours(1));
    let mut bounded = key(2, 1);
    bounded.expires_at = Some(end);
    done(
        store,
        &[Change::CreateKey(key(1, 1)), Change::CreateKey(bounded)],
    );
    let retire = |number, expires_at| Change::RetireKey {
        id: KeyId::from_bits(number),
        expires_at,
    };
    let later = end.plus(Duration::from_hours(1));
    done(store, &[retire(1, later), retire(2, later)]);
    let stored = |number| store.key(KeyId::from_bits(number)).unwrap().unwrap();
    assert_eq!(stored(1).state, CredentialState::Retiring);
    assert_eq!(stored(1).expires_at, Some(later));
    assert_eq!(stored(2).expires_at, Some(end));
    assert_eq!(conflict(store, &[retire(1, NOW)]), Conflict::StateChanged);

    let revoke = || Change::RevokeKey {
        id: KeyId::from_bits(1),
        at: NOW,
        reason: RevocationReason::KeyCompromise,
    };
    done(store, &[revoke()]);
    assert_eq!(stored(1).state, CredentialState::Revoked);
    assert_eq!(stored(1).revoked_at, Some(NOW));
    assert_eq!(
        stored(1).revocation_reason,
        Some(RevocationReason::KeyCompromise)
    );
    assert_eq!(conflict(store, &[revoke()]), Conflict::StateChanged);
}

pub(super) fn admin_tokens_are_revoked_once(store: &dyn Store) {
    done(store, &[Change::CreateAdminToken(admin_token(1))]);
    let id = AdminTokenId::from_bits(1);
    let revoke = || [Change::RevokeAdminToken { id, at: NOW }];
    done(store, &revoke());
    let stored = store.admin_token(id).unwrap().unwrap();
    assert_eq!(stored.revoked_at, Some(NOW));
    assert_eq!(conflict(store, &revoke()), Conflict::StateChanged);
}

pub(super) fn pages_follow_the_order_of_ids(store: &dyn Store) {
    // Ids whose order as numbers, as text and as signed bytes differ when they are compared carelessly.
    let ids: [u128; 5] = [3, 1 << 64, 1, 200, u128::MAX];
    for id in ids {
        let mut app = app(id % 1000);
        app.id = AppId::from_bits(id);
        done(store, &[Change::CreateApp(app)]);
    }
    for number in 1..=5 {
        done(
            store,
            &[
                Change::AddCertificate {
                    certificate: certificate(number, 1),
                    active_max: 9,
                    now: NOW,
                },
                Change::CreateKey(key(number, 1)),
                Change::CreateAdminToken(admin_token(number)),
            ],
        );
    }
    check_pages(
        &mut ids.map(AppId::from_bits).to_vec(),
        |page| store.apps(page).unwrap(),
        |app| app.id,
    );
    let numbers = || 1_u128..=5;
    check_pages(
        &mut numbers().map(CertificateId::from_bits).collect(),
        |page| {
            store
                .certificates(&CertificateFilter::default(), page)
                .unwrap()
        },
        |certificate| certificate.id,
    );
    check_pages(
        &mut numbers().map(KeyId::from_bits).collect(),
        |page| store.keys(&KeyFilter::default(), page).unwrap(),
        |key| key.id,
    );
    check_pages(
        &mut numbers().map(AdminTokenId::from_bits).collect(),
        |page| store.admin_tokens(page).unwrap(),
        |token| token.id,
    );
}

/// Walks a list in parts of two and compares it with the sorted ids.
fn check_pages<Id: Ord + Copy + std::fmt::Debug, T>(
    expected: &mut Vec<Id>,
    list: impl Fn(&Page<Id>) -> Vec<T>,
    id: impl Fn(&T) -> Id,
) {
    expected.sort();
    let mut found = Vec::new();
    loop {
        let after = found.last().copied();
        let part = list(&Page { after, limit: 2 });
        assert!(part.len() <= 2);
        if part.is_empty() {
            break;
        }
        found.extend(part.iter().map(&id));
    }
    assert_eq!(&found, expected);
    assert!(list(&Page::first(0)).is_empty());
}

pub(super) fn credentials_are_filtered(store: &dyn Store) {
    use CredentialState::{Active, Expired, Retiring, Revoked};
    with_apps(store);
    let hours = |hours| NOW.plus(Duration::from_hours(hours));
    let mut changes = Vec::new();
    for (number, app, end) in [(1, 1, 1), (2, 1, 2), (3, 2, 3), (4, 2, 4), (5, 2, 5)] {
        let mut certificate = certificate(number, app);
        certificate.validity.not_after = hours(end);
        changes.push(Change::AddCertificate {
            certificate,
            active_max: 9,
            now: NOW,
        });
        let mut key = key(number, app);
        // The last one never ends by itself.
        key.expires_at = (number != 5).then(|| hours(end));
        changes.push(Change::CreateKey(key));
    }
    for number in [2, 4] {
        let reason = RevocationReason::Unspecified;
        changes.push(revoke(number, reason));
        changes.push(Change::RevokeKey {
            id: KeyId::from_bits(number.into()),
            at: NOW,
            reason,
        });
    }
    let (certificate_id, key_id) = (CertificateId::from_bits(3), KeyId::from_bits(3));
    changes.push(Change::RetireCertificate { id: certificate_id });
    changes.push(Change::RetireKey {
        id: key_id,
        expires_at: hours(3),
    });
    done(store, &changes);

    let check = |filter: CredentialFilter, certificates: &[u128], keys: &[u128]| {
        let found = store.certificates(&filter, &Page::first(100)).unwrap();
        let found: Vec<u128> = found.iter().map(|found| u128::from(found.id)).collect();
        assert_eq!(found, certificates, "certificates, {filter:?}");
        let found = store.keys(&filter, &Page::first(100)).unwrap();
        let found: Vec<u128> = found.iter().map(|found| u128::from(found.id)).collect();
        assert_eq!(found, keys, "keys, {filter:?}");
    };
    let all = CredentialFilter::default;
    let app = Some(AppId::from_bits(1));
    check(all(), &[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5]);
    check(CredentialFilter { app, ..all() }, &[1, 2], &[1, 2]);
    let expiring = |hour| CredentialFilter {
        expiring_before: Some(hours(hour)),
        ..all()
    };
    check(expiring(1), &[], &[]);
    check(expiring(4), &[1, 3], &[1, 3]);
    check(expiring(9), &[1, 3, 5], &[1, 3]);
    let state = |state, at| CredentialFilter {
        state: Some(state),
        at,
        ..all()
    };
    check(state(Active, None), &[1, 5], &[1, 5]);
    check(state(Retiring, None), &[3], &[3]);
    check(state(Revoked, None), &[2, 4], &[2, 4]);
    check(state(Expired, None), &[], &[]);
    check(state(Active, Some(hours(2))), &[5], &[5]);
    check(state(Expired, Some(hours(2))), &[1], &[1]);
    check(state(Retiring, Some(hours(9))), &[], &[]);
    check(state(Expired, Some(hours(9))), &[1, 3, 5], &[1, 3]);
    check(state(Revoked, Some(hours(9))), &[2, 4], &[2, 4]);
    // A certificate is valid until the end of its last second, a key to the millisecond.
    let within = Some(hours(1).plus(Duration::from_millis(500)));
    check(state(Expired, within), &[], &[1]);
    check(state(Active, within), &[1, 5], &[5]);
    let both = CredentialFilter {
        app,
        ..state(Revoked, None)
    };
    check(both, &[2], &[2]);
}

pub(super) fn the_audit_trail_comes_newest_first_and_filtered(store: &dyn Store) {
    let mut written = Vec::new();
    for number in 0..7_u128 {
        let event = AuditEvent {
            action: ["cert.revoke", "key.create"][usize::from(number % 2 == 1)].to_owned(),
            subject: format!("crt_{}", number % 3),
            app: (number != 6).then(|| AppId::from_bits(number % 3)),
            ..event()
        };
        store.change(&[], &event).unwrap();
        written.push(event);
    }
    written.reverse();
    assert_eq!(events(store), written);

    let page = |after| Page { after, limit: 3 };
    let everything = AuditFilter::default();
    let mut found = Vec::new();
    while found.len() < written.len() {
        let after = found.last().map(|event: &AuditEvent| event.id);
        found.extend(store.audit(&everything, &page(after)).unwrap());
    }
    assert_eq!(found, written);
    let end = page(found.last().map(|event| event.id));
    assert_eq!(store.audit(&everything, &end).unwrap(), []);
    let unknown = page(Some(AuditEventId::from_bits(1)));
    assert_eq!(store.audit(&everything, &unknown).unwrap(), []);

    let count = |filter: AuditFilter| store.audit(&filter, &Page::first(100)).unwrap().len();
    let (app, action, subject) = (
        Some(AppId::from_bits(0)),
        Some("key.create".to_owned()),
        Some("crt_0".to_owned()),
    );
    let filter = |app, action, subject| AuditFilter {
        app,
        action,
        subject,
    };
    assert_eq!(count(filter(app, None, None)), 2);
    assert_eq!(count(filter(None, action.clone(), None)), 3);
    assert_eq!(count(filter(None, None, subject.clone())), 3);
    assert_eq!(count(filter(app, action, subject)), 1);
    assert_eq!(count(filter(None, Some("key".to_owned()), None)), 0);
}

pub(super) fn threads_may_change_at_once(store: &dyn Store) {
    const THREADS: u128 = 4;
    const EACH: u128 = 10;
    let work = |thread: u128| {
        let numbers = thread * EACH..(thread + 1) * EACH;
        let revision = |number| {
            let event = AuditEvent {
                id: AuditEventId::from_bits(number),
                ..event()
            };
            let revision = store.change(&[Change::CreateApp(app(number))], &event);
            // A change that was acknowledged is seen by every reader.
            assert!(store.app(AppId::from_bits(number)).unwrap().is_some());
            revision.unwrap()
        };
        numbers.map(revision).collect::<Vec<u64>>()
    };
    let work = &work;
    let mut revisions: Vec<u64> = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for thread in 0..THREADS {
            threads.push(scope.spawn(move || work(thread)));
        }
        let ends = threads.into_iter().map(|thread| thread.join().unwrap());
        ends.flatten().collect()
    });
    revisions.sort_unstable();
    assert!(revisions.iter().copied().eq(1..=40));
    assert_eq!(store.load().unwrap().apps.len(), 40);
}
