//! What things are, and the decisions about them: no I/O, no clock, no async.

pub mod reason;
pub mod ascii;
pub mod text;
pub mod time;
pub mod id;
pub mod name;
pub mod secret;
pub mod app;
pub mod credential;
pub mod certificate;
pub mod api_key;
pub mod admin;
pub mod scope;
pub mod token;
pub mod identity;
pub mod identity_headers;
pub mod request;
pub mod route;
pub mod policy;
pub mod limit;
pub mod tcp;
pub mod upstream;
pub mod shelf;
pub mod snapshot;
pub mod record;
pub mod listing;
