//! Replays: the answers of the last refreshes, for a client that lost one and asks again.
//!
//! A refresh token is used once. A client whose answer was lost on the way has only the used one, so that for a short
//! time the same caller gets the same answer. Another caller with it is taken for a thief.

use std::net::IpAddr;
use std::time::Duration;

use quick_cache::sync::Cache;

use crate::domain::certificate::Fingerprint;
use crate::domain::id::KeyId;
use crate::domain::thumbprint::Thumbprint;
use crate::domain::time::Timestamp;

use super::mint::MintedToken;

/// The time for which a refresh can be repeated.
const GRACE: Duration = Duration::from_secs(10);

/// The most answers that are kept, of some 2 KiB each. Beyond that, the oldest client has to log in again.
const KEPT_MAX: usize = 4096;

/// The caller of a refresh, as far as its connection, its key and its DPoP proof show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub address: IpAddr,
    pub key: KeyId,
    pub certificate: Option<Fingerprint>,
    pub proof_key: Option<Thumbprint>,
}

/// The answers, by the digest of the refresh token that was shown.
#[derive(Debug)]
pub struct Replays(Cache<[u8; 32], (Caller, Timestamp, MintedToken)>);

impl Default for Replays {
    fn default() -> Self {
        Self(Cache::new(KEPT_MAX))
    }
}

impl Replays {
    pub fn keep(&self, shown: [u8; 32], by: Caller, now: Timestamp, answer: &MintedToken) {
        self.0.insert(shown, (by, now, answer.clone()));
    }

    /// The answer to the same refresh, if it was given a moment ago to the same caller.
    pub fn find(&self, shown: &[u8; 32], by: Caller, now: Timestamp) -> Option<MintedToken> {
        let (to, at, answer) = self.0.get(shown)?;
        if now > at.plus(GRACE) {
            self.0.remove(shown);
            return None;
        }
        (to == by).then_some(answer)
    }
}
