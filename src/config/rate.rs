//! Rates as they are written: `100/s`, `5000/h`, `10/15m`.

use std::fmt;

use super::span::Span;
use super::text::text_value;
pub use crate::domain::rate::InvalidRate;
use crate::domain::rate::Rate as DomainRate;

/// So many requests per so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub period: Span,
}

impl std::str::FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rate = DomainRate::parse(text)?;
        Ok(Self {
            count: rate.count,
            period: rate.period.into(),
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = DomainRate {
            count: self.count,
            period: self.period.get(),
            burst: self.count,
        };
        f.write_str(&rate.text())
    }
}

text_value!(
    Rate,
    "Rate",
    r"^[0-9]+/([0-9]+)?(ms|s|m|h|d|w)$",
    "Requests per time: 100/s, 5000/h, 10/15m."
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rates_read_as_people_write_them() {
        for (text, count, seconds, written) in [
            ("100/s", 100, 1, "100/s"),
            ("5000/h", 5000, 3600, "5000/h"),
            ("10/15m", 10, 900, "10/15m"),
            ("1/1d", 1, 86_400, "1/d"),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.count, rate.period), (count, Span::from_secs(seconds)));
            assert_eq!(rate.to_string(), written);
        }
        for bad in [
            "",
            "100",
            "/s",
            "0/s",
            "+1/s",
            "1/0s",
            "1/",
            "1.5/s",
            "1000001/s",
            "1/s/s",
        ] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_rate_is_written_as_it_is_read(count in 1_u32..1_000_000, seconds in 1_u64..100_000) {
            let rate = Rate { count, period: Span::from_secs(seconds) };
            prop_assert_eq!(rate.to_string().parse(), Ok(rate));
        }

        #[test]
        fn no_text_is_a_rate_that_cannot_be_counted(
            text in prop_oneof!["\\PC{0,20}", "[0-9]{0,11}/[0-9]{0,4}(ms|s|m|h|d|w)?"],
        ) {
            if let Ok(rate) = text.parse::<Rate>() {
                prop_assert_eq!(rate.to_string().parse(), Ok(rate));
                let period = rate.period.get().as_nanos();
                prop_assert!(rate.count > 0 && period / u128::from(rate.count) >= 1000, "{}", text);
            }
        }
    }
}
