//! The gateway's own endpoints: for partners on their port, for operators, for monitors; and the operators' client.

pub mod problem;
pub mod edge;
pub mod listen;
pub mod partner;
pub mod admin;
pub mod openapi;
pub mod ops;
pub mod client;
pub mod echo;
