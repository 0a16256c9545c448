//! Rules for keys: a rotation leaves the old one for a while, and extends no life.

use std::time::Duration;

use super::super::api_key::{ApiKey, SecretDigest};
use super::super::app::App;
use super::super::credential::{CredentialState, RevocationReason};
use super::super::id::KeyId;
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

/// A new key of this App, which has `live` ones.
pub fn create(key: ApiKey, app: &App, live: usize) -> Result<Allowed<ApiKey>, Refusal> {
    may_get_key(app, key.environment, live)?;
    Ok(Allowed::created(key))
}

/// A successor with the same name, scopes, networks and end. The old key ends after `overlap`, or with its own end if
/// that comes first.
pub fn rotate(
    old: ApiKey,
    app: &App,
    successor: (KeyId, SecretDigest),
    now: Timestamp,
    overlap: Duration,
) -> Result<Rotation, Refusal> {
    unless_rotated_or_ended(&old, now)?;
    may_get_credentials(app)?;
    let (id, digest) = successor;
    let successor = Allowed::created(ApiKey {
        id,
        digest,
        created_at: now,
        ..old.clone()
    });
    let ends = now.plus(overlap);
    let ends = old.expires_at.map_or(ends, |end| end.min(ends));
    let retired = Allowed::changed(ApiKey {
        state: CredentialState::Retiring,
        expires_at: Some(ends),
        ..old
    });
    Ok(Rotation { retired, successor })
}

/// The key, revoked. The first revocation stands.
pub fn revoke(
    key: ApiKey,
    at: Timestamp,
    reason: RevocationReason,
) -> Result<Allowed<ApiKey>, Refusal> {
    unless_revoked(key.id, key.revoked_at)?;
    Ok(Allowed::changed(ApiKey {
        state: CredentialState::Revoked,
        revoked_at: Some(at),
        revocation_reason: Some(reason),
        ..key
    }))
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
            id: KeyId::from_bits(1),
            app: AppId::from_bits(1),
            name: "backend".parse().unwrap(),
            environment: Environment::Test,
            digest: SecretDigest([1; 32]),
            scopes: "orders:read".parse().unwrap(),
            networks: Vec::new(),
            state,
            created_at: NOW,
            expires_at,
            revoked_at: (state == CredentialState::Revoked).then_some(NOW),
            revocation_reason: None,
        }
    }

    fn rotated(old: ApiKey, state: AppState) -> Result<Rotation, Refusal> {
        let successor = (KeyId::from_bits(2), SecretDigest([2; 32]));
        rotate(old, &app(state), successor, NOW, HOUR)
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
    fn the_first_revocation_stands() {
        let reason = RevocationReason::KeyCompromise;
        let first = revoke(key(CredentialState::Retiring, None), NOW, reason);
        let first = first.unwrap().into_value();
        assert_eq!(first.state, CredentialState::Revoked);
        assert_eq!(first.revoked_at, Some(NOW));
        assert_eq!(first.revocation_reason, Some(reason));
        assert!(revoke(first, NOW, RevocationReason::Superseded).is_err());
    }
}
