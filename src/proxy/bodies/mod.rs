//! Bodies and tunnels on their way through, within their bounds.

pub mod held;
pub mod body;
pub mod upgrade;
