//! Connections to upstreams: opened, bounded, kept and used, each worker with its own.

pub mod connectors;
pub mod tcp_options;
pub mod upstreams;
pub mod pool;
pub mod balance;
pub mod health;
pub mod failures;
pub mod request;
pub mod replay;
pub mod http1;
pub mod sender;
pub mod wire;
pub mod answer_head;
pub mod connection;
pub mod idle;
pub mod keep_alive;
pub mod deadline;
pub mod http2;
pub mod http2_body;
pub mod websocket;
pub mod body;
