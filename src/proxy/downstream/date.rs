//! The `Date` of answers, written once a second and not once a request.

use std::cell::Cell;
use std::time::{Duration, UNIX_EPOCH};

use tokio::time::Instant;

use crate::domain::time::{Clock, Timestamp};

/// The text of one second (RFC 9110, 5.6.7).
pub type DateText = [u8; 29];

/// The last text, and the time until which it is right.
#[derive(Debug, Default)]
pub struct Dates(Cell<Option<(DateText, Instant)>>);

impl Dates {
    /// The text of this second. With `now`, `clock` is read once a second; a clock that is set is noticed after that.
    pub fn at(&self, now: Instant, clock: &dyn Clock) -> DateText {
        if let Some((kept, until)) = self.0.get()
            && now < until
        {
            return kept;
        }
        let (fresh, left) = text_at(clock.now());
        self.0.set(Some((fresh, now + left)));
        fresh
    }
}

/// The text of the second that `at` is in, and the rest of that second.
fn text_at(at: Timestamp) -> (DateText, Duration) {
    let (second, millis) = (
        at.unix_millis().div_euclid(1000),
        at.unix_millis().rem_euclid(1000),
    );
    let left = Duration::from_millis(1000 - millis.unsigned_abs());
    (text(second), left)
}

fn text(second: i64) -> DateText {
    let since = Duration::from_secs(u64::try_from(second).unwrap_or(0));
    let written = httpdate::fmt_http_date(UNIX_EPOCH + since);
    // Years from 1970 to 9999 have four digits, so the length is always the same.
    written.as_bytes().try_into().unwrap_or([b' '; 29])
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    #[test]
    fn a_second_has_one_text() {
        let at = |millis| {
            let (text, left) = text_at(Timestamp::from_unix_millis(millis));
            (String::from_utf8(text.to_vec()).unwrap(), left.as_millis())
        };
        let check = |millis, text: &str, left| assert_eq!(at(millis), (text.to_owned(), left));
        check(784_111_777_000, "Sun, 06 Nov 1994 08:49:37 GMT", 1000);
        check(784_111_777_999, "Sun, 06 Nov 1994 08:49:37 GMT", 1);
        check(784_111_778_000, "Sun, 06 Nov 1994 08:49:38 GMT", 1000);
        check(0, "Thu, 01 Jan 1970 00:00:00 GMT", 1000);
    }

    #[derive(Debug)]
    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_millis(self.0.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn the_clock_is_asked_when_a_second_is_over() {
        let (dates, clock) = (Dates::default(), Hand(AtomicI64::new(400)));
        let begun = Instant::now();
        let at = |after| dates.at(begun + Duration::from_millis(after), &clock);
        assert_eq!(at(0), text(0));
        clock.0.store(1_000, Ordering::Relaxed);
        assert_eq!(at(599), text(0));
        assert_eq!(at(600), text(1));
    }
}
