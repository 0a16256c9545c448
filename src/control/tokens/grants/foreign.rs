//! The exchange of another issuer's token for one of ours (RFC 8693): the same user, for the App of that issuer.

use std::time::Duration;

use serde_json::Value;

use super::scopes::granted;
use crate::control::tokens::client::Client;
use crate::control::tokens::error::{TokenError, bad_grant, failed};
use crate::control::tokens::mint::{Kind, MintedToken};
use crate::control::tokens::minting::Content;
use crate::control::tokens::service::TokenService;
use crate::crypto::foreign_jwt::{self, Expected, Fault, Verified};
use crate::crypto::jwk::{Algorithm, KeySet, Strictness};
use crate::domain::issuer::ForeignIssuer;
use crate::domain::reason::Reason;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;
use crate::domain::token::Subject;
use crate::domain::token_profile::TokenProfile;

/// The most by which an issuer's clock may differ from ours.
const SKEW: Duration = Duration::from_secs(30);

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
        let claimed = foreign_jwt::claimed_issuer(token);
        let mut issuers = self.parts.settings.issuers.iter();
        let issuer = issuers.find(|issuer| Some(&issuer.issuer) == claimed.as_ref());
        // Another App's issuer is unknown to this one.
        let issuer = issuer.filter(|issuer| issuer.app == client.app.name);
        let issuer = issuer.ok_or(bad_grant(Reason::IssuerUnknown))?;
        let profile = snapshot.catalog.profile;
        let verified = self.verified_by(issuer, token, profile, now)?;
        let content = Content {
            scopes: granted(&client.grantable(), scope)?,
            subject: Some(subject(issuer, &verified)?),
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
        profile: TokenProfile,
        now: Timestamp,
    ) -> Result<Verified, TokenError> {
        let published = &self.parts.published;
        let keys = published.find(&issuer.jwks_url);
        let keys = keys.ok_or(bad_grant(Reason::IssuerKeys))?;
        let keys = KeySet::parse(keys.as_bytes(), Strictness::Usable).map_err(failed)?;
        let audiences: Vec<&str> = issuer.audiences.iter().map(String::as_str).collect();
        let names = issuer.algorithms.iter();
        let accepted = Algorithm::accepted(profile);
        let algorithms: Vec<Algorithm> = names
            .filter_map(|name| Algorithm::named(name))
            .filter(|algorithm| accepted.contains(algorithm))
            .collect();
        let expected = Expected {
            issuer: &issuer.issuer,
            audiences: &audiences,
            algorithms: &algorithms,
            types: &["jwt", "at+jwt"],
            lifetime_max: None,
            skew: SKEW,
        };
        foreign_jwt::verify(token, &keys, &expected, now).map_err(|fault| {
            if fault == Fault::KeyUnknown {
                published.miss(&issuer.jwks_url, now);
            }
            bad_grant(Reason::IssuerToken)
        })
    }
}

/// The user of a verified token, by the claim that the configuration names.
fn subject(issuer: &ForeignIssuer, verified: &Verified) -> Result<Subject, TokenError> {
    let named = verified.claims.get(&issuer.subject).and_then(Value::as_str);
    let subject = named.and_then(|named| named.parse().ok());
    subject.ok_or(bad_grant(Reason::IssuerToken))
}
