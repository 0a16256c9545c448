//! The exchange of a user's id for an auth token (RFC 8693): an App vouches for a user that it has authenticated.

use super::scopes::granted;
use crate::control::tokens::auth_token::{Vouched, ticket_id};
use crate::control::tokens::client::Client;
use crate::control::tokens::error::{TokenError, failed};
use crate::control::tokens::mint::{Bound, Kind, MintedToken};
use crate::control::tokens::service::TokenService;
use crate::crypto::opaque::generate_auth_token;
use crate::domain::device::DeviceId;
use crate::domain::reason::Reason;
use crate::domain::scope::VOUCH;
use crate::domain::session::USER_CHARS_MAX;
use crate::domain::time::Timestamp;
use crate::domain::token::Subject;
use crate::store::tickets::Ticket;

impl TokenService {
    /// Makes an auth token that is good for one login of this user.
    pub(in crate::control::tokens) async fn vouch(
        &self,
        client: &Client<'_>,
        user: &str,
        device: Option<&str>,
        scope: Option<&str>,
        now: Timestamp,
    ) -> Result<MintedToken, TokenError> {
        client.require(VOUCH)?;
        let vouched = Vouched {
            app: client.app.id,
            key: client.id,
            user: self::user(user)?,
            device: device.map(self::device).transpose()?,
            scopes: granted(&client.grantable(), scope)?,
        };
        let token = generate_auth_token();
        let lives = self.parts.settings.auth_token_ttl;
        let payload = serde_json::to_vec(&vouched).map_err(failed)?;
        let ticket = Ticket::new(ticket_id(token.expose()), payload, now.plus(lives));
        let ticket = ticket.map_err(failed)?;
        let max = self.parts.settings.tickets_max;
        self.keep_ticket(ticket, client.app.id, max, now).await?;
        Ok(MintedToken {
            kind: Kind::Auth,
            token,
            expires_in: lives,
            refresh: None,
            scopes: vouched.scopes,
            bound: Bound::Nothing,
            key: vouched.key,
            app: vouched.app,
            id: None,
        })
    }
}

/// The user that a request names.
pub(in crate::control::tokens) fn user(text: &str) -> Result<Subject, TokenError> {
    let user = text.parse().ok();
    user.filter(|_| text.len() <= USER_CHARS_MAX)
        .ok_or(TokenError::new(
            "invalid_request",
            Reason::InputInvalid,
            "a user id has 1 to 100 characters of visible ASCII, and is no id of an App or a credential",
        ))
}

/// The device that a request names.
pub(in crate::control::tokens) fn device(text: &str) -> Result<DeviceId, TokenError> {
    text.parse().ok().ok_or(TokenError::new(
        "invalid_request",
        Reason::InputInvalid,
        "a device id has 1 to 100 characters of visible ASCII",
    ))
}
