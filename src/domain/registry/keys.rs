//! Rules for keys: a rotation leaves the old one for a while, and extends no life.

use std::time::Duration;

use super::super::api_key::{ApiKey, DigestKind, KeyTail, SecretDigest};
use super::super::app::App;
use super::super::credential::{CredentialState, RevocationReason};
use super::super::id::KeyId;
use super::super::sealed::Sealed;
use super::super::time::Timestamp;
use super::apps::{may_get_credentials, may_get_key};
use super::change::Allowed;
use super::refusal::{Refusal, unless_revoked};

/// A rotation: the key that retires, and the key that succeeds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    pub retired: Allowed<ApiKey>,
    pub successor: Allowed<ApiKey>,
}

/// The parts of a successor that its predecessor does not give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewText {
    pub id: KeyId,
    pub digest: SecretDigest,
    pub tail: Option<KeyTail>,
    /// The text itself, for a signing key.
    pub sealed: Option<Sealed>,
}

/// A new key of this App, which has `live` ones.
pub fn create(key: ApiKey, app: &App, live: usize) -> Result<Allowed<ApiKey>, Refusal> {
    may_get_key(app, key.environment, live)?;
    Ok(Allowed::created(key))
}

/// A successor with the same name, scopes, networks, origins, limits and end. The old key ends after the
/// overlap, or with its own end if that comes first.
pub fn rotate(
    old: ApiKey,
    app: &App,
    new: NewText,
    now: Timestamp,
    handover: Handover,
) -> Result<Rotation, Refusal> {
    unless_rotated_or_ended(&old, now)?;
    may_get_credentials(app)?;
    let successor = Allowed::created(ApiKey {
        id: new.id,
        digest: new.digest,
        digest_kind: DigestKind::Own,
        tail: new.tail,
        sealed: new.sealed,
        created_at: now,
        ..old.clone()
    });
    let old = ApiKey {
        successor: Some(new.id),
        ..old
    };
    let retired = match handover {
        Handover::Overlap(overlap) => {
            let ends = now.plus(overlap);
            ApiKey {
                state: CredentialState::Retiring,
                expires_at: Some(old.expires_at.map_or(ends, |end| end.min(ends))),
                ..old
            }
        }
        Handover::AtOnce => revoked(old, now, RevocationReason::Superseded),
    };
    let retired = Allowed::changed(retired);
    Ok(Rotation { retired, successor })
}

/// The fate of a key that has got a successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// It still works for this long.
    Overlap(Duration),
    /// It ends at once.
    AtOnce,
}

/// The circumstances of a revocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revocation {
    pub reason: RevocationReason,
    /// True if tokens that were minted from the key count until their own end.
    pub keep_tokens: bool,
    /// True if it does not matter who still uses the key.
    pub force: bool,
}

impl From<Duration> for Handover {
    fn from(overlap: Duration) -> Self {
        Self::Overlap(overlap)
    }
}

impl From<RevocationReason> for Revocation {
    fn from(reason: RevocationReason) -> Self {
        Self {
            reason,
            ..Self::default()
        }
    }
}

/// The last uses that say if a revocation would cut somebody off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastUses {
    pub of_key: Option<Timestamp>,
    pub of_successor: Option<Timestamp>,
}

/// A key that was used within this time is in use: programs that call every few minutes are, too.
const IN_USE: Duration = Duration::from_mins(10);

/// The key, revoked. The first revocation stands. A key that retires is not revoked while it alone is used, unless
/// that is meant.
pub fn revoke(
    key: ApiKey,
    at: Timestamp,
    revocation: Revocation,
    uses: LastUses,
) -> Result<Allowed<ApiKey>, Refusal> {
    unless_revoked(key.id, key.revoked_at)?;
    let counts = key.state.at(at, key.expires_at).counts();
    // A key that somebody else has must end, however it is used.
    if !revocation.force && revocation.reason != RevocationReason::KeyCompromise {
        unless_in_use(&key, at, uses)?;
    }
    Ok(Allowed::changed(ApiKey {
        // Tokens of a key that has ended have ended with it, and do not come back.
        tokens_outlive: revocation.keep_tokens && counts,
        ..revoked(key, at, revocation.reason)
    }))
}

