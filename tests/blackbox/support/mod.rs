//! What the black box stands on: the process under test, its partners and its upstreams.

pub mod eventually;
pub mod process;
pub mod gateway;
pub mod pki;
pub mod signing;
pub mod upstream;
pub mod source;
pub mod client;
pub mod dpop;
pub mod clients;
pub mod frames;
