//! Minting: access tokens with the claims of their grant, none of which outlives what it was minted from.

use super::client::Client;
use super::mint::{Bound, Kind, MintedToken};
use super::service::TokenService;
use crate::crypto::random;
use crate::domain::id::TokenId;
use crate::domain::scope::ScopeSet;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;
use crate::domain::token::{Claims, Subject, TokenSession};

/// The content of a new access token, beside what its client decides.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub scopes: ScopeSet,
    /// The user that the token speaks for.
    pub subject: Option<Subject>,
    /// The session of that user.
    pub session: Option<TokenSession>,
    /// A time that the token must not outlive, beside those of the Key and the certificate.
    pub until: Option<Timestamp>,
}

impl TokenService {
    /// Mints an access token for this client. Issuer and audience are the snapshot's, by which tokens are verified.
    pub(super) fn mint(
        &self,
        snapshot: &Snapshot,
        client: &Client<'_>,
        content: Content,
        now: Timestamp,
    ) -> MintedToken {
        let issued_at = now.whole_seconds();
        let expires_at = self.end(client, content.until, now);
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
            proof_key: client.proof_key,
            session: content.session,
        };
        MintedToken {
            kind: Kind::Access,
            token: self.parts.access_tokens.form(
                self.parts.signer.load().sign(&claims),
                client.app.settings.access_token_format,
            ),
            expires_in: expires_at.since(issued_at),
            refresh: None,
            bound: bound(client),
            key: claims.key,
            app: claims.app,
            id: Some(claims.id),
            scopes: claims.scopes,
        }
    }

    /// The end of an access token: none outlives what it was minted from.
    pub(super) fn end(
        &self,
        client: &Client<'_>,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Timestamp {
        let issued_at = now.whole_seconds();
        let ttl = match bound(client) {
            Bound::Nothing => self.parts.settings.ttl,
            Bound::Certificate | Bound::Key => self.parts.settings.ttl_bound,
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

const fn bound(client: &Client<'_>) -> Bound {
    match (client.proof_key, client.certificate) {
        (Some(_), _) => Bound::Key,
        (None, Some(_)) => Bound::Certificate,
        (None, None) => Bound::Nothing,
    }
}
