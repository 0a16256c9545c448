//! The judge of proofs, for the token endpoint and the walk: one of them, so that a proof counts once in both.

use data_encoding::BASE64URL_NOPAD;

use super::call::Call;
use super::nonces::Nonces;
use super::proof::{self, Proof};
use super::replays::{Replays, Use};
use crate::crypto::hash;
use crate::domain::id::AppId;
use crate::domain::reason::Reason;
use crate::domain::thumbprint::Thumbprint;
use crate::domain::time::Timestamp;

/// The most seconds since a proof was made.
const AGE_SECONDS_MAX: i64 = 60;

/// The most seconds by which a client's clock may be ahead of ours.
const AHEAD_SECONDS_MAX: i64 = 30;

// A proof is remembered for at least a period after its first use.
const _: () = assert!(AGE_SECONDS_MAX + AHEAD_SECONDS_MAX <= super::replays::PERIOD_SECONDS);

/// The judge of proofs.
#[derive(Debug)]
pub struct Proofs {
    /// True if each proof needs a nonce of ours.
    wants_nonces: bool,
    nonces: Nonces,
    replays: Replays,
}

impl Proofs {
    /// A judge that wants a nonce in each proof, or does without.
    pub fn new(wants_nonces: bool) -> Self {
        Self {
            wants_nonces,
            nonces: Nonces::default(),
            replays: Replays::default(),
        }
    }

    /// A judge that wants no nonces, for tests.
    #[cfg(test)]
    pub fn sample() -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self::new(false))
    }

    /// True if each proof needs a nonce.
    pub fn want_nonces(&self) -> bool {
        self.wants_nonces
    }

    /// The nonce for a client's next proofs.
    pub fn nonce(&self, now: Timestamp) -> String {
        self.nonces.current(now)
    }

    /// A proof that was made lately for this request, and beside the token with this digest, if there is one. It has
    /// not been used up.
    pub fn judge(
        &self,
        text: &str,
        call: &Call<'_>,
        token: Option<&[u8; 32]>,
        now: Timestamp,
    ) -> Result<Proof, Reason> {
        let proof = proof::read(text, &call.algorithms);
        let proof = proof.map_err(|fault| {
            tracing::debug!(%fault, "a DPoP proof was refused");
            Reason::DpopProofInvalid
        })?;
        let is_for_call = call.is_by(&proof.method) && call.is_to(&proof.target);
        if !is_for_call || !token.is_none_or(|token| is_beside(&proof, token)) {
            return Err(Reason::DpopProofMismatch);
        }
        self.is_fresh(&proof, now)?;
        Ok(proof)
    }

    /// Uses a proof up: of all requests with it, one passes.
    pub fn take(&self, app: AppId, proof: &Proof, now: Timestamp) -> Result<(), Reason> {
        match self.replays.note(app, proof, now) {
            Use::First => Ok(()),
            Use::Again => Err(Reason::DpopProofReplayed),
            Use::Full => Err(Reason::Overloaded),
        }
    }

    /// Judges and uses up the proof beside a token that is bound to `key`.
    pub fn accept(
        &self,
        text: &str,
        call: &Call<'_>,
        bound: (AppId, &Thumbprint, &[u8; 32]),
        now: Timestamp,
    ) -> Result<(), Reason> {
        let (app, key, token) = bound;
        let proof = self.judge(text, call, Some(token), now)?;
        if proof.key != *key {
            return Err(Reason::TokenBinding);
        }
        self.take(app, &proof, now)
    }

    fn is_fresh(&self, proof: &Proof, now: Timestamp) -> Result<(), Reason> {
        match &proof.nonce {
            Some(nonce) if !self.nonces.know(nonce, now) => return Err(Reason::DpopNonceWanted),
            None if self.wants_nonces => return Err(Reason::DpopNonceWanted),
            _ => {}
        }
        let age = now.unix_seconds() - proof.issued_at.unix_seconds();
        if (-AHEAD_SECONDS_MAX..=AGE_SECONDS_MAX).contains(&age) {
            Ok(())
        } else {
            Err(Reason::DpopProofStale)
        }
    }
}

