//! Apps: created, listed, suspended, resumed, revoked.

use serde_json::json;

use super::audit::event;
use super::draft::Draft;
use super::error::Error;
use super::publish::Changed;
use super::service::Control;
use super::writer::Plan;
use crate::crypto::random;
use crate::domain::admin::Actor;
use crate::domain::app::{App, AppState};
use crate::domain::app_settings::AppSettings;
use crate::domain::id::AppId;
use crate::domain::listing::Page;
use crate::domain::name::Name;
use crate::domain::registry::apps;
use crate::domain::registry::change::Change;

/// The maximum number of characters of a contact: a name, an address, a telephone number.
const CONTACT_CHARS_MAX: usize = 200;

/// An operator's input for a new App.
#[derive(Clone, Debug)]
pub struct NewApp {
    pub name: Name,
    pub contact: Option<String>,
}

impl Control {
    pub async fn create_app(&self, actor: &Actor, new: NewApp) -> Result<App, Error> {
        let contact = new.contact.map(checked_contact).transpose()?;
        if new.name.as_str().parse::<AppId>().is_ok() {
            return Err(Error::invalid(
                "an App's name must not look like the id of an App",
            ));
        }
        let now = self.now();
        let app = App {
            id: AppId::from_bits(random::id_bits(now)),
            name: new.name,
            state: AppState::Active,
            contact,
            settings: AppSettings::default(),
            boosts: std::sync::Arc::default(),
            created_at: now,
        };
        let id = app.id;
        let detail = json!({"name": app.name, "contact": app.contact});
        let event = event(actor, now, "app.create", &id, Some(id), detail);
        let created = self.commit(move |draft| {
            let namesake = draft.app_by_name(&app.name)?;
            let changes = apps::create(app.clone(), namesake)?;
            Ok(Plan {
                changes: changes.into_iter().map(Change::from).collect(),
                event: event.clone(),
                value: app.clone(),
            })
        });
        Ok(created.await?.in_force(id)?.value)
    }

    /// The App with this id, or with this name.
    pub async fn app(&self, id_or_name: &str) -> Result<App, Error> {
        let wanted = id_or_name.to_owned();
        self.read(move |store| find(&Draft::of(store), &wanted))
            .await
    }

    pub async fn apps(&self, page: Page<AppId>) -> Result<Vec<App>, Error> {
        self.read(move |store| Ok(store.apps(&page)?)).await
    }

    /// Refuses every credential of the App until it is resumed.
    pub async fn suspend_app(
        &self,
        actor: &Actor,
        id_or_name: &str,
    ) -> Result<Changed<App>, Error> {
        self.set_state(actor, id_or_name, AppState::Suspended).await
    }

    pub async fn resume_app(&self, actor: &Actor, id_or_name: &str) -> Result<Changed<App>, Error> {
        self.set_state(actor, id_or_name, AppState::Active).await
    }

    /// Revokes the App and every credential of it, permanently.
    pub async fn revoke_app(&self, actor: &Actor, id_or_name: &str) -> Result<Changed<App>, Error> {
        self.set_state(actor, id_or_name, AppState::Revoked).await
    }

    async fn set_state(
        &self,
        actor: &Actor,
        id_or_name: &str,
        to: AppState,
    ) -> Result<Changed<App>, Error> {
        let (actor, now) = (actor.clone(), self.now());
        let wanted = id_or_name.to_owned();
        let changed = self.commit(move |draft| {
            let app = find(draft, &wanted)?;
            let (from, id) = (app.state, app.id);
            let app = apps::set_state(app, to)?;
            let value = app.value().clone();
            let detail = json!({"name": value.name, "from": from});
            Ok(Plan {
                changes: vec![app.into()],
                event: event(&actor, now, action(to), &id, Some(id), detail),
                value,
            })
        });
        let changed = changed.await?;
        let id = changed.value.id;
        changed.in_force(id)
    }
}

