//! The client credentials grant (RFC 6749, 4.4): a token of the client's own App.

use super::scopes::granted;
use crate::control::tokens::client::Client;
use crate::control::tokens::error::TokenError;
use crate::control::tokens::mint::MintedToken;
use crate::control::tokens::minting::Content;
use crate::control::tokens::service::TokenService;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;

impl TokenService {
    pub(in crate::control::tokens) fn client_credentials(
        &self,
        snapshot: &Snapshot,
        client: &Client<'_>,
        scope: Option<&str>,
        now: Timestamp,
    ) -> Result<MintedToken, TokenError> {
        let content = Content {
            scopes: granted(&client.grantable(), scope)?,
            ..Content::default()
        };
        Ok(self.mint(snapshot, client, content, now))
    }
}
