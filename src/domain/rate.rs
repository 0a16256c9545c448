//! Rates: the arithmetic of allowances (the generic cell rate algorithm).

use std::time::Duration;

use super::duration;

/// So many requests per so much time, with so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests per `period`, at least 1.
    pub count: u32,
    pub period: Duration,
    /// Requests that may come at once after a quiet time, at least 1.
    pub burst: u32,
}

/// The decision about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allowed {
        /// The bucket's next state.
        next: u64,
        /// Further requests that would be allowed at once.
        remaining: u32,
    },
    Refused {
        /// The time until one request would be allowed.
        retry_after: Duration,
    },
}

/// A rate in the numbers that a bucket needs; times are nanoseconds since the process began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Nanoseconds between two requests at the limit's rate.
    pub interval: u64,
    /// The maximum distance of the bucket's state into the future: `burst` intervals.
    pub window: u64,
}

/// Faster than any gateway answers; below it, two requests are never less than a nanosecond apart.
const PER_SECOND_MAX: u128 = 1_000_000;

/// A text that is not a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a rate is a whole number per time, like 100/s, 5000/h or 10/15m, and at most 1000000/s")]
pub struct InvalidRate;

impl Rate {
    /// Reads a rate as people write it, `100/s` or `10/15m`; its burst is its count.
    pub fn parse(text: &str) -> Result<Self, InvalidRate> {
        let (count, period) = text.split_once('/').ok_or(InvalidRate)?;
        let digits = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
        let count: u32 = count.parse().ok().filter(|_| digits).ok_or(InvalidRate)?;
        let one = if period.starts_with(|first: char| first.is_ascii_digit()) {
            ""
        } else {
            "1"
        };
        let period = duration::parse(&format!("{one}{period}")).ok();
        let period = period.ok_or(InvalidRate)?;
        let most = PER_SECOND_MAX * period.as_millis() / 1000;
        if count == 0 || u128::from(count) > most {
            return Err(InvalidRate);
        }
        Ok(Self {
            count,
            period,
            burst: count,
        })
    }

    /// The rate without its burst, as [`Self::parse`] reads it.
    pub fn text(&self) -> String {
        let unit = match self.period {
            period if period == Duration::from_secs(1) => Some("s"),
            period if period == Duration::from_mins(1) => Some("m"),
            period if period == Duration::from_hours(1) => Some("h"),
            period if period == Duration::from_hours(24) => Some("d"),
            _ => None,
        };
        match unit {
            Some(unit) => format!("{}/{unit}", self.count),
            None => format!("{}/{}", self.count, duration::text(self.period)),
        }
    }

    /// The rate in a bucket's numbers.
    pub fn allowance(self) -> Allowance {
        let period = u64::try_from(self.period.as_nanos()).unwrap_or(u64::MAX);
        let interval = (period / u64::from(self.count.max(1))).max(1);
        Allowance {
            interval,
            window: interval.saturating_mul(u64::from(self.burst.max(1))),
        }
    }
}

impl Allowance {
    /// Asks for one request at `now`, when the bucket's state is `state` (0 for a fresh one).
    ///
    /// The state is the time at which the bucket will be full again.
    pub fn ask(&self, state: u64, now: u64) -> Verdict {
        let next = state.max(now).saturating_add(self.interval);
        let ahead = next - now;
        if ahead > self.window {
            return Verdict::Refused {
                retry_after: Duration::from_nanos(ahead - self.window),
            };
        }
        let remaining = (self.window - ahead) / self.interval;
        Verdict::Allowed {
            next,
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
        }
    }

    /// The time until a bucket with this state is full again.
    pub fn full_in(state: u64, now: u64) -> Duration {
        Duration::from_nanos(state.saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limit(count: u32, burst: u32) -> Allowance {
        let rate = Rate {
            count,
            period: Duration::from_secs(1),
            burst,
        };
        rate.allowance()
    }

    fn spend(allowance: Allowance, state: &mut u64, now: u64) -> bool {
        match allowance.ask(*state, now) {
            Verdict::Allowed { next, .. } => {
                *state = next;
                true
            }
            Verdict::Refused { .. } => false,
        }
    }

    #[test]
    fn a_burst_is_allowed_to_the_request() {
        let (allowance, mut state) = (limit(10, 5), 0);
        let granted = (0..20)
            .filter(|_| spend(allowance, &mut state, 1_000))
            .count();
        assert_eq!(granted, 5);
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let (allowance, mut state) = (limit(10, 1), 0);
        assert!(spend(allowance, &mut state, 0));
        let Verdict::Refused { retry_after } = allowance.ask(state, 0) else {
            panic!("allowed")
        };
        assert_eq!(retry_after, Duration::from_millis(100));
        let then = u64::try_from(retry_after.as_nanos()).unwrap();
        assert!(!spend(allowance, &mut state, then - 1));
        assert!(spend(allowance, &mut state, then));
    }

    proptest! {
        #[test]
        fn never_more_than_burst_plus_rate(
            count in 1_u32..1000,
            burst in 1_u32..100,
            steps in proptest::collection::vec(0_u64..50_000_000, 1..300),
        ) {
            let (allowance, mut state, mut now, mut granted) = (limit(count, burst), 0, 0_u64, 0_u64);
            for step in steps {
                now += step;
                granted += u64::from(spend(allowance, &mut state, now));
            }
            prop_assert!(granted <= u64::from(burst) + now / allowance.interval);
        }
    }
}
