//! Draft: the registry as it will be once the changes before a decision are stored.

use std::collections::HashSet;

use crate::domain::admin::AdminToken;
use crate::domain::api_key::ApiKey;
use crate::domain::app::App;
use crate::domain::certificate::{Certificate, Fingerprint};
use crate::domain::credential::CredentialState;
use crate::domain::id::{AdminTokenId, AppId, CertificateId, KeyId};
use crate::domain::listing::{CertificateFilter, KeyFilter, Page};
use crate::domain::name::Name;
use crate::domain::registry::change::Change;
use crate::domain::time::Timestamp;
use crate::store::error::Error;
use crate::store::repository::Store;

/// The store, with the changes of a group that are decided and not stored yet.
///
/// A group is small (`writer::GROUP_MAX`), so that a look from its end to its beginning finds the newest value.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    store: &'a dyn Store,
    changes: Vec<Change>,
}

impl<'a> Draft<'a> {
    /// The registry as it is stored.
    pub fn of(store: &'a dyn Store) -> Self {
        Self {
            store,
            changes: Vec::new(),
        }
    }

    /// Adds changes that are decided.
    pub fn add(&mut self, changes: &[Change]) {
        self.changes.extend_from_slice(changes);
    }

    pub fn app(&self, id: AppId) -> Result<Option<App>, Error> {
        match self.newest(as_app, |app| app.id == id) {
            Some(app) => Ok(Some(app.clone())),
            None => self.store.app(id),
        }
    }

    pub fn app_by_name(&self, name: &Name) -> Result<Option<App>, Error> {
        if let Some(app) = self.newest(as_app, |app| app.name == *name)
            && !self.is_renamed(app.id, name)
        {
            return Ok(Some(app.clone()));
        }
        let stored = self.store.app_by_name(name)?;
        Ok(stored.filter(|app| !self.is_renamed(app.id, name)))
    }

    pub fn certificate(&self, id: CertificateId) -> Result<Option<Certificate>, Error> {
        match self.newest(as_certificate, |certificate| certificate.id == id) {
            Some(certificate) => Ok(Some(certificate.clone())),
            None => self.store.certificate(id),
        }
    }

    pub fn certificates_by_key(&self, digest: &Fingerprint) -> Result<Vec<Certificate>, Error> {
        let stored = self.store.certificates_by_key(digest)?;
        Ok(self.with_changed(stored, |certificate| certificate.key_digest == *digest))
    }

    /// The App's certificates that are valid at `now`; all of them, or at least `max`.
    pub fn valid_certificates(
        &self,
        app: AppId,
        now: Timestamp,
        max: u32,
    ) -> Result<Vec<Certificate>, Error> {
        // A change may end one of those that are read, so as many more are read.
        let changes = u32::try_from(self.changes.len()).unwrap_or(u32::MAX);
        let page = Page::first(max.saturating_add(changes));
        let mut found = Vec::new();
        for state in [CredentialState::Active, CredentialState::Retiring] {
            let filter = CertificateFilter {
                app: Some(app),
                state: Some(state),
                at: Some(now),
                expiring_before: None,
            };
            found.extend(self.store.certificates(&filter, &page)?);
        }
        Ok(self.with_changed(found, |certificate| {
            let ended = certificate.validity.has_ended(now);
            certificate.app == app && certificate.state.counts() && !ended
        }))
    }

    pub fn key(&self, id: KeyId) -> Result<Option<ApiKey>, Error> {
        match self.newest(as_key, |key| key.id == id) {
            Some(key) => Ok(Some(key.clone())),
            None => self.store.key(id),
        }
    }

