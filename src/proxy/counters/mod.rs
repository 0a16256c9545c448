//! Where rate limits count.

pub mod standing;
pub mod local;
