//! The minimum rate of a body.

use std::time::Duration;

/// A minimum average rate, checked after a total waiting time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    pub grace: Duration,
    pub bytes_per_second: u64,
}

impl Pace {
    /// No minimum rate.
    pub const OFF: Self = Self {
        grace: Duration::MAX,
        bytes_per_second: 1,
    };

    /// A pace; 0 bytes a second mean none.
    pub const fn of(grace: Duration, bytes_per_second: u64) -> Self {
        match bytes_per_second {
            0 => Self::OFF,
            bytes_per_second => Self {
                grace,
                bytes_per_second,
            },
        }
    }
}

/// A route's timeouts of bodies that differ from its listener's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyTimes {
    /// The timeout between two reads or two writes of a body.
    pub pause: Option<Duration>,
    /// The minimum rate of a request's body.
    pub pace: Option<Pace>,
}