/// True if the proof was made for the token with this digest.
fn is_beside(proof: &Proof, token: &[u8; 32]) -> bool {
    let expected = BASE64URL_NOPAD.encode(token);
    let named = proof.token.as_deref().unwrap_or_default();
    hash::constant_time_eq(expected.as_bytes(), named.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::dpop::algorithms::Algorithms;
    use crate::crypto::dpop::testing::Prover;
    use crate::domain::token_profile::TokenProfile;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_764_000_000);
    const APP: AppId = AppId::from_bits(1);
    const CALL: Call<'_> = Call {
        method: "GET",
        authorities: &["api.test"],
        path: "/v1/a",
        algorithms: Algorithms::of(TokenProfile::Standard),
    };
    const HTU: &str = "https://api.test/v1/a";

    fn proofs(nonces: bool) -> Proofs {
        Proofs::new(nonces)
    }

    #[test]
    fn a_proof_is_for_one_request_and_one_token_and_counts_once() {
        let (proofs, prover) = (proofs(false), Prover::new());
        let (token, other) = (hash::sha256(b"token"), hash::sha256(b"other"));
        let key = prover.thumbprint();
        let accept =
            |text: &str, key: &Thumbprint| proofs.accept(text, &CALL, (APP, key, &token), NOW);
        let good = prover.prove("GET", HTU, NOW, Some(&token), None);
        assert_eq!(accept(&good, &key), Ok(()));
        assert_eq!(accept(&good, &key), Err(Reason::DpopProofReplayed));
        let stranger = Prover::new().prove("GET", HTU, NOW, Some(&token), None);
        assert_eq!(accept(&stranger, &key), Err(Reason::TokenBinding));
        for (method, htu, beside) in [
            ("POST", HTU, Some(&token)),
            ("GET", "https://api.test/v1/b", Some(&token)),
            ("GET", "https://evil.test/v1/a", Some(&token)),
            ("GET", HTU, Some(&other)),
            ("GET", HTU, None),
        ] {
            let text = prover.prove(method, htu, NOW, beside, None);
            assert_eq!(accept(&text, &key), Err(Reason::DpopProofMismatch));
        }
        assert_eq!(accept("a.b.c", &key), Err(Reason::DpopProofInvalid));
    }

    #[test]
    fn a_proof_is_fresh_by_its_own_time_and_by_a_nonce_where_one_is_wanted() {
        let prover = Prover::new();
        let judge = |proofs: &Proofs, age: i64, nonce: Option<&str>| {
            let made = Timestamp::from_unix_seconds(NOW.unix_seconds() - age);
            let text = prover.prove("GET", HTU, made, None, nonce);
            proofs.judge(&text, &CALL, None, NOW).map(|_| ())
        };
        let free = proofs(false);
        for (age, expected) in [
            (0, Ok(())),
            (60, Ok(())),
            (61, Err(Reason::DpopProofStale)),
            (-30, Ok(())),
            (-31, Err(Reason::DpopProofStale)),
        ] {
            assert_eq!(judge(&free, age, None), expected, "{age}");
        }
        let nonce = free.nonce(NOW);
        assert_eq!(judge(&free, 0, Some(&nonce)), Ok(()));
        let wanted = Err(Reason::DpopNonceWanted);
        assert_eq!(judge(&free, 0, Some("made-up")), wanted);
        let strict = proofs(true);
        assert_eq!(judge(&strict, 0, None), wanted);
        assert_eq!(
            judge(&strict, 0, Some(&nonce)),
            wanted,
            "of another process"
        );
        assert_eq!(judge(&strict, 0, Some(&strict.nonce(NOW))), Ok(()));
    }
}
