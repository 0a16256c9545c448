//! Failures of upstreams: a counter for each cause, and a limited number of log lines.

use std::error::Error as StdError;
use std::fmt;
use std::iter::successors;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::IntCounterVec;
use tokio::time::Instant;

use crate::domain::cause::Cause;
use crate::domain::name::Name;
use crate::proxy::messages::error::Error;

/// The failures of one upstream, of all workers together.
#[derive(Debug)]
pub struct UpstreamFailures {
    upstream: Name,
    begun: Instant,
    count: IntCounterVec,
    logged: Box<[LogState]>,
}

/// The time of a cause's last log line, and the number of failures without one since.
#[derive(Debug, Default)]
struct LogState {
    /// In milliseconds; 0 before the first line.
    at: AtomicU64,
    held_back: AtomicU64,
}

impl UpstreamFailures {
    pub fn new(upstream: Name, begun: Instant, count: IntCounterVec) -> Self {
        Self {
            upstream,
            begun,
            count,
            logged: Cause::ALL.iter().map(|_| LogState::default()).collect(),
        }
    }

    /// Counts a failure; logs it if its cause was not logged lately.
    pub fn note(&self, error: &Error) {
        let Some(cause) = error.cause else {
            return;
        };
        let labels = [self.upstream.as_str(), cause.as_str()];
        self.count.with_label_values(&labels).inc();
        let Some(held_back) = self.is_due(cause, self.begun.elapsed()) else {
            return;
        };
        tracing::warn!(
            upstream = %self.upstream,
            endpoint = error.endpoint.as_deref(),
            cause = cause.as_str(),
            error = %Words(error),
            held_back,
            "an upstream failed"
        );
    }

    /// The number of failures without a line, if one is due now.
    fn is_due(&self, cause: Cause, elapsed: Duration) -> Option<u64> {
        let logged = self.logged.get(cause as usize)?;
        let now = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let now = now.saturating_add(1);
        let last = logged.at.load(Ordering::Relaxed);
        let due = last == 0 || now.saturating_sub(last) >= TOLD_EVERY_MS;
        let mine = due
            && logged
                .at
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if mine {
            return Some(logged.held_back.swap(0, Ordering::Relaxed));
        }
        logged.held_back.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// The sources of an error, in the libraries' words.
struct Words<'e>(&'e Error);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let causes = successors(self.0.source(), |&cause| cause.source());
        let mut last = String::new();
        for cause in causes {
            let words = cause.to_string();
            // Some errors repeat the text of their source.
            if last.ends_with(&words) {
                continue;
            }
            if !last.is_empty() {
                f.write_str(": ")?;
            }
            f.write_str(&words)?;
            last = words;
        }
        Ok(())
    }
}

/// The interval of log lines: often enough to be seen, seldom enough to read.
const TOLD_EVERY_MS: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::reason::Reason;
    use prometheus::Opts;

    fn failures() -> UpstreamFailures {
        let count = IntCounterVec::new(Opts::new("failures", "x"), &["upstream", "cause"]);
        UpstreamFailures::new("orders".parse().unwrap(), Instant::now(), count.unwrap())
    }

    #[test]
    fn a_cause_is_told_at_once_and_then_seldom_with_what_was_held_back() {
        let failures = failures();
        let at = |cause, seconds| failures.is_due(cause, Duration::from_secs(seconds));
        assert_eq!(at(Cause::ConnectRefused, 0), Some(0));
        for second in 0..9 {
            assert_eq!(at(Cause::ConnectRefused, second), None);
        }
        assert_eq!(at(Cause::TlsName, 5), Some(0), "each cause by itself");
        assert_eq!(at(Cause::ConnectRefused, 10), Some(9));
        assert_eq!(at(Cause::ConnectRefused, 11), None);
        assert_eq!(at(Cause::ConnectRefused, 30), Some(1));
    }

    #[test]
    fn every_failure_with_a_cause_is_counted() {
        let failures = failures();
        for _ in 0..3 {
            failures.note(&Error::upstream(Reason::UpstreamFailed).by(Cause::StreamReset));
        }
        failures.note(&Error::downstream(Reason::ClientClosed));
        let labels = ["orders", "stream_reset"];
        assert_eq!(failures.count.with_label_values(&labels).get(), 3);
    }

    #[test]
    fn an_errors_words_are_those_below_it_each_said_once() {
        let io = std::io::Error::other("certificate expired");
        let error = Error::upstream(Reason::UpstreamTls).because(io);
        assert_eq!(Words(&error).to_string(), "certificate expired");
        let wrapped = crate::net::dial::DialError::Tls(std::io::Error::other("bad"));
        let error = Error::upstream(Reason::UpstreamTls).because(wrapped);
        assert_eq!(Words(&error).to_string(), "the TLS handshake failed: bad");
    }
}
