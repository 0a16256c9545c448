//! DPoP (RFC 9449): proofs of callers that they hold the key to which their token is bound.
//!
//! A proof is a JWT that the caller signs for one request. It carries its own public key, so that everything in it is
//! the caller's word; it means something beside a token that names the thumbprint of that key.

pub mod algorithms;
pub mod call;
pub mod proof;
pub mod nonces;
pub mod replays;
pub mod proofs;

#[cfg(test)]
pub mod testing;
