//! Buckets in memory, shared by all workers: exact to the request, and without a lock on the way.
//!
//! A bucket is one atomic number (see [`Allowance`]). A worker finds it in a map of its own; only a bucket
//! that the worker has not seen lately is looked up in the shared map, under the lock of one of its shards.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use quick_cache::unsync::Cache;

use crate::domain::id::{AppId, KeyId};
use crate::domain::limit::{Allowance, Verdict};
use crate::domain::name::Name;
use crate::net::turn;

use super::standing::Standing;

/// Enough shards that workers seldom meet at one lock.
const SHARDS: usize = 64;

/// The state of a bucket that was evicted from the shared map: its holders look it up again.
const THROWN_OUT: u64 = u64::MAX;

/// Buckets that a worker finds without the shared map.
const NEAR_MAX: usize = 65_536;

/// The subject of a bucket: the sender of its requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    App(AppId),
    Key(KeyId),
    Address(IpAddr),
    Route(Arc<str>),
}

/// The key of a bucket: its limit and subject. Without a limit's name it is for failed authentication.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BucketKey {
    pub limit: Option<Name>,
    pub subject: Subject,
}

/// One bucket. Cloning gives another handle to the same one.
#[derive(Clone, Debug)]
pub struct Bucket(Arc<AtomicU64>);

/// The buckets of all workers.
#[derive(Debug)]
pub struct Buckets {
    shards: Box<[Mutex<HashMap<BucketKey, Bucket, RandomState>>]>,
    hasher: RandomState,
    shard_max: usize,
    began: Instant,
}

impl Buckets {
    /// A map for about `buckets_max` buckets. When it is full, full buckets are evicted first.
    pub fn new(buckets_max: usize) -> Self {
        let hasher = RandomState::new();
        Self {
            shards: (0..SHARDS)
                .map(|_| Mutex::new(HashMap::with_hasher(hasher.clone())))
                .collect(),
            hasher,
            shard_max: (buckets_max / SHARDS).max(1),
            began: Instant::now(),
        }
    }

    /// Nanoseconds since the counters were made. The first is 1, so that a state of 0 is always a full bucket.
    pub fn now(&self) -> u64 {
        let nanos = u64::try_from(
            turn::now()
                .into_std()
                .saturating_duration_since(self.began)
                .as_nanos(),
        )
        .unwrap_or(u64::MAX);
        nanos.clamp(1, THROWN_OUT / 2)
    }

    fn find(&self, key: &BucketKey, now: u64) -> Bucket {
        // The upper bits, because the map in the shard takes the lower ones of the same hash.
        let place = usize::try_from(self.hasher.hash_one(key) >> 32).unwrap_or(0) % SHARDS;
        let Some(shard) = self.shards.get(place) else {
            return Bucket::new();
        };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = shard.get(key) {
            return bucket.clone();
        }
        if shard.len() >= self.shard_max {
            make_room(&mut shard, self.shard_max, now);
        }
        shard.entry(key.clone()).or_insert_with(Bucket::new).clone()
    }
}

/// Evicts full buckets, since a fresh bucket is the same. When there are none, it evicts the eighth of them that will
/// be full soonest: the callers with the least of their allowance left stay counted.
fn make_room(shard: &mut HashMap<BucketKey, Bucket, RandomState>, max: usize, now: u64) {
    shard.retain(|_, bucket| !bucket.throw_out_by(now));
    if shard.len() < max {
        return;
    }
    let mut states: Vec<u64> = shard.values().map(Bucket::state).collect();
    let eighth = (max / 8).min(states.len().saturating_sub(1));
    let (_, soonest, _) = states.select_nth_unstable(eighth);
    let soonest = *soonest;
    shard.retain(|_, bucket| !bucket.throw_out_by(soonest));
}

impl Bucket {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(0)))
    }

    fn state(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Evicts this bucket if it is full by `time`.
    fn throw_out_by(&self, time: u64) -> bool {
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |state| {
                (state <= time).then_some(THROWN_OUT)
            })
            .is_ok()
    }

    /// Takes one request's allowance; the error has the time until there is one. `None` when the bucket was evicted.
    fn take(&self, allowance: &Allowance, now: u64) -> Option<Result<Standing, Standing>> {
        let mut state = self.state();
        loop {
            if state == THROWN_OUT {
                return None;
            }
            let next = match allowance.ask(state, now) {
                Verdict::Refused { retry_after } => {
                    return Some(Err(Standing {
                        remaining: 0,
                        full_in: Allowance::full_in(state, now),
                        retry_after,
                    }));
                }
                Verdict::Allowed { next, remaining } => (next, remaining),
            };
            match self
                .0
                .compare_exchange_weak(state, next.0, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => {
                    return Some(Ok(Standing {
                        remaining: next.1,
                        full_in: Allowance::full_in(next.0, now),
                        retry_after: Duration::ZERO,
                    }));
                }
                Err(changed) => state = changed,
            }
        }
    }

    /// Puts one request's allowance back.
    fn give_back(&self, allowance: &Allowance) {
        // An evicted bucket stays out; the update then finds nothing to do.
        let _unchanged = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |state| {
                (state != THROWN_OUT).then(|| state.saturating_sub(allowance.interval))
            });
    }
}

