//! Kernel options for the connections of a listener or to an upstream.

use std::num::NonZeroU16;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::text_value;
use crate::domain::tcp::{self, CongestionControl};

/// Kernel options for the connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tcp {
    /// The congestion control algorithm, for example `cubic` or `bbr`, which must be available in the kernel; the
    /// kernel's default when not set.
    pub congestion: Option<CongestionControl>,
    /// `true` sets `TCP_NODELAY`. Without it, small answers may wait for the other side's delayed acknowledgement.
    pub nodelay: bool,
    /// The time for which a read polls the network card before it sleeps (`SO_BUSY_POLL`), in microseconds, 1 to
    /// 1000; off when not set.
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
