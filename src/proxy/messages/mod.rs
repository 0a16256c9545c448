//! Messages in transit, and the refusals that take their place.

pub mod message;
pub mod target;
pub mod hints;
pub mod host;
pub mod offence;
pub mod error;
pub mod refusal;
pub mod missing;
