//! The keep-alive time of an endpoint: announced, and observed.
//!
//! A request that meets a close on its way cannot be distinguished from one that was served, so a request that must not
//! be repeated goes over a kept connection only where the endpoint is not about to close it.

use std::cell::Cell;
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;

/// The observed behaviour of an endpoint towards connections that it has answered on.
#[derive(Debug, Default)]
pub struct KeepAlive {
    /// True once a connection was used again, or stayed open for [`SETTLE`] behind an answer. Until then nothing is
    /// known.
    keeps: Cell<bool>,
    /// The time until which the endpoint is treated as one that closes some connections right behind an answer.
    hasty_until: Cell<Option<Instant>>,
    /// The idle time after which it closed a connection, and the time until which that is believed.
    idle_limit: Cell<Option<(Duration, Instant)>>,
}

impl KeepAlive {
    /// Notes that a connection was used again and answered.
    pub fn used_again(&self) {
        self.keeps.set(true);
    }

    /// Notes that a connection is still open after this idle time.
    pub fn open_after(&self, rest: Duration) {
        if rest >= SETTLE {
            self.keeps.set(true);
        }
        if let Some((limit, _)) = self.idle_limit.get()
            && rest > limit + margin(limit).max(SETTLE)
        {
            self.idle_limit.set(None);
        }
    }

    /// Notes that the endpoint closed a kept connection after this idle time, without an announcement.
    pub fn closed_after(&self, rest: Duration, now: Instant) {
        if rest < SETTLE {
            self.hasty_until.set(Some(now + HASTY_FOR));
            return;
        }
        let known = self.idle_limit.get().filter(|(_, until)| now < *until);
        let limit = known.map_or(rest, |(limit, _)| limit.min(rest));
        self.idle_limit.set(Some((limit, now + BELIEVED_FOR)));
    }

    /// True if a connection with this idle time may carry a request that must not be sent twice.
    pub fn is_safe(&self, rest: Duration, now: Instant) -> bool {
        if let Some((limit, until)) = self.idle_limit.get()
            && now < until
            && rest >= limit.saturating_sub(margin(limit))
        {
            return false;
        }
        let hasty = !self.keeps.get() || self.hasty_until.get().is_some_and(|until| now < until);
        !hasty || rest >= SETTLE
    }
}

/// The idle time that the `Keep-Alive` field of the last answer allows; `None` without one.
///
/// `max=0` means that this was the last request, so the time is zero.
pub fn announced(value: &HeaderValue) -> Option<Duration> {
    let mut rest = None;
    for parameter in value.as_bytes().split(|byte| *byte == b',') {
        let mut halves = parameter.splitn(2, |byte| *byte == b'=');
        let (Some(name), Some(number)) = (halves.next(), halves.next()) else {
            continue;
        };
        let number = std::str::from_utf8(number.trim_ascii()).ok();
        let Some(number) = number.and_then(|number| number.parse::<u32>().ok()) else {
            continue;
        };
        let name = name.trim_ascii();
        if name.eq_ignore_ascii_case(b"timeout") {
            let time = Duration::from_secs(number.into());
            rest = Some(rest.unwrap_or(time).min(time));
        } else if name.eq_ignore_ascii_case(b"max") && number == 0 {
            return Some(Duration::ZERO);
        }
    }
    rest.map(|time| time.saturating_sub(margin(time)))
}

/// The time by which a connection is given up early: our request needs a while to get there, and the endpoint's time
/// began before its answer was here.
fn margin(time: Duration) -> Duration {
    (time / 4).min(MARGIN_MAX)
}

const MARGIN_MAX: Duration = Duration::from_secs(1);
/// The time within which a close right behind an answer arrives. The close follows the answer over the same way, so the
/// distance does not matter, only the endpoint's time between the two.
pub const SETTLE: Duration = Duration::from_millis(25);
const HASTY_FOR: Duration = Duration::from_mins(1);
const BELIEVED_FOR: Duration = Duration::from_mins(10);

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn an_announced_time_is_used_but_for_its_margin() {
        let check = |value: &'static str, expected: Option<u64>| {
            let found = announced(&HeaderValue::from_static(value));
            assert_eq!(found, expected.map(Duration::from_millis), "{value:?}");
        };
        check("timeout=1", Some(750));
        check("timeout=5", Some(4000));
        check("timeout=5, max=100", Some(4000));
        check("max=1000 , TimeOut = 60", Some(59_000));
        check("timeout=5, timeout=2", Some(1500));
        check("timeout=0", Some(0));
        check("timeout=60, max=0", Some(0));
        for nothing in [
            "",
            "max=3",
            "timeout",
            "timeout=",
            "timeout=-1",
            "timeout=soon",
            "300",
        ] {
            check(nothing, None);
        }
    }

    #[test]
    fn an_endpoint_is_not_trusted_before_it_has_kept_a_connection() {
        let (endpoint, now) = (KeepAlive::default(), Instant::now());
        assert!(!endpoint.is_safe(MS, now));
        assert!(endpoint.is_safe(SETTLE, now), "it would have closed by now");
        endpoint.open_after(MS);
        assert!(!endpoint.is_safe(MS, now));
        endpoint.open_after(SETTLE);
        assert!(endpoint.is_safe(MS, now));
        let other = KeepAlive::default();
        other.used_again();
        assert!(other.is_safe(MS, now));
    }

    #[test]
    fn who_closes_behind_an_answer_is_given_time_to_do_it() {
        let (endpoint, now) = (KeepAlive::default(), Instant::now());
        endpoint.used_again();
        endpoint.closed_after(MS, now);
        assert!(!endpoint.is_safe(MS, now));
        endpoint.used_again();
        assert!(
            !endpoint.is_safe(MS, now),
            "one use proves nothing of the next"
        );
        assert!(endpoint.is_safe(SETTLE, now));
        assert!(endpoint.is_safe(MS, now + HASTY_FOR));
    }

    #[test]
    fn a_time_that_nobody_announced_is_learnt() {
        let (endpoint, now) = (KeepAlive::default(), Instant::now());
        endpoint.used_again();
        endpoint.closed_after(5000 * MS, now);
        endpoint.closed_after(2000 * MS, now);
        endpoint.closed_after(3000 * MS, now);
        assert!(endpoint.is_safe(1400 * MS, now));
        assert!(!endpoint.is_safe(1500 * MS, now));
        assert!(endpoint.is_safe(1500 * MS, now + BELIEVED_FOR));
        endpoint.open_after(2400 * MS);
        assert!(!endpoint.is_safe(1500 * MS, now), "it may be late");
        endpoint.open_after(2600 * MS);
        assert!(endpoint.is_safe(1500 * MS, now), "it was a restart");
    }
}
