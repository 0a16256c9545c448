//! Rules for boosts: so many at the same time, each with an end in the future.

use std::time::Duration;

use super::super::app::{App, AppState};
use super::super::boost::{BOOSTS_MAX, Boost};
use super::super::id::BoostId;
use super::super::time::Timestamp;
use super::change::Allowed;
use super::refusal::Refusal;

/// The longest life of a boost. One that is meant to stay is a limit of its own.
const LIFE_MAX: Duration = Duration::from_hours(24 * 366);

/// The App with one more boost. Those that have ended leave the record; the audit trail has them.
pub fn add(app: App, boost: Boost, now: Timestamp) -> Result<Allowed<App>, Refusal> {
    let (name, state) = (app.name.clone(), app.state);
    if state == AppState::Revoked {
        return Err(Refusal::AppState { name, state });
    }
    if boost.until <= now || boost.until > now.plus(LIFE_MAX) {
        return Err(Refusal::BoostEnd);
    }
    let mut boosts = live(&app, now);
    if boosts.len() >= BOOSTS_MAX {
        return Err(Refusal::TooManyBoosts { name });
    }
    boosts.push(boost);
    Ok(with(app, boosts))
}

/// The App without this boost; none if the App has no such one, or it has ended.
pub fn end(app: App, id: BoostId, now: Timestamp) -> Option<Allowed<App>> {
    let mut boosts = live(&app, now);
    let before = boosts.len();
    boosts.retain(|boost| boost.id != id);
    (boosts.len() < before).then(|| with(app, boosts))
}

fn live(app: &App, now: Timestamp) -> Vec<Boost> {
    let live = app.boosts.iter().filter(|boost| boost.is_live(now));
    live.cloned().collect()
}

fn with(app: App, boosts: Vec<Boost>) -> Allowed<App> {
    Allowed::changed(App {
        boosts: boosts.into(),
        ..app
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    fn boost(number: u128, life: Duration) -> Boost {
        Boost {
            id: BoostId::from_bits(number),
            key: None,
            limit: None,
            factor: "2".parse().unwrap(),
            until: NOW.plus(life),
            created_at: NOW,
        }
    }

    fn added(app: App, boost: Boost, now: Timestamp) -> App {
        add(app, boost, now).unwrap().into_value()
    }

    #[test]
    fn an_app_has_so_many_boosts_that_live() {
        let hour = Duration::from_hours(1);
        let mut app = App::sample(1, "acme");
        for number in 0..8 {
            app = added(app, boost(number, hour), NOW);
        }
        let name = app.name.clone();
        let refused = add(app.clone(), boost(9, hour), NOW).unwrap_err();
        assert_eq!(refused, Refusal::TooManyBoosts { name });
        let later = NOW.plus(hour);
        let app = added(app, boost(9, hour * 2), later);
        assert_eq!(app.boosts.len(), 1, "the ended ones have left");
        assert!(end(app.clone(), BoostId::from_bits(1), later).is_none());
        let ended = end(app, BoostId::from_bits(9), later).unwrap();
        assert!(ended.value().boosts.is_empty());
    }

    #[test]
    fn a_boost_ends_in_the_future_and_within_a_year() {
        let app = App::sample(1, "acme");
        for life in [Duration::ZERO, Duration::from_hours(24 * 367)] {
            let refused = add(app.clone(), boost(1, life), NOW).unwrap_err();
            assert_eq!(refused, Refusal::BoostEnd);
        }
        let revoked = App {
            state: AppState::Revoked,
            ..app
        };
        assert!(add(revoked, boost(1, Duration::from_hours(1)), NOW).is_err());
    }
}
