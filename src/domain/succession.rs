//! Succession: the snapshot after changes, and the credentials that ended with them.
//!
//! What has ended is derived from the values before and after. No use case lists it, so that none can forget to close
//! connections.

use std::collections::HashMap;
use std::sync::Arc;

use super::app::{App, AppState};
use super::certificate::Fingerprint;
use super::credential::{CredentialId, Ended};
use super::id::{AppId, KeyId};
use super::registry::change::Change;
use super::snapshot::{CertificateEntry, KeyEntry, Snapshot};
use super::time::Timestamp;
use super::token_end::{TokenEnd, TokensOf};

/// One entry of the registry's part of a snapshot, with its new value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    App(Arc<App>),
    Certificate(Fingerprint, CertificateEntry),
    Key(KeyId, KeyEntry),
    TokenEnd(TokensOf, Timestamp),
}

impl Entry {
    /// The entry of a changed object; none for objects that snapshots do not hold.
    pub fn of(change: &Change) -> Option<Self> {
        match change {
            Change::AdminToken(_) | Change::Session(_) => None,
            Change::App(app) => Some(Self::App(Arc::new(app.value().clone()))),
            Change::Certificate(certificate) => {
                let certificate = certificate.value();
                let entry = CertificateEntry::from(certificate);
                Some(Self::Certificate(certificate.fingerprint, entry))
            }
            Change::Key(key) => {
                let key = key.value();
                Some(Self::Key(key.id, KeyEntry::from(key)))
            }
            Change::TokenEnd(end) => Some(Self::from(end.value())),
        }
    }

    fn place(&self) -> Place {
        match self {
            Self::App(app) => Place::App(app.id),
            Self::Certificate(fingerprint, _) => Place::Certificate(*fingerprint),
            Self::Key(id, _) => Place::Key(*id),
            Self::TokenEnd(of, _) => Place::Tokens(*of),
        }
    }

    /// True if requests may use it, as far as it decides itself.
    fn is_valid(&self) -> bool {
        match self {
            Self::App(app) => app.state == AppState::Active,
            Self::Certificate(_, entry) => entry.state.counts(),
            Self::Key(_, key) => key.state.counts(),
            Self::TokenEnd(..) => false,
        }
    }

    /// The name under which connections hold it.
    fn ended(&self) -> Ended {
        match self {
            Self::App(app) => Ended::App(app.id),
            Self::Certificate(_, entry) => Ended::Credential(CredentialId::Certificate(entry.id)),
            Self::Key(id, _) => Ended::Credential(CredentialId::Key(*id)),
            Self::TokenEnd(of, _) => Ended::Tokens(*of),
        }
    }
}

impl From<&TokenEnd> for Entry {
    fn from(end: &TokenEnd) -> Self {
        Self::TokenEnd(end.of, end.until)
    }
}

/// The place of an entry in a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Place {
    App(AppId),
    Certificate(Fingerprint),
    Key(KeyId),
    Tokens(TokensOf),
}

/// The successor of a snapshot, while changes come one after another.
#[derive(Debug)]
pub struct Succession<'a> {
    before: &'a Snapshot,
    entries: Vec<Entry>,
    /// The entries that changed so far, and if they are valid now.
    valid: HashMap<Place, bool>,
    ended: Vec<Ended>,
}

impl<'a> Succession<'a> {
    pub fn of(before: &'a Snapshot) -> Self {
        Self {
            before,
            entries: Vec::new(),
            valid: HashMap::new(),
            ended: Vec::new(),
        }
    }

    /// Adds one change, with all its entries. Returns the number of credentials and Apps that ended with it.
    pub fn add(&mut self, entries: impl IntoIterator<Item = Entry>) -> usize {
        let already = self.ended.len();
        for entry in entries {
            let place = entry.place();
            let valid = entry.is_valid();
            if self.was_valid(place) && !valid {
                self.ended.push(entry.ended());
            }
            self.valid.insert(place, valid);
            self.entries.push(entry);
        }
        self.ended.len() - already
    }

