//! Keys and tokens: their verification, and the failures that are counted for each address.

pub mod basic;
pub mod covered_fields;
pub mod failed_attempts;
pub mod seen_signatures;
pub mod signatures;
pub mod issuer_tokens;
pub mod verifier;
