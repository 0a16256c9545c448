//! The token endpoint's work: a client that authenticates, and the grant that it asks for.

use super::error::{TokenError, proved_client};
use super::grants::login::{secure_mode_required, unvouched};
use super::mint::MintedToken;
use super::request::{Grant, TokenRequest};
use super::service::TokenService;
use crate::domain::api_key::KeyKind;
use crate::domain::reason::Reason;
use crate::domain::snapshot::Snapshot;

impl TokenService {
    /// Authenticates the client and carries out the grant.
    pub async fn grant(
        &self,
        snapshot: &Snapshot,
        request: &TokenRequest<'_>,
    ) -> Result<MintedToken, TokenError> {
        let now = self.parts.clock.now();
        let proof = self.judge_proof(snapshot, request.proof, now)?;
        let client = if request.grant.is_of_devices() {
            self.authenticate_device(snapshot, &request.client, now)
                .await?
        } else {
            self.authenticate(snapshot, &request.client, now).await?
        };
        let profile = snapshot.catalog.profile;
        if profile.is_fapi2() && client.key.kind != KeyKind::Secret {
            return Err(proved_client(Reason::KindNotAccepted));
        }
        let client = self.prove_key(client, proof.as_ref(), profile, now)?;
        let (address, scope) = (request.client.address, request.scope);
        match request.grant {
            Grant::ClientCredentials => self.client_credentials(snapshot, &client, scope, now),
            Grant::Vouch { user, device } => self.vouch(&client, user, device, scope, now).await,
            Grant::Session { auth_token, device } => {
                let login = self.login(snapshot, &client, auth_token, device, scope, now);
                self.open_session(snapshot, &client, login.await?, scope, now)
                    .await
            }
            Grant::Assertion { assertion, device } => {
                let login = self.asserted(snapshot, &client, assertion, device, now);
                self.open_session(snapshot, &client, login.await?, scope, now)
                    .await
            }
            Grant::Login { .. } if profile.is_fapi2() => Err(secure_mode_required()),
            Grant::Login { user, device } => {
                let login = unvouched(&client, user, device)?;
                let method = request.client.method;
                self.note(&client, method, true, now).await;
                self.open_session(snapshot, &client, login, scope, now)
                    .await
            }
            Grant::Foreign { token } => self.foreign(snapshot, &client, token, scope, now),
            Grant::Narrow { access_token } => {
                self.narrow(snapshot, &client, access_token, scope, now)
            }
            Grant::Refresh { refresh_token } => {
                self.refresh(snapshot, &client, address, refresh_token, scope, now)
                    .await
            }
        }
    }
}
