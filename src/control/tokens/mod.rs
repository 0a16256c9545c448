//! The token service: it mints access tokens that live for minutes from what a client has proved.
//!
//! It decides by the snapshot. The record gets the exact fault of a client, and the client only its own part: a client
//! that has not proved a Key gets one answer for an unknown, revoked or expired one and for another App's.

pub mod service;
pub mod error;
pub mod request;
pub mod client;
pub mod mint;
mod grants;
mod grant;

#[cfg(test)]
mod tests;
