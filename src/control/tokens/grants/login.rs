//! The exchange of an auth token for a session (RFC 8693): the login of a user on a device.

use super::scopes::granted;
use super::vouch::{device, user};
use crate::control::tokens::auth_token::{Vouched, ticket_id};
use crate::control::tokens::client::Client;
use crate::control::tokens::error::{TokenError, bad_grant, failed};
use crate::control::tokens::mint::{Kind, MintedToken};
use crate::control::tokens::minting::Content;
use crate::control::tokens::service::TokenService;
use crate::crypto::opaque::{Family, is_auth_token};
use crate::crypto::random;
use crate::domain::api_key::Environment;
use crate::domain::app_settings::SecureMode;
use crate::domain::device::DeviceId;
use crate::domain::id::SessionId;
use crate::domain::reason::Reason;
use crate::domain::registry::sessions;
use crate::domain::scope::ScopeSet;
use crate::domain::session::Session;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;
use crate::domain::token::{Subject, TokenSession};
use crate::store::sessions::{Concerned, Known};

/// A user who is about to have a session.
#[derive(Clone, Debug)]
pub(in crate::control::tokens) struct Login {
    pub user: Subject,
    pub device: Option<DeviceId>,
    pub scopes: ScopeSet,
}

/// The login of a user whom nobody vouches for, which an App allows by its secure mode.
pub(in crate::control::tokens) fn unvouched(
    client: &Client<'_>,
    named: &str,
    on: Option<&str>,
) -> Result<Login, TokenError> {
    // An App may have been live before, and has the keys of then.
    let is_test = client.key.environment == Environment::Test;
    if client.app.settings.secure_mode != SecureMode::Off || !is_test {
        return Err(secure_mode_required());
    }
    Ok(Login {
        user: user(named)?,
        device: on.map(device).transpose()?,
        scopes: client.grantable(),
    })
}

/// The refusal of a session for a user whom nobody vouches for.
pub(in crate::control::tokens) const fn secure_mode_required() -> TokenError {
    TokenError::new(
        "unauthorized_client",
        Reason::SecureModeRequired,
        "a session needs an auth token: the App's server has to vouch for its user first",
    )
}

impl TokenService {
    /// Takes an auth token, which is valid once, for its own user and App.
    pub(in crate::control::tokens) async fn login(
        &self,
        snapshot: &Snapshot,
        client: &Client<'_>,
        auth_token: &str,
        named: Option<&str>,
        scope: Option<&str>,
        now: Timestamp,
    ) -> Result<Login, TokenError> {
        let named = named.map(device).transpose()?;
        if !is_auth_token(auth_token) {
            return Err(bad_grant(Reason::GrantInvalid));
        }
        let id = ticket_id(auth_token);
        let found = self.with_tickets(move |tickets| Ok(tickets.ticket(&id, now)?));
        let ticket = found.await?.ok_or(bad_grant(Reason::GrantInvalid))?;
        let vouched: Vouched = serde_json::from_slice(ticket.payload()).map_err(failed)?;
        if vouched.app != client.app.id {
            return Err(bad_grant(Reason::AppsDiffer));
        }
        // The Key that vouched may have ended since.
        let (by, _) = snapshot
            .live_key(vouched.key, now)
            .ok()
            .ok_or(bad_grant(Reason::GrantInvalid))?;
        if by.environment != client.key.environment {
            return Err(bad_grant(Reason::EnvironmentMismatch));
        }
        let device = match (vouched.device, named) {
            (Some(vouched), Some(named)) if vouched != named => {
                return Err(bad_grant(Reason::GrantInvalid));
            }
            (vouched, named) => vouched.or(named),
        };
        granted(&vouched.scopes, scope)?;
        // A request that is refused before has not used the token up. Of all that come here, one takes it.
        let taken = self.with_tickets(move |tickets| Ok(tickets.take(&id, now)?));
        taken.await?.ok_or(bad_grant(Reason::GrantInvalid))?;
        Ok(Login {
            user: vouched.user,
            device,
            scopes: vouched.scopes,
        })
    }

    /// Opens the session of a login. What it ends is out of force when the client has its tokens.
    pub(in crate::control::tokens) async fn open_session(
        &self,
        snapshot: &Snapshot,
        client: &Client<'_>,
        login: Login,
        scope: Option<&str>,
        now: Timestamp,
    ) -> Result<MintedToken, TokenError> {
        let scopes = granted(&login.scopes, scope)?;
        let id = SessionId::from_bits(random::id_bits(now));
        let (refresh, digests) = Family::generate(id).next(&self.parts.hasher);
        let settings = &self.parts.settings;
        let expires_at = now.plus(settings.refresh_ttl);
        let idle_until = now.plus(settings.session_ttl);
        let session = Session {
            id,
            app: client.app.id,
            environment: client.key.environment,
            user: login.user,
            proof_key: client.proof_key,
            device: login.device,
            scopes: login.scopes,
            created_at: now,
            refreshed_at: now,
            expires_at,
            idle_until,
            tokens_until: self.end(client, Some(expires_at.min(idle_until)), now),
            family: digests.family,
            refresh: digests.refresh,
            ended: None,
        };
        let content = content(&session, scopes);
        let of_user = Concerned::User(session.app, session.user.clone(), now);
        let max = settings.sessions_max;
        let opened = self.with_sessions(move |store| {
            let rule = move |known: &Known| {
                sessions::open(session.clone(), &known.sessions, known.of_app, max, now)
            };
            Ok(store.change(of_user, Box::new(rule))?)
        });
        let changes = opened.await?;
        if changes.subject().is_none() {
            return Err(too_many());
        }
        self.publish_ends(&changes).await?;
        Ok(MintedToken {
            kind: Kind::ExchangedAccess,
            refresh: Some(refresh),
            ..self.mint(snapshot, client, content, now)
        })
    }
}

/// The content of an access token of this session.
pub(in crate::control::tokens) fn content(session: &Session, scopes: ScopeSet) -> Content {
    Content {
        scopes,
        subject: Some(session.user.clone()),
        session: Some(TokenSession {
            id: session.id,
            device: session.device.clone(),
        }),
        // A token that outlived its session could not be ended with it.
        until: Some(session.expires_at.min(session.idle_until)),
    }
}

const fn too_many() -> TokenError {
    TokenError::new(
        "temporarily_unavailable",
        Reason::Overloaded,
        "the App has as many sessions as it may have",
    )
}
