//! The exchange of an access token for one with fewer scopes (RFC 8693), which lives no longer.

use super::scopes::granted;
use crate::control::tokens::client::Client;
use crate::control::tokens::error::{TokenError, bad_grant};
use crate::control::tokens::mint::{Kind, MintedToken};
use crate::control::tokens::minting::Content;
use crate::control::tokens::service::TokenService;
use crate::domain::reason::Reason;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;

impl TokenService {
    /// A token that is valid as the walk would find it, of the client's own App, becomes another one.
    pub(in crate::control::tokens) fn narrow(
        &self,
        snapshot: &Snapshot,
        client: &Client<'_>,
        access_token: &str,
        scope: Option<&str>,
        now: Timestamp,
    ) -> Result<MintedToken, TokenError> {
        let (keys, issuer) = (&snapshot.verification_keys, &snapshot.catalog.issuer);
        let claims = self
            .parts
            .access_tokens
            .verify(access_token, keys, issuer, now)
            .map_err(bad_grant)?;
        let live = snapshot.live_token(&claims, now).map_err(bad_grant)?;
        if live.app.id != client.app.id {
            return Err(bad_grant(Reason::AppsDiffer));
        }
        // A token of another Key would outlive its revocation in the one that is made of it.
        if claims.key != client.id {
            return Err(bad_grant(Reason::GrantInvalid));
        }
        let certificate = client.certificate.map(|proof| &proof.fingerprint);
        live.bound_to(&claims, certificate).map_err(bad_grant)?;
        if claims.proof_key.is_some() && claims.proof_key != client.proof_key {
            return Err(bad_grant(Reason::TokenBinding));
        }
        let content = Content {
            scopes: granted(&claims.scopes, scope)?,
            subject: claims.subject,
            session: claims.session,
            until: Some(claims.expires_at),
        };
        Ok(MintedToken {
            kind: Kind::ExchangedAccess,
            ..self.mint(snapshot, client, content, now)
        })
    }
}
