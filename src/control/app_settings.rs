//! The settings of Apps, changed field by field.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::apps::{checked_contact, find};
use super::audit::event;
use super::client_uses;
use super::error::Error;
use super::publish::Changed;
use super::service::Control;
use super::writer::Plan;
use crate::crypto::hash;
use crate::crypto::jwk::{KeySet, Strictness};
use crate::domain::admin::Actor;
use crate::domain::api_key::Environment;
use crate::domain::app::App;
use crate::domain::app_settings::is_https_url;
use crate::domain::app_settings::{
    AccessTokenFormat, AppSettings, Binding, ClientKeys, Mtls, SecureMode,
};
use crate::domain::client_use::stopped;
use crate::domain::patch::Patch;
use crate::domain::registry::apps;
use crate::domain::time::Timestamp;
use crate::domain::token::{ClientAuthMethod, ClientAuthMethods};
use crate::store::tickets::Tickets;

/// An operator's change of an App: the fields that it names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppPatch {
    pub contact: Patch<String>,
    pub environment: Patch<Environment>,
    pub auth_methods: Patch<Vec<ClientAuthMethod>>,
    pub mtls: Patch<Mtls>,
    pub secure_mode: Patch<SecureMode>,
    pub binding: Patch<Binding>,
    /// A JWK set as it was sent, not yet read.
    pub jwks: Patch<Value>,
    /// The URL of a JWK set.
    pub jwks_url: Patch<String>,
    pub callbacks: Patch<Vec<String>>,
    pub certificates_max: Patch<u32>,
    pub keys_max: Patch<u32>,
    pub access_token_format: Patch<AccessTokenFormat>,
}

impl Control {
    /// Changes the fields that `patch` names. A change that would stop what clients do now has to be confirmed.
    pub async fn set_app(
        &self,
        actor: &Actor,
        id_or_name: &str,
        patch: AppPatch,
        confirmed: bool,
    ) -> Result<Changed<App>, Error> {
        if patch == AppPatch::default() {
            return Err(Error::invalid("the change names no field of the App"));
        }
        let contact = match patch.contact.clone() {
            Patch::Set(contact) => Patch::Set(checked_contact(contact)?),
            other => other,
        };
        let patch = AppPatch { contact, ..patch };
        if let Patch::Set(set) = &patch.jwks {
            check_keys(set)?;
        }
        if let Patch::Set(url) = &patch.jwks_url {
            self.check_url(url, &patch.jwks).await?;
        }
        let (actor, now) = (actor.clone(), self.now());
        let wanted = id_or_name.to_owned();
        let tickets = Arc::clone(self.tickets());
        let changed = self.commit(move |draft| {
            let before = find(draft, &wanted)?;
            let (contact, settings) = patched(&before, patch.clone());
            if !confirmed {
                stops_nothing(&*tickets, &before, &settings, now)?;
            }
            let app = apps::set(before.clone(), contact, settings)?;
            let value = app.value().clone();
            let (id, detail) = (value.id, difference(&before, &value));
            Ok(Plan {
                changes: vec![app.into()],
                event: event(&actor, now, "app.set", &id, Some(id), detail),
                value,
            })
        });
        let changed = changed.await?;
        let id = changed.value.id;
        changed.in_force(id)
    }

    /// Fetches the set at a new URL once, so that its operator learns why it is of no use.
    async fn check_url(&self, url: &str, inline: &Patch<Value>) -> Result<(), Error> {
        if matches!(inline, Patch::Set(_)) {
            return Err(Error::invalid("an App has jwks or jwks_url, not both"));
        }
        if !is_https_url(url) {
            return Err(Error::invalid(
                "jwks_url is an https URL of at most 500 visible ASCII characters, without user and fragment",
            ));
        }
        self.published().try_out(url.into(), self.now()).await
    }
}

/// Refuses settings with which clients would be refused that were not lately.
fn stops_nothing(
    tickets: &dyn Tickets,
    before: &App,
    after: &AppSettings,
    now: Timestamp,
) -> Result<(), Error> {
    let uses = client_uses::read(tickets, before.id, now)?;
    let affected = stopped(&before.settings, after, &uses);
    if affected.is_empty() {
        Ok(())
    } else {
        Err(Error::unconfirmed_change(affected))
    }
}

