//! Connections of partners: HTTP/1.1 by our own codec, HTTP/2 by the library's streams, and the parts that both share.

pub mod service;
pub mod request_head;
pub mod body;
pub mod link;
pub mod wire;
pub mod answer;
pub mod discarding;
pub mod http1;
pub mod http2;
pub mod stream;
pub mod leaving;
pub mod date;

#[cfg(test)]
mod testing;
