//! Durations as text, in the configuration, the admin API and on the command line: `30s`, `15m`, `1h30m`, `90d`.

use std::time::Duration;

/// The longest duration, a hundred years. A longer one is a typing error, and the arithmetic of time stays far from its
/// edges.
pub const DURATION_MAX: Duration = Duration::from_hours(24 * 36_525);

const UNITS: [(&str, Duration); 6] = [
    ("w", Duration::from_hours(24 * 7)),
    ("d", Duration::from_hours(24)),
    ("h", Duration::from_hours(1)),
    ("m", Duration::from_mins(1)),
    ("s", Duration::from_secs(1)),
    ("ms", Duration::from_millis(1)),
];

/// A text that is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a duration is a whole number and a unit (ms, s, m, h, d or w), like 30s or 1h30m, and at most a hundred years"
)]
pub struct InvalidDuration;

/// Reads a duration: whole numbers with a unit each, which are added. Zero is a duration; users of the value that need
/// a longer one refuse it.
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    if text.is_empty() {
        return Err(InvalidDuration);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (count, after) = split(rest, |character| character.is_ascii_digit());
        let (unit, after) = split(after, |character| character.is_ascii_alphabetic());
        let count: u32 = count.parse().ok().ok_or(InvalidDuration)?;
        let length = UNITS
            .iter()
            .find_map(|(name, length)| (*name == unit).then_some(*length))
            .ok_or(InvalidDuration)?;
        total = length
            .checked_mul(count)
            .and_then(|part| total.checked_add(part))
            .filter(|total| *total <= DURATION_MAX)
            .ok_or(InvalidDuration)?;
        rest = after;
    }
    Ok(total)
}

/// Writes a duration in the parts that [`parse`] reads, from days down to milliseconds: `1h30m`.
pub fn text(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    let mut text = String::new();
    for (name, length) in UNITS.iter().skip(1) {
        let count = rest / length.as_millis();
        rest %= length.as_millis();
        if count > 0 {
            text.push_str(&count.to_string());
            text.push_str(name);
        }
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

/// Splits a text after its first characters of one kind.
fn split(text: &str, kind: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text
        .find(|character| !kind(character))
        .unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (written, millis, again) in [
            ("250ms", 250, "250ms"),
            ("0s", 0, "0s"),
            ("30s", 30_000, "30s"),
            ("90s", 90_000, "1m30s"),
            ("1h30m", 5_400_000, "1h30m"),
            ("90d", 7_776_000_000, "90d"),
            ("2w", 1_209_600_000, "14d"),
        ] {
            let duration = parse(written).unwrap();
            assert_eq!(duration.as_millis(), millis, "{written}");
            assert_eq!(text(duration), again, "{written}");
        }
        for bad in [
            "",
            "30",
            "s",
            "-1s",
            "+1d",
            "1.5s",
            "1 s",
            "90 d",
            "1y",
            "5000000000s",
            "9999999999d",
            "4000000d",
            "1s1",
            "١s",
        ] {
            assert_eq!(parse(bad), Err(InvalidDuration), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(written in "\\PC{0,12}") {
            if let Ok(duration) = parse(&written) {
                prop_assert_eq!(parse(&text(duration)), Ok(duration));
            }
        }
    }
}
