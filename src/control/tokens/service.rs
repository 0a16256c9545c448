//! The token service and its dependencies.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::error::TokenError;
use super::replays::Replays;
use crate::control::client_uses::ClientUses;
use crate::control::error::Error;
use crate::control::publish::Publisher;
use crate::control::published_keys::PublishedKeys;
use crate::crypto::access_token::AccessTokens;
use crate::crypto::api_key::SecretHasher;
use crate::crypto::dpop::proofs::Proofs;
use crate::crypto::jwt::TokenSigner;
use crate::domain::id::AppId;
use crate::domain::reason::Reason;
use crate::domain::record::Receipt;
use crate::domain::registry::sessions::{SessionChanges, SessionsMax};
use crate::domain::snapshot::Snapshot;
use crate::domain::succession::Entry;
use crate::domain::time::{Clock, Timestamp};
use crate::store::sessions::Sessions;
use crate::store::tickets::{Put, Ticket, Tickets};

/// The lifetimes and the maxima of tokens and sessions.
#[derive(Clone, Debug)]
pub struct TokenSettings {
    pub ttl: Duration,
    /// The lifetime of tokens that are bound to a certificate or a key, and so useless to a thief.
    pub ttl_bound: Duration,
    /// The lifetime of an auth token.
    pub auth_token_ttl: Duration,
    /// The lifetime of a session that is not refreshed.
    pub session_ttl: Duration,
    /// The time from a login for which its session can be refreshed.
    pub refresh_ttl: Duration,
    pub sessions_max: SessionsMax,
    /// The most auth tokens of an App that are neither used nor expired, and the most assertions of an App that were used
    /// and have not expired. Each is a row of the store, which an App with one valid Key could fill.
    pub tickets_max: u32,
}

/// The parts that the token service is made of.
#[derive(Debug)]
pub struct TokenParts {
    pub settings: TokenSettings,
    /// The current signer, replaced by rotations; see `control::token_keys`.
    pub signer: Arc<ArcSwap<TokenSigner>>,
    pub hasher: Arc<SecretHasher>,
    pub clock: Arc<dyn Clock>,
    pub tickets: Arc<dyn Tickets>,
    pub published: Arc<PublishedKeys>,
    pub sessions: Arc<dyn Sessions>,
    pub publisher: Publisher,
    /// The judge of DPoP proofs, which the walk asks as well.
    pub proofs: Arc<Proofs>,
    /// The reader of access tokens, which the walk asks as well.
    pub access_tokens: Arc<AccessTokens>,
}

/// The token service. Its operations are one file for each grant, and one for each neighbour of the token endpoint.
#[derive(Debug)]
pub struct TokenService {
    pub(super) parts: TokenParts,
    pub(super) replays: Replays,
    pub(super) uses: Arc<ClientUses>,
}

impl TokenService {
    pub fn new(parts: TokenParts) -> Self {
        Self {
            parts,
            replays: Replays::default(),
            uses: Arc::default(),
        }
    }

    /// The newest snapshot. A request may have waited for its body, and a Key that ended meanwhile proves nothing.
    pub fn current(&self) -> Arc<Snapshot> {
        self.parts.publisher.current()
    }

    pub fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// Uses tickets on a thread that may block.
    pub(super) async fn with_tickets<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Tickets) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let tickets = Arc::clone(&self.parts.tickets);
        blocking(move || work(&*tickets)).await
    }

    /// Keeps a ticket of an App, which may have `max` of its kind. False, if one with its id is there.
    pub(super) async fn keep_ticket(
        &self,
        ticket: Ticket,
        app: AppId,
        max: u32,
        now: Timestamp,
    ) -> Result<bool, TokenError> {
        let put = self.with_tickets(move |tickets| Ok(tickets.put_within(ticket, app, max, now)?));
        match put.await? {
            Put::Kept => Ok(true),
            Put::Taken => Ok(false),
            Put::Full => Err(TokenError::new(
                "temporarily_unavailable",
                Reason::TicketLimit,
                "the App has as many auth tokens or used assertions as can be kept until they expire",
            )),
        }
    }

    /// Publishes the ends of tokens that came with a change of sessions, and returns the receipt, if there are any.
    pub(super) async fn publish_ends(
        &self,
        changes: &SessionChanges,
    ) -> Result<Option<Receipt>, Error> {
        let ends: Vec<Entry> = changes.ends.iter().map(|end| end.value().into()).collect();
        if ends.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.parts.publisher.end_tokens(ends).await?))
    }

    /// Uses sessions on a thread that may block.
    pub(super) async fn with_sessions<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Sessions) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let sessions = Arc::clone(&self.parts.sessions);
        blocking(move || work(&*sessions)).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::internal("the operation was not carried out", error))?
}
