//! Keys: created, listed, rotated with an overlap, revoked.

use std::collections::HashSet;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::apps;
use super::audit::event;
use super::draft::Draft;
use super::error::Error;
use super::publish::Changed;
use super::service::Control;
use super::writer::Plan;
use crate::crypto::random;
use crate::domain::admin::Actor;
use crate::domain::api_key::{
    ApiKey, DigestKind, Environment, KEY_LIMITS_MAX, KeyKind, KeyLimit, KeyUse, NETWORKS_MAX,
    SecretDigest,
};
use crate::domain::credential::CredentialState;
use crate::domain::id::{AppId, KeyId};
use crate::domain::listing::{KeyFilter, Page};
use crate::domain::name::Name;
use crate::domain::origin::{ORIGINS_MAX, OriginPattern};
use crate::domain::registry::keys::{self, Handover, LastUses, NewText, Revocation};
use crate::domain::scope::{Scope, ScopeSet};
use crate::domain::secret::Secret;
use crate::domain::suggest::nearest;
use crate::domain::time::Timestamp;

/// The maximum lifetime of a key with an end; for more there are keys that do not expire.
pub(super) const EXPIRY_MAX: Duration = Duration::from_hours(24 * 3650);

/// The default time for which a rotated key still works.
pub const OVERLAP: Duration = Duration::from_hours(24);

/// The maximum overlap: two keys that both work for longer than this are no rotation.
const OVERLAP_MAX: Duration = Duration::from_hours(24 * 90);

/// An operator's input for a new key.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The App's id or name.
    pub app: String,
    pub name: Name,
    pub kind: KeyKind,
    pub environment: Environment,
    pub scopes: ScopeSet,
    /// The networks that the key may be used from; any network when empty.
    pub networks: Vec<IpNet>,
    /// The origins whose pages may use a publishable key; no condition when empty.
    pub origins: Vec<OriginPattern>,
    pub limits: Vec<KeyLimit>,
    /// The lifetime; absent for a key that never expires.
    pub expires_in: Option<Duration>,
}

impl NewKey {
    /// The key of this App with this text.
    fn key(
        &self,
        app: AppId,
        text: NewText,
        now: Timestamp,
        expires_at: Option<Timestamp>,
    ) -> ApiKey {
        ApiKey {
            id: text.id,
            app,
            name: self.name.clone(),
            kind: self.kind,
            environment: self.environment,
            digest: text.digest,
            digest_kind: DigestKind::Own,
            tail: text.tail,
            sealed: text.sealed,
            scopes: self.scopes.clone(),
            networks: self.networks.clone(),
            origins: self.origins.clone(),
            limits: self.limits.clone(),
            state: CredentialState::Active,
            created_at: now,
            expires_at,
            successor: None,
            revoked_at: None,
            revocation_reason: None,
            tokens_outlive: false,
        }
    }

    /// Refuses what no key may have.
    fn judge(&self) -> Result<(), Error> {
        for (count, max, what) in [
            (self.networks.len(), NETWORKS_MAX, "networks"),
            (self.origins.len(), ORIGINS_MAX, "origins"),
            (self.limits.len(), KEY_LIMITS_MAX, "limits"),
        ] {
            if count > max {
                return Err(Error::invalid(format!("a key has at most {max} {what}")));
            }
        }
        let names: HashSet<&Name> = self.limits.iter().map(|limit| &limit.name).collect();
        if names.len() < self.limits.len() {
            return Err(Error::invalid("two limits of the key have the same name"));
        }
        let publishable = self.kind == KeyKind::Publishable;
        if !publishable && !self.origins.is_empty() {
            return Err(Error::invalid(
                "origins are for publishable keys: browsers have no secret keys",
            ));
        }
        let with_own_scope = self.scopes.iter().any(Scope::is_ours);
        match self.kind {
            KeyKind::Publishable if with_own_scope => Err(Error::invalid(
                "a publishable key has no scope of countersign: anybody can read the key",
            )),
            KeyKind::Signing if with_own_scope => Err(Error::invalid(
                "a signing key has no scope of countersign: it signs requests, and gets no tokens",
            )),
            _ => Ok(()),
        }
    }
}

