//! The token endpoint's work: a client that authenticates, and the grant that it asks for.

use super::error::TokenError;
use super::mint::MintedToken;
use super::request::{Grant, TokenRequest};
use super::service::TokenService;
use crate::domain::snapshot::Snapshot;

impl TokenService {
    /// Authenticates the client and carries out the grant.
    pub fn grant(
        &self,
        snapshot: &Snapshot,
        request: &TokenRequest<'_>,
    ) -> Result<MintedToken, TokenError> {
        let now = self.clock.now();
        let client = self.authenticate(snapshot, &request.client, now)?;
        match request.grant {
            Grant::ClientCredentials { scope } => {
                self.client_credentials(snapshot, &client, scope, now)
            }
        }
    }
}
