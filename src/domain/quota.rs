//! Quotas: so many requests in each hour or each day (UTC), at any pace.

use std::time::Duration;

use super::name::Name;
use super::rate::{Rate, Verdict};
use super::time::Timestamp;

/// A quota: requests in each window of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Requests in one window, at least 1.
    pub count: u32,
    pub window: Window,
}

/// The use of a quota by one caller, as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaUse {
    /// The limit's name.
    pub quota: Name,
    pub window: Window,
    /// The caller, in the data plane's words.
    pub subject: String,
    /// The end of the window.
    pub ends_at: Timestamp,
    /// Requests in the window.
    pub used: u32,
}

/// The window of a quota. All windows begin at the full hour or at midnight, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    Hour,
    Day,
}

/// A text that is not a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a quota is a whole number per hour or day, like 1000/h or 10000/d")]
pub struct InvalidQuota;

impl Window {
    pub const ALL: [Self; 2] = [Self::Hour, Self::Day];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    const fn seconds(self) -> u64 {
        match self {
            Self::Hour => 60 * 60,
            Self::Day => 24 * 60 * 60,
        }
    }

    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.seconds())
    }
}

/// The bits of a state that count.
const USED_BITS: u32 = 32;

/// The state of a quota's bucket: the end of its window in Unix seconds above, the requests in it below. So a state that
/// is below another belongs to an older window, or to a caller that has used less.
const fn state(end: u64, used: u32) -> u64 {
    end << USED_BITS | used as u64
}

/// The parts of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// The end of the window in Unix seconds.
    pub end: u64,
    /// Requests in the window.
    pub count: u32,
}

impl From<u64> for Used {
    fn from(state: u64) -> Self {
        Self {
            end: state >> USED_BITS,
            count: u32::try_from(state & u64::from(u32::MAX)).unwrap_or(u32::MAX),
        }
    }
}

impl From<Used> for u64 {
    fn from(used: Used) -> Self {
        state(used.end, used.count)
    }
}

/// The greatest state of a window that is over at `now`, in Unix seconds: a bucket up to it is as good as a fresh one.
pub const fn over_at(now: u64) -> u64 {
    state(now, u32::MAX)
}

impl Quota {
    /// Reads a quota as people write it: `10000/d`.
    pub fn parse(text: &str) -> Result<Self, InvalidQuota> {
        let rate = Rate::parse(text).ok().ok_or(InvalidQuota)?;
        let mut windows = Window::ALL.into_iter();
        let window = windows.find(|window| window.duration() == rate.period);
        Ok(Self {
            count: rate.count,
            window: window.ok_or(InvalidQuota)?,
        })
    }

    /// The quota as [`Self::parse`] reads it.
    pub fn text(self) -> String {
        let unit = match self.window {
            Window::Hour => 'h',
            Window::Day => 'd',
        };
        format!("{}/{unit}", self.count)
    }

    /// Asks for one request at `now`, in Unix seconds, when the bucket's state is `state` (0 for a fresh one).
    ///
    /// A state of another window counts nothing: a clock that was set back begins a window again, and one that was
    /// wrong for a while refuses nobody for years.
    pub fn ask(self, state: u64, now: u64) -> Verdict {
        let (end, used) = (self.end(now), self.used(state, now));
        if used >= self.count {
            return Verdict::Refused {
                retry_after: Duration::from_secs(end - now),
            };
        }
        Verdict::Allowed {
            next: Used {
                end,
                count: used + 1,
            }
            .into(),
            remaining: self.count - used - 1,
        }
    }

    /// The time until the whole quota is there again.
    pub fn full_in(self, state: u64, now: u64) -> Duration {
        match self.used(state, now) {
            0 => Duration::ZERO,
            _ => Duration::from_secs(self.end(now) - now),
        }
    }

    /// The state after one request was given back.
    pub fn given_back(state: u64) -> u64 {
        match Used::from(state).count {
            0 => state,
            _ => state - 1,
        }
    }

    fn used(self, state: u64, now: u64) -> u32 {
        let used = Used::from(state);
        if used.end == self.end(now) {
            used.count
        } else {
            0
        }
    }

    /// The end of the window that `now` is in.
    const fn end(self, now: u64) -> u64 {
        let length = self.window.seconds();
        (now / length + 1) * length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;
    const MIDNIGHT: u64 = 20_000 * DAY;

    fn daily(count: u32) -> Quota {
        Quota {
            count,
            window: Window::Day,
        }
    }

    fn take(quota: Quota, state: &mut u64, now: u64) -> Result<u32, Duration> {
        match quota.ask(*state, now) {
            Verdict::Allowed { next, remaining } => {
                *state = next;
                Ok(remaining)
            }
            Verdict::Refused { retry_after } => Err(retry_after),
        }
    }

    #[test]
    fn quotas_read_as_people_write_them() {
        for (text, count, window) in [
            ("10000/d", 10_000, Window::Day),
            ("10000/1d", 10_000, Window::Day),
            ("10000/24h", 10_000, Window::Day),
            ("7/h", 7, Window::Hour),
        ] {
            assert_eq!(Quota::parse(text), Ok(Quota { count, window }), "{text}");
        }
        assert_eq!(Quota::parse("10/24h").unwrap().text(), "10/d");
        for bad in ["", "10", "0/d", "10/m", "10/2d", "10/w", "-1/d", "1.5/d"] {
            assert_eq!(Quota::parse(bad), Err(InvalidQuota), "{bad}");
        }
    }

    #[test]
    fn a_window_has_its_count_and_the_next_one_has_it_again() {
        let (quota, mut state) = (daily(3), 0);
        let noon = MIDNIGHT + DAY / 2;
        for left in [2, 1, 0] {
            assert_eq!(take(quota, &mut state, noon), Ok(left));
        }
        let wait = Err(Duration::from_secs(DAY / 2));
        assert_eq!(take(quota, &mut state, noon), wait);
        let last = MIDNIGHT + DAY - 1;
        assert_eq!(take(quota, &mut state, last), Err(Duration::from_secs(1)));
        assert_eq!(take(quota, &mut state, MIDNIGHT + DAY), Ok(2));
    }

    #[test]
    fn a_clock_that_was_wrong_refuses_nobody_afterwards() {
        let (quota, mut state) = (daily(1), 0);
        assert!(take(quota, &mut state, MIDNIGHT + 900 * DAY).is_ok());
        assert!(take(quota, &mut state, MIDNIGHT).is_ok());
        assert!(take(quota, &mut state, MIDNIGHT).is_err());
    }

    #[test]
    fn what_is_given_back_can_be_taken_once_more() {
        let (quota, mut state) = (daily(1), 0);
        assert!(take(quota, &mut state, MIDNIGHT).is_ok());
        assert_eq!(
            quota.full_in(state, MIDNIGHT + 5),
            Duration::from_secs(DAY - 5)
        );
        state = Quota::given_back(state);
        assert_eq!(quota.full_in(state, MIDNIGHT), Duration::ZERO);
        assert_eq!(Quota::given_back(state), state);
        assert!(take(quota, &mut state, MIDNIGHT).is_ok());
        assert!(take(quota, &mut state, MIDNIGHT).is_err());
    }

    #[test]
    fn an_older_window_is_below_a_newer_one_and_less_used_below_more() {
        let [old, few, many] = [(DAY, 9), (2 * DAY, 1), (2 * DAY, 2)]
            .map(|(end, count)| u64::from(Used { end, count }));
        assert!(old < few && few < many);
        assert!(old <= over_at(DAY) && few > over_at(DAY) && many <= over_at(2 * DAY));
        assert_eq!(u64::from(Used::from(many)), many);
    }
}
