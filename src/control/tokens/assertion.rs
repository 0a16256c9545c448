//! Client assertions: JWTs that clients sign with their App's keys instead of sending a secret (RFC 7523, 2.2:
//! `private_key_jwt`).

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::error::{TokenError, failed, proved_client, unproved_client};
use super::request::ClientProof;
use super::service::TokenService;
use crate::control::published_keys::PublishedKeys;
use crate::crypto::foreign_jwt::{self, Expected, Fault, Verified};
use crate::crypto::hash;
use crate::crypto::jwk::{Algorithm, KeySet, Strictness};
use crate::domain::app::App;
use crate::domain::app_settings::ClientKeys;
use crate::domain::id::{AppId, KeyId};
use crate::domain::issuer::Source;
use crate::domain::reason::Reason;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;
use crate::domain::token_profile::TokenProfile;
use crate::store::tickets::{Ticket, TicketId};

/// The most that an assertion may still live: each is remembered until its end. Authlib makes them for an hour, where
/// other libraries make them for a minute.
const LIFETIME_MAX: Duration = Duration::from_hours(1);

/// The most by which a client's clock may differ from ours.
const SKEW: Duration = Duration::from_secs(30);

/// The most characters of a `jti`.
const JTI_CHARS_MAX: usize = 200;

/// The kind of the tickets that stand for assertions that were used.
const KIND: &str = "client_assertion";

/// The keys that are tried for a client without keys, so that it takes as long as one with them: the example of
/// RFC 7517, A.1. Its private half is published; what it has signed is refused all the same.
const NOBODY: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;

/// The names of the algorithms that assertions may be signed with, for the metadata.
pub fn algorithms(profile: TokenProfile) -> Vec<&'static str> {
    let all = Algorithm::accepted(profile).iter();
    all.map(|algorithm| algorithm.as_str()).collect()
}

/// A client that has signed an assertion.
#[derive(Debug)]
pub(super) struct Asserted {
    pub key: KeyId,
    /// The assertion's name in the store. The client is authenticated once this was not there before.
    pub once: Ticket,
}

/// The Key whose App has signed the assertion of `proof`.
pub(super) fn verify(
    published: &PublishedKeys,
    snapshot: &Snapshot,
    proof: &ClientProof<'_>,
    now: Timestamp,
) -> Result<Asserted, TokenError> {
    let text = proof.assertion.unwrap_or_default();
    let claimed = foreign_jwt::claimed_subject(text);
    let claimed = claimed.ok_or(unproved_client(Reason::AssertionMalformed))?;
    // Beside an assertion, `client_id` is not needed and must be the same (RFC 7521, 4.2).
    if !proof.client_id.is_empty() && proof.client_id != claimed {
        return Err(unproved_client(Reason::AssertionClaims));
    }
    let key = claimed.parse::<KeyId>().ok();
    let app = key.and_then(|key| snapshot.apps.get(&snapshot.keys.get(&key)?.app));
    let keys = app.and_then(|app| keys(app, published));
    let verified = check(
        keys.as_deref().unwrap_or(NOBODY),
        text,
        &claimed,
        snapshot,
        now,
    );
    let (Some(key), Some(_)) = (key, keys) else {
        return Err(unproved_client(Reason::AssertionKeys));
    };
    let verified = verified.inspect_err(|refused| {
        if let Some(app) = app {
            miss(app, published, refused.reason, now);
        }
    })?;
    // From here on the client has proved its App's key, so it may learn of other faults.
    let once = once(key, &verified).map_err(proved_client)?;
    Ok(Asserted { key, once })
}

/// The text of the App's JWK set, if there is one here.
pub(super) fn keys(app: &App, published: &PublishedKeys) -> Option<Arc<str>> {
    match app.settings.keys.as_ref()? {
        ClientKeys::Inline(text) => Some(Arc::clone(text)),
        ClientKeys::Url(url) => published.find(&Source::Set(Arc::clone(url))),
    }
}

