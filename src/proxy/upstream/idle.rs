//! Idle connections of one endpoint.

use std::cell::RefCell;
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use super::connection::UpstreamConnection;
use super::keep_alive::KeepAlive;
use crate::domain::upstream::PoolBounds;

/// The connections that a request may go over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Any kept connection: when it turns out to be dead, the request is sent again.
    Kept,
    /// A kept connection that the endpoint is not about to close: the request must not be sent twice.
    Safe,
    New,
}

/// The list of idle connections; see the module.
#[derive(Debug, Default)]
pub struct IdleList {
    /// The most recently used one is last and taken first, so that the others can grow old.
    list: RefCell<Vec<Idle>>,
    pub keep_alive: KeepAlive,
}

#[derive(Debug)]
struct Idle {
    connection: Box<UpstreamConnection>,
    since: Instant,
    /// True if its close wakes a task.
    watched: bool,
}

impl IdleList {
    pub fn push(&self, connection: Box<UpstreamConnection>) {
        self.list.borrow_mut().push(Idle {
            since: connection.heard,
            connection,
            watched: false,
        });
    }

    pub fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    /// Takes a connection out, and returns its idle time. `let_go` is called for each that cannot be used any more.
    pub fn take(
        &self,
        choice: Choice,
        bounds: &PoolBounds,
        now: Instant,
        mut let_go: impl FnMut(),
    ) -> Option<(Box<UpstreamConnection>, Duration)> {
        loop {
            let mut idle = self.pick(choice, now)?;
            let rest = idle.rest(now);
            if idle.is_good(bounds, now) {
                if idle.connection.is_quiet() {
                    return Some((idle.connection, rest));
                }
                self.closed(&idle, now);
            }
            let_go();
        }
    }

    fn pick(&self, choice: Choice, now: Instant) -> Option<Idle> {
        let mut list = self.list.borrow_mut();
        match choice {
            Choice::New => None,
            Choice::Kept => list.pop(),
            Choice::Safe => {
                let safe = |idle: &Idle| self.keep_alive.is_safe(idle.rest(now), now);
                let place = list.iter().rposition(safe)?;
                Some(list.remove(place))
            }
        }
    }

    /// Drops old and closed connections, and has `cx` woken when one of the others closes.
    pub fn sweep(
        &self,
        cx: &mut Context<'_>,
        bounds: &PoolBounds,
        now: Instant,
        mut let_go: impl FnMut(),
    ) {
        self.list.borrow_mut().retain_mut(|idle| {
            let good = idle.is_good(bounds, now);
            let kept = good && idle.connection.is_quiet_now(cx);
            if kept {
                idle.watched = true;
                self.keep_alive.open_after(idle.rest(now));
            } else {
                if good {
                    self.closed(idle, now);
                }
                let_go();
            }
            kept
        });
    }

    /// The beginning of the longest idle time.
    pub fn oldest(&self) -> Option<Instant> {
        self.list.borrow().first().map(|idle| idle.since)
    }

    pub fn drop_oldest(&self) {
        drop(self.list.borrow_mut().remove(0));
    }

    /// Learns from a closed connection. One that was not watched closed before it could be: right behind its answer.
    fn closed(&self, idle: &Idle, now: Instant) {
        let rest = if idle.watched {
            idle.rest(now)
        } else {
            Duration::ZERO
        };
        self.keep_alive.closed_after(rest, now);
    }
}

impl Idle {
    fn rest(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// True if neither we nor the upstream's announced time want it closed.
    fn is_good(&self, bounds: &PoolBounds, now: Instant) -> bool {
        let rest = self.rest(now);
        now.saturating_duration_since(self.connection.opened) < bounds.age_max
            && rest < bounds.idle_timeout
            && self.connection.kept_for.is_none_or(|time| rest < time)
    }
}
