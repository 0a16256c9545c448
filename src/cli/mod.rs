//! The command line.

pub mod entry;
