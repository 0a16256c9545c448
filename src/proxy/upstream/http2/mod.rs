//! HTTP/2 with upstreams, with prior knowledge: hyper's connection with our bounds, deadlines and cleaning of fields.

pub mod sending;
pub mod connection;
pub mod exchange;
