//! The TLS configurations of upstreams.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use crate::domain::name::Name;
use crate::domain::upstream::{Protocol, Upstream};
use crate::net::tls::ClientConfig;

/// The source of an upstream's TLS configuration.
pub trait Connectors: Debug {
    /// The newest configuration for an upstream with these settings; `None` when no generation has the upstream.
    fn of(&self, upstream: &Upstream) -> Option<Arc<ClientConfig>>;
}

/// The TLS configuration of each upstream that is reached over TLS, in one generation.
///
/// An upstream of the same name in another generation may trust others or speak another protocol. It has a
/// configuration of its own, and the two are never mistaken for each other.
#[derive(Debug, Default)]
pub struct ConnectorMap(HashMap<Name, (Settings, Arc<ClientConfig>)>);

/// The settings of an upstream that its TLS configuration is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Settings {
    tls_generation: u64,
    /// ALPN offers it.
    protocol: Protocol,
}

impl Settings {
    const fn of(upstream: &Upstream) -> Self {
        Self {
            tls_generation: upstream.tls_generation,
            protocol: upstream.protocol,
        }
    }
}

impl ConnectorMap {
    pub fn insert(&mut self, upstream: &Upstream, config: Arc<ClientConfig>) {
        let entry = (Settings::of(upstream), config);
        self.0.insert(upstream.name.clone(), entry);
    }
}

impl Connectors for ConnectorMap {
    fn of(&self, upstream: &Upstream) -> Option<Arc<ClientConfig>> {
        let (settings, config) = self.0.get(&upstream.name)?;
        (*settings == Settings::of(upstream)).then(|| Arc::clone(config))
    }
}
