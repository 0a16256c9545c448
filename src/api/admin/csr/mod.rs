//! Certificate signing requests.

pub mod inspect;
