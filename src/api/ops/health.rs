//! The health of the process for monitors; set by the daemon, read without a lock.

use std::sync::atomic::{AtomicBool, Ordering};

/// The health of the process.
#[derive(Debug, Default)]
pub struct Health {
    started: AtomicBool,
    draining: AtomicBool,
    store_down: AtomicBool,
}

/// One thing that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    pub name: &'static str,
    pub state: CheckState,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckState {
    Ok,
    /// Something is wrong, and traffic flows all the same.
    Degraded,
    /// No traffic, please.
    Failed,
}

impl CheckState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        }
    }
}

impl Health {
    /// Every listener is open and the first snapshot is in force.
    pub fn set_started(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// Called before the listeners close, so that load balancers turn away first.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// A store that is down degrades: traffic flows, and only changes wait. Says whether it was up before.
    pub fn set_store_up(&self, up: bool) -> bool {
        !self.store_down.swap(!up, Ordering::AcqRel)
    }

    pub fn has_started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub fn is_ready(&self) -> bool {
        self.checks()
            .iter()
            .all(|check| check.state != CheckState::Failed)
    }

    pub fn checks(&self) -> [Check; 3] {
        let check = |name, good: bool, otherwise| Check {
            name,
            state: if good { CheckState::Ok } else { otherwise },
        };
        let store_up = !self.store_down.load(Ordering::Acquire);
        [
            check("started", self.has_started(), CheckState::Failed),
            check("draining", !self.is_draining(), CheckState::Failed),
            check("store", store_up, CheckState::Degraded),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_between_start_and_drain_whatever_the_store_does() {
        let health = Health::default();
        assert!(!health.is_ready());
        health.set_started();
        health.set_store_up(false);
        assert!(health.is_ready());
        health.set_draining();
        assert!(!health.is_ready());
    }
}
