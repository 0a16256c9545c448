//! The assertion grant (RFC 7523, 2.1): a partner's server signs for its user, and gets the user's session in one step.

use super::login::Login;
use super::vouch::{device, user};
use crate::control::tokens::assertion::{keys, miss, once, signed};
use crate::control::tokens::client::Client;
use crate::control::tokens::error::{TokenError, bad_grant};
use crate::control::tokens::service::TokenService;
use crate::domain::reason::Reason;
use crate::domain::scope::VOUCH;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;

impl TokenService {
    /// The login of the user in an assertion that the client's App has signed, once.
    pub(in crate::control::tokens) async fn asserted(
        &self,
        snapshot: &Snapshot,
        client: &Client<'_>,
        assertion: &str,
        on: Option<&str>,
        now: Timestamp,
    ) -> Result<Login, TokenError> {
        client.require(VOUCH)?;
        let keys =
            keys(client.app, &self.parts.published).ok_or(bad_grant(Reason::AssertionKeys))?;
        let issuer = client.id.to_string();
        let verified = signed(&keys, assertion, &issuer, &["jwt"], snapshot, now)?;
        let verified = verified
            .inspect_err(|reason| miss(client.app, &self.parts.published, *reason, now))
            .map_err(bad_grant)?;
        let login = Login {
            user: user(&verified.subject)?,
            device: on.map(device).transpose()?,
            scopes: client.grantable(),
        };
        let once = once(client.id, &verified).map_err(bad_grant)?;
        if self.is_first_use(once, client.app.id, now).await? {
            Ok(login)
        } else {
            Err(bad_grant(Reason::AssertionReplayed))
        }
    }
}
