//! The exchange of another issuer's token for one of ours (RFC 8693): the same user, for the App of that issuer.

use super::scopes::granted;
use crate::control::tokens::client::Client;
use crate::control::tokens::error::{TokenError, bad_grant, failed};
use crate::control::tokens::mint::{Kind, MintedToken};
use crate::control::tokens::minting::Content;
use crate::control::tokens::service::TokenService;
use crate::crypto::foreign_jwt::{self, Fault};
use crate::crypto::issuer_token::{IssuerClaims, IssuerVerifier};
use crate::domain::issuer::ForeignIssuer;
use crate::domain::reason::Reason;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;

impl TokenService {
    /// A token that another issuer has signed becomes one of ours, which lives no longer.
    pub(in crate::control::tokens) fn foreign(
        &self,
        snapshot: &Snapshot,
        client: &Client<'_>,
        token: &str,
        scope: Option<&str>,
        now: Timestamp,
    ) -> Result<MintedToken, TokenError> {
        let unknown = || bad_grant(Reason::IssuerUnknown);
        let claimed = foreign_jwt::claimed_issuer(token);
        let issuer = claimed.and_then(|claimed| snapshot.catalog.issuers.of(&claimed));
        // Another App's issuer is unknown to this one.
        let issuer = issuer.filter(|issuer| issuer.app.may_be(&client.app.name));
        let verified = self.verified_by(issuer.ok_or_else(unknown)?, token, now)?;
        if verified.app != client.app.name {
            return Err(unknown());
        }
        let content = Content {
            scopes: granted(&client.grantable(), scope)?,
            subject: Some(verified.subject),
            session: None,
            until: Some(verified.expires_at),
        };
        Ok(MintedToken {
            kind: Kind::ExchangedAccess,
            ..self.mint(snapshot, client, content, now)
        })
    }

    fn verified_by(
        &self,
        issuer: &ForeignIssuer,
        token: &str,
        now: Timestamp,
    ) -> Result<IssuerClaims, TokenError> {
        let published = &self.parts.published;
        let source = issuer.source();
        let set = source.as_ref().and_then(|source| published.find(source));
        let verifier = IssuerVerifier::new(issuer, set.as_deref()).map_err(failed)?;
        let verifier = verifier.ok_or(bad_grant(Reason::IssuerKeys))?;
        verifier.verify(issuer, token, now).map_err(|fault| {
            if let Some(source) = source.filter(|_| fault == Fault::KeyUnknown) {
                published.miss(&source, now);
            }
            bad_grant(Reason::IssuerToken)
        })
    }
}
