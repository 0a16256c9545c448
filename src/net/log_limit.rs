//! A limit on log lines that strangers can cause: so many of a kind, with the number of those that were left out.
//!
//! A limit is one token bucket. It is a `static` beside the line that it bounds, or a field of the thing that the
//! lines are about, so what the limits hold never grows with what strangers send:
//!
//! ```text
//! static LINES: LogLimit = LogLimit::new();
//! if let Some(suppressed) = LINES.permit() {
//!     tracing::warn!(%address, suppressed, "a client broke the rules of HTTP/2");
//! }
//! ```

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Ten lines at once: the first of an incident, when they say most.
const BURST: u64 = 10;

/// Ten lines a minute after that: enough to see that it goes on, and 15,000 lines a day at worst.
const INTERVAL: Duration = Duration::from_secs(6);

/// The limit on lines of one kind. Threads share it; it takes no lock.
#[derive(Debug, Default)]
pub struct LogLimit {
    /// The time at which the bucket is full again, in nanoseconds since [`START`].
    full_at: AtomicU64,
    suppressed: AtomicU64,
}

/// The zero of all limits' time.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl LogLimit {
    pub const fn new() -> Self {
        Self {
            full_at: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        }
    }

    /// Permission for one line now: the number of lines that were left out since the last permission.
    /// `None` when this line is to be left out too.
    pub fn permit(&self) -> Option<u64> {
        self.permit_at(START.elapsed())
    }

    fn permit_at(&self, now: Duration) -> Option<u64> {
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let (now, interval) = (nanos(now), nanos(INTERVAL));
        let spent = self
            .full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                let next = full_at.max(now) + interval;
                (next <= now + BURST * interval).then_some(next)
            });
        if spent.is_err() {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.suppressed.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_burst_is_written_and_the_flood_behind_it_is_counted() {
        let limit = LogLimit::new();
        let written = |now, lines| {
            let permits = (0..lines).filter_map(|_| limit.permit_at(now));
            permits.collect::<Vec<u64>>()
        };
        assert_eq!(written(at(100), 1000), [0; 10]);
        assert_eq!(written(at(105), 10), [0; 0]);
        assert_eq!(written(at(106), 10), [1000], "990 and 10");
        // A minute of silence fills the bucket and no more than that.
        assert_eq!(written(at(1000), 1000), [9, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_day_of_flood_is_some_thousand_lines_that_account_for_all_others() {
        let limit = LogLimit::new();
        let (mut lines, mut suppressed) = (0_u64, 0);
        for second in 0..86_400 {
            for _ in 0..20 {
                if let Some(left_out) = limit.permit_at(at(second)) {
                    lines += 1;
                    suppressed += left_out;
                }
            }
        }
        assert!((14_000..15_000).contains(&lines), "{lines}");
        assert!(lines + suppressed > 86_399 * 20 - 200);
    }

    #[test]
    fn limits_of_two_kinds_do_not_share_their_lines() {
        let (one, other) = (LogLimit::new(), LogLimit::default());
        while one.permit().is_some() {}
        assert_eq!(other.permit(), Some(0));
    }
}
