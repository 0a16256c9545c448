//! The judgement of an access token whose signature is valid: one for the walk, and for everything that answers for it.

use std::net::IpAddr;
use std::sync::Arc;

use super::app::App;
use super::app_settings::Binding;
use super::certificate::Fingerprint;
use super::reason::Reason;
use super::snapshot::{KeyEntry, Snapshot};
use super::time::Timestamp;
use super::token::Claims;
use super::token_end::TokensOf;

/// A token that is valid now, as far as the registry decides.
#[derive(Clone, Copy, Debug)]
pub struct LiveToken<'s> {
    /// The Key that the token was minted from.
    pub key: &'s KeyEntry,
    pub app: &'s Arc<App>,
    snapshot: &'s Snapshot,
}

impl Snapshot {
    /// The registry's half of verifying a token; the signature's half is done before.
    pub fn live_token(&self, claims: &Claims, now: Timestamp) -> Result<LiveToken<'_>, Reason> {
        if now >= claims.expires_at {
            return Err(Reason::TokenExpired);
        }
        if *claims.issuer != *self.catalog.issuer {
            return Err(Reason::TokenAudience);
        }
        let (key, app) = self
            .key_of_token(claims.key, now)
            .map_err(|reason| match reason {
                Reason::AppRevoked | Reason::AppSuspended => reason,
                _ => Reason::TokenEnded,
            })?;
        if key.app != claims.app || self.has_ended(claims) {
            return Err(Reason::TokenEnded);
        }
        let snapshot = self;
        Ok(LiveToken { key, app, snapshot })
    }

    /// True if the token, or its session, ended before its expiry.
    fn has_ended(&self, claims: &Claims) -> bool {
        // Most gateways have none at most times, and a look into an empty map would cost a hash.
        if self.token_ends.is_empty() {
            return false;
        }
        let session = claims.session.as_ref().map(|session| session.id);
        let ended = |of| self.token_ends.get(&of).is_some();
        ended(TokensOf::Token(claims.id)) || session.map(TokensOf::Session).is_some_and(ended)
    }
}

impl LiveToken<'_> {
    /// Judges the connection that the token came over.
    pub fn shown_by(
        &self,
        claims: &Claims,
        address: IpAddr,
        certificate: Option<&Fingerprint>,
    ) -> Result<(), Reason> {
        // A token must not avoid the networks that its key is bound to.
        if !self.key.may_be_used_from(address) {
            return Err(Reason::KeyNetwork);
        }
        self.bound_to(claims, certificate)
    }

    /// Judges the certificate of the connection.
    pub fn bound_to(
        &self,
        claims: &Claims,
        certificate: Option<&Fingerprint>,
    ) -> Result<(), Reason> {
        let profile = self.snapshot.catalog.profile;
        if profile.is_fapi2() && claims.certificate.is_none() && claims.proof_key.is_none() {
            return Err(Reason::TokenBinding);
        }
        match claims.certificate {
            Some(bound) if !self.counts_with(&bound, certificate) => Err(Reason::TokenBinding),
            _ => Ok(()),
        }
    }

    /// True if a token that is bound to one certificate counts on a connection with this one, which is valid.
    fn counts_with(&self, bound: &Fingerprint, shown: Option<&Fingerprint>) -> bool {
        let Some(shown) = shown else { return false };
        if shown == bound {
            return true;
        }
        let entry = self.snapshot.certificates.get(shown);
        // FAPI knows the certificate of RFC 8705 alone, the one that the token names.
        !self.snapshot.catalog.profile.is_fapi2()
            && self.app.settings.binding == Binding::App
            && entry.is_some_and(|entry| entry.app == self.app.id && entry.state.counts())
    }
}
