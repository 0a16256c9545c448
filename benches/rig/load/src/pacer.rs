//! When requests are due in the rate modes. Latency counts from here, so a slow proxy cannot slow its own schedule.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub struct Pacer {
    interval: Duration,
    next: Option<Instant>,
    due: VecDeque<Instant>,
    /// Connections (in h2: one entry per free stream) that can take a request.
    pub free: Vec<usize>,
}

impl Pacer {
    pub fn new(rate: f64) -> Self {
        Self {
            interval: Duration::from_secs_f64(1.0 / rate),
            next: None,
            due: VecDeque::new(),
            free: Vec::new(),
        }
    }

    /// The schedule starts when every connection is open.
    pub fn start(&mut self, now: Instant) {
        self.next.get_or_insert(now);
    }

    pub fn advance(&mut self, now: Instant) {
        let Some(mut next) = self.next else { return };
        while next <= now {
            self.due.push_back(next);
            next += self.interval;
        }
        self.next = Some(next);
    }

    /// A request that is due, and the connection which it goes to.
    pub fn take(&mut self) -> Option<(Instant, usize)> {
        if self.free.is_empty() {
            return None;
        }
        let due = self.due.pop_front()?;
        Some((due, self.free.swap_remove(0)))
    }

    pub fn forget(&mut self, connection: usize) {
        self.free.retain(|free| *free != connection);
    }
}
