//! Rules for Apps: one name for each, and the states that follow another.

use super::super::app::{App, AppState};
use super::change::Allowed;
use super::refusal::Refusal;

/// A new App. `namesake` is the App that has its name now: a revoked one gives it up, and comes first in the answer.
pub fn create(app: App, namesake: Option<App>) -> Result<Vec<Allowed<App>>, Refusal> {
    let mut changes = Vec::new();
    if let Some(other) = namesake {
        if other.state != AppState::Revoked {
            return Err(Refusal::NameTaken(app.name));
        }
        let name = other.name_given_up();
        changes.push(Allowed::changed(App { name, ..other }));
    }
    changes.push(Allowed::created(app));
    Ok(changes)
}

/// The App in another state. Revoked is the last one.
pub fn set_state(app: App, to: AppState) -> Result<Allowed<App>, Refusal> {
    let (name, state) = (&app.name, app.state);
    if !may_become(state, to) {
        let name = name.clone();
        return Err(Refusal::AppState { name, state });
    }
    Ok(Allowed::changed(App { state: to, ..app }))
}

/// Refuses a new credential for an App that is not active.
pub fn may_get_credentials(app: &App) -> Result<(), Refusal> {
    let (name, state) = (app.name.clone(), app.state);
    match state {
        AppState::Active => Ok(()),
        AppState::Revoked => Err(Refusal::AppState { name, state }),
        AppState::Suspended => Err(Refusal::AppSuspended(name)),
    }
}

const fn may_become(from: AppState, to: AppState) -> bool {
    matches!(
        (from, to),
        (AppState::Active, AppState::Suspended | AppState::Revoked)
            | (AppState::Suspended, AppState::Active | AppState::Revoked)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::AppId;
    use crate::domain::time::Timestamp;

    fn app(number: u128, state: AppState) -> App {
        App {
            id: AppId::from_bits(number),
            name: "acme".parse().unwrap(),
            state,
            contact: None,
            created_at: Timestamp::from_unix_seconds(0),
        }
    }

    #[test]
    fn a_name_belongs_to_one_app_until_that_is_revoked() {
        let new = || app(2, AppState::Active);
        assert_eq!(create(new(), None), Ok(vec![Allowed::created(new())]));
        for state in [AppState::Active, AppState::Suspended] {
            let taken = create(new(), Some(app(1, state))).unwrap_err();
            assert_eq!(taken, Refusal::NameTaken(new().name));
        }
        let changes = create(new(), Some(app(1, AppState::Revoked))).unwrap();
        let [given_up, created] = changes.as_slice() else {
            panic!("{changes:?}");
        };
        assert_eq!((given_up.is_new(), created.is_new()), (false, true));
        assert_eq!(given_up.value().id, AppId::from_bits(1));
        assert_ne!(given_up.value().name, created.value().name);
        assert_eq!(*created.value(), new());
    }

    #[test]
    fn a_state_follows_from_some_and_none_follows_revoked() {
        use AppState::{Active, Revoked, Suspended};
        for (from, to, allowed) in [
            (Active, Suspended, true),
            (Active, Revoked, true),
            (Active, Active, false),
            (Suspended, Active, true),
            (Suspended, Revoked, true),
            (Suspended, Suspended, false),
            (Revoked, Active, false),
            (Revoked, Suspended, false),
            (Revoked, Revoked, false),
        ] {
            let set = set_state(app(1, from), to);
            assert_eq!(set.is_ok(), allowed, "{from:?} {to:?}");
            if let Ok(set) = set {
                assert_eq!(set.into_value(), app(1, to));
            }
        }
    }

    #[test]
    fn only_an_active_app_gets_credentials() {
        use AppState::{Active, Revoked, Suspended};
        for (state, said) in [
            (Active, None),
            (Revoked, Some("the App acme is revoked")),
            (
                Suspended,
                Some("the App acme is suspended; resume it first"),
            ),
        ] {
            let refused = may_get_credentials(&app(1, state)).err();
            assert_eq!(refused.map(|refused| refused.to_string()).as_deref(), said);
        }
    }
}
