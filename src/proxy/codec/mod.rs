//! HTTP/1.1 as it is read and written on both sides of the gateway.

pub mod malformed;
pub mod fields;
pub mod field_list;
pub mod head_end;
pub mod chunked;
pub mod coding;
pub mod output;
