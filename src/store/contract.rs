//! The suite that every backend passes: `promises!(make)` generates a test for each promise.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::act::Act;
use super::error::{Conflict, Error};
use super::repository::{Contents, Since, Store};
use crate::domain::admin::{AdminToken, Role};
use crate::domain::api_key::{
    ApiKey, Environment, KeyKind, KeyLimit, KeyTail, KeyUse, SecretDigest,
};
use crate::domain::app::{App, AppState};
use crate::domain::app_settings::{
    AccessTokenFormat, AppSettings, Binding, ClientKeys, Mtls, SecureMode,
};
use crate::domain::boost::Boost;
use crate::domain::certificate::{Certificate, Fingerprint, KeyAlgorithm, SerialNumber};
use crate::domain::credential::{CredentialState, RevocationReason};
use crate::domain::id::{
    AdminTokenId, AppId, AuditEventId, AuthorityId, BoostId, CertificateId, KeyId,
};
use crate::domain::listing::{AuditFilter, CertificateFilter, CredentialFilter, KeyFilter, Page};
use crate::domain::quota::{QuotaUse, Window};
use crate::domain::rate::Rate;
use crate::domain::record::AuditEvent;
use crate::domain::registry::change::{Allowed, Change};
use crate::domain::shelf::Shelf;
use crate::domain::snapshot::{CertificateEntry, KeyEntry};
use crate::domain::succession::Entry;
use crate::domain::time::{Timestamp, Validity};
use crate::domain::token::{ClientAuthMethod, ClientAuthMethods};

