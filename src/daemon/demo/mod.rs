//! The demo: a gateway with an upstream and a partner on one machine, and a tour.

pub mod run;
pub mod directory;
pub mod prepare;
pub mod tour;
pub mod partner;
