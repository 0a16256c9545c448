//! The kernel's TCP options that an operator can set.

use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;

/// The TCP options of connections of a listener or to an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// The kernel's own choice when there is none.
    pub congestion: Option<CongestionControl>,
    /// True for `TCP_NODELAY`: a write is sent at once and does not wait for an acknowledgement.
    pub nodelay: bool,
    /// Microseconds for which a read looks at the network card itself before it waits to be woken.
    pub busy_poll: Option<NonZeroU16>,
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            congestion: None,
            nodelay: true,
            busy_poll: None,
        }
    }
}

/// The name of a congestion control, as kernels write them: 1 to 15 lower-case letters, digits, `-` and `_`.
#[derive(Clone, PartialEq, Eq)]
pub struct CongestionControl(Arc<str>);

/// The kernel's bound, without the NUL at its end.
const CHARS_MAX: usize = 15;

/// A text that is not the name of a congestion control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a congestion control has 1 to 15 characters from a-z, 0-9, '-' and '_', like cubic or bbr"
)]
pub struct InvalidCongestionControl;

impl CongestionControl {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for CongestionControl {
    type Err = InvalidCongestionControl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let fits = (1..=CHARS_MAX).contains(&text.len());
        if fits
            && text
                .bytes()
                .all(|byte| plain(byte) || b"-_".contains(&byte))
        {
            Ok(Self(text.into()))
        } else {
            Err(InvalidCongestionControl)
        }
    }
}

impl fmt::Display for CongestionControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CongestionControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_a_kernel_could_have() {
        for good in ["bbr", "cubic", "dctcp-reno", "a_2", &"a".repeat(15)] {
            let name: CongestionControl = good.parse().unwrap();
            assert_eq!(name.to_string(), good);
        }
        for bad in [
            "",
            "BBR",
            "b b",
            "bbr\0",
            "cubic,reno",
            "ä",
            &"a".repeat(16),
        ] {
            assert!(bad.parse::<CongestionControl>().is_err(), "{bad:?}");
        }
    }
}
