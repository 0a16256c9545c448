//! Spans of time as they are written: `30s`, `15m`, `1h30m`, `90d`.

use std::fmt;
use std::time::Duration;

use super::text::text_value;

/// A span of time, longer than nothing and at most a hundred years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

/// Longer spans are taken for typing errors, and the arithmetic of time stays far from its edges.
const SPAN_MAX: Duration = Duration::from_hours(24 * 36_525);

const UNITS: [(&str, Duration); 6] = [
    ("w", Duration::from_hours(24 * 7)),
    ("d", Duration::from_hours(24)),
    ("h", Duration::from_hours(1)),
    ("m", Duration::from_mins(1)),
    ("s", Duration::from_secs(1)),
    ("ms", Duration::from_millis(1)),
];

/// A text that is not a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a span of time is a whole number and a unit (ms, s, m, h, d or w), like 30s or 1h30m, greater than zero"
)]
pub struct InvalidSpan;

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
        let mut rest = text;
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            let (count, after) = split(rest, |character| character.is_ascii_digit());
            let (unit, after) = split(after, |character| character.is_ascii_alphabetic());
            let count: u32 = count.parse().ok().ok_or(InvalidSpan)?;
            let unit = UNITS
                .iter()
                .find_map(|(name, length)| (*name == unit).then_some(*length))
                .ok_or(InvalidSpan)?;
            total = unit
                .checked_mul(count)
                .and_then(|part| total.checked_add(part))
                .ok_or(InvalidSpan)?;
            rest = after;
        }
        if total.is_zero() || total > SPAN_MAX {
            return Err(InvalidSpan);
        }
        Ok(Self(total))
    }
}

/// Splits a text after its first characters of one kind.
pub(super) fn split(text: &str, kind: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text
        .find(|character| !kind(character))
        .unwrap_or(text.len());
    text.split_at(end)
}

/// The largest unit that divides the span, or the parts from the largest unit down. Weeks are only read.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_millis();
        for (name, length) in UNITS.iter().skip(1) {
            let count = rest / length.as_millis();
            rest %= length.as_millis();
            if count > 0 {
                write!(f, "{count}{name}")?;
            }
        }
        Ok(())
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
    use proptest::prelude::*;

    #[test]
    fn spans_read_as_people_write_them() {
        for (text, millis, written) in [
            ("250ms", 250, "250ms"),
            ("30s", 30_000, "30s"),
            ("90s", 90_000, "1m30s"),
            ("1h30m", 5_400_000, "1h30m"),
            ("90d", 7_776_000_000, "90d"),
            ("2w", 1_209_600_000, "14d"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.get().as_millis(), millis, "{text}");
            assert_eq!(span.to_string(), written, "{text}");
        }
        for bad in [
            "",
            "0s",
            "30",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "1y",
            "5000000000s",
            "4000000d",
            "1s1",
            "١s",
        ] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,12}") {
            if let Ok(span) = text.parse::<Span>() {
                prop_assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
            }
        }
    }
}
