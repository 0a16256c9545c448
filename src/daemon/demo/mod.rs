//! The demo: everything at once on one machine, with a tour.

pub mod run;
pub mod directory;
pub mod prepare;
pub mod tour;
pub mod partner;
