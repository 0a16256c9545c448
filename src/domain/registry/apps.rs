//! Rules for Apps: one name for each, the states that follow another, the settings, and how much an App may have.

use super::super::api_key::Environment;
use super::super::app::{App, AppState};
use super::super::app_settings::AppSettings;
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

/// The App with other settings and another contact. What a revoked App had stays on record.
pub fn set(
    app: App,
    contact: Option<String>,
    settings: AppSettings,
) -> Result<Allowed<App>, Refusal> {
    let (name, state) = (&app.name, app.state);
    if state == AppState::Revoked {
        let name = name.clone();
        return Err(Refusal::AppState { name, state });
    }
    settings.check()?;
    Ok(Allowed::changed(App {
        contact,
        settings,
        ..app
    }))
}

/// Refuses one more key of `environment` for an App that has `live` ones.
pub fn may_get_key(app: &App, environment: Environment, live: usize) -> Result<(), Refusal> {
    may_get_credentials(app)?;
    let name = || app.name.clone();
    if app.settings.environment == Environment::Test && environment == Environment::Live {
        return Err(Refusal::LiveKey(name()));
    }
    let max = app.settings.keys_max();
    if u32::try_from(live).is_ok_and(|live| live < max) {
        Ok(())
    } else {
        Err(Refusal::TooManyKeys { name: name(), max })
    }
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

    fn app(number: u128, state: AppState) -> App {
        App {
            state,
            ..App::sample(number, "acme")
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
    fn settings_change_until_the_app_is_revoked_and_are_checked() {
        use AppState::{Active, Revoked, Suspended};
        let settings = |max| AppSettings {
            keys_max: Some(max),
            ..AppSettings::default()
        };
        let contact = Some("ops".to_owned());
        for (state, max, allowed) in [
            (Active, 1, true),
            (Suspended, 1, true),
            (Active, 0, false),
            (Revoked, 1, false),
        ] {
            let changed = set(app(1, state), contact.clone(), settings(max));
            assert_eq!(changed.is_ok(), allowed, "{state:?} {max}");
            if let Ok(changed) = changed {
                let changed = changed.into_value();
                assert_eq!(changed.contact, contact);
                assert_eq!(changed.settings, settings(max));
            }
        }
    }

    #[test]
    fn an_app_gets_keys_up_to_its_limit_and_of_its_environment() {
        use Environment::{Live, Test};
        let of = |environment, keys_max| App {
            settings: AppSettings {
                environment,
                keys_max,
                ..AppSettings::default()
            },
            ..app(1, AppState::Active)
        };
        for (environment, keys_max, key, live, allowed) in [
            (Live, None, Live, 19, true),
            (Live, None, Live, 20, false),
            (Live, None, Test, 0, true),
            (Live, Some(30), Live, 29, true),
            (Live, Some(1), Live, 1, false),
            (Test, None, Test, 0, true),
            (Test, None, Live, 0, false),
        ] {
            let may = may_get_key(&of(environment, keys_max), key, live);
            assert_eq!(
                may.is_ok(),
                allowed,
                "{environment:?} {keys_max:?} {key:?} {live}"
            );
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
