//! How long a request may run: as long as every proof that it was let in with.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::domain::reason::Reason;
use crate::domain::time::Timestamp;
use crate::net::turn;

/// When the first proof of a request's caller ends, and which one that is; never where nothing was proved that ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expiry(Option<(Instant, Reason)>);

impl Expiry {
    /// By the wall clock, which says `now`.
    pub fn until(end: Option<(Timestamp, Reason)>, now: Timestamp) -> Self {
        Self(end.map(|(end, reason)| (turn::now() + end.since(now).min(EXPIRY_MAX), reason)))
    }

    pub fn end(self) -> Option<Instant> {
        self.0.map(|(end, _)| end)
    }

    /// Why the request may not run any longer, if it may not.
    pub fn over(self) -> Option<Reason> {
        self.first(turn::now())
    }

    /// Why the request may not run beyond `at`, if it may not.
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

/// Timers need a bound. No request runs for as long as this.
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
