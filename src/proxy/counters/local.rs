//! Buckets in memory, shared by all workers: exact to the request, and without a lock on the way.
//!
//! A bucket is one atomic number (see [`Meter`]). A worker finds it in a map of its own; only a bucket
//! that the worker has not seen lately is looked up in the shared map, under the lock of one of its shards.
//! Rates, hourly and daily quotas have a map each, because their states cannot be compared.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use quick_cache::unsync::Cache;

use crate::domain::limit::{Meter, Moment};
use crate::domain::name::Name;
use crate::domain::quota::{QuotaUse, Used, Window};
use crate::domain::rate::Verdict;
use crate::domain::time::Timestamp;
use crate::net::turn;

use super::standing::Standing;
use super::subject::Subject;

/// Enough shards that workers seldom meet at one lock.
const SHARDS: usize = 64;

/// The state of a bucket that was evicted from the shared map: its holders look it up again.
const THROWN_OUT: u64 = u64::MAX;

/// Buckets that a worker finds without the shared map.
const NEAR_MAX: usize = 65_536;

/// The key of a bucket: its limit and subject. Without a limit's name it is for failed authentication.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BucketKey {
    pub limit: Option<Name>,
    pub subject: Subject,
    /// The map that the bucket is in: a reload may make a quota of a rate, and keep its name.
    pub unit: Unit,
}

/// The unit of a bucket's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    Rate,
    Quota(Window),
}

impl From<&Meter> for Unit {
    fn from(meter: &Meter) -> Self {
        match meter {
            Meter::Rate(_) => Self::Rate,
            Meter::Quota(quota) => Self::Quota(quota.window),
        }
    }
}

/// One bucket. Cloning gives another handle to the same one.
#[derive(Clone, Debug)]
pub struct Bucket(Arc<AtomicU64>);

/// The buckets of all workers.
#[derive(Debug)]
pub struct Buckets {
    rates: Shards,
    hours: Shards,
    days: Shards,
    began: Instant,
}

/// One part of a map of buckets.
type Part = Mutex<HashMap<BucketKey, Bucket, RandomState>>;

/// One map of buckets, in parts with a lock each.
#[derive(Debug)]
struct Shards {
    parts: Box<[Part]>,
    hasher: RandomState,
    shard_max: usize,
}

impl Buckets {
    /// Maps for about `buckets_max` buckets each. When one is full, full buckets are evicted first.
    pub fn new(buckets_max: usize) -> Self {
        Self {
            rates: Shards::new(buckets_max),
            hours: Shards::new(buckets_max),
            days: Shards::new(buckets_max),
            began: Instant::now(),
        }
    }

    /// The moment of the turn. The first nanosecond is 1, so that a state of 0 is always a full bucket.
    pub fn moment(&self, now: Timestamp) -> Moment {
        Moment {
            nanos: self.nanos(),
            seconds: seconds(now),
        }
    }

    fn nanos(&self) -> u64 {
        let nanos = u64::try_from(
            turn::now()
                .into_std()
                .saturating_duration_since(self.began)
                .as_nanos(),
        )
        .unwrap_or(u64::MAX);
        nanos.clamp(1, THROWN_OUT / 2)
    }

    /// The uses of quotas whose windows are not over at `now`.
    pub fn quotas_used(&self, now: Timestamp) -> Vec<QuotaUse> {
        let now = seconds(now);
        let parts = self.hours.parts.iter().chain(&self.days.parts);
        parts
            .flat_map(|part| used(part, now))
            .filter_map(|(key, used)| written(&key, used))
            .collect()
    }

    fn quotas(&self, window: Window) -> &Shards {
        match window {
            Window::Hour => &self.hours,
            Window::Day => &self.days,
        }
    }

    /// Sets the buckets of quotas, before the workers serve. A use by nobody that is known any more is left out.
    pub fn restore(&self, uses: &[QuotaUse]) {
        for used in uses {
            let Ok(subject) = used.subject.parse() else {
                continue;
            };
            let key = BucketKey {
                limit: Some(used.quota.clone()),
                subject,
                unit: Unit::Quota(used.window),
            };
            let state = Used {
                end: seconds(used.ends_at),
                count: used.used,
            };
            let bucket = self.quotas(used.window).find(&key, 0);
            bucket.0.store(state.into(), Ordering::Release);
        }
    }

    fn find(&self, key: &BucketKey, full_at: u64) -> Bucket {
        match key.unit {
            Unit::Rate => self.rates.find(key, full_at),
            Unit::Quota(window) => self.quotas(window).find(key, full_at),
        }
    }
}

/// Unix seconds; a clock before 1970 is at its first second.
fn seconds(time: Timestamp) -> u64 {
    u64::try_from(time.unix_seconds()).unwrap_or(0)
}

/// The used buckets of one part. A worker that needs the part waits meanwhile, so nothing is formatted here.
fn used(part: &Part, now: u64) -> Vec<(BucketKey, Used)> {
    let part = part.lock().unwrap_or_else(PoisonError::into_inner);
    let states = part.iter().map(|(key, bucket)| (key, bucket.state()));
    states
        .filter(|(_, state)| *state != THROWN_OUT)
        .map(|(key, state)| (key, Used::from(state)))
        .filter(|(_, used)| used.end > now && used.count > 0)
        .map(|(key, used)| (key.clone(), used))
        .collect()
}

