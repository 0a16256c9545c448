//! Boosts of Apps' limits: added, listed, ended.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::apps::find;
use super::audit::event;
use super::error::Error;
use super::publish::Changed;
use super::service::Control;
use super::writer::Plan;
use crate::crypto::random;
use crate::domain::admin::Actor;
use crate::domain::app::App;
use crate::domain::boost::Boost;
use crate::domain::factor::Factor;
use crate::domain::id::{AppId, BoostId, KeyId};
use crate::domain::limit::Per;
use crate::domain::listing::Page;
use crate::domain::name::Name;
use crate::domain::registry::boosts;
use crate::domain::snapshot::Snapshot;
use crate::domain::suggest;
use crate::domain::time::Timestamp;

/// The maximum number of characters of the words with which an operator explains a boost in the audit trail.
const WHY_CHARS_MAX: usize = 200;

/// An operator's input for a new boost.
#[derive(Clone, Debug)]
pub struct NewBoost {
    pub of: BoostOf,
    /// The limit's name; all limits when absent.
    pub limit: Option<Name>,
    pub factor: Factor,
    pub end: BoostEnd,
    pub why: Option<String>,
}

/// The callers that a boost is for.
#[derive(Clone, Debug)]
pub enum BoostOf {
    /// The App's id or name.
    App(String),
    Key(KeyId),
}

/// The end of a new boost.
#[derive(Clone, Copy, Debug)]
pub enum BoostEnd {
    At(Timestamp),
    In(Duration),
}

/// A boost and its App.
#[derive(Clone, Debug)]
pub struct BoostOfApp {
    pub app: AppId,
    pub boost: Boost,
}

impl Control {
    /// Raises limits of an App, or of one of its keys, until a date.
    pub async fn add_boost(
        &self,
        actor: &Actor,
        new: NewBoost,
    ) -> Result<Changed<BoostOfApp>, Error> {
        let why = new.why.map(checked_why).transpose()?;
        if let Some(name) = &new.limit {
            can_be_raised(&self.publisher().current(), name)?;
        }
        let (actor, now) = (actor.clone(), self.now());
        let (key, wanted) = match new.of {
            BoostOf::App(app) => (None, app),
            BoostOf::Key(key) => (Some(key), self.key(key).await?.app.to_string()),
        };
        let boost = Boost {
            id: BoostId::from_bits(random::id_bits(now)),
            key,
            limit: new.limit,
            factor: new.factor,
            until: match new.end {
                BoostEnd::At(until) => until,
                BoostEnd::In(span) => now.plus(span),
            },
            created_at: now,
        };
        let changed = self.commit(move |draft| {
            let app = boosts::add(find(draft, &wanted)?, boost.clone(), now)?;
            let id = app.value().id;
            let detail = detail(&boost, why.as_deref());
            Ok(Plan {
                changes: vec![app.into()],
                event: event(&actor, now, "boost.add", &boost.id, Some(id), detail),
                value: BoostOfApp {
                    app: id,
                    boost: boost.clone(),
                },
            })
        });
        let changed = changed.await?;
        let id = changed.value.boost.id;
        changed.in_force(id)
    }

    /// Ends a boost before its date.
    pub async fn end_boost(
        &self,
        actor: &Actor,
        id: BoostId,
    ) -> Result<Changed<BoostOfApp>, Error> {
        let (actor, now) = (actor.clone(), self.now());
        let missing = move || Error::not_found("boost", id);
        let of = live(&self.publisher().current(), now).find(|of| of.boost.id == id);
        let of = of.ok_or_else(missing)?;
        let changed = self.commit(move |draft| {
            let before = find(draft, &of.app.to_string())?;
            let app = boosts::end(before, id, now).ok_or_else(missing)?;
            let detail = detail(&of.boost, None);
            Ok(Plan {
                changes: vec![app.into()],
                event: event(&actor, now, "boost.end", &id, Some(of.app), detail),
                value: of.clone(),
            })
        });
        changed.await?.in_force(id)
    }

    /// The boosts that live now, of one App or of all, in the order of their creation.
    pub fn boosts(&self, app: Option<AppId>, page: &Page<BoostId>) -> Vec<BoostOfApp> {
        let snapshot = self.publisher().current();
        let mut found: Vec<_> = live(&snapshot, self.now())
            .filter(|of| app.is_none_or(|app| of.app == app))
            .filter(|of| page.after.is_none_or(|after| of.boost.id > after))
            .collect();
        found.sort_by_key(|of| of.boost.id);
        found.truncate(page.limit.try_into().unwrap_or(usize::MAX));
        found
    }
}

