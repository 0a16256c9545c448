//! Minting: access tokens with the claims of their grant, none of which outlives what it was minted from.

use std::time::Duration;

use super::client::Client;
use super::service::TokenService;
use crate::crypto::random;
use crate::domain::id::{AppId, KeyId, TokenId};
use crate::domain::scope::ScopeSet;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;
use crate::domain::token::{Claims, Subject};

/// An access token and its description for the client.
#[derive(Clone)]
pub struct MintedToken {
    pub access_token: String,
    pub expires_in: Duration,
    pub scopes: ScopeSet,
    /// True if it is valid only beside the certificate that it was minted with.
    pub bound: bool,
    pub key: KeyId,
    pub app: AppId,
    pub id: TokenId,
}

impl std::fmt::Debug for MintedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MintedToken")
            .field("id", &self.id)
            .field("key", &self.key)
            .field("app", &self.app)
            .field("scopes", &self.scopes)
            .field("bound", &self.bound)
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

/// The content of a new token, beside what its client decides.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub scopes: ScopeSet,
    /// The user that the token speaks for.
    pub subject: Option<Subject>,
    /// A time that the token must not outlive, beside those of the Key and the certificate.
    pub until: Option<Timestamp>,
}

impl TokenService {
    /// Mints a token for this client. Issuer and audience are the snapshot's, by which tokens are verified.
    pub(super) fn mint(
        &self,
        snapshot: &Snapshot,
        client: &Client<'_>,
        content: Content,
        now: Timestamp,
    ) -> MintedToken {
        let issued_at = now.whole_seconds();
        let expires_at = self.end(client, content.until, issued_at);
        let claims = Claims {
            issuer: snapshot.catalog.issuer.as_ref().to_owned(),
            audience: snapshot.catalog.issuer.as_ref().to_owned(),
            id: TokenId::from_bits(random::id_bits(now)),
            app: client.app.id,
            key: client.id,
            subject: content.subject,
            scopes: content.scopes,
            issued_at,
            expires_at,
            certificate: client.certificate.map(|proof| proof.fingerprint),
        };
        MintedToken {
            access_token: self.signer.load().sign(&claims),
            expires_in: expires_at.since(issued_at),
            bound: claims.certificate.is_some(),
            key: claims.key,
            app: claims.app,
            id: claims.id,
            scopes: claims.scopes,
        }
    }

    /// The end of a token: no token outlives what it was minted from.
    fn end(
        &self,
        client: &Client<'_>,
        until: Option<Timestamp>,
        issued_at: Timestamp,
    ) -> Timestamp {
        let ttl = match client.certificate {
            Some(_) => self.settings.ttl_bound,
            None => self.settings.ttl,
        };
        let certificate_end = client.certificate.map(|proof| proof.validity.not_after);
        [client.key.expires_at, certificate_end, until]
            .into_iter()
            .flatten()
            .fold(issued_at.plus(ttl), Timestamp::min)
            .whole_seconds()
            .max(issued_at)
    }
}
