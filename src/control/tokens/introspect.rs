//! Introspection (RFC 7662): the state of a token, by the judgement of the walk.

use super::auth_token::{Vouched, ticket_id};
use super::client::Client;
use super::error::TokenError;
use super::service::TokenService;
use crate::crypto::opaque::{Family, is_auth_token, is_refresh_token};
use crate::domain::scope::INTROSPECT;
use crate::domain::session::Session;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;
use crate::domain::token::Claims;

/// The state of a token that was asked about.
#[derive(Clone, Debug)]
pub enum Introspected {
    /// Nothing more is said of a token that is not valid.
    Inactive,
    Access(Box<Claims>),
    Refresh(Box<Session>),
    Auth {
        vouched: Box<Vouched>,
        expires_at: Timestamp,
    },
}

impl TokenService {
    /// The state of `token`, for a client whose Key may ask.
    pub async fn introspect(
        &self,
        snapshot: &Snapshot,
        client: &Client<'_>,
        token: &str,
    ) -> Result<Introspected, TokenError> {
        client.require(INTROSPECT)?;
        let now = self.parts.clock.now();
        if is_auth_token(token) {
            self.auth_token(snapshot, token, now).await
        } else if is_refresh_token(token) {
            self.refresh_token(snapshot, token, now).await
        } else {
            Ok(self.access_token(snapshot, token, now))
        }
    }

    async fn auth_token(
        &self,
        snapshot: &Snapshot,
        token: &str,
        now: Timestamp,
    ) -> Result<Introspected, TokenError> {
        let id = ticket_id(token);
        let found = self.with_tickets(move |tickets| Ok(tickets.ticket(&id, now)?));
        let Some(ticket) = found.await? else {
            return Ok(Introspected::Inactive);
        };
        let vouched: Option<Vouched> = serde_json::from_slice(ticket.payload()).ok();
        let vouched = vouched.filter(|vouched| snapshot.live_key(vouched.key, now).is_ok());
        Ok(
            vouched.map_or(Introspected::Inactive, |vouched| Introspected::Auth {
                vouched: Box::new(vouched),
                expires_at: ticket.expires_at,
            }),
        )
    }

    fn access_token(&self, snapshot: &Snapshot, token: &str, now: Timestamp) -> Introspected {
        let (keys, issuer) = (&snapshot.verification_keys, &snapshot.catalog.issuer);
        let claims = self.parts.access_tokens.verify(token, keys, issuer, now);
        let live = claims.and_then(|claims| snapshot.live_token(&claims, now).map(|_| claims));
        live.map_or(Introspected::Inactive, |claims| {
            Introspected::Access(Box::new(claims))
        })
    }

    async fn refresh_token(
        &self,
        snapshot: &Snapshot,
        token: &str,
        now: Timestamp,
    ) -> Result<Introspected, TokenError> {
        let Some((_, shown)) = Family::read(token, &self.parts.hasher) else {
            return Ok(Introspected::Inactive);
        };
        let found = self.with_sessions(move |sessions| Ok(sessions.session(shown.session)?));
        let valid = found.await?.filter(|session| {
            let current = session.family == shown.family && session.refresh == shown.refresh;
            current && session.is_live(now) && snapshot.active_app(session.app).is_ok()
        });
        Ok(valid.map_or(Introspected::Inactive, |session| {
            Introspected::Refresh(Box::new(session))
        }))
    }
}