fn revoked(key: ApiKey, at: Timestamp, reason: RevocationReason) -> ApiKey {
    ApiKey {
        state: CredentialState::Revoked,
        revoked_at: Some(at),
        revocation_reason: Some(reason),
        ..key
    }
}

fn unless_in_use(key: &ApiKey, now: Timestamp, uses: LastUses) -> Result<(), Refusal> {
    let retiring = key.state.at(now, key.expires_at) == CredentialState::Retiring;
    match (key.successor, uses.of_key, uses.of_successor) {
        (Some(successor), Some(at), None) if retiring && now <= at.plus(IN_USE) => {
            Err(Refusal::KeyInUse {
                id: key.id,
                successor,
                at,
            })
        }
        _ => Ok(()),
    }
}

fn unless_rotated_or_ended(key: &ApiKey, now: Timestamp) -> Result<(), Refusal> {
    let id = key.id;
    match key.state.at(now, key.expires_at) {
        CredentialState::Active => Ok(()),
        CredentialState::Retiring => Err(Refusal::KeyRotated(id)),
        state => Err(Refusal::KeyEnded { id, state }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::api_key::Environment;
    use crate::domain::app::AppState;
    use crate::domain::id::AppId;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_000_000);
    const HOUR: Duration = Duration::from_hours(1);

    fn app(state: AppState) -> App {
        App {
            state,
            ..App::sample(1, "acme")
        }
    }

    fn key(state: CredentialState, expires_at: Option<Timestamp>) -> ApiKey {
        ApiKey {
            environment: Environment::Test,
            scopes: "orders:read".parse().unwrap(),
            state,
            created_at: NOW,
            expires_at,
            revoked_at: (state == CredentialState::Revoked).then_some(NOW),
            ..ApiKey::sample(KeyId::from_bits(1), AppId::from_bits(1))
        }
    }

    fn rotated(old: ApiKey, state: AppState) -> Result<Rotation, Refusal> {
        let successor = NewText {
            id: KeyId::from_bits(2),
            digest: SecretDigest([2; 32]),
            tail: None,
            sealed: None,
        };
        rotate(old, &app(state), successor, NOW, Handover::Overlap(HOUR))
    }

    #[test]
    fn a_rotation_never_extends_a_life() {
        for (own, expected) in [
            (None, NOW.plus(HOUR)),
            (Some(NOW.plus(HOUR / 2)), NOW.plus(HOUR / 2)),
            (Some(NOW.plus(HOUR * 2)), NOW.plus(HOUR)),
        ] {
            let old = key(CredentialState::Active, own);
            let rotation = rotated(old.clone(), AppState::Active).unwrap();
            let retired = ApiKey {
                state: CredentialState::Retiring,
                expires_at: Some(expected),
                successor: Some(KeyId::from_bits(2)),
                ..old.clone()
            };
            assert_eq!(rotation.retired, Allowed::changed(retired));
            let successor = ApiKey {
                id: KeyId::from_bits(2),
                digest: SecretDigest([2; 32]),
                ..old
            };
            assert_eq!(rotation.successor, Allowed::created(successor));
        }
    }

    #[test]
    fn what_has_a_successor_or_an_end_is_not_rotated_nor_a_key_of_a_suspended_app() {
        use CredentialState::{Active, Pending, Retiring, Revoked};
        let past = Some(NOW.minus(HOUR));
        for (state, end, of_app, said) in [
            (Retiring, None, AppState::Active, "has been rotated already"),
            (Revoked, None, AppState::Active, "is revoked; make"),
            (Active, past, AppState::Active, "is expired; make"),
            (Pending, None, AppState::Active, "is pending; make"),
            (Active, None, AppState::Suspended, "resume it first"),
            (Active, None, AppState::Revoked, "the App acme is revoked"),
        ] {
            let refused = rotated(key(state, end), of_app).unwrap_err().to_string();
            assert!(refused.contains(said), "{refused}");
        }
    }

    #[test]
    fn a_rotation_may_end_the_old_key_at_once() {
        let old = key(CredentialState::Active, None);
        let text = NewText {
            id: KeyId::from_bits(2),
            digest: SecretDigest([2; 32]),
            tail: None,
            sealed: None,
        };
        let app = app(AppState::Active);
        let rotation = rotate(old, &app, text, NOW, Handover::AtOnce).unwrap();
        let retired = rotation.retired.into_value();
        assert_eq!(retired.state, CredentialState::Revoked);
        assert_eq!(retired.successor, Some(KeyId::from_bits(2)));
        assert_eq!(
            retired.revocation_reason,
            Some(RevocationReason::Superseded)
        );
    }

    #[test]
    fn a_key_that_alone_is_used_is_not_revoked_unless_that_is_meant() {
        let recent = Some(NOW.minus(Duration::from_mins(10)));
        let long_ago = Some(NOW.minus(Duration::from_mins(11)));
        let retiring = ApiKey {
            successor: Some(KeyId::from_bits(2)),
            ..key(CredentialState::Retiring, Some(NOW.plus(HOUR)))
        };
        let active = key(CredentialState::Active, None);
        let ended = ApiKey {
            expires_at: Some(NOW.minus(HOUR)),
            ..retiring.clone()
        };
        for (key, of_key, of_successor, force, refused) in [
            (&retiring, recent, None, false, true),
            (&retiring, recent, None, true, false),
            (&retiring, recent, long_ago, false, false),
            (&retiring, long_ago, None, false, false),
            (&retiring, None, None, false, false),
            (&active, recent, None, false, false),
            (&ended, recent, None, false, false),
        ] {
            let revocation = Revocation {
                force,
                ..Revocation::default()
            };
            let uses = LastUses {
                of_key,
                of_successor,
            };
            let revoked = revoke(key.clone(), NOW, revocation, uses);
            let in_use = matches!(revoked, Err(Refusal::KeyInUse { .. }));
            assert_eq!(in_use, refused, "{of_key:?} {of_successor:?} {force}");
        }
    }

    #[test]
    fn a_key_that_leaked_is_revoked_however_it_is_used() {
        let retiring = ApiKey {
            successor: Some(KeyId::from_bits(2)),
            ..key(CredentialState::Retiring, Some(NOW.plus(HOUR)))
        };
        let uses = LastUses {
            of_key: Some(NOW),
            of_successor: None,
        };
        let leaked = Revocation::from(RevocationReason::KeyCompromise);
        assert!(revoke(retiring, NOW, leaked, uses).is_ok());
    }

    #[test]
    fn tokens_of_a_key_that_has_ended_do_not_come_back() {
        let keep = Revocation {
            keep_tokens: true,
            ..Revocation::default()
        };
        for (end, kept) in [(NOW.plus(HOUR), true), (NOW.minus(HOUR), false)] {
            let key = key(CredentialState::Active, Some(end));
            let revoked = revoke(key, NOW, keep, LastUses::default()).unwrap();
            assert_eq!(revoked.value().tokens_outlive, kept);
        }
    }

    #[test]
    fn the_first_revocation_stands() {
        let reason = RevocationReason::KeyCompromise;
        let of = |reason| Revocation {
            reason,
            keep_tokens: true,
            force: false,
        };
        let uses = LastUses::default();
        let first = revoke(key(CredentialState::Retiring, None), NOW, of(reason), uses);
        let first = first.unwrap().into_value();
        assert_eq!(first.state, CredentialState::Revoked);
        assert_eq!(first.revoked_at, Some(NOW));
        assert_eq!(first.revocation_reason, Some(reason));
        assert!(first.tokens_outlive);
        let again = of(RevocationReason::Superseded);
        assert!(revoke(first, NOW, again, uses).is_err());
    }
}
