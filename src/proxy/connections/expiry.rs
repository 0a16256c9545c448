//! The expiry of a request: it may run for as long as every proof that admitted it.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::domain::reason::Reason;
use crate::domain::time::Timestamp;
use crate::net::turn;

/// The end of the first of a caller's proofs to expire, and its reason; `None` if no proof expires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expiry(Option<(Instant, Reason)>);

impl Expiry {
    /// The expiry of a proof that ends by the wall clock, whose time is `now`.
    pub fn until(end: Option<(Timestamp, Reason)>, now: Timestamp) -> Self {
        Self(end.map(|(end, reason)| (turn::now() + end.since(now).min(EXPIRY_MAX), reason)))
    }

    pub fn end(self) -> Option<Instant> {
        self.0.map(|(end, _)| end)
    }

    /// The reason to end the request now, if its time is over.
    pub fn over(self) -> Option<Reason> {
        self.first(turn::now())
    }

    /// The reason to end the request before `at`, if its time is over by then.
    pub fn first(self, at: Instant) -> Option<Reason> {
        let over = self.0.filter(|(end, _)| *end <= at);
        over.map(|(_, reason)| reason)
    }

    /// Waits for the end.
    pub async fn passed(self) -> Reason {
        match self.0 {
            Some((end, reason)) => {
                sleep_until(end).await;
                reason
            }
            None => std::future::pending().await,
        }
    }
}

/// The longest timer; timers need a bound, and no request runs for so long.
const EXPIRY_MAX: Duration = Duration::from_hours(24 * 365);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_term_ends_with_the_first_proof_and_says_which() {
        let at = Timestamp::from_unix_millis;
        let expiry = Expiry::until(Some((at(5_000), Reason::TokenExpired)), at(2_000));
        assert_eq!(expiry.over(), None);
        let began = Instant::now();
        assert_eq!(expiry.passed().await, Reason::TokenExpired);
        assert_eq!(began.elapsed().as_secs(), 3);
        assert_eq!(expiry.over(), Some(Reason::TokenExpired));
        assert_eq!(Expiry::until(None, at(0)).over(), None);
        assert_eq!(Expiry::default().end(), None);
    }
}
