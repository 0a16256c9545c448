//! The token service: it mints access tokens that live for minutes from what a client has proved.
//!
//! It decides by the snapshot, and by the sessions of users where a grant is about one. The record gets the exact fault
//! of a client, and the client only its own part: a client that has not proved a Key gets one answer for an unknown,
//! revoked or expired one and for another App's.

pub mod request;
pub mod error;
pub mod mint;
mod replays;
pub mod service;
pub mod assertion;
pub mod client;
mod minting;
pub mod proof;
pub mod auth_token;
mod grants;
pub mod grant;
pub mod introspect;
pub mod revoke;

#[cfg(test)]
mod assertion_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod user_tests;
