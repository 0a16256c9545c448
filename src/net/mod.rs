//! Sockets, TLS and HTTP as mechanisms: the transport of bytes, never the permission to send them.

pub mod tcp;
pub mod listener;
pub mod proxy_protocol;
pub mod cork;
pub mod strides;
pub mod greeting;
pub mod tls;
pub mod http;
pub mod stream;
pub mod discard;
pub mod outbox;
pub mod unsent;
pub mod targets;
pub mod duplex;
pub mod keep_alive;
pub mod resolve;
pub mod dial;
pub mod serve;
pub mod call;
pub mod fetch;
pub mod turn;
pub mod log_limit;
