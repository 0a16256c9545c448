//! The reasons for which a connection ends.

use crate::domain::reason::Reason;

/// The reason of a connection's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closed {
    /// The gateway is stopping.
    Drain,
    /// Its credential has ended.
    Ended,
    /// The other side broke it or the protocol.
    Failed,
    /// The other side is done.
    Finished,
    /// No request came for too long.
    Idle,
    /// A refused certificate has used up its requests.
    Quarantine,
    /// An answer was not read, or the first request did not come.
    Stalled,
}

impl Closed {
    pub const ALL: [Self; 7] = [
        Self::Drain,
        Self::Ended,
        Self::Failed,
        Self::Finished,
        Self::Idle,
        Self::Quarantine,
        Self::Stalled,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Ended => "ended",
            Self::Failed => "failed",
            Self::Finished => "finished",
            Self::Idle => "idle",
            Self::Quarantine => "quarantine",
            Self::Stalled => "stalled",
        }
    }

    /// The reason in the record of an exchange that was cut short by it.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Drain => Reason::Draining,
            Self::Ended => Reason::CredentialInvalid,
            Self::Failed | Self::Finished | Self::Idle | Self::Quarantine | Self::Stalled => {
                Reason::ClientClosed
            }
        }
    }
}
