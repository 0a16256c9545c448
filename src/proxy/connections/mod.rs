//! Open connections: the other side, the credentials in use, and their bounds.

pub mod live;
pub mod peer;
pub mod seats;
pub mod last_token;
pub mod expiry;
