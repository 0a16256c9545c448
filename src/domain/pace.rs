//! How slowly a body may come.

use std::time::Duration;

/// So many bytes a second on average, once a client has been waited for so long altogether.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    pub grace: Duration,
    pub bytes_per_second: u64,
}

impl Pace {
    /// As slowly as the client likes.
    pub const OFF: Self = Self {
        grace: Duration::MAX,
        bytes_per_second: 1,
    };

    /// 0 bytes a second ask for none.
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

/// What a route says of bodies' times where it differs from its listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyTimes {
    /// Between two pieces of a body, either way.
    pub pause: Option<Duration>,
    /// How slowly a request's body may come.
    pub pace: Option<Pace>,
}