impl Control {
    /// Creates a key. The secret is in the answer and nowhere else.
    pub async fn create_key(
        &self,
        actor: &Actor,
        new: NewKey,
    ) -> Result<Changed<(ApiKey, Secret)>, Error> {
        let (actor, now) = (actor.clone(), self.now());
        new.judge()?;
        self.know(&new.scopes)?;
        let expires_at = expiry(new.expires_in, now)?;
        let id = KeyId::from_bits(random::id_bits(now));
        let (text, secret) = self.key_texts().make(id, new.kind, new.environment)?;
        let created = self.commit(move |draft| {
            let app = apps::find(draft, &new.app)?;
            let key = new.key(app.id, text.clone(), now, expires_at);
            let live = draft.live_keys(app.id, now, app.settings.keys_max())?;
            let key = keys::create(key, &app, live)?;
            let value = key.value().clone();
            Ok(Plan {
                changes: vec![key.into()],
                event: event(&actor, now, "key.create", &id, Some(app.id), detail(&value)),
                value,
            })
        });
        Ok(created.await?.map(|key| (key, secret)))
    }

    /// Registers a key that another system made, by the digest of its text. Its holder shows that text.
    pub async fn import_key(
        &self,
        actor: &Actor,
        new: NewKey,
        kind: DigestKind,
        digest: SecretDigest,
    ) -> Result<Changed<ApiKey>, Error> {
        let (actor, now) = (actor.clone(), self.now());
        new.judge()?;
        self.know(&new.scopes)?;
        if new.kind == KeyKind::Signing {
            return Err(Error::invalid(
                "a signing key cannot be imported: its signatures are checked with its text, and a digest is not that",
            ));
        }
        if kind == DigestKind::HmacSha256 && !self.hasher().is_peppered() {
            return Err(Error::invalid(
                "hmac-sha256 needs keys.pepper: the secret under which the other system has made the digest",
            ));
        }
        let expires_at = expiry(new.expires_in, now)?;
        let id = KeyId::from_bits(random::id_bits(now));
        let created = self.commit(move |draft| {
            let app = apps::find(draft, &new.app)?;
            let text = NewText {
                id,
                digest,
                tail: None,
                sealed: None,
            };
            let key = ApiKey {
                digest_kind: kind,
                ..new.key(app.id, text, now, expires_at)
            };
            let live = draft.live_keys(app.id, now, app.settings.keys_max())?;
            let key = keys::create(key, &app, live)?;
            let value = key.value().clone();
            Ok(Plan {
                changes: vec![key.into()],
                event: event(&actor, now, "key.import", &id, Some(app.id), detail(&value)),
                value,
            })
        });
        created.await
    }

    pub async fn key(&self, id: KeyId) -> Result<ApiKey, Error> {
        let now = self.now();
        self.read(move |store| Ok(as_of(find(&Draft::of(store), id)?, now)))
            .await
    }

    /// A key with its last use.
    pub async fn key_and_use(&self, id: KeyId) -> Result<(ApiKey, Option<KeyUse>), Error> {
        let key = self.key(id).await?;
        let mut uses = self.key_uses(vec![id]).await?;
        Ok((key, uses.remove(&id)))
    }

    /// Keys with their last uses.
    pub async fn keys_and_uses(
        &self,
        filter: KeyFilter,
        page: Page<KeyId>,
    ) -> Result<Vec<(ApiKey, Option<KeyUse>)>, Error> {
        let keys = self.keys(filter, page).await?;
        let ids = keys.iter().map(|key| key.id).collect();
        let mut uses = self.key_uses(ids).await?;
        let with_use = |key: ApiKey| {
            let last = uses.remove(&key.id);
            (key, last)
        };
        Ok(keys.into_iter().map(with_use).collect())
    }

