//! What the running process says of itself: its log, its access log, its own numbers.

pub mod logging;
pub mod access_log;
pub mod metrics;
pub mod runtimes;
