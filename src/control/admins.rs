//! Operators' tokens for the admin API: created, authenticated, revoked.

use std::time::Duration;

use serde_json::json;

use super::audit::event;
use super::error::Error;
use super::keys::expiry;
use super::service::Control;
use super::writer::Plan;
use crate::crypto::api_key::{generate_admin_token, parse_admin_token};
use crate::crypto::random;
use crate::domain::admin::{Actor, AdminToken, Role};
use crate::domain::api_key::SecretDigest;
use crate::domain::id::AdminTokenId;
use crate::domain::listing::Page;
use crate::domain::name::Name;
use crate::domain::registry::admin_tokens;
use crate::domain::secret::Secret;

impl Control {
    /// Creates a token. The secret is in the answer and nowhere else.
    pub async fn create_admin_token(
        &self,
        actor: &Actor,
        name: Name,
        role: Role,
        expires_in: Option<Duration>,
    ) -> Result<(AdminToken, Secret), Error> {
        let now = self.now();
        let id = AdminTokenId::from_bits(random::id_bits(now));
        let secret = generate_admin_token(id);
        let token = AdminToken {
            id,
            name,
            role,
            digest: self.hasher().digest(secret.expose()),
            created_at: now,
            expires_at: expiry(expires_in, now)?,
            revoked_at: None,
        };
        let detail = json!({"name": token.name, "role": role, "expires_at": token.expires_at});
        let event = event(actor, now, "admin_token.create", &id, None, detail);
        let created = self.record(move |_| {
            Ok(Plan {
                changes: vec![admin_tokens::create(token.clone()).into()],
                event: event.clone(),
                value: token.clone(),
            })
        });
        Ok((created.await?, secret))
    }

    /// The admin token that `text` is, if it is valid now. The store is read each time, so that a revocation takes
    /// effect at once.
    pub async fn authenticate_admin(&self, text: &str) -> Result<Option<AdminToken>, Error> {
        let Some(id) = parse_admin_token(text) else {
            return Ok(None);
        };
        let found = self.read(move |store| Ok(store.admin_token(id)?)).await?;
        let digest = found.as_ref().map(|token| token.digest);
        // An unknown id costs the same comparison as a known one.
        let matches = self
            .hasher()
            .matches(text, &digest.unwrap_or(SecretDigest([0; 32])));
        let now = self.now();
        Ok(found.filter(|token| {
            let expired = token.expires_at.is_some_and(|end| now > end);
            matches && token.revoked_at.is_none() && !expired
        }))
    }

    pub async fn admin_tokens(&self, page: Page<AdminTokenId>) -> Result<Vec<AdminToken>, Error> {
        self.read(move |store| Ok(store.admin_tokens(&page)?)).await
    }

    pub async fn revoke_admin_token(
        &self,
        actor: &Actor,
        id: AdminTokenId,
    ) -> Result<AdminToken, Error> {
        let (actor, now) = (actor.clone(), self.now());
        self.record(move |draft| {
            let found = draft.admin_token(id)?;
            let token = found.ok_or_else(|| Error::not_found("admin token", id))?;
            let token = admin_tokens::revoke(token, now)?;
            let value = token.value().clone();
            let detail = json!({"name": value.name, "role": value.role});
            Ok(Plan {
                changes: vec![token.into()],
                event: event(&actor, now, "admin_token.revoke", &id, None, detail),
                value,
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{ACTOR, Fixture};
    use crate::domain::reason::Reason;
    use crate::store::repository::Store as _;

    #[tokio::test]
    async fn a_token_counts_until_it_expires_or_is_revoked() {
        let fixture = Fixture::new().await;
        let control = &fixture.control;
        let make = |expires_in| {
            let name = "ops".parse().unwrap();
            control.create_admin_token(&ACTOR, name, Role::Operator, expires_in)
        };
        let (lasting, lasting_secret) = make(None).await.unwrap();
        let (_, short_secret) = make(Some(Duration::from_mins(1))).await.unwrap();
        let recognised = |secret: &Secret| {
            let text = secret.expose().to_owned();
            async move { control.authenticate_admin(&text).await.unwrap() }
        };
        assert_eq!(recognised(&lasting_secret).await, Some(lasting.clone()));
        assert!(recognised(&short_secret).await.is_some());
        fixture.clock.advance(Duration::from_mins(2));
        assert!(recognised(&short_secret).await.is_none());

        control
            .revoke_admin_token(&ACTOR, lasting.id)
            .await
            .unwrap();
        assert!(recognised(&lasting_secret).await.is_none());
        let again = control.revoke_admin_token(&ACTOR, lasting.id).await;
        assert_eq!(again.unwrap_err().reason, Reason::Conflict);
        assert_eq!(fixture.last_event().await.action, "admin_token.revoke");
        let listed = control.admin_tokens(Page::first(10)).await.unwrap();
        assert_eq!(listed.len(), 2);
    }

    #[tokio::test]
    async fn what_is_not_the_whole_token_is_not_recognised() {
        let fixture = Fixture::new().await;
        let name = "ops".parse().unwrap();
        let made = fixture
            .control
            .create_admin_token(&ACTOR, name, Role::Viewer, None);
        let (token, _) = made.await.unwrap();
        let forged = generate_admin_token(token.id);
        let unknown = generate_admin_token(AdminTokenId::from_bits(1));
        for text in ["", "cs_admin_", forged.expose(), unknown.expose()] {
            let found = fixture.control.authenticate_admin(text).await.unwrap();
            assert_eq!(found, None, "{text}");
        }
    }

    #[tokio::test]
    async fn the_data_plane_is_not_bothered_and_the_next_change_stays_small() {
        let fixture = Fixture::new().await;
        let before = fixture.snapshot().version;
        let name = "ops".parse().unwrap();
        let made = fixture
            .control
            .create_admin_token(&ACTOR, name, Role::Viewer, None);
        made.await.unwrap();
        assert_eq!(fixture.snapshot().version, before);
        fixture.app("acme").await;
        assert_eq!(
            fixture.snapshot().revision,
            fixture.store.revision().unwrap()
        );
    }
}
