//! A duration on the command line: `90d`, `24h`, `15m`, `30s`.

use std::str::FromStr;

/// A well-formed duration. It is sent to the gateway as text; the gateway decides whether it is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span(String);

impl Span {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "a duration is a whole number and a unit: 90d, 24h, 15m or 30s";
        let digits = ["d", "h", "m", "s"]
            .iter()
            .find_map(|unit| text.strip_suffix(unit))
            .ok_or(EXPECTED)?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        match digits.parse::<u32>() {
            Ok(number) if number > 0 && plain => Ok(Self(text.to_owned())),
            _ => Err(EXPECTED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        for good in ["90d", "1h", "15m", "30s"] {
            assert_eq!(good.parse::<Span>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "d",
            "0d",
            "-1d",
            "+1d",
            "1.5h",
            "90",
            "90 d",
            "9999999999d",
            "1w",
        ] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
}