/// Sets the App's public keys, which are in one place. `null` takes away those that are in its own.
fn set_keys(keys: &mut Option<ClientKeys>, inline: Patch<Value>, url: Patch<String>) {
    let is_url = keys.as_ref().is_some_and(|keys| keys.url().is_some());
    match inline {
        Patch::Set(set) => *keys = Some(ClientKeys::Inline(set.to_string().into())),
        Patch::Reset if !is_url => *keys = None,
        Patch::Reset | Patch::Keep => {}
    }
    match url {
        Patch::Set(url) => *keys = Some(ClientKeys::Url(url.into())),
        Patch::Reset if is_url => *keys = None,
        Patch::Reset | Patch::Keep => {}
    }
}

/// Refuses public keys that could not verify what the App signs.
fn check_keys(set: &Value) -> Result<(), Error> {
    let checked = KeySet::parse(set.to_string().as_bytes(), Strictness::Every);
    checked.map_err(|fault| Error::invalid(format!("jwks: {fault}")))?;
    Ok(())
}

/// The contact and the settings of `app` after the change.
fn patched(app: &App, patch: AppPatch) -> (Option<String>, AppSettings) {
    let (mut contact, mut settings) = (app.contact.clone(), app.settings.clone());
    patch.contact.apply_if_any(&mut contact);
    patch.environment.apply(&mut settings.environment);
    let methods = patch
        .auth_methods
        .map(|methods| ClientAuthMethods::new(&methods));
    methods.apply_if_any(&mut settings.auth_methods);
    patch.mtls.apply(&mut settings.mtls);
    patch.secure_mode.apply(&mut settings.secure_mode);
    patch.binding.apply(&mut settings.binding);
    set_keys(&mut settings.keys, patch.jwks, patch.jwks_url);
    let callbacks = patch
        .callbacks
        .map(|all| all.into_iter().map(Arc::from).collect());
    callbacks.apply(&mut settings.callbacks);
    patch
        .certificates_max
        .apply_if_any(&mut settings.certificates_max);
    patch.keys_max.apply_if_any(&mut settings.keys_max);
    patch
        .access_token_format
        .apply(&mut settings.access_token_format);
    (contact, settings)
}

/// The fields that differ, before and after, for the audit trail.
fn difference(before: &App, after: &App) -> Value {
    let (mut old, mut new) = (described(before), described(after));
    let same: Vec<String> = old
        .iter()
        .filter(|(name, value)| new.get(*name) == Some(*value))
        .map(|(name, _)| name.clone())
        .collect();
    for name in same {
        old.remove(&name);
        new.remove(&name);
    }
    json!({"name": after.name, "before": old, "after": new})
}

