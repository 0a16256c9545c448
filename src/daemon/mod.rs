//! The running process: it depends on every room, and connects them once.

pub mod serve;
pub mod lock;
pub mod addresses;
pub mod status;
pub mod trust;
pub mod assemble;
pub mod world;
pub mod own_names;
pub mod settings;
pub mod listeners;
mod descriptors;
pub mod registry_view;
pub mod pump;
pub mod local;
pub mod examine;
pub mod reload;
pub mod lifecycle;
pub mod drain;
pub mod gauges;
mod dropped;
pub mod access_lines;
pub mod clock;
pub mod inspect;
pub mod backup;
pub mod demo;
