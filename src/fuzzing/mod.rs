//! Properties of everything that reads what an outsider sends, one file each. The fuzz targets in `fuzz/` look for
//! bytes that break one; the tests here feed the corpora to the same functions.
//!
//! The room exists in tests and in builds for fuzzing only, so that it neither ships nor keeps dead code alive.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a property that does not hold panics, which a fuzzer detects"
)]

pub mod request_head;
pub mod chunked_body;
pub mod answer_head;
pub mod path;
pub mod host;
pub mod header_policy;
pub mod csr;
pub mod pem;
pub mod token;
pub mod signature;
pub mod configuration;
pub mod proxy_header;

mod lines;
#[cfg(test)]
mod corpus;
