//! Apps.

pub mod view;
pub mod create;
pub mod list;
pub mod get;
pub mod set;
pub mod suspend;
pub mod resume;
pub mod revoke;
