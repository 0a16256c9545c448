//! Targets of HTTP/2 requests that the library would refuse or change by itself.

pub mod stream;
mod block;
mod huffman;
