//! Proofs that were used: each counts once (RFC 9449, 11.1).
//!
//! Each App has a share of its own, so that no partner can push out what another has used. A full share refuses its
//! App's further proofs: one that was forgotten could be used again. Only proofs beside a valid token come here, so
//! that there are no shares but those of Apps that use them.

use std::sync::{Mutex, PoisonError};

use foldhash::{HashMap, HashSet};

use super::proof::Proof;
use crate::crypto::hash;
use crate::domain::id::AppId;
use crate::domain::time::Timestamp;

/// Parts with a lock each. An App is in one of them, and a proof costs a signature's check before it comes here.
const SHARDS: usize = 16;

/// The most proofs of an App in one period: some 1,400 requests a second. They take 4 MiB, and two periods are kept.
const SHARE_MAX: usize = 128 * 1024;

/// The length of a period: a proof is accepted for no longer than this, from the earliest time at which it can be used
/// to the latest.
pub const PERIOD_SECONDS: i64 = 90;

/// The proofs that were used, by their Apps.
#[derive(Debug)]
pub struct Replays {
    shards: Box<[Mutex<HashMap<AppId, Share>>]>,
    share_max: usize,
}

/// The proofs of one App: those of this period, and those of the last.
#[derive(Debug, Default)]
struct Share {
    period: i64,
    current: HashSet<u128>,
    last: HashSet<u128>,
}

/// The state of a proof that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    First,
    Again,
    /// The App has used as many as can be remembered.
    Full,
}

impl Default for Replays {
    fn default() -> Self {
        Self::of(SHARE_MAX)
    }
}

impl Replays {
    fn of(share_max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            share_max,
        }
    }

    /// Notes the use of a proof: of all who show it, one is the first.
    pub fn note(&self, app: AppId, proof: &Proof, now: Timestamp) -> Use {
        let place = usize::try_from(u128::from(app) % SHARDS as u128).unwrap_or(0);
        let Some(shard) = self.shards.get(place) else {
            return Use::Full;
        };
        let (name, period) = (name(proof), now.unix_seconds().div_euclid(PERIOD_SECONDS));
        let mut shares = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if shares.get(&app).is_none_or(|share| share.period < period) {
            // Apps that have used nothing for two periods give their memory back.
            shares.retain(|_, share| share.period + 1 >= period);
        }
        let own = shares.entry(app).or_default();
        own.turn(period);
        if own.last.contains(&name) || own.current.contains(&name) {
            return Use::Again;
        }
        if own.current.len() >= self.share_max {
            return Use::Full;
        }
        own.current.insert(name);
        Use::First
    }
}

impl Share {
    /// Begins a period, unless it has begun. A clock that goes back ends none.
    fn turn(&mut self, period: i64) {
        if period <= self.period {
            return;
        }
        let past = std::mem::take(&mut self.current);
        self.last = if self.period + 1 == period {
            past
        } else {
            HashSet::default()
        };
        self.period = period;
    }
}

/// The name of a proof. The key is part of it: another client's ids are its own.
fn name(proof: &Proof) -> u128 {
    let whole = [proof.key.as_bytes().as_slice(), proof.id.as_bytes()].concat();
    let digest = hash::sha256(&whole);
    digest
        .first_chunk()
        .map_or(0, |half| u128::from_be_bytes(*half))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;
    use crate::domain::thumbprint::Thumbprint;

    const APP: AppId = AppId::from_bits(1);
    /// In another shard.
    const OTHER: AppId = AppId::from_bits(2);
    /// In the same shard.
    const NEIGHBOUR: AppId = AppId::from_bits(17);

    fn proof(key: u8, id: &str) -> Proof {
        Proof {
            key: Thumbprint::from_bytes([key; 32]),
            id: id.to_owned(),
            method: "GET".to_owned(),
            target: "https://api.test/".to_owned(),
            issued_at: at(0),
            token: None,
            nonce: None,
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    #[test]
    fn a_proof_counts_once_while_it_could_be_used_again() {
        let replays = Replays::default();
        assert_eq!(replays.note(APP, &proof(1, "a"), at(91)), Use::First);
        for seconds in [91, 92, 179, 180, 269] {
            let again = replays.note(APP, &proof(1, "a"), at(seconds));
            assert_eq!(again, Use::Again, "{seconds}");
        }
        // A clock that goes back forgets nothing.
        assert_eq!(replays.note(APP, &proof(1, "a"), at(0)), Use::Again);
        assert_eq!(replays.note(APP, &proof(1, "b"), at(0)), Use::First);
        assert_eq!(replays.note(APP, &proof(2, "a"), at(269)), Use::First);
        assert_eq!(replays.note(OTHER, &proof(1, "a"), at(269)), Use::First);
        assert_eq!(replays.note(APP, &proof(1, "a"), at(900)), Use::First);
    }

    #[test]
    fn a_full_share_refuses_its_own_app_and_forgets_nothing() {
        let replays = Replays::of(2);
        for id in ["a", "b"] {
            assert_eq!(replays.note(APP, &proof(1, id), at(0)), Use::First);
        }
        assert_eq!(replays.note(APP, &proof(1, "c"), at(0)), Use::Full);
        assert_eq!(replays.note(APP, &proof(1, "a"), at(0)), Use::Again);
        for app in [OTHER, NEIGHBOUR] {
            assert_eq!(replays.note(app, &proof(1, "a"), at(0)), Use::First);
        }
        assert_eq!(replays.note(APP, &proof(1, "c"), at(90)), Use::First);
        assert_eq!(replays.note(APP, &proof(1, "a"), at(90)), Use::Again);
    }

    #[test]
    fn an_app_that_is_silent_takes_no_memory() {
        let replays = Replays::default();
        assert_eq!(replays.note(APP, &proof(1, "a"), at(0)), Use::First);
        assert_eq!(replays.note(NEIGHBOUR, &proof(1, "a"), at(500)), Use::First);
        let all = replays.shards.iter();
        let kept: usize = all.map(|shard| shard.lock().unwrap().len()).sum();
        assert_eq!(kept, 1);
    }

    #[test]
    fn of_fifty_who_show_a_proof_one_is_the_first() {
        let replays = Arc::new(Replays::default());
        let firsts: usize = thread::scope(|scope| {
            let mut threads = Vec::new();
            for _ in 0..50 {
                threads.push(scope.spawn(|| replays.note(APP, &proof(1, "a"), at(0))));
            }
            let uses = threads.into_iter().map(|thread| thread.join().unwrap());
            uses.filter(|used| *used == Use::First).count()
        });
        assert_eq!(firsts, 1);
    }
}