    /// The number of the App's keys that are accepted at `now`: all of them, or at least `max`.
    pub fn live_keys(&self, app: AppId, now: Timestamp, max: u32) -> Result<usize, Error> {
        // A change may end one of those that are read, so as many more are read.
        let changes = u32::try_from(self.changes.len()).unwrap_or(u32::MAX);
        let page = Page::first(max.saturating_add(changes));
        let mut live = HashSet::new();
        for state in [CredentialState::Active, CredentialState::Retiring] {
            let filter = KeyFilter {
                app: Some(app),
                state: Some(state),
                at: Some(now),
                expiring_before: None,
            };
            live.extend(self.store.keys(&filter, &page)?.iter().map(|key| key.id));
        }
        for changed in self.changes.iter().filter_map(as_key) {
            if changed.app == app && changed.state.at(now, changed.expires_at).counts() {
                live.insert(changed.id);
            } else {
                live.remove(&changed.id);
            }
        }
        Ok(live.len())
    }

    pub fn admin_token(&self, id: AdminTokenId) -> Result<Option<AdminToken>, Error> {
        match self.newest(as_admin_token, |token| token.id == id) {
            Some(token) => Ok(Some(token.clone())),
            None => self.store.admin_token(id),
        }
    }

    /// The newest change of this kind that fits.
    fn newest<T>(
        &self,
        kind: impl Fn(&Change) -> Option<&T>,
        fits: impl Fn(&T) -> bool,
    ) -> Option<&T> {
        let newest_first = self.changes.iter().rev();
        newest_first
            .filter_map(kind)
            .find(|object: &&T| fits(object))
    }

    /// True if the App's newest value has another name.
    fn is_renamed(&self, id: AppId, name: &Name) -> bool {
        let newest = self.newest(as_app, |app| app.id == id);
        newest.is_some_and(|app| app.name != *name)
    }

    /// The stored certificates with their newest values, and new ones, as far as they fit.
    fn with_changed(
        &self,
        stored: Vec<Certificate>,
        fits: impl Fn(&Certificate) -> bool,
    ) -> Vec<Certificate> {
        let mut found = stored;
        for changed in self.changes.iter().filter_map(as_certificate) {
            found.retain(|known| known.id != changed.id);
            if fits(changed) {
                found.push(changed.clone());
            }
        }
        found
    }
}

const fn as_app(change: &Change) -> Option<&App> {
    match change {
        Change::App(app) => Some(app.value()),
        _ => None,
    }
}

const fn as_certificate(change: &Change) -> Option<&Certificate> {
    match change {
        Change::Certificate(certificate) => Some(certificate.value()),
        _ => None,
    }
}

const fn as_key(change: &Change) -> Option<&ApiKey> {
    match change {
        Change::Key(key) => Some(key.value()),
        _ => None,
    }
}