    pub async fn keys(&self, filter: KeyFilter, page: Page<KeyId>) -> Result<Vec<ApiKey>, Error> {
        let now = self.now();
        let filter = KeyFilter {
            at: Some(now),
            ..filter
        };
        self.read(move |store| {
            let found = store.keys(&filter, &page)?.into_iter();
            Ok(found.map(|key| as_of(key, now)).collect())
        })
        .await
    }

    /// Creates a successor with the same name, scopes, networks, origins, limits and end. The old key still works for
    /// the overlap, or until its own end if that comes first; or it ends at once.
    pub async fn rotate_key(
        &self,
        actor: &Actor,
        id: KeyId,
        handover: impl Into<Handover>,
    ) -> Result<Changed<(ApiKey, Secret)>, Error> {
        let handover = handover.into();
        if matches!(handover, Handover::Overlap(overlap) if overlap > OVERLAP_MAX) {
            return Err(Error::invalid("an overlap is at most 90 days"));
        }
        let (actor, now) = (actor.clone(), self.now());
        let texts = self.key_texts().clone();
        self.commit(move |draft| {
            let old = find(draft, id)?;
            let found = draft.app(old.app)?;
            let app = found.ok_or_else(|| Error::not_found("App", old.app))?;
            let new_id = KeyId::from_bits(random::id_bits(now));
            let (text, secret) = texts.make(new_id, old.kind, old.environment)?;
            let rotation = keys::rotate(old, &app, text, now, handover)?;
            let value = rotation.successor.value().clone();
            let retired = rotation.retired.value();
            let ends = retired.revoked_at.or(retired.expires_at);
            let detail = json!({"name": value.name, "successor": new_id, "retires_at": ends});
            Ok(Plan {
                changes: vec![rotation.retired.into(), rotation.successor.into()],
                event: event(&actor, now, "key.rotate", &id, Some(app.id), detail),
                value: (value, secret),
            })
        })
        .await
    }

    /// Revokes a key at once, with every token that was minted from it unless these are kept.
    pub async fn revoke_key(
        &self,
        actor: &Actor,
        id: KeyId,
        revocation: impl Into<Revocation>,
    ) -> Result<Changed<ApiKey>, Error> {
        let revocation = revocation.into();
        let uses = if revocation.force {
            LastUses::default()
        } else {
            self.last_uses(id).await?
        };
        let (actor, now) = (actor.clone(), self.now());
        let revoked = self.commit(move |draft| {
            let key = keys::revoke(find(draft, id)?, now, revocation, uses)?;
            let value = key.value().clone();
            let detail = json!({
                "name": value.name,
                "reason": revocation.reason,
                "keep_tokens": revocation.keep_tokens,
                "force": revocation.force,
            });
            Ok(Plan {
                changes: vec![key.into()],
                event: event(&actor, now, "key.revoke", &id, Some(value.app), detail),
                value,
            })
        });
        revoked.await?.in_force(id)
    }

    /// Refuses a scope that the catalogue does not have, and names the one that may be meant.
    fn know(&self, scopes: &ScopeSet) -> Result<(), Error> {
        let Some(known) = self.scopes() else {
            return Ok(());
        };
        let unknown = |scope: &&Scope| !known.contains(scope) && !scope.is_ours();
        let Some(unknown) = scopes.iter().find(unknown) else {
            return Ok(());
        };
        let names: Vec<&str> = known.iter().map(Scope::as_str).collect();
        let fault = match nearest(unknown.as_str(), names.iter().copied()) {
            Some(meant) => format!("there is no scope {unknown}; did you mean {meant}?"),
            None => format!("there is no scope {unknown}; known: {}", names.join(", ")),
        };
        Err(Error::invalid(fault))
    }

    /// The last uses of a key and of its successor.
    async fn last_uses(&self, id: KeyId) -> Result<LastUses, Error> {
        let successor = self.key(id).await?.successor;
        let ids = std::iter::once(id).chain(successor).collect();
        let uses = self.key_uses(ids).await?;
        let at = |id: &KeyId| uses.get(id).map(|used| used.at);
        Ok(LastUses {
            of_key: at(&id),
            of_successor: successor.as_ref().and_then(at),
        })
    }
}

