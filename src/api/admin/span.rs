//! Spans of time as operators write them: a number and a unit, `90d`, `24h`, `15m`, `30s`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// A span of time that is written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

/// A text that is not a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a span is a number and one of d, h, m and s, like 90d")]
pub struct InvalidSpan;

impl std::str::FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let seconds_each = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];
        let read = |(unit, seconds): (char, u64)| {
            let number = text.strip_suffix(unit)?;
            let digits =
                (1..=9).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
            let number: u64 = if digits {
                number.parse().ok()?
            } else {
                return None;
            };
            number.checked_mul(seconds).map(Duration::from_secs)
        };
        seconds_each
            .into_iter()
            .find_map(read)
            .map(Self)
            .ok_or(InvalidSpan)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0.as_secs())
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_one_unit() {
        for (text, seconds) in [("90d", 7_776_000), ("24h", 86_400), ("15m", 900), ("0s", 0)] {
            assert_eq!(text.parse::<Span>().unwrap().0.as_secs(), seconds, "{text}");
        }
        for bad in [
            "",
            "90",
            "d",
            "-1d",
            "+1d",
            "1.5h",
            "1d2h",
            "90 d",
            "9999999999d",
            "٣d",
            "1y",
        ] {
            assert_eq!(bad.parse::<Span>(), Err(InvalidSpan), "{bad}");
        }
    }
}
