//! Bodies and tunnels on their way through, within their bounds.

pub mod body;
pub mod upgrade;