    /// True if no entry has changed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The next snapshot, at this revision of the store, and all that ended, in the order of the changes.
    pub fn finish(self, revision: u64) -> (Snapshot, Vec<Ended>) {
        let before = self.before;
        let (mut apps, mut certificates, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        let mut token_ends = Vec::new();
        for entry in self.entries {
            match entry {
                Entry::App(app) => apps.push((app.id, app)),
                Entry::Certificate(fingerprint, entry) => certificates.push((fingerprint, entry)),
                Entry::Key(id, key) => keys.push((id, key)),
                Entry::TokenEnd(of, until) => token_ends.push((of, until)),
            }
        }
        let changed = keys
            .iter()
            .map(|(id, key): &(KeyId, KeyEntry)| (*id, before.keys.get(id), key));
        let key_index = before.key_index.with(changed);
        let next = Snapshot {
            key_index,
            version: before.version + 1,
            revision,
            apps: before.apps.with_all(apps),
            certificates: before.certificates.with_all(certificates),
            keys: before.keys.with_all(keys),
            token_ends: before.token_ends.with_all(token_ends),
            ..before.clone()
        };
        (next, self.ended)
    }

    fn was_valid(&self, place: Place) -> bool {
        if let Some(valid) = self.valid.get(&place) {
            return *valid;
        }
        let before = self.before;
        match place {
            Place::App(id) => before.active_app(id).is_ok(),
            Place::Certificate(fingerprint) => {
                let entry = before.certificates.get(&fingerprint);
                entry.is_some_and(|entry| entry.state.counts())
            }
            Place::Key(id) => before.keys.get(&id).is_some_and(|key| key.state.counts()),
            Place::Tokens(of) => before.token_ends.get(&of).is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::certificate::SerialNumber;
    use crate::domain::credential::CredentialState;
    use crate::domain::id::CertificateId;
    use crate::domain::route::RouteTable;
    use crate::domain::shelf::Shelf;
    use crate::domain::snapshot::{Catalog, HostPolicies};
    use crate::domain::time::{Timestamp, Validity};
    use crate::domain::token::ClientAuthMethods;

    fn app(state: AppState) -> Entry {
        Entry::App(Arc::new(App {
            state,
            ..App::sample(1, "acme")
        }))
    }

    fn certificate(state: CredentialState) -> Entry {
        let entry = CertificateEntry {
            id: CertificateId::from_bits(1),
            app: AppId::from_bits(1),
            serial: SerialNumber::from_bytes(&[1]).unwrap(),
            validity: Validity {
                not_before: Timestamp::from_unix_seconds(0),
                not_after: Timestamp::from_unix_seconds(0),
            },
            state,
        };
        Entry::Certificate(Fingerprint::from_bytes([1; 32]), entry)
    }

    fn key(state: CredentialState) -> Entry {
        let entry = KeyEntry {
            state,
            ..KeyEntry::sample(AppId::from_bits(1))
        };
        Entry::Key(KeyId::from_bits(1), entry)
    }

    fn snapshot(entries: impl IntoIterator<Item = Entry>) -> Snapshot {
        let empty = Snapshot {
            version: 1,
            revision: 1,
            catalog: Arc::new(Catalog {
                generation: 1,
                routes: RouteTable::default(),
                upstreams: foldhash::HashMap::default(),
                tls_policies: HostPolicies::default(),
                issuer: "https://a.test".into(),
                client_auth: ClientAuthMethods::default(),
                legacy_limit_fields: false,
                profile: crate::domain::token_profile::TokenProfile::default(),
                issuers: crate::domain::issuer::ForeignIssuers::default(),
            }),
            apps: Shelf::default(),
            certificates: Shelf::default(),
            keys: Shelf::default(),
            key_index: crate::domain::key_index::KeyIndex::default(),
            verification_keys: Arc::new([]),
            published: Arc::default(),
            token_ends: Shelf::default(),
        };
        let mut succession = Succession::of(&empty);
        succession.add(entries);
        succession.finish(1).0
    }

    /// The number of entries that end when `before` becomes `after`.
    fn ends(before: Option<Entry>, after: Entry) -> usize {
        let before = snapshot(before);
        let mut succession = Succession::of(&before);
        let count = succession.add([after]);
        assert_eq!(succession.finish(2).1.len(), count);
        count
    }

    #[test]
    fn what_was_valid_and_is_no_more_has_ended() {
        use CredentialState::{Active, Expired, Pending, Retiring, Revoked};
        let counts = [Active, Retiring];
        for before in CredentialState::ALL {
            for after in [Active, Expired, Pending, Retiring, Revoked] {
                let expected = usize::from(counts.contains(&before) && !counts.contains(&after));
                let shown = format!("{before:?} {after:?}");
                assert_eq!(ends(Some(key(before)), key(after)), expected, "{shown}");
                let ended = ends(Some(certificate(before)), certificate(after));
                assert_eq!(ended, expected, "{shown}");
            }
        }
        for before in AppState::ALL {
            for after in AppState::ALL {
                let expected = before == AppState::Active && after != AppState::Active;
                let ended = ends(Some(app(before)), app(after));
                assert_eq!(ended, usize::from(expected), "{before:?} {after:?}");
            }
        }
        assert_eq!(ends(None, key(Revoked)), 0, "nobody could use it");
    }

    #[test]
    fn changes_of_one_group_are_judged_one_after_another() {
        let before = snapshot([app(AppState::Active)]);
        let mut succession = Succession::of(&before);
        assert_eq!(succession.add([app(AppState::Suspended)]), 1);
        assert_eq!(succession.add([app(AppState::Active)]), 0);
        assert_eq!(succession.add([key(CredentialState::Active)]), 0);
        let all = [key(CredentialState::Revoked), app(AppState::Revoked)];
        assert_eq!(succession.add(all), 2);
        let (after, ended) = succession.finish(5);
        let app = Ended::App(AppId::from_bits(1));
        let key = Ended::Credential(CredentialId::Key(KeyId::from_bits(1)));
        assert_eq!(ended, [app, key, app]);
        assert_eq!((after.version, after.revision), (before.version + 1, 5));
        assert_eq!(after.keys.len(), 1);
        assert!(after.active_app(AppId::from_bits(1)).is_err());
    }
}