/// The end of a credential that is created at `now`, if it has one.
pub(super) fn expiry(
    expires_in: Option<Duration>,
    now: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    match expires_in {
        Some(span) if span.is_zero() || span > EXPIRY_MAX => Err(Error::invalid(
            "an expiry is more than zero and at most 3650 days",
        )),
        span => Ok(span.map(|span| now.plus(span))),
    }
}

fn find(draft: &Draft<'_>, id: KeyId) -> Result<ApiKey, Error> {
    let found = draft.key(id)?;
    found.ok_or_else(|| Error::not_found("key", id))
}

/// The key with its state at `now`.
fn as_of(key: ApiKey, now: Timestamp) -> ApiKey {
    ApiKey {
        state: key.state.at(now, key.expires_at),
        ..key
    }
}

fn detail(key: &ApiKey) -> Value {
    let networks: Vec<_> = key.networks.iter().map(ToString::to_string).collect();
    let origins: Vec<_> = key.origins.iter().map(OriginPattern::as_str).collect();
    let limit = |limit: &KeyLimit| format!("{}={}", limit.name, limit.measure.text());
    let limits: Vec<_> = key.limits.iter().map(limit).collect();
    json!({
        "name": key.name,
        "kind": key.kind,
        "environment": key.environment,
        "scopes": key.scopes.to_string(),
        "networks": networks.join(" "),
        "origins": origins.join(" "),
        "limits": limits.join(" "),
        "expires_at": key.expires_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{ACTOR, Fixture, new_key};
    use crate::crypto::api_key::parse_key;
    use crate::domain::credential::{CredentialId, Ended};
    use crate::domain::reason::Reason;

    const DAY: Duration = Duration::from_hours(24);

    #[tokio::test]
    async fn a_key_is_shown_once_and_kept_as_a_digest() {
        let fixture = Fixture::new().await;
        let app = fixture.app("acme").await;
        let (key, secret) = fixture.key("acme", "orders:read").await;
        assert_eq!(parse_key(secret.expose()), Ok(key.id));
        assert!(fixture.hasher.matches(secret.expose(), &key.digest));
        let snapshot = fixture.snapshot();
        let (entry, owner) = snapshot.live_key(key.id, fixture.control.now()).unwrap();
        assert_eq!((entry.digest, owner.id), (key.digest, app.id));
        assert_eq!(fixture.control.key(key.id).await.unwrap(), key);
        let event = fixture.last_event().await;
        assert_eq!(event.action, "key.create");
        let told = serde_json::to_string(&event).unwrap();
        assert!(!told.contains(secret.expose()));
    }

    #[tokio::test]
    async fn what_cannot_be_made_is_refused() {
        let fixture = Fixture::new().await;
        for app in ["acme", "asleep"] {
            fixture.app(app).await;
        }
        let control = &fixture.control;
        control.suspend_app(&ACTOR, "asleep").await.unwrap();
        let good = || new_key("acme", "");
        let networks = vec!["10.0.0.0/8".parse().unwrap(); NETWORKS_MAX + 1];
        let endless = Some(DAY * 4000);
        for (new, reason) in [
            (new_key("asleep", ""), Reason::Conflict),
            (new_key("nobody", ""), Reason::NotFound),
            (NewKey { networks, ..good() }, Reason::InputInvalid),
            (
                NewKey {
                    expires_in: Some(Duration::ZERO),
                    ..good()
                },
                Reason::InputInvalid,
            ),
            (
                NewKey {
                    expires_in: endless,
                    ..good()
                },
                Reason::InputInvalid,
            ),
        ] {
            let refused = control.create_key(&ACTOR, new).await.unwrap_err();
            assert_eq!(refused.reason, reason);
        }
        assert_eq!(fixture.snapshot().keys.len(), 0);
    }

    #[tokio::test]
    async fn a_rotated_key_works_through_the_overlap_and_its_successor_has_the_same_bounds() {
        let fixture = Fixture::new().await;
        fixture.app("acme").await;
        let new = NewKey {
            networks: vec!["10.0.0.0/8".parse().unwrap()],
            expires_in: Some(DAY * 90),
            ..new_key("acme", "a b")
        };
        let control = &fixture.control;
        let (old, _) = control.create_key(&ACTOR, new).await.unwrap().value;
        let rotated = control.rotate_key(&ACTOR, old.id, DAY).await.unwrap();
        let (new, secret) = rotated.value;
        assert_eq!(parse_key(secret.expose()), Ok(new.id));
        let bounds = |key: &ApiKey| (key.scopes.clone(), key.networks.clone(), key.expires_at);
        assert_eq!(bounds(&new), bounds(&old));
        assert_eq!(fixture.last_event().await.action, "key.rotate");

        let live = |id| fixture.snapshot().live_key(id, control.now()).err();
        assert_eq!((live(old.id), live(new.id)), (None, None));
        let state = control.key(old.id).await.unwrap().state;
        assert_eq!(state, CredentialState::Retiring);
        let again = control.rotate_key(&ACTOR, old.id, DAY).await.unwrap_err();
        assert_eq!(again.reason, Reason::Conflict);

        fixture.clock.advance(DAY + Duration::from_secs(1));
        assert_eq!(live(old.id), Some(Reason::KeyExpired));
        assert_eq!(live(new.id), None);
        let state = control.key(old.id).await.unwrap().state;
        assert_eq!(state, CredentialState::Expired);
    }

    #[tokio::test]
    async fn rotation_never_extends_a_life() {
        let fixture = Fixture::new().await;
        fixture.app("acme").await;
        let new = NewKey {
            expires_in: Some(Duration::from_hours(1)),
            ..new_key("acme", "")
        };
        let control = &fixture.control;
        let (old, _) = control.create_key(&ACTOR, new).await.unwrap().value;
        let rotated = control.rotate_key(&ACTOR, old.id, DAY).await.unwrap();
        let (new, _) = rotated.value;
        assert_eq!(new.expires_at, old.expires_at);
        let retired = control.key(old.id).await.unwrap();
        assert_eq!(retired.expires_at, old.expires_at);
        let snapshot = fixture.snapshot();
        let entry = snapshot.keys.get(&old.id).unwrap();
        assert_eq!(entry.expires_at, old.expires_at);

        let endless = control.rotate_key(&ACTOR, new.id, DAY * 91).await;
        assert_eq!(endless.unwrap_err().reason, Reason::InputInvalid);
        fixture.clock.advance(DAY);
        let late = control.rotate_key(&ACTOR, new.id, DAY).await.unwrap_err();
        assert_eq!(late.reason, Reason::Conflict);
    }

    #[tokio::test]
    async fn neither_a_revoked_key_nor_one_of_a_suspended_app_is_rotated() {
        let fixture = Fixture::new().await;
        fixture.app("acme").await;
        let (key, _) = fixture.key("acme", "").await;
        let control = &fixture.control;
        control.suspend_app(&ACTOR, "acme").await.unwrap();
        let asleep = control.rotate_key(&ACTOR, key.id, DAY).await.unwrap_err();
        assert_eq!(asleep.reason, Reason::Conflict);

        let reason = crate::domain::credential::RevocationReason::default();
        let revoked = control.revoke_key(&ACTOR, key.id, reason).await.unwrap();
        assert_eq!(revoked.value.state, CredentialState::Revoked);
        let ended = Ended::Credential(CredentialId::Key(key.id));
        assert_eq!(fixture.last_told().1, [ended]);
        control.resume_app(&ACTOR, "acme").await.unwrap();
        let live = fixture.snapshot().live_key(key.id, control.now()).err();
        assert_eq!(live, Some(Reason::KeyRevoked));
        for again in [
            control.rotate_key(&ACTOR, key.id, DAY).await.err(),
            control.revoke_key(&ACTOR, key.id, reason).await.err(),
        ] {
            assert_eq!(again.unwrap().reason, Reason::Conflict);
        }
    }
}
