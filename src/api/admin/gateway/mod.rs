//! The process itself.

pub mod status;
pub mod reload;
pub mod drain;
pub mod document;