/// The fields of an App that an operator may change. Public keys stand there by their digest, since they may be large.
fn described(app: &App) -> Map<String, Value> {
    let settings = &app.settings;
    let keys = settings.keys.as_ref();
    let methods = settings.auth_methods.as_ref().map(ClientAuthMethods::names);
    let digest = |text: &str| hash::fingerprint(text.as_bytes()).to_string();
    let described = json!({
        "contact": app.contact,
        "environment": settings.environment,
        "auth_methods": methods,
        "mtls": settings.mtls,
        "secure_mode": settings.secure_mode,
        "binding": settings.binding,
        "jwks_sha256": keys.and_then(ClientKeys::inline).map(digest),
        "jwks_url": keys.and_then(ClientKeys::url),
        "callbacks": settings.callbacks.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
        "certificates_max": settings.certificates_max,
        "keys_max": settings.keys_max,
        "access_token_format": settings.access_token_format,
    });
    match described {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{ACTOR, CSR, Fixture, OTHER_CSR, new_key};
    use crate::domain::client_use::ClientUse;
    use crate::domain::reason::Reason;

    #[tokio::test]
    async fn only_what_is_named_changes_and_the_trail_has_both_values() {
        let fixture = Fixture::new().await;
        let app = fixture.app("acme").await;
        let patch = AppPatch {
            contact: Patch::Set("ops@acme.example".to_owned()),
            mtls: Patch::Set(Mtls::Always),
            keys_max: Patch::Set(3),
            ..AppPatch::default()
        };
        let changed = fixture
            .control
            .set_app(&ACTOR, "acme", patch, false)
            .await
            .unwrap();
        let expected = App {
            contact: Some("ops@acme.example".to_owned()),
            settings: AppSettings {
                mtls: Mtls::Always,
                keys_max: Some(3),
                ..AppSettings::default()
            },
            ..app
        };
        assert_eq!(changed.value, expected);
        assert_eq!(fixture.control.app("acme").await.unwrap(), expected);
        let live = fixture.snapshot();
        assert_eq!(**live.apps.get(&expected.id).unwrap(), expected);
        let event = fixture.last_event().await;
        assert_eq!(event.action, "app.set");
        let before = json!({"contact": null, "mtls": "optional", "keys_max": null});
        let after = json!({"contact": "ops@acme.example", "mtls": "always", "keys_max": 3});
        let detail = json!({"name": "acme", "before": before, "after": after});
        assert_eq!(event.detail, detail);
        let reset = AppPatch {
            contact: Patch::Reset,
            mtls: Patch::Reset,
            keys_max: Patch::Reset,
            ..AppPatch::default()
        };
        let reset = fixture
            .control
            .set_app(&ACTOR, "acme", reset, false)
            .await
            .unwrap();
        assert_eq!(reset.value.settings, AppSettings::default());
        assert_eq!(reset.value.contact, None);
    }

    #[tokio::test]
    async fn a_change_that_cannot_be_is_refused_with_its_cause() {
        let fixture = Fixture::new().await;
        fixture.app("acme").await;
        let set = async |patch: AppPatch| {
            let refused = fixture.control.set_app(&ACTOR, "acme", patch, false).await;
            refused
                .map(|_| ())
                .map_err(|error| (error.reason, error.detail))
        };
        let insecure = AppPatch {
            secure_mode: Patch::Set(SecureMode::Off),
            ..AppPatch::default()
        };
        let mute = AppPatch {
            auth_methods: Patch::Set(Vec::new()),
            ..AppPatch::default()
        };
        for (patch, said) in [
            (AppPatch::default(), "names no field"),
            (insecure, "environment test only"),
            (mute, "names no method"),
        ] {
            let (found, detail) = set(patch).await.unwrap_err();
            assert_eq!(found, Reason::InputInvalid, "{detail}");
            assert!(detail.contains(said), "{detail}");
        }
        fixture.control.revoke_app(&ACTOR, "acme").await.unwrap();
        let late = AppPatch {
            mtls: Patch::Set(Mtls::Off),
            ..AppPatch::default()
        };
        assert_eq!(set(late).await.unwrap_err().0, Reason::Conflict);
    }

    #[tokio::test]
    async fn an_app_has_as_many_keys_and_certificates_as_it_may() {
        let fixture = Fixture::new().await;
        fixture.app("acme").await;
        let patch = AppPatch {
            keys_max: Patch::Set(2),
            certificates_max: Patch::Set(1),
            ..AppPatch::default()
        };
        fixture
            .control
            .set_app(&ACTOR, "acme", patch, false)
            .await
            .unwrap();
        let (first, _) = fixture.key("acme", "").await;
        fixture.key("acme", "").await;
        let create = || fixture.control.create_key(&ACTOR, new_key("acme", ""));
        assert_eq!(create().await.unwrap_err().reason, Reason::KeyLimit);
        // A rotation makes no more of them than there were.
        let overlap = std::time::Duration::from_hours(1);
        fixture
            .control
            .rotate_key(&ACTOR, first.id, overlap)
            .await
            .unwrap();
        assert_eq!(create().await.unwrap_err().reason, Reason::KeyLimit);
        fixture.clock.advance(overlap * 2);
        assert_eq!(create().await.unwrap_err().reason, Reason::KeyLimit);
        fixture.sign("acme", "a", CSR).await.unwrap();
        let refused = fixture.sign("acme", "b", OTHER_CSR).await.unwrap_err();
        assert_eq!(refused.reason, Reason::CertLimit);
    }

    #[tokio::test]
    async fn public_keys_are_read_before_they_are_stored() {
        let fixture = Fixture::new().await;
        fixture.app("acme").await;
        let set = async |jwks: Patch<Value>| {
            let patch = AppPatch {
                jwks,
                ..AppPatch::default()
            };
            fixture.control.set_app(&ACTOR, "acme", patch, false).await
        };
        let key = crate::crypto::jwk_testing::TestKey::p256();
        let jwks = json!({"keys": [key.jwk("k")]});
        let changed = set(Patch::Set(jwks.clone())).await.unwrap();
        let text = jwks.to_string();
        let stored = changed.value.settings.keys.as_ref();
        assert_eq!(stored.and_then(ClientKeys::inline), Some(&*text));
        let event = fixture.last_event().await;
        assert_eq!(
            event.detail["after"]["jwks_sha256"].as_str().map(str::len),
            Some(64)
        );
        let mut private = key.jwk("k");
        private["d"] = json!("AQAB");
        let refused = set(Patch::Set(json!({"keys": [private]})))
            .await
            .unwrap_err();
        assert_eq!(refused.reason, Reason::InputInvalid);
        assert!(
            refused.detail.contains("key 1 of the JWK set is private"),
            "{}",
            refused.detail
        );
        let reset = set(Patch::Reset).await.unwrap();
        assert_eq!(reset.value.settings.keys, None);
    }

    #[tokio::test]
    async fn what_would_stop_a_client_is_confirmed_first() {
        let fixture = Fixture::new().await;
        let app = fixture.app("acme").await;
        let used = |method, certificate| ClientUse {
            method,
            certificate,
            without_auth_token: false,
            last_used_at: fixture.control.now(),
        };
        let plain = used(ClientAuthMethod::ClientSecretPost, false);
        for used in [plain, used(ClientAuthMethod::ClientSecretBasic, true)] {
            client_uses::ClientUses::default()
                .write(&*fixture.store, app.id, used)
                .unwrap();
        }
        let set = async |mtls, confirmed| {
            let patch = AppPatch {
                mtls: Patch::Set(mtls),
                ..AppPatch::default()
            };
            fixture
                .control
                .set_app(&ACTOR, "acme", patch, confirmed)
                .await
        };
        set(Mtls::Off, false).await.unwrap();
        let refused = set(Mtls::TokenEndpoint, false).await.unwrap_err();
        assert_eq!(refused.reason, Reason::ConfirmationNeeded);
        assert_eq!(refused.affected, [plain]);
        let now = fixture.control.app("acme").await.unwrap().settings.mtls;
        assert_eq!(now, Mtls::Off, "nothing was changed");
        set(Mtls::TokenEndpoint, true).await.unwrap();
        set(Mtls::Always, false).await.unwrap();
        fixture
            .clock
            .advance(crate::domain::client_use::KEPT_FOR * 2);
        set(Mtls::Optional, false).await.unwrap();
        set(Mtls::Always, false).await.unwrap();
    }

    #[tokio::test]
    async fn published_keys_are_fetched_before_their_url_is_stored() {
        let fixture = Fixture::new().await;
        fixture.app("acme").await;
        let set = async |jwks: Patch<Value>, url: Patch<&str>| {
            let patch = AppPatch {
                jwks,
                jwks_url: url.map(str::to_owned),
                ..AppPatch::default()
            };
            let set = fixture.control.set_app(&ACTOR, "acme", patch, false);
            let changed = set.await.map_err(|error| error.detail)?;
            Ok::<_, String>(changed.value.settings.keys)
        };
        let key = crate::crypto::jwk_testing::TestKey::p256();
        let (url, inline) = ("https://acme.example/jwks", json!({"keys": [key.jwk("k")]}));
        let refused = set(Patch::Keep, Patch::Set(url)).await.unwrap_err();
        assert!(refused.contains("nothing is published"), "{refused}");
        fixture.source.set(Ok(&key.set()));
        let refused = set(Patch::Keep, Patch::Set("http://acme.example")).await;
        assert!(refused.unwrap_err().contains("an https URL"));
        let refused = set(Patch::Set(inline.clone()), Patch::Set(url)).await;
        assert!(refused.unwrap_err().contains("not both"));
        let kept = set(Patch::Keep, Patch::Set(url)).await.unwrap();
        assert_eq!(kept, Some(ClientKeys::Url(url.into())));
        assert!(set(Patch::Reset, Patch::Keep).await.unwrap().is_some());
        let moved = set(Patch::Set(inline), Patch::Keep).await.unwrap();
        assert!(moved.unwrap().inline().is_some());
        assert!(set(Patch::Keep, Patch::Reset).await.unwrap().is_some());
        assert_eq!(set(Patch::Reset, Patch::Keep).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_test_app_gets_no_live_key() {
        let fixture = Fixture::new().await;
        fixture.app("acme").await;
        let patch = AppPatch {
            environment: Patch::Set(Environment::Test),
            ..AppPatch::default()
        };
        fixture
            .control
            .set_app(&ACTOR, "acme", patch, false)
            .await
            .unwrap();
        let refused = fixture.control.create_key(&ACTOR, new_key("acme", ""));
        assert_eq!(refused.await.unwrap_err().reason, Reason::Conflict);
    }
}
