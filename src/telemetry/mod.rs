//! What the running process says of itself: its log, its access log, its own numbers.

pub mod logging;
pub mod access_log;
pub mod json_line;
pub mod metrics;
pub mod runtimes;
