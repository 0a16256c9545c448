//! The one reader of the system's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::domain::time::{Clock, Timestamp};

/// The system's clock.
#[derive(Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the place")]
        let now = SystemTime::now();
        let millis = now.duration_since(UNIX_EPOCH).map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        });
        Timestamp::from_unix_millis(millis)
    }
}
