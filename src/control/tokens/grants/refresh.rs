//! The refresh of a session (RFC 6749, 6): each refresh token is used once (RFC 9700, 4.14).

use std::net::IpAddr;

use super::login::content;
use super::scopes::granted;
use crate::control::tokens::client::Client;
use crate::control::tokens::error::{TokenError, bad_grant};
use crate::control::tokens::mint::MintedToken;
use crate::control::tokens::replays::Caller;
use crate::control::tokens::service::TokenService;
use crate::crypto::hash;
use crate::crypto::opaque::{Family, ShownRefresh};
use crate::domain::reason::Reason;
use crate::domain::registry::sessions::{self, Next, SessionChanges, Shown};
use crate::domain::secret::Secret;
use crate::domain::session::Session;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;
use crate::store::sessions::{Concerned, Known};

impl TokenService {
    /// Exchanges a refresh token for the next tokens of its session. A token that was used before ends the session.
    pub(in crate::control::tokens) async fn refresh(
        &self,
        snapshot: &Snapshot,
        client: &Client<'_>,
        address: IpAddr,
        refresh_token: &str,
        scope: Option<&str>,
        now: Timestamp,
    ) -> Result<MintedToken, TokenError> {
        let by = Caller {
            address,
            key: client.id,
            certificate: client.certificate.map(|proof| proof.fingerprint),
            proof_key: client.proof_key,
        };
        let digest = hash::sha256(refresh_token.as_bytes());
        // The FAPI 2.0 Security Profile, 5.3.2.1: no rotation. The token is bound to its client instead.
        let rotates = !snapshot.catalog.profile.is_fapi2();
        if let Some(answer) = self.replays.find(&digest, by, now)
            && rotates
            && answer.app == client.app.id
        {
            return Ok(answer);
        }
        let (family, shown) = Family::read(refresh_token, &self.parts.hasher)
            .ok_or(bad_grant(Reason::GrantInvalid))?;
        let (refresh, digests) = if rotates {
            family.next(&self.parts.hasher)
        } else {
            (Secret::new(refresh_token.to_owned()), shown)
        };
        let shown_digests = Shown {
            family: shown.family,
            refresh: shown.refresh,
        };
        let settings = &self.parts.settings;
        let next = Next {
            refresh: digests.refresh,
            idle_until: now.plus(settings.session_ttl),
            tokens_until: self.end(client, Some(now.plus(settings.session_ttl)), now),
        };
        let (app, environment) = (client.app.id, client.key.environment);
        self.judge_session(client, &shown, scope).await?;
        let judged = self.with_sessions(move |store| {
            let rule = move |known: &Known| {
                let session = known.sessions.first();
                let own = session
                    .filter(|session| session.app == app && session.environment == environment);
                own.map(|session| sessions::refresh(session, shown_digests, next, now))
                    .unwrap_or_default()
            };
            Ok(store.change(Concerned::One(shown.session), Box::new(rule))?)
        });
        let changes = judged.await?;
        let session = self.refreshed(&changes).await?;
        let scopes = granted(&session.scopes, scope)?;
        let answer = MintedToken {
            refresh: Some(refresh),
            ..self.mint(snapshot, client, content(session, scopes), now)
        };
        self.replays.keep(digest, by, now, &answer);
        Ok(answer)
    }

    /// Refuses scopes that the client's own session does not have, and another key than the session's, before the refresh
    /// token is used up. The scopes and the key of a session never change.
    async fn judge_session(
        &self,
        client: &Client<'_>,
        shown: &ShownRefresh,
        scope: Option<&str>,
    ) -> Result<(), TokenError> {
        let id = shown.session;
        let found = self.with_sessions(move |sessions| Ok(sessions.session(id)?));
        let session = found.await?;
        let app = client.app.id;
        let own = session.filter(|known| known.app == app && known.family == shown.family);
        let Some(session) = own else {
            return Ok(());
        };
        if session.proof_key.is_some() && session.proof_key != client.proof_key {
            return Err(bad_grant(Reason::TokenBinding));
        }
        granted(&session.scopes, scope).map(|_| ())
    }

    /// The refreshed session. One that ended instead is out of force before the client learns of it.
    async fn refreshed<'c>(&self, changes: &'c SessionChanges) -> Result<&'c Session, TokenError> {
        let session = changes.subject().ok_or(bad_grant(Reason::GrantInvalid))?;
        if session.ended.is_none() {
            return Ok(session);
        }
        tracing::warn!(session = %session.id, app = %session.app, "refresh token used twice; session ended");
        self.publish_ends(changes).await?;
        Err(bad_grant(Reason::RefreshReused))
    }
}
