//! Refusals of the registry's rules, in the words for operators.

use super::super::app::AppState;
use super::super::app_settings::InvalidSettings;
use super::super::credential::CredentialState;
use super::super::id::KeyId;
use super::super::name::Name;
use super::super::time::Timestamp;

/// A change that a rule does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("a boost ends in the future, and within 366 days")]
    BoostEnd,
    #[error("the App {name} has 8 boosts, which is the most; end one of them")]
    TooManyBoosts { name: Name },
    /// The App's state does not allow the change.
    #[error("the App {name} is {}", state.as_str())]
    AppState { name: Name, state: AppState },
    /// The App gets new credentials once it is resumed.
    #[error("the App {0} is suspended; resume it first")]
    AppSuspended(Name),
    /// The key pair was revoked for key compromise, permanently.
    #[error(
        "a certificate with this key was revoked because the key is compromised; make a new key pair"
    )]
    KeyCompromised,
    #[error("{id} is {}; make a new key", state.as_str())]
    KeyEnded { id: KeyId, state: CredentialState },
    /// The key pair belongs to another App.
    #[error(
        "the key of this request is registered to another App; make a new key pair for each App"
    )]
    KeyOfOtherApp,
    /// The App's environment is `test`.
    #[error("the App {0} is for tests, and gets test keys only")]
    LiveKey(Name),
    #[error("{0} has been rotated already; rotate its successor")]
    KeyRotated(KeyId),
    /// The partner still uses a key that retires, and has not begun to use the next one.
    #[error(
        "{id} was used at {at}, and its successor {successor} never was: its user would be cut off"
    )]
    KeyInUse {
        id: KeyId,
        successor: KeyId,
        at: Timestamp,
    },
    #[error("there is an App {0} already")]
    NameTaken(Name),
    /// The credential or admin token was revoked before.
    #[error("{id} was revoked at {at}")]
    Revoked { id: String, at: Timestamp },
    /// A setting that no App has.
    #[error(transparent)]
    Settings(#[from] InvalidSettings),
    #[error(
        "the App has reached its limit of active certificates; revoke one that is no longer used"
    )]
    TooManyActive,
    #[error(
        "the App {name} has {max} live keys, which is its limit; revoke one that is no longer used, or raise keys_max"
    )]
    TooManyKeys { name: Name, max: u32 },
}

/// Refuses a second revocation of the object with this id.
pub(super) fn unless_revoked(
    id: impl std::fmt::Display,
    revoked_at: Option<Timestamp>,
) -> Result<(), Refusal> {
    match revoked_at {
        None => Ok(()),
        Some(at) => Err(Refusal::Revoked {
            id: id.to_string(),
            at,
        }),
    }
}
