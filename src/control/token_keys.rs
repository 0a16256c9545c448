//! Token keys, rotated: one signs, and earlier ones verify until their last token has expired.
//!
//! A rotation replaces the key that signs. The public half of the old one stays published, and still verifies, until
//! the last token that it signed has expired. It is stored in a file beside the key, so that a restart in between ends
//! no token.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use serde_json::json;
use tracing::info;

use super::authority;
use super::error::Error;
use super::key_ring::{place_of_retired, verifying};
use super::publish::Changed;
use super::retired_key::RetiredKey;
use super::service::Control;
use crate::crypto::jwt::TokenSigner;
use crate::domain::admin::Actor;
use crate::domain::time::Timestamp;

/// The maximum number of earlier keys that still verify. Each is tried only for tokens that name it; more than a few at
/// a time mean that something rotates in a loop.
const RETIRED_MAX: usize = 8;

/// The maximum by which a clock may be behind that decides if a token has expired.
const SKEW: Duration = Duration::from_mins(1);

/// A key that verifies tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenKeyStatus {
    pub kid: String,
    /// The end of its use; `None` for the key that signs.
    pub until: Option<Timestamp>,
}

impl Control {
    /// The keys that verify tokens; the one that signs comes first.
    pub async fn token_keys(&self) -> Vec<TokenKeyStatus> {
        let keys = self.token_keys_held();
        listed(&keys.signer.load(), &keys.retired.lock().await)
    }

    /// Generates a new token key, which signs from now on. Earlier tokens stay valid until they expire, or end at once
    /// if `end_tokens` is set, for keys that may be compromised.
    pub async fn rotate_token_key(
        &self,
        actor: &Actor,
        end_tokens: bool,
    ) -> Result<Changed<Vec<TokenKeyStatus>>, Error> {
        let keys = self.token_keys_held();
        let mut held = keys.retired.lock().await;
        let now = self.now();
        let old = keys.signer.load_full();
        let retired = retired_after(&held, &old, end_tokens, now, keys.lifetime);
        if retired.len() > RETIRED_MAX {
            return Err(Error::conflict(format!(
                "tokens of {RETIRED_MAX} earlier keys are still valid; wait until the first have expired"
            )));
        }
        let secret = TokenSigner::generate();
        let signer = TokenSigner::load(&secret)
            .map_err(|error| Error::internal("the new key cannot sign", error))?;
        let (new_kid, old_kid) = (signer.verification_key().kid, old.verification_key().kid);
        // The audit event is written first: files have no transactions, and an unavailable store must not hide a new
        // key.
        let detail = json!({"succeeds": old_kid, "ends_tokens": end_tokens});
        self.note(actor, "token_key.rotate", &new_kid, detail)
            .await?;
        let (path, kept) = (keys.path.clone(), retired.clone());
        write(move || {
            // The old key's public half is written first: after a crash, no token is signed that cannot be verified.
            authority::keep_retired_token_keys(&place_of_retired(&path), &kept)?;
            authority::replace_token_key(&path, &secret)
        })
        .await?;
        let published = verifying(&signer, &retired);
        let receipt = self.publisher().set_verification_keys(published).await?;
        let value = listed(&signer, &retired);
        keys.signer.store(Arc::new(signer));
        *held = retired;
        info!(old = %old_kid, new = %new_kid, end_tokens, "token key rotated");
        let changed = Changed { value, receipt };
        if end_tokens {
            return changed.in_force("the tokens that were to end");
        }
        Ok(changed)
    }

    /// Unpublishes earlier keys whose last token has expired.
    pub async fn forget_token_keys(&self) -> Result<(), Error> {
        let keys = self.token_keys_held();
        let mut held = keys.retired.lock().await;
        let now = self.now();
        if held.iter().all(|key| key.until > now) {
            return Ok(());
        }
        let mut retired = held.clone();
        retired.retain(|key| key.until > now);
        let (path, kept) = (place_of_retired(&keys.path), retired.clone());
        write(move || authority::keep_retired_token_keys(&path, &kept)).await?;
        let published = verifying(&keys.signer.load(), &retired);
        self.publisher().set_verification_keys(published).await?;
        *held = retired;
        Ok(())
    }
}

fn retired_after(
    before: &[RetiredKey],
    old: &TokenSigner,
    end_tokens: bool,
    now: Timestamp,
    lifetime: Duration,
) -> Vec<RetiredKey> {
    if end_tokens {
        return Vec::new();
    }
    let old = old.verification_key();
    let old = RetiredKey {
        kid: old.kid,
        point: BASE64URL_NOPAD.encode(&old.point),
        until: now.plus(lifetime).plus(SKEW),
    };
    let before = before.iter().filter(|key| key.until > now).cloned();
    [old].into_iter().chain(before).collect()
}

fn listed(signer: &TokenSigner, retired: &[RetiredKey]) -> Vec<TokenKeyStatus> {
    let current = TokenKeyStatus {
        kid: signer.verification_key().kid,
        until: None,
    };
    let retired = retired.iter().map(|key| TokenKeyStatus {
        kid: key.kid.clone(),
        until: Some(key.until),
    });
    [current].into_iter().chain(retired).collect()
}

