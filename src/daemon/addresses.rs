//! The addresses of the gateway's listeners.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::api::admin::operations::ListeningAt;

/// The addresses of the gateway's listeners.
#[derive(Clone, Debug)]
pub struct Addresses {
    pub partners: SocketAddr,
    pub admin: SocketAddr,
    pub ops: SocketAddr,
    pub socket: PathBuf,
}

impl From<&Addresses> for ListeningAt {
    fn from(addresses: &Addresses) -> Self {
        Self {
            partners: addresses.partners.to_string(),
            admin: addresses.admin.to_string(),
            ops: addresses.ops.to_string(),
            socket: addresses.socket.display().to_string(),
        }
    }
}