/// The App with this id or name.
pub(super) fn find(draft: &Draft<'_>, id_or_name: &str) -> Result<App, Error> {
    let found = match (id_or_name.parse::<AppId>(), id_or_name.parse::<Name>()) {
        (Ok(id), _) => draft.app(id)?,
        (Err(_), Ok(name)) => draft.app_by_name(&name)?,
        (Err(_), Err(_)) => None,
    };
    // The input is repeated only up to a name's length, so that an answer stays small and plain.
    let shown = || id_or_name.escape_default().take(40).collect::<String>();
    found.ok_or_else(|| Error::not_found("App", shown()))
}

const fn action(to: AppState) -> &'static str {
    match to {
        AppState::Active => "app.resume",
        AppState::Revoked => "app.revoke",
        AppState::Suspended => "app.suspend",
    }
}

/// Plain text only: a contact is shown in terminals and logs.
pub(super) fn checked_contact(contact: String) -> Result<String, Error> {
    let fits = (1..=CONTACT_CHARS_MAX).contains(&contact.chars().count());
    if fits && !contact.chars().any(char::is_control) {
        Ok(contact)
    } else {
        Err(Error::invalid(
            "a contact has 1 to 200 characters and no control characters",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{ACTOR, Fixture};
    use crate::domain::credential::Ended;
    use crate::domain::reason::Reason;

    #[tokio::test]
    async fn an_app_is_found_by_its_id_and_by_its_name() {
        let fixture = Fixture::new().await;
        let app = fixture.app("acme").await;
        for wanted in [app.id.to_string().as_str(), "acme"] {
            assert_eq!(fixture.control.app(wanted).await.unwrap(), app);
        }
        for unknown in ["other", "app_00000000000000000000000007", "no\nname"] {
            let refused = fixture.control.app(unknown).await.unwrap_err();
            assert_eq!(refused.reason, Reason::NotFound);
            assert!(!refused.detail.contains('\n'));
        }
        assert_eq!(fixture.snapshot().apps.get(&app.id).unwrap().name, app.name);
        let listed = fixture.control.apps(Page::first(10)).await.unwrap();
        assert_eq!(listed, [app]);
    }

    #[tokio::test]
    async fn a_name_is_given_once_and_never_looks_like_an_id() {
        let fixture = Fixture::new().await;
        let app = fixture.app("acme").await;
        let id = app.id.to_string();
        for (name, contact, reason) in [
            ("acme", None, Reason::Conflict),
            (&*id, None, Reason::InputInvalid),
            ("fine", Some("a\u{1b}[2J"), Reason::InputInvalid),
            ("fine", Some(""), Reason::InputInvalid),
        ] {
            let new = NewApp {
                name: name.parse().unwrap(),
                contact: contact.map(str::to_owned),
            };
            let refused = fixture.control.create_app(&ACTOR, new).await.unwrap_err();
            assert_eq!(refused.reason, reason, "{name} {contact:?}");
        }
    }

    #[tokio::test]
    async fn suspending_ends_resuming_does_not_and_revoking_is_for_ever() {
        let fixture = Fixture::new().await;
        let (control, id) = (&fixture.control, fixture.app("acme").await.id);
        let suspended = control.suspend_app(&ACTOR, "acme").await.unwrap();
        assert_eq!(suspended.receipt.connections_closed, 1);
        assert_eq!(fixture.last_told().1, [Ended::App(id)]);
        let reason = fixture.snapshot().active_app(id).unwrap_err();
        assert_eq!(reason, Reason::AppSuspended);

        control.resume_app(&ACTOR, "acme").await.unwrap();
        assert!(fixture.last_told().1.is_empty());
        assert!(fixture.snapshot().active_app(id).is_ok());

        let revoked = control.revoke_app(&ACTOR, "acme").await.unwrap();
        assert_eq!(revoked.value.state, AppState::Revoked);
        for again in [
            control.resume_app(&ACTOR, "acme").await,
            control.suspend_app(&ACTOR, "acme").await,
            control.revoke_app(&ACTOR, "acme").await,
        ] {
            assert_eq!(again.unwrap_err().reason, Reason::Conflict);
        }
        let event = fixture.last_event().await;
        assert_eq!(event.action, "app.revoke");
        assert_eq!((event.actor.as_str(), event.app), ("local:uid=7", Some(id)));
        assert_eq!(event.subject, id.to_string());
    }
}
