//! Factors by which limits are raised.

use std::fmt;
use std::str::FromStr;

/// The factor of a boost, in hundredths: more than 1, at most 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Factor(u32);

/// A number that is not the factor of a boost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a factor is more than 1 and at most 1000, with two decimals at most")]
pub struct InvalidFactor;

const ONE: u32 = 100;
const FACTOR_MAX: u32 = 1000 * ONE;

impl Factor {
    pub fn from_hundredths(hundredths: u32) -> Result<Self, InvalidFactor> {
        if (ONE + 1..=FACTOR_MAX).contains(&hundredths) {
            Ok(Self(hundredths))
        } else {
            Err(InvalidFactor)
        }
    }

    pub const fn hundredths(self) -> u32 {
        self.0
    }

    /// So many times the count, rounded down; at least one more than the count where that fits.
    pub fn times(self, count: u32) -> u32 {
        let product = u64::from(count) * u64::from(self.0) / u64::from(ONE);
        let product = u32::try_from(product).unwrap_or(u32::MAX);
        product.max(count.saturating_add(1))
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / ONE, self.0 % ONE);
        match part {
            0 => write!(f, "{whole}"),
            part if part % 10 == 0 => write!(f, "{whole}.{}", part / 10),
            part => write!(f, "{whole}.{part:02}"),
        }
    }
}

impl FromStr for Factor {
    type Err = InvalidFactor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str, most: usize| {
            let fits = (1..=most).contains(&text.len());
            let plain = fits && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u32>()
                .ok()
                .filter(|_| plain)
                .ok_or(InvalidFactor)
        };
        let (whole, hundredths) = (digits(whole, 4)?, digits(part, 2)?);
        let hundredths = if part.len() == 1 {
            hundredths * 10
        } else {
            hundredths
        };
        Self::from_hundredths(whole * ONE + hundredths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_numbers_with_two_decimals() {
        for (text, hundredths, shown) in [
            ("3", 300, "3"),
            ("1.5", 150, "1.5"),
            ("1.05", 105, "1.05"),
            ("1000", 100_000, "1000"),
            ("2.50", 250, "2.5"),
        ] {
            let factor: Factor = text.parse().unwrap();
            assert_eq!(
                (factor.hundredths(), factor.to_string().as_str()),
                (hundredths, shown)
            );
        }
        for bad in [
            "", "1", "0.5", "1000.1", "-2", "+2", "2.", ".5", "1.001", "1e3", "x",
        ] {
            assert!(bad.parse::<Factor>().is_err(), "{bad}");
        }
        let times = |factor: &str, count| factor.parse::<Factor>().unwrap().times(count);
        assert_eq!(
            (times("1.5", 100), times("1.05", 1), times("3", u32::MAX)),
            (150, 2, u32::MAX)
        );
    }
}
