//! The `Date` of answers, written once a second and not once a request.

use std::cell::Cell;
use std::time::{Duration, UNIX_EPOCH};

use crate::domain::time::Timestamp;

/// The text of one second (RFC 9110, 5.6.7).
pub type DateText = [u8; 29];

/// The last second's text.
#[derive(Debug)]
pub struct Dates(Cell<(i64, DateText)>);

impl Default for Dates {
    fn default() -> Self {
        Self(Cell::new((0, text(0))))
    }
}

impl Dates {
    pub fn at(&self, now: Timestamp) -> DateText {
        let (second, kept) = self.0.get();
        let now = now.unix_millis().div_euclid(1000);
        if now == second {
            return kept;
        }
        let fresh = text(now);
        self.0.set((now, fresh));
        fresh
    }
}

fn text(second: i64) -> DateText {
    let since = Duration::from_secs(u64::try_from(second).unwrap_or(0));
    let written = httpdate::fmt_http_date(UNIX_EPOCH + since);
    // Years from 1970 to 9999 have four digits, so the length is always the same.
    written.as_bytes().try_into().unwrap_or([b' '; 29])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_one_text() {
        let dates = Dates::default();
        let at = |millis| String::from_utf8(dates.at(Timestamp::from_unix_millis(millis)).to_vec());
        assert_eq!(
            at(784_111_777_000).unwrap(),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
        assert_eq!(
            at(784_111_777_999).unwrap(),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
        assert_eq!(
            at(784_111_778_000).unwrap(),
            "Sun, 06 Nov 1994 08:49:38 GMT"
        );
        assert_eq!(at(0).unwrap(), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