fn written(key: &BucketKey, used: Used) -> Option<QuotaUse> {
    let Unit::Quota(window) = key.unit else {
        return None;
    };
    Some(QuotaUse {
        quota: key.limit.clone()?,
        window,
        subject: key.subject.to_string(),
        ends_at: Timestamp::from_unix_seconds(i64::try_from(used.end).ok()?),
        used: used.count,
    })
}

impl Shards {
    fn new(buckets_max: usize) -> Self {
        let hasher = RandomState::new();
        Self {
            parts: (0..SHARDS)
                .map(|_| Mutex::new(HashMap::with_hasher(hasher.clone())))
                .collect(),
            hasher,
            shard_max: (buckets_max / SHARDS).max(1),
        }
    }

    /// The bucket of `key`; one whose state is at most `full_at` may be evicted for it.
    fn find(&self, key: &BucketKey, full_at: u64) -> Bucket {
        // The upper bits, because the map in the shard takes the lower ones of the same hash.
        let place = usize::try_from(self.hasher.hash_one(key) >> 32).unwrap_or(0) % SHARDS;
        let Some(shard) = self.parts.get(place) else {
            return Bucket::new();
        };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = shard.get(key) {
            return bucket.clone();
        }
        if shard.len() >= self.shard_max {
            make_room(&mut shard, self.shard_max, full_at);
        }
        shard.entry(key.clone()).or_insert_with(Bucket::new).clone()
    }
}