async fn write(
    files: impl FnOnce() -> Result<(), authority::Error> + Send + 'static,
) -> Result<(), Error> {
    let failed = "the files of the token keys cannot be written; the old key still signs";
    tokio::task::spawn_blocking(files)
        .await
        .map_err(|error| Error::internal(failed, error))?
        .map_err(|error| Error::internal(failed, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::key_ring::TokenKeys;
    use crate::control::testing::{ACTOR, Fixture};
    use crate::crypto::jwt;
    use crate::domain::id::{AppId, KeyId, TokenId};
    use crate::domain::reason::Reason;
    use crate::domain::token::Claims;

    const HOUR: Duration = Duration::from_hours(1);

    fn token(fixture: &Fixture) -> String {
        let now = fixture.control.now();
        let signer = fixture.control.token_keys_held().signer.load_full();
        signer.sign(&Claims {
            issuer: "https://gateway.test".into(),
            audience: "https://gateway.test".into(),
            id: TokenId::from_bits(1),
            app: AppId::from_bits(1),
            key: KeyId::from_bits(1),
            subject: None,
            scopes: "".parse().unwrap(),
            issued_at: now,
            expires_at: now.plus(HOUR),
            certificate: None,
            proof_key: None,
            session: None,
        })
    }

    fn verify(fixture: &Fixture, token: &str) -> Result<(), Reason> {
        let snapshot = fixture.last_told().0;
        let now = fixture.control.now();
        jwt::verify(
            token,
            &snapshot.verification_keys,
            "https://gateway.test",
            now,
        )
        .map(|_| ())
    }

    #[tokio::test]
    async fn tokens_of_the_old_key_count_until_they_end() {
        let fixture = Fixture::new().await;
        let old = token(&fixture);
        let rotated = fixture.control.rotate_token_key(&ACTOR, false).await;
        let rotated = rotated.unwrap();
        assert!(rotated.receipt.confirmed);
        assert_eq!(rotated.value, fixture.control.token_keys().await);
        let [current, retired] = &rotated.value[..] else {
            panic!("{rotated:?}");
        };
        assert_eq!(current.until, None);
        assert_eq!(
            retired.until,
            Some(fixture.control.now().plus(HOUR).plus(SKEW))
        );
        let new = token(&fixture);
        assert_eq!(verify(&fixture, &old), Ok(()));
        assert_eq!(verify(&fixture, &new), Ok(()));
        let event = fixture.last_event().await;
        assert_eq!(
            (&*event.action, &event.subject),
            ("token_key.rotate", &current.kid)
        );

        // A key is kept until its last token has expired, and dropped after it.
        fixture.control.forget_token_keys().await.unwrap();
        assert_eq!(fixture.control.token_keys().await.len(), 2);
        fixture.clock.advance(HOUR + SKEW);
        fixture.control.forget_token_keys().await.unwrap();
        assert_eq!(fixture.control.token_keys().await.len(), 1);
        assert_eq!(fixture.last_told().0.verification_keys.len(), 1);
        assert_eq!(verify(&fixture, &old), Err(Reason::TokenSignature));
    }

    #[tokio::test]
    async fn tokens_end_at_once_where_the_key_is_in_the_wrong_hands() {
        let fixture = Fixture::new().await;
        let oldest = token(&fixture);
        fixture
            .control
            .rotate_token_key(&ACTOR, false)
            .await
            .unwrap();
        let old = token(&fixture);
        let rotated = fixture
            .control
            .rotate_token_key(&ACTOR, true)
            .await
            .unwrap();
        assert_eq!(rotated.value.len(), 1);
        for ended in [&oldest, &old] {
            assert_eq!(verify(&fixture, ended), Err(Reason::TokenSignature));
        }
        assert_eq!(verify(&fixture, &token(&fixture)), Ok(()));
    }

    #[tokio::test]
    async fn a_restart_finds_what_a_rotation_left() {
        let fixture = Fixture::new().await;
        let control = &fixture.control;
        for _ in 0..2 {
            control.rotate_token_key(&ACTOR, false).await.unwrap();
        }
        let path = control.token_keys_held().path.clone();
        let reopen = |now| TokenKeys::open(&path, HOUR, now).unwrap();
        let again = reopen(control.now());
        assert!(!again.created);
        let expected = control.token_keys_held().verification_keys().await;
        assert_eq!(again.value.verification_keys().await, expected);
        let later = control.now().plus(HOUR * 2);
        assert_eq!(reopen(later).value.verification_keys().await.len(), 1);
        std::fs::write(place_of_retired(&path), "nonsense").unwrap();
        assert!(TokenKeys::open(&path, HOUR, control.now()).is_err());
    }

    #[tokio::test]
    async fn a_rotation_in_a_loop_is_stopped() {
        let fixture = Fixture::new().await;
        for _ in 0..RETIRED_MAX {
            fixture
                .control
                .rotate_token_key(&ACTOR, false)
                .await
                .unwrap();
        }
        let before = fixture.control.token_keys().await;
        let refused = fixture.control.rotate_token_key(&ACTOR, false).await;
        assert_eq!(refused.unwrap_err().reason, Reason::Conflict);
        assert_eq!(fixture.control.token_keys().await, before);
        fixture.clock.advance(HOUR + SKEW);
        fixture
            .control
            .rotate_token_key(&ACTOR, false)
            .await
            .unwrap();
        assert_eq!(fixture.control.token_keys().await.len(), 2);
    }

    #[tokio::test]
    async fn a_key_that_cannot_be_written_leaves_the_old_one_in_use() {
        let fixture = Fixture::new().await;
        let before = fixture.control.token_keys().await;
        let path = fixture.control.token_keys_held().path.clone();
        std::fs::create_dir(place_of_retired(&path)).unwrap();
        let refused = fixture.control.rotate_token_key(&ACTOR, false).await;
        assert_eq!(refused.unwrap_err().reason, Reason::Internal);
        assert_eq!(fixture.control.token_keys().await, before);
    }
}
