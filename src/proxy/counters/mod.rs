//! Buckets of the rate limits.

pub mod standing;
pub mod local;