/// Evicts full buckets, since a fresh bucket is the same. When there are none, it evicts the eighth of them that will
/// be full soonest: the callers with the least of their allowance left stay counted.
fn make_room(shard: &mut HashMap<BucketKey, Bucket, RandomState>, max: usize, full_at: u64) {
    shard.retain(|_, bucket| !bucket.throw_out_by(full_at));
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

    /// Evicts this bucket if its state is at most `full_at`.
    fn throw_out_by(&self, full_at: u64) -> bool {
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |state| {
                (state <= full_at).then_some(THROWN_OUT)
            })
            .is_ok()
    }

    /// Takes one request's allowance; the error has the time until there is one. `None` when the bucket was evicted.
    fn take(&self, meter: &Meter, at: Moment) -> Option<Result<Standing, Standing>> {
        let mut state = self.state();
        loop {
            if state == THROWN_OUT {
                return None;
            }
            let next = match meter.ask(state, at) {
                Verdict::Refused { retry_after } => {
                    return Some(Err(Standing {
                        remaining: 0,
                        full_in: meter.full_in(state, at),
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
                        full_in: meter.full_in(next.0, at),
                        retry_after: Duration::ZERO,
                    }));
                }
                Err(changed) => state = changed,
            }
        }
    }

    /// Puts one request's allowance back.
    fn give_back(&self, meter: &Meter) {
        // An evicted bucket stays out; the update then finds nothing to do.
        let _unchanged = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |state| {
                (state != THROWN_OUT).then(|| meter.given_back(state))
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

    /// The moment of the turn, by both clocks.
    pub fn moment(&self, now: Timestamp) -> Moment {
        self.shared.moment(now)
    }

    /// The moment of the turn for a rate, which asks no other clock.
    pub fn pace(&self) -> Moment {
        Moment {
            nanos: self.shared.nanos(),
            seconds: 0,
        }
    }

    /// Takes one request's allowance from the bucket of `key`; `Err` when it has none left.
    pub fn take(&self, key: &BucketKey, meter: &Meter, at: Moment) -> Result<Standing, Standing> {
        loop {
            if let Some(taken) = self.bucket(key, meter, at).take(meter, at) {
                return taken;
            }
            self.near.borrow_mut().remove(key);
        }
    }

    /// The standing of the bucket of `key`; nothing is taken.
    pub fn look(&self, key: &BucketKey, meter: &Meter, at: Moment) -> Standing {
        let state = match self.bucket(key, meter, at).state() {
            THROWN_OUT => 0,
            state => state,
        };
        let (remaining, retry_after) = match meter.ask(state, at) {
            Verdict::Allowed { remaining, .. } => (remaining.saturating_add(1), Duration::ZERO),
            Verdict::Refused { retry_after } => (0, retry_after),
        };
        Standing {
            remaining,
            full_in: meter.full_in(state, at),
            retry_after,
        }
    }

    /// Gives back one request's allowance after [`Counters::take`].
    pub fn give_back(&self, key: &BucketKey, meter: &Meter, at: Moment) {
        self.bucket(key, meter, at).give_back(meter);
    }

    fn bucket(&self, key: &BucketKey, meter: &Meter, at: Moment) -> Bucket {
        let mut near = self.near.borrow_mut();
        if let Some(bucket) = near.get(key) {
            return bucket.clone();
        }
        let bucket = self.shared.find(key, meter.full_at(at));
        near.insert(key.clone(), bucket.clone());
        bucket
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::domain::quota::Quota;
    use crate::domain::rate::Allowance;

    const FIRST: Moment = at(1);

    const fn at(nanos: u64) -> Moment {
        Moment { nanos, seconds: 0 }
    }

    fn key(address: u8) -> BucketKey {
        BucketKey {
            limit: Some("test".parse().unwrap()),
            subject: Subject::Address(IpAddr::from([192, 0, 2, address])),
            unit: Unit::Rate,
        }
    }

    #[test]
    fn several_workers_together_let_through_exactly_the_burst() {
        let shared = Arc::new(Buckets::new(1024));
        // One request an hour after the burst: nothing is added while the test runs.
        let meter = Meter::Rate(Allowance {
            interval: 3_600_000_000_000,
            window: 3_600_000_000_000 * 1000,
        });
        let worker = |_| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                let counters = Counters::new(shared);
                (0..500)
                    .filter(|_| counters.take(&key(1), &meter, FIRST).is_ok())
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
        let meter = Meter::Rate(Allowance {
            interval: 10,
            window: 20,
        });
        assert_eq!(counters.look(&key(1), &meter, at(5)).remaining, 2);
        assert_eq!(counters.take(&key(1), &meter, at(5)).unwrap().remaining, 1);
        assert_eq!(counters.look(&key(1), &meter, at(5)).remaining, 1);
        counters.give_back(&key(1), &meter, at(5));
        assert_eq!(counters.look(&key(1), &meter, at(5)).remaining, 2);
        assert!(counters.take(&key(1), &meter, at(5)).is_ok());
        assert!(counters.take(&key(1), &meter, at(5)).is_ok());
        let refused = counters.take(&key(1), &meter, at(5)).unwrap_err();
        assert_eq!(refused.retry_after, Duration::from_nanos(10));
    }

    #[test]
    fn a_full_map_forgets_first_whoever_has_used_least() {
        let shared = Arc::new(Buckets::new(SHARDS));
        let counters = Counters::new(Arc::clone(&shared));
        let meter = Meter::Rate(Allowance {
            interval: 10,
            window: 1000,
        });
        for _ in 0..50 {
            counters.take(&key(0), &meter, FIRST).unwrap();
        }
        for address in 1..=255 {
            counters.take(&key(address), &meter, FIRST).unwrap();
        }
        let held: usize = shared
            .rates
            .parts
            .iter()
            .map(|shard| shard.lock().unwrap().len())
            .sum();
        assert!(held <= SHARDS, "{held} buckets in room for {SHARDS}");
        // A bucket that was evicted while a worker still holds it is made again and goes on.
        for address in 1..=255 {
            assert!(counters.take(&key(address), &meter, FIRST).is_ok());
        }
    }

    #[test]
    fn a_quota_is_exact_and_goes_on_where_it_was() {
        let shared = Arc::new(Buckets::new(1024));
        let quota = Quota {
            count: 3,
            window: Window::Day,
        };
        let meter = Meter::Quota(quota);
        let key = BucketKey {
            unit: Unit::from(&meter),
            ..key(1)
        };
        let now = Timestamp::from_unix_seconds(1_800_000_000);
        let counters = Counters::new(Arc::clone(&shared));
        let take = |counters: &Counters| counters.take(&key, &meter, counters.moment(now));
        assert_eq!(take(&counters).unwrap().remaining, 2);
        assert_eq!(take(&counters).unwrap().remaining, 1);
        // A rate of the same name has a bucket of its own.
        let pace = Meter::Rate(Allowance {
            interval: 10,
            window: 10,
        });
        assert!(counters.take(&self::key(1), &pace, FIRST).is_ok());

        let after = Arc::new(Buckets::new(1024));
        after.restore(&shared.quotas_used(now));
        let counters = Counters::new(Arc::clone(&after));
        assert_eq!(take(&counters).unwrap().remaining, 0);
        let refused = take(&counters).unwrap_err();
        assert!(refused.retry_after > Duration::ZERO);
        let tomorrow = now.plus(Duration::from_hours(24));
        assert!(after.quotas_used(tomorrow).is_empty());
        assert!(
            counters
                .take(&key, &meter, counters.moment(tomorrow))
                .is_ok()
        );
    }

    /// An hourly bucket that is used up ends before a daily one that was used once; neither takes the other's room.
    #[test]
    fn daily_callers_push_no_hourly_one_out() {
        let counters = Counters::new(Arc::new(Buckets::new(SHARDS)));
        let of = |count, window| Meter::Quota(Quota { count, window });
        let (hourly, daily) = (of(1, Window::Hour), of(1, Window::Day));
        let at = counters.moment(Timestamp::from_unix_seconds(1_800_000_000));
        let key = |address, meter: &Meter| BucketKey {
            unit: Unit::from(meter),
            ..key(address)
        };
        counters.take(&key(0, &hourly), &hourly, at).unwrap();
        for address in 1..=255 {
            counters.take(&key(address, &daily), &daily, at).unwrap();
        }
        assert!(counters.take(&key(0, &hourly), &hourly, at).is_err());
    }
}
