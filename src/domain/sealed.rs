//! Sealed bytes: a secret as the store keeps it. Only `crypto::seal` makes and opens them.

use std::fmt;

/// A secret that is sealed for one row and column. Without the sealing key it says nothing but its length.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Box<[u8]>);

impl Sealed {
    pub fn new(envelope: impl Into<Box<[u8]>>) -> Self {
        Self(envelope.into())
    }

    /// The envelope, for the store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(…)")
    }
}
