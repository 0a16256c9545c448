//! Points in time and spans of validity; the clock itself is an argument.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ascii::Ascii;

/// A point in time: milliseconds since 1970-01-01T00:00:00Z, leap seconds ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The latest time that four digits of a year can say.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// The beginning of the year 1.
    const MIN: Self = Self(-62_135_596_800_000);

    pub const fn from_unix_millis(millis: i64) -> Self {
        Self(millis)
    }

    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    pub const fn unix_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The same time without its fraction of a second, as certificates and tokens keep it.
    #[must_use]
    pub const fn whole_seconds(self) -> Self {
        Self::from_unix_seconds(self.unix_seconds())
    }

    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }

    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }

    /// RFC 3339 in UTC, with milliseconds only when there are any.
    ///
    /// A time before the year 1 or after [`Timestamp::MAX`] is written as the nearest possible time.
    pub fn text(self) -> Ascii<24> {
        let at = Self(self.0.clamp(Self::MIN.0, Self::MAX.0));
        let Ok(civil) = time::OffsetDateTime::from_unix_timestamp(at.unix_seconds()) else {
            return Ascii::EMPTY;
        };
        let [y1, y2, y3, y4] = digits(civil.year().unsigned_abs());
        let [m1, m2] = digits(u8::from(civil.month()).into());
        let [d1, d2] = digits(civil.day().into());
        let [h1, h2] = digits(civil.hour().into());
        let [i1, i2] = digits(civil.minute().into());
        let [s1, s2] = digits(civil.second().into());
        let seconds = Ascii::EMPTY.and(&[
            y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', i1, i2, b':', s1, s2,
        ]);
        match u32::try_from(at.0.rem_euclid(1000)).unwrap_or(0) {
            0 => seconds.and(b"Z"),
            fraction => {
                let [f1, f2, f3] = digits(fraction);
                seconds.and(&[b'.', f1, f2, f3, b'Z'])
            }
        }
    }

    /// The span from `earlier` to this time; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// The last `N` decimal digits of a number.
fn digits<const N: usize>(mut number: u32) -> [u8; N] {
    let mut text = [b'0'; N];
    for place in text.iter_mut().rev() {
        *place += u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
    text
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

/// A text that is not a time of RFC 3339.
#[derive(Debug, thiserror::Error)]
#[error("not a time of RFC 3339, like 2026-12-31T23:59:59Z")]
pub struct InvalidTimestamp;

impl std::str::FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed =
            time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339)
                .ok()
                .ok_or(InvalidTimestamp)?;
        let millis = parsed.unix_timestamp_nanos().div_euclid(1_000_000);
        i64::try_from(millis).map(Self).ok().ok_or(InvalidTimestamp)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The span in which something counts; both ends belong to it (RFC 5280, 4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validity {
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

impl Validity {
    pub fn has_begun(&self, now: Timestamp) -> bool {
        self.not_before <= now
    }

    /// A certificate is valid until the end of the second that `not_after` names.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        now.unix_seconds() > self.not_after.unix_seconds()
    }

    pub fn contains(&self, now: Timestamp) -> bool {
        self.has_begun(now) && !self.has_ended(now)
    }
}

/// The source of "now". The process has a clock that reads the system's; tests set their own.
pub trait Clock: Send + Sync + fmt::Debug {
    fn now(&self) -> Timestamp;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_time_is_written_in_order_and_reads_as_it_was_written(
            millis in prop_oneof![0_i64..4_102_444_800_000, -62_135_596_800_000_i64..=253_402_300_799_999],
        ) {
            let time = Timestamp::from_unix_millis(millis);
            let text = time.to_string();
            prop_assert_eq!(text.parse::<Timestamp>().unwrap(), time);
            let civil = time::OffsetDateTime::from_unix_timestamp(time.unix_seconds()).unwrap();
            let known = civil.format(&time::format_description::well_known::Rfc3339).unwrap();
            let seconds = known.trim_end_matches('Z');
            match millis.rem_euclid(1000) {
                0 => prop_assert_eq!(text, known),
                fraction => prop_assert_eq!(text, format!("{seconds}.{fraction:03}Z")),
            }
        }
    }

    #[test]
    fn times_read_as_they_are_written() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2026-11-21T05:45:28Z",
            "2000-02-29T23:59:59.250Z",
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
        }
        assert_eq!(
            Timestamp::from_unix_millis(i64::MAX).to_string(),
            "9999-12-31T23:59:59.999Z"
        );
        assert_eq!(
            Timestamp::from_unix_millis(i64::MIN).to_string(),
            "0001-01-01T00:00:00Z"
        );
        for bad in ["", "2026", "2026-13-01T00:00:00Z", "2026-11-21 05:45:28"] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_validity_includes_both_of_its_ends() {
        let span = Validity {
            not_before: Timestamp::from_unix_seconds(10),
            not_after: Timestamp::from_unix_seconds(20),
        };
        for (millis, inside) in [
            (9_999, false),
            (10_000, true),
            (20_000, true),
            (20_999, true),
            (21_000, false),
        ] {
            assert_eq!(
                span.contains(Timestamp::from_unix_millis(millis)),
                inside,
                "{millis}"
            );
        }
    }
}
