//! Sizes as they are written: `512B`, `64KiB`, `10MiB`, `1GiB`.

use std::fmt;

use super::text::text_value;

/// A number of bytes, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

const UNITS: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// A text that is not a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a size is a whole number and a unit (B, KiB, MiB, GiB or TiB), like 64KiB, greater than zero"
)]
pub struct InvalidSize;

impl Size {
    pub const fn from_kib(kib: u64) -> Self {
        Self(kib << 10)
    }

    pub const fn get(self) -> u64 {
        self.0
    }
}

impl std::str::FromStr for Size {
    type Err = InvalidSize;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (count, unit) = text.split_at(digits);
        let count: u64 = count.parse().ok().ok_or(InvalidSize)?;
        let factor = UNITS
            .iter()
            .find_map(|(name, factor)| (*name == unit).then_some(*factor))
            .ok_or(InvalidSize)?;
        match count.checked_mul(factor) {
            Some(bytes) if bytes > 0 => Ok(Self(bytes)),
            _ => Err(InvalidSize),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS
            .iter()
            .find(|(_, factor)| self.0.is_multiple_of(*factor));
        let (unit, factor) = whole.copied().unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

text_value!(
    Size,
    "Size",
    r"^[0-9]+(B|KiB|MiB|GiB|TiB)$",
    "A number of bytes: 512B, 64KiB, 10MiB."
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        for (text, bytes, written) in [
            ("512B", 512, "512B"),
            ("64KiB", 65_536, "64KiB"),
            ("1024KiB", 1_048_576, "1MiB"),
            ("3GiB", 3_221_225_472, "3GiB"),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!(size.get(), bytes, "{text}");
            assert_eq!(size.to_string(), written, "{text}");
        }
        for bad in [
            "",
            "0",
            "KiB",
            "1kb",
            "1 KiB",
            "-1",
            "99999999999999999999",
            "18014398509481984TiB",
        ] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_size_is_written_as_it_is_read(bytes in 1..u64::MAX) {
            prop_assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
        }

        #[test]
        fn no_text_is_a_size_of_nothing(
            text in prop_oneof!["\\PC{0,20}", "[0-9]{0,21}(B|KiB|MiB|GiB|TiB)?", "0{1,3}(B|KiB)"],
        ) {
            if let Ok(size) = text.parse::<Size>() {
                prop_assert!(size.get() > 0);
                let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
                prop_assert!(size.get() >= digits.parse().unwrap(), "{}", text);
            }
        }
    }
}
