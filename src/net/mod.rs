//! Sockets, TLS and HTTP as mechanisms: nothing here knows what a partner or a route is.

pub mod listener;
pub mod proxy_protocol;
pub mod tls;
pub mod http;
pub mod stream;
pub mod dial;
pub mod serve;
pub mod call;