/// A worker's access to the buckets.
#[derive(Debug)]
pub struct Counters {
    shared: Arc<Buckets>,
    near: RefCell<Cache<BucketKey, Bucket>>,
}

impl Counters {
    pub fn new(shared: Arc<Buckets>) -> Self {
        Self {
            shared,
            near: RefCell::new(Cache::new(NEAR_MAX)),
        }
    }

    pub fn now(&self) -> u64 {
        self.shared.now()
    }

    /// Takes one request's allowance from the bucket of `key`; `Err` when it has none left.
    pub fn take(
        &self,
        key: &BucketKey,
        allowance: &Allowance,
        now: u64,
    ) -> Result<Standing, Standing> {
        loop {
            if let Some(taken) = self.bucket(key, now).take(allowance, now) {
                return taken;
            }
            self.near.borrow_mut().remove(key);
        }
    }

    /// The standing of the bucket of `key`; nothing is taken.
    pub fn look(&self, key: &BucketKey, allowance: &Allowance, now: u64) -> Standing {
        let state = match self.bucket(key, now).state() {
            THROWN_OUT => 0,
            state => state,
        };
        let (remaining, retry_after) = match allowance.ask(state, now) {
            Verdict::Allowed { remaining, .. } => (remaining.saturating_add(1), Duration::ZERO),
            Verdict::Refused { retry_after } => (0, retry_after),
        };
        Standing {
            remaining,
            full_in: Allowance::full_in(state, now),
            retry_after,
        }
    }

    /// Gives back one request's allowance after [`Counters::take`].
    pub fn give_back(&self, key: &BucketKey, allowance: &Allowance, now: u64) {
        self.bucket(key, now).give_back(allowance);
    }

    fn bucket(&self, key: &BucketKey, now: u64) -> Bucket {
        let mut near = self.near.borrow_mut();
        if let Some(bucket) = near.get(key) {
            return bucket.clone();
        }
        let bucket = self.shared.find(key, now);
        near.insert(key.clone(), bucket.clone());
        bucket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(address: u8) -> BucketKey {
        BucketKey {
            limit: None,
            subject: Subject::Address(IpAddr::from([192, 0, 2, address])),
        }
    }

    #[test]
    fn several_workers_together_let_through_exactly_the_burst() {
        let shared = Arc::new(Buckets::new(1024));
        // One request an hour after the burst: nothing is added while the test runs.
        let allowance = Allowance {
            interval: 3_600_000_000_000,
            window: 3_600_000_000_000 * 1000,
        };
        let worker = |_| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                let counters = Counters::new(shared);
                (0..500)
                    .filter(|_| counters.take(&key(1), &allowance, 1).is_ok())
                    .count()
            })
        };
        let workers: [_; 8] = std::array::from_fn(worker);
        let allowed: usize = workers.map(|worker| worker.join().unwrap()).iter().sum();
        assert_eq!(allowed, 1000);
    }

    #[test]
    fn looking_takes_nothing_and_giving_back_undoes_taking() {
        let counters = Counters::new(Arc::new(Buckets::new(1024)));
        let allowance = Allowance {
            interval: 10,
            window: 20,
        };
        assert_eq!(counters.look(&key(1), &allowance, 5).remaining, 2);
        assert_eq!(counters.take(&key(1), &allowance, 5).unwrap().remaining, 1);
        assert_eq!(counters.look(&key(1), &allowance, 5).remaining, 1);
        counters.give_back(&key(1), &allowance, 5);
        assert_eq!(counters.look(&key(1), &allowance, 5).remaining, 2);
        assert!(counters.take(&key(1), &allowance, 5).is_ok());
        assert!(counters.take(&key(1), &allowance, 5).is_ok());
        let refused = counters.take(&key(1), &allowance, 5).unwrap_err();
        assert_eq!(refused.retry_after, Duration::from_nanos(10));
    }

    #[test]
    fn a_full_map_forgets_first_whoever_has_used_least() {
        let shared = Arc::new(Buckets::new(SHARDS));
        let counters = Counters::new(Arc::clone(&shared));
        let allowance = Allowance {
            interval: 10,
            window: 1000,
        };
        for _ in 0..50 {
            counters.take(&key(0), &allowance, 1).unwrap();
        }
        for address in 1..=255 {
            counters.take(&key(address), &allowance, 1).unwrap();
        }
        let held: usize = shared
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap().len())
            .sum();
        assert!(held <= SHARDS, "{held} buckets in room for {SHARDS}");
        // A bucket that was evicted while a worker still holds it is made again and goes on.
        for address in 1..=255 {
            assert!(counters.take(&key(address), &allowance, 1).is_ok());
        }
    }
}
