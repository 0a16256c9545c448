//! Waiting for a fact, never for a time.

use std::thread;
use std::time::{Duration, Instant};

/// How long a fact may take to come true on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks until `fact` gives something; panics with `what` when it never does.
pub fn eventually<T>(what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = fact() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "never happened: {what}");
        #[expect(
            clippy::disallowed_methods,
            reason = "a test's own thread has nothing else to do"
        )]
        thread::sleep(Duration::from_millis(20));
    }
}
