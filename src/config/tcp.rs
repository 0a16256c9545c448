//! How the kernel carries the connections of a listener or to an upstream, as it is written.

use std::num::NonZeroU16;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::text_value;
use crate::domain::tcp::{self, CongestionControl};

/// How the kernel carries the connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tcp {
    /// The congestion control by its name, `cubic` or `bbr` for example; it has to be one that the kernel offers.
    /// The kernel's default when not set.
    pub congestion: Option<CongestionControl>,
    /// Whether what is written leaves at once (`TCP_NODELAY`). Without, small answers may wait for the other side's
    /// delayed acknowledgement.
    pub nodelay: bool,
    /// Microseconds, 1 to 1000, for which a read asks the network card before it waits to be woken
    /// (`SO_BUSY_POLL`); off when not set.
    pub busy_poll: Option<NonZeroU16>,
}

impl Default for Tcp {
    fn default() -> Self {
        let tcp::Tcp {
            congestion,
            nodelay,
            busy_poll,
        } = tcp::Tcp::default();
        Self {
            congestion,
            nodelay,
            busy_poll,
        }
    }
}

impl From<&Tcp> for tcp::Tcp {
    fn from(written: &Tcp) -> Self {
        Self {
            congestion: written.congestion.clone(),
            nodelay: written.nodelay,
            busy_poll: written.busy_poll,
        }
    }
}

text_value!(
    CongestionControl,
    "CongestionControl",
    r"^[a-z0-9_-]{1,15}$",
    "A congestion control of the kernel: cubic, bbr."
);
