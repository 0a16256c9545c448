//! Spans of time as they are written: `30s`, `15m`, `1h30m`, `90d`.

use std::fmt;
use std::time::Duration;

use super::text::text_value;
use crate::domain::duration::{self, InvalidDuration};

/// A span of time, longer than nothing and at most a hundred years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

/// A text that is not a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpan {
    #[error(transparent)]
    Malformed(#[from] InvalidDuration),
    #[error("a duration here is longer than zero")]
    Zero,
}

impl Span {
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<Duration> for Span {
    fn from(span: Duration) -> Self {
        Self(span)
    }
}

impl std::str::FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match duration::parse(text)? {
            Duration::ZERO => Err(InvalidSpan::Zero),
            span => Ok(Self(span)),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&duration::text(self.0))
    }
}

text_value!(
    Span,
    "Span",
    r"^([0-9]+(ms|s|m|h|d|w))+$",
    "A span of time: 30s, 15m, 1h30m, 90d."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_duration_and_not_zero() {
        let span: Span = "90s".parse().unwrap();
        assert_eq!(span, Span::from_secs(90));
        assert_eq!(span.to_string(), "1m30s");
        for bad in ["0s", "0d0ms", "90", ""] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
}
