//! The walk: of a connection, and of each of its requests, declared in its order.

pub mod connection;
pub mod exchange;
pub mod admit;
pub mod read;
pub mod identify;
pub mod authorize;
pub mod limit;
pub mod pages;
pub mod prepare;
pub mod hold;
pub mod forward;
pub mod respond;
pub mod deliver;
