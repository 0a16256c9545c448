//! Limits: what a rate or a quota counts, and for whom.

use std::time::Duration;

use http::HeaderValue;

use super::factor::Factor;
use super::name::Name;
use super::quota::{self, Quota};
use super::rate::{Allowance, Rate, Verdict};

/// The unit that a limit applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Per {
    App,
    Key,
    /// The user that a token speaks for.
    User,
    Address,
    Route,
}

impl Per {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Key => "key",
            Self::User => "user",
            Self::Address => "address",
            Self::Route => "route",
        }
    }
}

/// The measure of a limit: a pace, or a number in each window of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    Rate(Rate),
    Quota(Quota),
}

impl From<Rate> for Measure {
    fn from(rate: Rate) -> Self {
        Self::Rate(rate)
    }
}

impl From<Quota> for Measure {
    fn from(quota: Quota) -> Self {
        Self::Quota(quota)
    }
}

/// A limit. The values that every request needs are computed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    name: Name,
    per: Per,
    measure: Measure,
    meter: Meter,
    policy: HeaderValue,
}

/// A moment in the two clocks of limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Nanoseconds since the process began, for rates: no change of the clock changes a pace.
    pub nanos: u64,
    /// Unix seconds, for quotas.
    pub seconds: u64,
}

/// A limit in the numbers that a bucket needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meter {
    Rate(Allowance),
    Quota(Quota),
}

impl Meter {
    /// Asks for one request, when the bucket's state is `state` (0 for a fresh one).
    pub fn ask(&self, state: u64, at: Moment) -> Verdict {
        match self {
            Self::Rate(allowance) => allowance.ask(state, at.nanos),
            Self::Quota(quota) => quota.ask(state, at.seconds),
        }
    }

    /// The time until a bucket with this state is full again.
    pub fn full_in(&self, state: u64, at: Moment) -> Duration {
        match self {
            Self::Rate(_) => Allowance::full_in(state, at.nanos),
            Self::Quota(quota) => quota.full_in(state, at.seconds),
        }
    }

    /// The state after one request was given back.
    pub fn given_back(&self, state: u64) -> u64 {
        match self {
            Self::Rate(allowance) => state.saturating_sub(allowance.interval),
            Self::Quota(_) => Quota::given_back(state),
        }
    }

    /// The greatest state of a bucket that is full at this moment.
    pub const fn full_at(&self, at: Moment) -> u64 {
        match self {
            Self::Rate(_) => at.nanos,
            Self::Quota(_) => quota::over_at(at.seconds),
        }
    }
}

impl Limit {
    pub fn new(name: Name, per: Per, measure: impl Into<Measure>) -> Self {
        let measure = measure.into();
        let meter = match measure {
            Measure::Rate(rate) => Meter::Rate(rate.allowance()),
            Measure::Quota(quota) => Meter::Quota(quota),
        };
        let window = measure.period().as_secs().max(1);
        let policy = format!("\"{name}\";q={};w={window}", measure.count());
        Self {
            policy: HeaderValue::from_str(&policy).expect("a name needs no escape"),
            measure,
            meter,
            name,
            per,
        }
    }

    /// The same limit, raised by a factor.
    #[must_use]
    pub fn raised(&self, factor: Factor) -> Self {
        let measure = match self.measure {
            Measure::Rate(rate) => Measure::Rate(Rate {
                count: factor.times(rate.count),
                burst: factor.times(rate.burst),
                ..rate
            }),
            Measure::Quota(quota) => Measure::Quota(Quota {
                count: factor.times(quota.count),
                ..quota
            }),
        };
        Self::new(self.name.clone(), self.per, measure)
    }

    /// Names the limit to the caller and in metrics.
    pub fn name(&self) -> &Name {
        &self.name
    }

    pub fn per(&self) -> Per {
        self.per
    }

    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    pub fn measure(&self) -> Measure {
        self.measure
    }

    /// The limit as callers read it: `"orders";q=100;w=60` (`RateLimit-Policy` of
    /// draft-ietf-httpapi-ratelimit-headers).
    pub fn policy(&self) -> &HeaderValue {
        &self.policy
    }
}

impl Measure {
    /// Requests in one period.
    pub const fn count(&self) -> u32 {
        match self {
            Self::Rate(rate) => rate.count,
            Self::Quota(quota) => quota.count,
        }
    }

    /// The measure without a burst, as people write it: `100/s`, `10000/d`.
    pub fn text(&self) -> String {
        match self {
            Self::Rate(rate) => rate.text(),
            Self::Quota(quota) => quota.text(),
        }
    }

    pub const fn period(&self) -> Duration {
        match self {
            Self::Rate(rate) => rate.period,
            Self::Quota(quota) => quota.window.duration(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_by_its_rate() {
        let policy = |name: &str, count, period| {
            let rate = Rate {
                count,
                period,
                burst: 7,
            };
            let limit = Limit::new(name.parse().unwrap(), Per::App, rate);
            limit.policy().to_str().unwrap().to_owned()
        };
        let longest = "a".repeat(30);
        assert_eq!(
            policy("orders", 100, Duration::from_mins(1)),
            "\"orders\";q=100;w=60"
        );
        assert_eq!(
            policy(&longest, u32::MAX, Duration::from_hours(24)),
            format!("\"{longest}\";q=4294967295;w=86400")
        );
        assert_eq!(
            policy("a.b_c-d", 1, Duration::from_millis(10)),
            "\"a.b_c-d\";q=1;w=1",
            "seconds are whole, and none is not said"
        );
    }
}