fn live(snapshot: &Snapshot, now: Timestamp) -> impl Iterator<Item = BoostOfApp> {
    let all = snapshot.apps.iter().flat_map(|(id, app): (_, &Arc<App>)| {
        let of = |boost: &Boost| BoostOfApp {
            app: *id,
            boost: boost.clone(),
        };
        app.boosts.iter().map(of)
    });
    all.filter(move |of| of.boost.is_live(now))
}

/// Refuses the name of a limit that there is not, or that counts the requests of others, too.
fn can_be_raised(snapshot: &Snapshot, name: &Name) -> Result<(), Error> {
    let of_routes = snapshot.catalog.routes.limits();
    let of_keys = snapshot
        .keys
        .iter()
        .filter_map(|(_, key)| key.rules.as_ref());
    let of_keys = of_keys.flat_map(|rules| rules.limits.iter());
    let mut known = of_routes.chain(of_keys);
    match known.find(|limit| limit.name() == name) {
        Some(limit) if matches!(limit.per(), Per::Address | Per::Route) => {
            Err(Error::invalid(format!(
                "the limit {name} counts per {}, so it is not an App's own; change it in the configuration",
                limit.per().as_str()
            )))
        }
        Some(_) => Ok(()),
        None => Err(Error::invalid(unknown(snapshot, name))),
    }
}

fn unknown(snapshot: &Snapshot, name: &Name) -> String {
    let known = snapshot.catalog.routes.limits();
    let nearest = suggest::nearest(name.as_str(), known.map(|limit| limit.name().as_str()));
    match nearest {
        Some(nearest) => format!("there is no limit {name}; did you mean {nearest}?"),
        None => format!("there is no limit {name}"),
    }
}

fn checked_why(why: String) -> Result<String, Error> {
    let plain = why.chars().count() <= WHY_CHARS_MAX && !why.chars().any(char::is_control);
    if plain {
        Ok(why)
    } else {
        Err(Error::invalid(format!(
            "why has at most {WHY_CHARS_MAX} characters, and no control character"
        )))
    }
}

fn detail(boost: &Boost, why: Option<&str>) -> Value {
    json!({
        "key": boost.key,
        "limit": boost.limit,
        "factor": boost.factor.to_string(),
        "until": boost.until,
        "why": why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{ACTOR, Fixture};
    use crate::domain::reason::Reason;

    fn new(app: &str) -> NewBoost {
        NewBoost {
            of: BoostOf::App(app.to_owned()),
            limit: None,
            factor: "3".parse().unwrap(),
            end: BoostEnd::In(Duration::from_hours(1)),
            why: Some("a launch".to_owned()),
        }
    }

    const ALL: Page<BoostId> = Page {
        after: None,
        limit: 50,
    };

    #[tokio::test]
    async fn a_boost_is_added_listed_and_ended() {
        let fixture = Fixture::new().await;
        let app = fixture.app("acme").await;
        let (key, _) = fixture.key("acme", "").await;
        let control = &fixture.control;
        let added = control.add_boost(&ACTOR, new("acme")).await.unwrap().value;
        // Ids are in the order of creation, to the millisecond.
        fixture.clock.advance(Duration::from_secs(1));
        let of_key = NewBoost {
            of: BoostOf::Key(key.id),
            ..new("")
        };
        control.add_boost(&ACTOR, of_key).await.unwrap();
        let listed = control.boosts(Some(app.id), &ALL);
        assert_eq!(listed.len(), 2);
        assert_eq!(listed[1].boost.key, Some(key.id));
        assert!(control.boosts(Some(AppId::from_bits(9)), &ALL).is_empty());
        let after = Page {
            after: Some(added.boost.id),
            limit: 50,
        };
        assert_eq!(control.boosts(None, &after).len(), 1);
        control.end_boost(&ACTOR, added.boost.id).await.unwrap();
        assert_eq!(control.boosts(None, &ALL).len(), 1);
        let again = control.end_boost(&ACTOR, added.boost.id).await.unwrap_err();
        assert_eq!(again.reason, Reason::NotFound);
        fixture.clock.advance(Duration::from_hours(2));
        assert!(control.boosts(None, &ALL).is_empty());
    }

    #[tokio::test]
    async fn a_limit_that_is_not_there_is_refused() {
        let fixture = Fixture::new().await;
        fixture.app("acme").await;
        let wrong = NewBoost {
            limit: Some("ordres".parse().unwrap()),
            ..new("acme")
        };
        let refused = fixture.control.add_boost(&ACTOR, wrong).await.unwrap_err();
        assert_eq!(refused.reason, Reason::InputInvalid);
        assert!(
            refused.detail.contains("there is no limit ordres"),
            "{}",
            refused.detail
        );
        let long = NewBoost {
            why: Some("x".repeat(201)),
            ..new("acme")
        };
        let refused = fixture.control.add_boost(&ACTOR, long).await.unwrap_err();
        assert_eq!(refused.reason, Reason::InputInvalid);
    }
}
