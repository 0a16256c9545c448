//! The 99th percentile of every short window of a run, and the one in the middle of them.
//!
//! A virtual machine's core is taken away many times a second, now and then for milliseconds. With that for a percent of
//! the time, the p99 of a whole run says when the host was busy and nothing about the proxy. Such absences are in few of
//! the windows; what a proxy does to its own requests all the time is in all of them.

use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_millis(50);

#[derive(Default)]
pub struct Windows {
    ends: Option<Instant>,
    latencies: Vec<u64>,
    p99s: Vec<u64>,
}

impl Windows {
    /// An answer that ended `now`, which must not go back.
    pub fn add(&mut self, now: Instant, micros: u64) {
        if now >= *self.ends.get_or_insert(now + WINDOW) {
            self.ends = Some(now + WINDOW);
            self.close();
        }
        self.latencies.push(micros);
    }

    fn close(&mut self) {
        if let Some(p99) = quantile(&mut self.latencies, 0.99) {
            self.p99s.push(p99);
        }
        self.latencies.clear();
    }

    /// The window that has not ended yet does not count. 0 before the first has.
    pub fn median_p99(&self) -> u64 {
        quantile(&mut self.p99s.clone(), 0.5).unwrap_or(0)
    }
}

/// The least of `values` that the given share of them does not exceed.
fn quantile(values: &mut [u64], share: f64) -> Option<u64> {
    let rank = ((values.len() as f64 * share).ceil() as usize).checked_sub(1)?;
    Some(*values.select_nth_unstable(rank).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_in_which_the_core_was_away_does_not_move_the_middle() {
        let mut windows = Windows::default();
        let mut now = Instant::now();
        for window in 0..20 {
            for _ in 0..100 {
                windows.add(now, if window % 4 == 0 { 5_000 } else { 70 });
                now += WINDOW / 100;
            }
        }
        assert_eq!(windows.median_p99(), 70);
    }

    #[test]
    fn what_is_slow_in_every_window_shows() {
        let mut windows = Windows::default();
        let mut now = Instant::now();
        for request in 0..2_000 {
            windows.add(now, if request % 50 == 0 { 900 } else { 70 });
            now += WINDOW / 100;
        }
        assert_eq!(windows.median_p99(), 900);
    }

    #[test]
    fn nothing_measured_is_nothing() {
        assert_eq!(Windows::default().median_p99(), 0);
    }
}
