//! The numbers of credentials, by state and by the time to their end, for the metrics.

use std::time::Duration;

use crate::domain::app::AppState;
use crate::domain::credential::CredentialState;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;

/// The spans for the counts of coming ends, as labels and as times. A series per credential would have no bound.
pub const WITHIN: [(&str, Duration); 4] = [
    ("1d", Duration::from_hours(24)),
    ("7d", Duration::from_hours(24 * 7)),
    ("30d", Duration::from_hours(24 * 30)),
    ("90d", Duration::from_hours(24 * 90)),
];

/// The counts of everything in the registry at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CredentialCounts {
    /// The counts in the order of [`AppState::ALL`].
    pub apps: [u64; AppState::ALL.len()],
    pub certificates: Count,
    pub keys: Count,
}

/// The counts of one kind of credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// The counts in the order of [`CredentialState::ALL`].
    pub by_state: [u64; CredentialState::ALL.len()],
    /// Credentials that are valid now and end within each span of [`WITHIN`].
    pub ending: [u64; WITHIN.len()],
}

/// Counts the credentials of a snapshot. A million entries take tens of milliseconds.
pub fn count(snapshot: &Snapshot, now: Timestamp) -> CredentialCounts {
    let mut counts = CredentialCounts::default();
    for (_, app) in snapshot.apps.iter() {
        let place = AppState::ALL.iter().position(|state| *state == app.state);
        if let Some(count) = place.and_then(|place| counts.apps.get_mut(place)) {
            *count += 1;
        }
    }
    for (_, entry) in snapshot.certificates.iter() {
        let end = entry.validity.not_after;
        counts.certificates.add(entry.state, Some(end), now);
    }
    for (_, key) in snapshot.keys.iter() {
        counts.keys.add(key.state, key.expires_at, now);
    }
    counts
}

impl Count {
    fn add(&mut self, state: CredentialState, end: Option<Timestamp>, now: Timestamp) {
        let state = state.at(now, end);
        let place = CredentialState::ALL
            .iter()
            .position(|known| *known == state);
        if let Some(count) = place.and_then(|place| self.by_state.get_mut(place)) {
            *count += 1;
        }
        let Some(end) = end.filter(|_| state.counts()) else {
            return;
        };
        for (count, (_, within)) in self.ending.iter_mut().zip(WITHIN) {
            *count += u64::from(end.since(now) <= within);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{ACTOR, CSR, Fixture};
    use crate::domain::credential::RevocationReason;

    #[tokio::test]
    async fn credentials_are_counted_by_state_and_by_how_soon_they_end() {
        let fixture = Fixture::new().await;
        fixture.app("acme").await;
        fixture.sign("acme", "prod", CSR).await.unwrap();
        fixture.key("acme", "").await;
        let (key, _) = fixture.key("acme", "").await;
        let reason = RevocationReason::default();
        let revoked = fixture.control.revoke_key(&ACTOR, key.id, reason).await;
        revoked.unwrap();
        let now = fixture.control.now();
        let counts = count(&fixture.snapshot(), now);
        assert_eq!(counts.apps, [1, 0, 0]);
        assert_eq!(counts.keys.by_state, [0, 1, 0, 1, 0]);
        assert_eq!(counts.keys.ending, [0; 4]);
        assert_eq!(counts.certificates.by_state, [0, 1, 0, 0, 0]);
        assert_eq!(counts.certificates.ending, [0, 0, 0, 1]);

        let later = now.plus(Duration::from_hours(24 * 84));
        let counts = count(&fixture.snapshot(), later);
        assert_eq!(counts.certificates.ending, [0, 1, 1, 1]);
        let after = now.plus(Duration::from_hours(24 * 91));
        let counts = count(&fixture.snapshot(), after);
        assert_eq!(counts.certificates.by_state, [0, 0, 0, 0, 1]);
        assert_eq!(counts.certificates.ending, [0; 4]);
    }
}
