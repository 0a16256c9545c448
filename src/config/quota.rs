//! Quotas as they are written: `1000/h`, `10000/d`.

use std::fmt;

use super::text::text_value;
use crate::domain::quota::{InvalidQuota, Quota as DomainQuota};

/// So many requests in each hour or each day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota(pub DomainQuota);

impl std::str::FromStr for Quota {
    type Err = InvalidQuota;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        DomainQuota::parse(text).map(Self)
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text())
    }
}

text_value!(
    Quota,
    "Quota",
    r"^[0-9]+/(h|d|1h|1d|24h|60m)$",
    "Requests in each hour or each day, UTC: 1000/h, 10000/d."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_written_as_it_is_read() {
        for text in ["1000/h", "10000/d"] {
            assert_eq!(text.parse::<Quota>().unwrap().to_string(), text);
        }
        let fault = "10000/w".parse::<Quota>().unwrap_err();
        assert!(fault.to_string().contains("10000/d"), "{fault}");
    }
}