/// Generates a test for each promise; `$make` returns a new store, and everything that must outlive it.
macro_rules! promises {
    ($make:expr) => {
        promises!($make;
            a_new_store_is_empty,
            every_value_is_read_as_it_was_written,
            every_change_has_one_revision_and_one_event,
            the_last_use_of_a_key_is_kept,
            the_use_of_a_quota_is_kept_until_its_window_ends,
            a_change_for_another_revision_changes_nothing,
            a_group_is_kept_whole_or_not_at_all,
            a_repeated_event_undoes_its_changes,
            what_is_not_stored_is_missing,
            nothing_is_stored_twice,
            a_changed_object_is_read_as_it_became,
            what_changed_since_a_revision_is_found,
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

pub const NOW: Timestamp = Timestamp::from_unix_seconds(1_000_000);

pub fn app(number: u128) -> App {
    App {
        id: AppId::from_bits(number),
        name: format!("app-{number}").parse().unwrap(),
        state: AppState::Active,
        contact: (number % 2 == 1).then(|| "ops@acme.example, Zoë".to_owned()),
        settings: if number % 2 == 1 {
            settings()
        } else {
            AppSettings::default()
        },
        boosts: if number % 2 == 1 {
            boosts()
        } else {
            Arc::default()
        },
        created_at: NOW,
    }
}

/// Settings of which none is the default.
fn settings() -> AppSettings {
    AppSettings {
        environment: Environment::Test,
        auth_methods: Some(ClientAuthMethods::new(&ClientAuthMethod::ALL)),
        mtls: Mtls::Always,
        secure_mode: SecureMode::Off,
        binding: Binding::App,
        keys: Some(ClientKeys::Url("https://acme.example/jwks".into())),
        callbacks: ["https://acme.example/a", "https://acme.example/b"]
            .map(Into::into)
            .into(),
        certificates_max: Some(3),
        keys_max: Some(4),
        access_token_format: AccessTokenFormat::Opaque,
    }
}

/// A certificate of `app`; every value in it that must be unique comes from `number`.
pub fn certificate(number: u8, app: u128) -> Certificate {
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

pub fn key(number: u8, app: u128) -> ApiKey {
    ApiKey {
        environment: Environment::Test,
        digest: SecretDigest([number; 32]),
        scopes: "orders:read orders:write".parse().unwrap(),
        networks: vec![
            "10.0.0.0/8".parse().unwrap(),
            "2001:db8::/32".parse().unwrap(),
        ],
        created_at: NOW,
        kind: KeyKind::Publishable,
        tail: KeyTail::of("wXyZ"),
        origins: vec![
            "https://*.shop.example".parse().unwrap(),
            "http://localhost:3000".parse().unwrap(),
        ],
        limits: vec![limit("events", "100/m", 5), limit("total", "10/15m", 10)],
        ..ApiKey::sample(KeyId::from_bits(number.into()), AppId::from_bits(app))
    }
}

fn limit(name: &str, rate: &str, burst: u32) -> KeyLimit {
    let rate = Rate {
        burst,
        ..Rate::parse(rate).unwrap()
    };
    KeyLimit {
        name: name.parse().unwrap(),
        measure: rate.into(),
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

/// A new object. The rules that would judge it are tested with them.
pub fn new<T>(object: T) -> Change
where
    Change: From<Allowed<T>>,
{
    Allowed::unjudged(object, true).into()
}

/// An object with another value.
pub fn set<T>(object: T) -> Change
where
    Change: From<Allowed<T>>,
{
    Allowed::unjudged(object, false).into()
}

/// An App's boosts, each with another part left out.
fn boosts() -> Arc<[Boost]> {
    let boost = |number, key, limit: Option<&str>| Boost {
        id: BoostId::from_bits(number),
        key,
        limit: limit.map(|name| name.parse().unwrap()),
        factor: "1.05".parse().unwrap(),
        until: NOW.plus(Duration::from_hours(9)),
        created_at: NOW,
    };
    let key = Some(KeyId::from_bits(3));
    [boost(1, key, None), boost(2, None, Some("day"))].into()
}

pub(super) fn revoked(certificate: Certificate, reason: RevocationReason) -> Certificate {
    Certificate {
        state: CredentialState::Revoked,
        revoked_at: Some(NOW),
        revocation_reason: Some(reason),
        ..certificate
    }
}

/// Uses are kept beside the registry: the latest stays, and the revision does not move.
pub(super) fn the_last_use_of_a_key_is_kept(store: &dyn Store) {
    done(store, &[new(app(1)), new(key(1, 1)), new(key(2, 1))]);
    let before = (store.revision().unwrap(), events(store).len());
    let at = |second| KeyUse {
        at: NOW.plus(Duration::from_secs(second)),
        from: "2001:db8::1".parse().unwrap(),
        route: format!("route {second}").into(),
    };
    let [one, two, unknown] = [1, 2, 9].map(KeyId::from_bits);
    let together = [(one, at(5)), (unknown, at(5))];
    store.keep_key_uses(&together).unwrap();
    store.keep_key_uses(&[(one, at(4))]).unwrap();
    assert_eq!(
        store.key_uses(&[two, one, unknown]).unwrap(),
        [(one, at(5))]
    );
    store.keep_key_uses(&[(one, at(6)), (two, at(1))]).unwrap();
    let found = store.key_uses(&[one, two]).unwrap();
    assert_eq!(found, [(one, at(6)), (two, at(1))]);
    assert_eq!((store.revision().unwrap(), events(store).len()), before);
}

/// The uses of quotas are kept beside the registry, until their windows end.
pub(super) fn the_use_of_a_quota_is_kept_until_its_window_ends(store: &dyn Store) {
    let before = store.revision().unwrap();
    let used = |subject: &str, hours, used| QuotaUse {
        quota: "day".parse().unwrap(),
        window: Window::Day,
        subject: subject.to_owned(),
        ends_at: NOW.plus(Duration::from_hours(hours)),
        used,
    };
    let keep = |uses: &[QuotaUse], gone: &[QuotaUse], now| {
        store.keep_quota_uses(uses, gone, now).unwrap();
    };
    let (one, other) = (used("key one", 5, 7), used("key two", 9, 1));
    keep(&[one.clone(), other.clone()], &[], NOW);
    assert_eq!(store.quota_uses(NOW).unwrap(), [one, other.clone()]);
    let more = used("key one", 5, 8);
    keep(std::slice::from_ref(&more), &[], NOW);
    assert_eq!(store.quota_uses(NOW).unwrap(), [more, other.clone()]);
    let later = NOW.plus(Duration::from_hours(5));
    assert_eq!(
        store.quota_uses(later).unwrap(),
        std::slice::from_ref(&other)
    );
    keep(&[], &[], later);
    let left = store.quota_uses(NOW).unwrap();
    assert_eq!(left, std::slice::from_ref(&other), "the ended one is gone");
    keep(&[], &[other], NOW);
    assert!(store.quota_uses(NOW).unwrap().is_empty());
    assert_eq!(store.revision().unwrap(), before);
}

fn revoked_key(key: ApiKey, reason: RevocationReason) -> ApiKey {
    ApiKey {
        state: CredentialState::Revoked,
        revoked_at: Some(NOW),
        revocation_reason: Some(reason),
        ..key
    }
}

fn act(changes: &[Change]) -> Act {
    Act {
        changes: changes.to_vec(),
        event: event(),
    }
}

/// Keeps acts at the store's revision, and again if another thread was faster. Returns the new revision.
fn kept(store: &dyn Store, acts: &[Act]) -> Result<u64, Error> {
    loop {
        let expected = store.revision()?;
        match store.change(expected, acts) {
            Err(Error::Conflict(Conflict::Moved)) => {}
            Ok(()) => return Ok(expected + u64::try_from(acts.len()).unwrap()),
            Err(error) => return Err(error),
        }
    }
}

pub fn done(store: &dyn Store, changes: &[Change]) -> u64 {
    kept(store, &[act(changes)]).unwrap()
}

/// Makes a change that must be refused, and checks that nothing of it was stored.
fn refused(store: &dyn Store, changes: &[Change]) -> Error {
    let before = store.load().unwrap();
    let events = events(store).len();
    let error = kept(store, &[act(changes)]).unwrap_err();
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
    done(store, &[new(app(1)), new(app(2))]);
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
    let ended = revoked(certificate(2, 2), RevocationReason::CessationOfOperation);
    let act = act(&[
        new(app(1)),
        new(app(2)),
        new(certificate(1, 1)),
        new(ended.clone()),
        new(key(1, 1)),
        new(bounded.clone()),
        new(admin_token(1)),
    ]);
    store.change(0, std::slice::from_ref(&act)).unwrap();

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
    assert_eq!(events(store), [act.event]);
    let expected = Contents {
        token_ends: Shelf::default(),
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
    assert_eq!(done(store, &[new(app(1))]), 1);
    assert_eq!(done(store, &[]), 2);
    assert_eq!(done(store, &[new(app(2)), new(app(3))]), 3);
    let group = [act(&[new(app(4))]), act(&[]), act(&[new(app(5))])];
    store.change(3, &group).unwrap();
    assert_eq!(store.revision().unwrap(), 6);
    let newest: Vec<_> = events(store).into_iter().take(3).collect();
    let in_order = group.into_iter().rev().map(|act| act.event);
    assert!(in_order.eq(newest));
    assert_eq!(events(store).len(), 6);
    store.change(6, &[]).unwrap();
    assert_eq!(store.revision().unwrap(), 6);
}

pub(super) fn a_change_for_another_revision_changes_nothing(store: &dyn Store) {
    with_apps(store);
    let before = store.load().unwrap();
    for expected in [0, 2, u64::MAX] {
        let refused = store.change(expected, &[act(&[new(app(3))])]);
        assert!(matches!(refused, Err(Error::Conflict(Conflict::Moved))));
    }
    assert_eq!(store.load().unwrap(), before);
    assert_eq!(events(store).len(), 1);
}

pub(super) fn a_group_is_kept_whole_or_not_at_all(store: &dyn Store) {
    with_apps(store);
    let mut namesake = app(4);
    namesake.name = app(1).name;
    let changes = [new(app(3)), new(certificate(1, 3)), new(key(1, 1))];
    assert_eq!(
        conflict(store, &[&changes[..], &[new(namesake.clone())]].concat()),
        Conflict::Duplicate
    );
    let group = [act(&changes), act(&[new(namesake)]), act(&[])];
    let refused = store.change(1, &group);
    assert!(matches!(refused, Err(Error::Conflict(Conflict::Duplicate))));
    assert_eq!(store.revision().unwrap(), 1);
    assert_eq!(events(store).len(), 1);
    assert_eq!(store.app(app(3).id).unwrap(), None);
    let digest = certificate(1, 3).key_digest;
    assert_eq!(store.certificates_by_key(&digest).unwrap(), []);
    // An undone change does not conflict with the next one.
    done(store, &changes);
}

pub(super) fn a_repeated_event_undoes_its_changes(store: &dyn Store) {
    let first = act(&[new(app(1))]);
    let again = Act {
        changes: vec![new(app(2))],
        event: first.event.clone(),
    };
    store.change(0, &[first]).unwrap();
    let error = store.change(1, &[again]);
    assert!(matches!(error, Err(Error::Conflict(Conflict::Duplicate))));
    assert_eq!(store.app(app(2).id).unwrap(), None);
    assert_eq!(store.revision().unwrap(), 1);
}

pub(super) fn what_is_not_stored_is_missing(store: &dyn Store) {
    with_apps(store);
    for change in [
        set(app(9)),
        new(certificate(1, 9)),
        set(certificate(1, 1)),
        new(key(1, 9)),
        set(key(1, 1)),
        set(admin_token(1)),
    ] {
        let error = refused(store, std::slice::from_ref(&change));
        assert!(matches!(error, Error::Missing), "{change:?}: {error:?}");
    }
}

pub(super) fn nothing_is_stored_twice(store: &dyn Store) {
    with_apps(store);
    done(
        store,
        &[new(certificate(1, 1)), new(key(1, 1)), new(admin_token(1))],
    );
    let mut same_app = app(1);
    same_app.name = "other".parse().unwrap();
    let mut same_name = app(3);
    same_name.name = app(1).name;
    let first = certificate(1, 1);
    let mut same_id = certificate(2, 1);
    same_id.id = first.id;
    let mut same_fingerprint = certificate(2, 1);
    same_fingerprint.fingerprint = first.fingerprint;
    let mut same_serial = certificate(2, 1);
    same_serial.serial = first.serial;
    for change in [
        new(same_app),
        new(same_name),
        new(same_id),
        new(same_fingerprint),
        new(same_serial.clone()),
        new(key(1, 2)),
        new(admin_token(1)),
    ] {
        let conflict = conflict(store, std::slice::from_ref(&change));
        assert_eq!(conflict, Conflict::Duplicate, "{change:?}");
    }
    // Another authority has its own serial numbers.
    same_serial.authority = AuthorityId::from_bits(7);
    done(store, &[new(same_serial)]);
}

pub(super) fn a_changed_object_is_read_as_it_became(store: &dyn Store) {
    with_apps(store);
    let (first, token) = (certificate(1, 1), admin_token(1));
    done(
        store,
        &[new(first.clone()), new(key(1, 1)), new(token.clone())],
    );
    let renamed = App {
        name: "other".parse().unwrap(),
        state: AppState::Revoked,
        settings: AppSettings {
            keys: Some(ClientKeys::Inline(r#"{"keys":[]}"#.into())),
            ..AppSettings::default()
        },
        ..app(1)
    };
    let ended = revoked(first, RevocationReason::KeyCompromise);
    let key = ApiKey {
        expires_at: Some(NOW.plus(Duration::from_hours(1))),
        successor: Some(KeyId::from_bits(7)),
        tokens_outlive: true,
        ..revoked_key(key(1, 1), RevocationReason::Superseded)
    };
    let token = AdminToken {
        revoked_at: Some(NOW),
        ..token
    };
    // The name is free for another App in the same act.
    let namesake = App {
        name: app(1).name,
        ..app(3)
    };
    done(
        store,
        &[
            set(renamed.clone()),
            new(namesake.clone()),
            set(ended.clone()),
            set(key.clone()),
            set(token.clone()),
        ],
    );
    let by_name = |name| store.app_by_name(name).unwrap();
    assert_eq!(by_name(&namesake.name).as_ref(), Some(&namesake));
    assert_eq!(by_name(&renamed.name).as_ref(), Some(&renamed));
    assert_eq!(store.certificate(ended.id).unwrap().as_ref(), Some(&ended));
    assert_eq!(store.key(key.id).unwrap().as_ref(), Some(&key));
    assert_eq!(store.admin_token(token.id).unwrap().as_ref(), Some(&token));
    let contents = store.load().unwrap();
    let entry = contents.certificates.get(&ended.fingerprint);
    assert_eq!(entry, Some(&CertificateEntry::from(&ended)));
    assert_eq!(contents.keys.get(&key.id), Some(&KeyEntry::from(&key)));
}

pub(super) fn what_changed_since_a_revision_is_found(store: &dyn Store) {
    with_apps(store);
    let first = certificate(1, 1);
    done(store, &[new(first.clone()), new(key(1, 1))]);
    let before = store.load().unwrap();
    let nothing = Since {
        revision: 2,
        entries: Vec::new(),
    };
    assert_eq!(store.changes_since(2).unwrap(), nothing);
    assert_eq!(store.changes_since(9).unwrap(), nothing);
    assert_eq!(store.changes_since(1).unwrap().entries.len(), 2);

    let asleep = App {
        state: AppState::Suspended,
        ..app(2)
    };
    done(store, &[set(asleep.clone())]);
    let ended = revoked(first, RevocationReason::Superseded);
    done(store, &[set(ended), new(key(2, 2))]);
    done(store, &[new(admin_token(1))]);
    done(store, &[set(app(2)), set(asleep)]);
    let since = store.changes_since(before.revision).unwrap();
    assert_eq!(since.revision, 6);
    assert_eq!(since.entries.len(), 3, "{since:?}");
    assert_eq!(with(before, since), store.load().unwrap());
}

/// The contents with these changes.
fn with(mut contents: Contents, since: Since) -> Contents {
    contents.revision = since.revision;
    for entry in since.entries {
        match entry {
            Entry::App(app) => contents.apps = contents.apps.with(app.id, app),
            Entry::Certificate(fingerprint, entry) => {
                contents.certificates = contents.certificates.with(fingerprint, entry);
            }
            Entry::Key(id, key) => contents.keys = contents.keys.with(id, key),
            Entry::TokenEnd(of, until) => {
                contents.token_ends = contents.token_ends.with(of, until);
            }
        }
    }
    contents
}

pub(super) fn pages_follow_the_order_of_ids(store: &dyn Store) {
    // Ids whose order as numbers, as text and as signed bytes differ when they are compared carelessly.
    let ids: [u128; 5] = [3, 1 << 64, 1, 200, u128::MAX];
    for id in ids {
        let mut app = app(id % 1000);
        app.id = AppId::from_bits(id);
        done(store, &[new(app)]);
    }
    for number in 1..=5 {
        done(
            store,
            &[
                new(certificate(number, 1)),
                new(key(number, 1)),
                new(admin_token(number)),
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
        let mut key = key(number, app);
        // The last one never ends by itself.
        key.expires_at = (number != 5).then(|| hours(end));
        if number == 3 {
            certificate.state = Retiring;
            key.state = Retiring;
        }
        if number % 2 == 0 {
            let reason = RevocationReason::Unspecified;
            certificate = revoked(certificate, reason);
            key = revoked_key(key, reason);
        }
        changes.extend([new(certificate), new(key)]);
    }
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
        let act = Act {
            changes: Vec::new(),
            event: event.clone(),
        };
        kept(store, &[act]).unwrap();
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
            let act = Act {
                changes: vec![new(app(number))],
                event,
            };
            let revision = kept(store, &[act]);
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
