//! Buckets of the rate limits.

pub mod subject;
pub mod standing;
pub mod local;
