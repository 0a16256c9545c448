//! HTTP/1.1 parsing and encoding for both sides of the gateway.

pub mod malformed;
pub mod fields;
pub mod field_list;
pub mod head_end;
pub mod chunked;
pub mod coding;
pub mod output;