const fn as_admin_token(change: &Change) -> Option<&AdminToken> {
    match change {
        Change::AdminToken(token) => Some(token.value()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::app::AppState;
    use crate::domain::registry::change::Allowed;
    use crate::store::contract::{NOW, app, certificate, done, key, new, set};
    use crate::store::sqlite::backend::SqliteStore;

    fn id<T>(found: Result<Option<T>, Error>, id: impl Fn(&T) -> u128) -> Option<u128> {
        found.unwrap().as_ref().map(id)
    }

    #[test]
    fn a_name_is_looked_for_among_the_newest_values() {
        let store = SqliteStore::in_memory().unwrap();
        done(&store, &[new(app(1)), new(app(2))]);
        let mut draft = Draft::of(&store);
        let by_name = |draft: &Draft<'_>, name: &str| {
            let found = draft.app_by_name(&name.parse().unwrap());
            id(found, |app| u128::from(app.id))
        };
        assert_eq!(by_name(&draft, "app-1"), Some(1));
        let renamed = |number, name: &str| App {
            name: name.parse().unwrap(),
            state: AppState::Revoked,
            ..app(number)
        };
        draft.add(&[set(renamed(1, "old"))]);
        assert_eq!(by_name(&draft, "app-1"), None);
        assert_eq!(by_name(&draft, "old"), Some(1));
        draft.add(&[new(renamed(3, "app-1")), set(renamed(1, "older"))]);
        assert_eq!(by_name(&draft, "app-1"), Some(3));
        assert_eq!(by_name(&draft, "old"), None);
        assert_eq!(by_name(&draft, "older"), Some(1));
        assert_eq!(by_name(&draft, "app-2"), Some(2));
        let found = draft.app(AppId::from_bits(3));
        assert_eq!(id(found, |app| u128::from(app.id)), Some(3));
    }

    #[test]
    fn certificates_are_read_with_the_changes_before() {
        let store = SqliteStore::in_memory().unwrap();
        done(&store, &[new(app(1)), new(app(2))]);
        let stored: Vec<Change> = (1..=3).map(|number| new(certificate(number, 1))).collect();
        done(&store, &stored);
        let mut draft = Draft::of(&store);
        let app = AppId::from_bits(1);
        let valid = |draft: &Draft<'_>, max| {
            let found = draft.valid_certificates(app, NOW, max).unwrap();
            let ids = found.iter().map(|found| u128::from(found.id));
            ids.collect::<Vec<_>>()
        };
        assert_eq!(valid(&draft, 9), [1, 2, 3]);
        assert_eq!(valid(&draft, 2), [1, 2]);
        let with = |number, state| Certificate {
            state,
            ..certificate(number, 1)
        };
        draft.add(&[
            set(with(1, CredentialState::Revoked)),
            set(with(2, CredentialState::Retiring)),
            new(certificate(4, 1)),
            new(certificate(5, 2)),
        ]);
        assert_eq!(valid(&draft, 9), [3, 2, 4]);
        assert!(valid(&draft, 1).len() > 1, "an end hides no other");
        let mut expired = certificate(6, 1);
        expired.validity.not_after = NOW.minus(std::time::Duration::from_secs(1));
        draft.add(&[new(expired)]);
        assert_eq!(valid(&draft, 9), [3, 2, 4]);

        let state = |draft: &Draft<'_>| {
            let found = draft.certificate(CertificateId::from_bits(1)).unwrap();
            found.unwrap().state
        };
        assert_eq!(state(&draft), CredentialState::Revoked);
        let digest = certificate(1, 1).key_digest;
        let of_key = draft.certificates_by_key(&digest).unwrap();
        assert_eq!(of_key, [with(1, CredentialState::Revoked)]);
    }

    #[test]
    fn live_keys_are_counted_with_the_changes_before() {
        let store = SqliteStore::in_memory().unwrap();
        done(
            &store,
            &[new(app(1)), new(app(2)), new(key(1, 1)), new(key(2, 1))],
        );
        let mut draft = Draft::of(&store);
        let live = |draft: &Draft<'_>, max| {
            let found = draft.live_keys(AppId::from_bits(1), NOW, max);
            found.unwrap()
        };
        assert_eq!(live(&draft, 9), 2);
        assert_eq!(live(&draft, 1), 1);
        let with = |number, state, expires_at| ApiKey {
            state,
            expires_at,
            ..key(number, 1)
        };
        let past = Some(NOW.minus(std::time::Duration::from_secs(1)));
        draft.add(&[
            set(with(1, CredentialState::Pending, None)),
            set(with(2, CredentialState::Retiring, None)),
            new(key(3, 1)),
            new(key(4, 2)),
            new(with(5, CredentialState::Active, past)),
        ]);
        assert_eq!(live(&draft, 9), 2);
        assert_eq!(live(&draft, 1), 2, "an end hides no other");
    }

    #[test]
    fn keys_and_admin_tokens_are_the_newest() {
        let store = SqliteStore::in_memory().unwrap();
        done(&store, &[new(app(1)), new(key(1, 1))]);
        let mut draft = Draft::of(&store);
        let mut changed = key(1, 1);
        changed.state = CredentialState::Retiring;
        draft.add(&[Allowed::unjudged(changed.clone(), false).into()]);
        assert_eq!(draft.key(changed.id).unwrap(), Some(changed));
        assert_eq!(draft.admin_token(AdminTokenId::from_bits(1)).unwrap(), None);
    }
}
