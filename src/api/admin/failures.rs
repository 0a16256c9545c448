//! Wrong admin tokens, counted by address: guessing gets slow, and so does filling the log.
//!
//! A token has 256 random bits, so no limit is needed to keep it from being guessed; the limit bounds what trying
//! costs. That is why an address above the limit may still try one token at a time: an operator must not be locked
//! out by another user of the address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::domain::counted::counted;
use crate::domain::rate::{Allowance, Verdict};

/// Ten attempts at once, then one every six seconds: more than a person mistypes, too few to guess with.
const ALLOWANCE: Allowance = Allowance {
    interval: 6_000_000_000,
    window: 60_000_000_000,
};

/// Addresses that are remembered; beyond it all new ones share one allowance.
const ADDRESSES_MAX: usize = 4096;

/// Failed attempts by address.
#[derive(Debug)]
pub struct Failures {
    began: Instant,
    buckets: Mutex<Buckets>,
    /// Held while a token from an address that has used up its attempts is looked up.
    turns: Semaphore,
}

#[derive(Debug, Default)]
struct Buckets {
    by_address: HashMap<IpAddr, u64>,
    shared: u64,
}

impl Default for Failures {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            buckets: Mutex::default(),
            turns: Semaphore::new(1),
        }
    }
}

impl Failures {
    /// The time for which the address must wait before its next wrong token is checked; `None` when it need not wait.
    pub fn wait(&self, address: IpAddr) -> Option<Duration> {
        self.wait_at(address, self.now())
    }

    /// Counts one failed attempt.
    pub fn count(&self, address: IpAddr) {
        self.count_at(address, self.now());
    }

    /// Waits until no other token from such an address is being looked up: together they keep one reader of the store
    /// busy, and no more.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn wait_at(&self, address: IpAddr, now: u64) -> Option<Duration> {
        let buckets = self.buckets.lock().ok()?;
        let state = match buckets.by_address.get(&counted(address)) {
            Some(state) => *state,
            None if buckets.by_address.len() >= ADDRESSES_MAX => buckets.shared,
            None => return None,
        };
        match ALLOWANCE.ask(state, now) {
            Verdict::Allowed { .. } => None,
            Verdict::Refused { retry_after } => Some(retry_after),
        }
    }

    fn count_at(&self, address: IpAddr, now: u64) {
        // A poisoned lock means that a thread panicked between two plain assignments, which none does.
        let Ok(mut buckets) = self.buckets.lock() else {
            return;
        };
        let address = counted(address);
        if buckets.by_address.len() >= ADDRESSES_MAX && !buckets.by_address.contains_key(&address) {
            buckets.by_address.retain(|_, state| *state > now);
        }
        let full = buckets.by_address.len() >= ADDRESSES_MAX;
        let state = if full && !buckets.by_address.contains_key(&address) {
            &mut buckets.shared
        } else {
            buckets.by_address.entry(address).or_insert(0)
        };
        if let Verdict::Allowed { next, .. } = ALLOWANCE.ask(*state, now) {
            *state = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ten_attempts_are_heard_and_the_eleventh_waits() {
        let failures = Failures::default();
        let (guesser, other) = (address("192.0.2.1"), address("192.0.2.2"));
        for _ in 0..10 {
            assert_eq!(failures.wait_at(guesser, SECOND), None);
            failures.count_at(guesser, SECOND);
        }
        assert_eq!(
            failures.wait_at(guesser, SECOND),
            Some(Duration::from_secs(6))
        );
        assert_eq!(failures.wait_at(other, SECOND), None);
        assert_eq!(failures.wait_at(guesser, 7 * SECOND), None);
    }

    #[test]
    fn memory_is_bounded_and_forgets_who_has_been_quiet() {
        let failures = Failures::default();
        let many = |first: u32| (0..4096).map(move |place| IpAddr::V4((first + place).into()));
        for address in many(0).chain(many(100_000)) {
            failures.count_at(address, SECOND);
        }
        let known = |failures: &Failures| failures.buckets.lock().unwrap().by_address.len();
        assert_eq!(known(&failures), ADDRESSES_MAX);
        assert!(failures.wait_at(address("203.0.113.1"), SECOND).is_some());
        failures.count_at(address("203.0.113.1"), 100 * SECOND);
        assert_eq!(known(&failures), 1);
    }
}