/// Asks for a newer set, where an App's published keys did not verify what it has signed.
pub(super) fn miss(app: &App, published: &PublishedKeys, reason: Reason, now: Timestamp) {
    let url = app.settings.keys.as_ref().and_then(ClientKeys::url);
    if let (Some(url), Reason::AssertionSignature) = (url, reason) {
        published.miss(&Source::Set(url.into()), now);
    }
}

fn check(
    keys: &str,
    text: &str,
    client: &str,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<Verified, TokenError> {
    let types = &["jwt", "client-authentication+jwt"];
    let verified = signed(keys, text, client, types, snapshot, now)?;
    verified.map_err(unproved_client)
}

/// The claims of a JWT that `issuer` has signed for this gateway with one of `keys`, or the reason to refuse it.
pub(super) fn signed(
    keys: &str,
    text: &str,
    issuer: &str,
    types: &[&str],
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<Result<Verified, Reason>, TokenError> {
    let keys = KeySet::parse(keys.as_bytes(), Strictness::Usable).map_err(failed)?;
    let audience = &*snapshot.catalog.issuer;
    let base = audience.trim_end_matches('/');
    let endpoint = format!("{base}/oauth2/token");
    let profile = snapshot.catalog.profile;
    let audiences = [audience, base, &endpoint];
    let expected = Expected {
        issuer,
        // FAPI takes the issuer alone (FAPI 2.0 Security Profile, 5.3.2.1).
        audiences: if profile.is_fapi2() {
            audiences.get(..1).unwrap_or_default()
        } else {
            &audiences
        },
        algorithms: Algorithm::accepted(profile),
        types,
        subject: "sub",
        lifetime_max: Some(LIFETIME_MAX),
        skew: SKEW,
    };
    let verified = foreign_jwt::verify(text, &keys, &expected, now).map_err(reason);
    Ok(verified.and_then(|verified| {
        let is_text = verified.claims.get("aud").is_some_and(Value::is_string);
        if profile.is_fapi2() && !is_text {
            return Err(Reason::AssertionClaims);
        }
        Ok(verified)
    }))
}

const fn reason(fault: Fault) -> Reason {
    match fault {
        Fault::TooLarge | Fault::Form | Fault::Extension | Fault::OwnKey | Fault::Type => {
            Reason::AssertionMalformed
        }
        Fault::Algorithm | Fault::KeyUnknown | Fault::Signature => Reason::AssertionSignature,
        Fault::Issuer
        | Fault::Audience
        | Fault::App
        | Fault::Bound
        | Fault::Subject
        | Fault::Times
        | Fault::Expired
        | Fault::NotYet
        | Fault::TooLong => Reason::AssertionClaims,
    }
}

/// The ticket by which an assertion counts once, until it has expired.
pub(super) fn once(key: KeyId, verified: &Verified) -> Result<Ticket, Reason> {
    let jti = verified.claims.get("jti").and_then(Value::as_str);
    let jti = jti.filter(|jti| (1..=JTI_CHARS_MAX).contains(&jti.chars().count()));
    let jti = jti.ok_or(Reason::AssertionClaims)?;
    let id = TicketId {
        kind: KIND,
        digest: hash::sha256(format!("{key} {jti}").as_bytes()),
    };
    // An empty payload is never too large.
    Ticket::new(id, Vec::new(), verified.expires_at.plus(SKEW)).or(Err(Reason::Internal))
}

impl TokenService {
    /// Refuses an assertion that was used before, here or before a restart: of all who send it, one gets through.
    pub(super) async fn use_once(
        &self,
        once: Ticket,
        app: AppId,
        now: Timestamp,
    ) -> Result<(), TokenError> {
        if self.is_first_use(once, app, now).await? {
            Ok(())
        } else {
            Err(unproved_client(Reason::AssertionReplayed))
        }
    }

    /// True for the first use of an assertion.
    pub(super) async fn is_first_use(
        &self,
        once: Ticket,
        app: AppId,
        now: Timestamp,
    ) -> Result<bool, TokenError> {
        let max = self.parts.settings.tickets_max;
        self.keep_ticket(once, app, max, now).await
    }
}
