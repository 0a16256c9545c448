//! The TLS configurations of upstreams.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::name::Name;
use crate::net::tls::ClientConfig;

/// The TLS configuration of each upstream that is reached over TLS. A reload replaces all of them.
pub type Connectors = HashMap<Name, Arc<ClientConfig>>;
