//! The fault of bytes that are not valid HTTP/1.1.

/// Malformed bytes, with the rule that they break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);
