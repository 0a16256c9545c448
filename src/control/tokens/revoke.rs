//! Revocation (RFC 7009): a client ends a token of its own App.

use super::auth_token::{Vouched, ticket_id};
use super::client::Client;
use super::error::TokenError;
use super::service::TokenService;
use crate::crypto::opaque::{Family, is_auth_token, is_refresh_token};
use crate::domain::reason::Reason;
use crate::domain::record::Receipt;
use crate::domain::registry::sessions::{self, SessionChanges};
use crate::domain::session::SessionEnd;
use crate::domain::snapshot::Snapshot;
use crate::domain::succession::Entry;
use crate::domain::time::Timestamp;
use crate::domain::token_end::{TokenEnd, TokensOf};
use crate::store::sessions::{Concerned, Known};

/// The most single tokens of an App that are ended and not expired at once. Each is kept in memory until then; an App
/// that ends more than this has a Key to revoke.
const ENDS_MAX: u32 = 10_000;

impl TokenService {
    /// Ends `token`: an access token, an auth token, or with its refresh token a whole session. Nothing happens to the
    /// token of another App, and to what is no token (RFC 7009, 2.2).
    pub async fn revoke(
        &self,
        snapshot: &Snapshot,
        client: &Client<'_>,
        token: &str,
    ) -> Result<(), TokenError> {
        let now = self.parts.clock.now();
        if is_auth_token(token) {
            self.end_auth_token(client, token, now).await
        } else if is_refresh_token(token) {
            self.end_session(client, token, now).await
        } else {
            self.end_access_token(snapshot, client, token, now).await
        }
    }

    async fn end_auth_token(
        &self,
        client: &Client<'_>,
        token: &str,
        now: Timestamp,
    ) -> Result<(), TokenError> {
        let (id, app) = (ticket_id(token), client.app.id);
        let done = self.with_tickets(move |tickets| {
            let found = tickets.ticket(&id, now)?;
            let vouched = found.and_then(|found| serde_json::from_slice(found.payload()).ok());
            if vouched.is_some_and(|vouched: Vouched| vouched.app == app) {
                tickets.take(&id, now)?;
            }
            Ok(())
        });
        Ok(done.await?)
    }

    async fn end_session(
        &self,
        client: &Client<'_>,
        token: &str,
        now: Timestamp,
    ) -> Result<(), TokenError> {
        let Some((_, shown)) = Family::read(token, &self.parts.hasher) else {
            return Ok(());
        };
        let app = client.app.id;
        let judged = self.with_sessions(move |store| {
            let rule = move |known: &Known| {
                let own = known
                    .sessions
                    .iter()
                    .filter(|known| known.app == app && known.family == shown.family);
                sessions::end(own, SessionEnd::Revoked, now)
            };
            Ok(store.change(Concerned::One(shown.session), Box::new(rule))?)
        });
        let changes: SessionChanges = judged.await?;
        match self.publish_ends(&changes).await? {
            Some(receipt) => confirmed(receipt),
            None => Ok(()),
        }
    }

    async fn end_access_token(
        &self,
        snapshot: &Snapshot,
        client: &Client<'_>,
        token: &str,
        now: Timestamp,
    ) -> Result<(), TokenError> {
        let (keys, issuer) = (&snapshot.verification_keys, &snapshot.catalog.issuer);
        let claims = self.parts.access_tokens.verify(token, keys, issuer, now);
        let Some(claims) = claims.ok().filter(|claims| claims.app == client.app.id) else {
            return Ok(());
        };
        let end = TokenEnd {
            of: TokensOf::Token(claims.id),
            app: claims.app,
            until: claims.expires_at,
        };
        let allowed = sessions::end_token(end);
        let kept = self.with_sessions(move |store| Ok(store.end_token(allowed, ENDS_MAX)?));
        if !kept.await? {
            return Err(TokenError::new(
                "temporarily_unavailable",
                Reason::Overloaded,
                "the App has ended as many tokens as can be kept until they expire",
            ));
        }
        let ends = vec![Entry::from(&end)];
        confirmed(self.parts.publisher.end_tokens(ends).await?)
    }
}

/// Refuses an end that not every worker has confirmed: it is stored, and the client asks again.
fn confirmed(receipt: Receipt) -> Result<(), TokenError> {
    if receipt.confirmed {
        return Ok(());
    }
    Err(TokenError::new(
        "temporarily_unavailable",
        Reason::Unconfirmed,
        "the end is stored, and not every worker has confirmed it; try again",
    ))
}
