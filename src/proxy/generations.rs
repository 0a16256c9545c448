//! The generations of a configuration: all that the data plane takes from one beside the catalogue, in one cell.
//!
//! A generation is put into the cell before its catalogue is in force. The snapshot names the generation that it
//! belongs to, so the snapshot's replacement is the one moment at which everything changes.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::crypto::certificate_details::Issuers;
use crate::domain::snapshot::Catalog;
use crate::domain::upstream::Upstream;
use crate::net::tls::ClientConfig;

use super::intake::handshake::{Picked, TlsPolicies};
use super::upstream::connectors::{ConnectorMap, Connectors};

/// The most generations in the cell. More than two are there only while the data plane confirms no reload.
const GENERATIONS_MAX: usize = 4;

/// The parts of one configuration.
#[derive(Debug)]
pub struct Generation {
    /// The TLS policies of handshakes, with the number of the generation.
    pub policies: TlsPolicies,
    /// The TLS configurations of upstreams.
    pub connectors: ConnectorMap,
    /// The authority's certificates that identity headers contain.
    pub issuers: Issuers,
}

/// The generation in force, and during a reload its successor.
#[derive(Clone, Debug)]
pub struct Generations {
    newest: Arc<Generation>,
    /// The generations before it, the newest first.
    before: Vec<Arc<Generation>>,
}

impl Generations {
    pub fn new(generation: Generation) -> Self {
        Self {
            newest: Arc::new(generation),
            before: Vec::new(),
        }
    }

    /// These generations and their successor, until the catalogue of the successor is in force.
    #[must_use]
    pub fn followed_by(&self, generation: Generation) -> Self {
        let before = std::iter::once(&self.newest).chain(&self.before);
        Self {
            newest: Arc::new(generation),
            before: before.take(GENERATIONS_MAX - 1).cloned().collect(),
        }
    }

    /// The newest generation alone, once its catalogue is in force.
    #[must_use]
    pub fn settled(&self) -> Self {
        Self {
            newest: Arc::clone(&self.newest),
            before: Vec::new(),
        }
    }

    /// The TLS configuration of a handshake that is judged by `catalog`.
    pub fn pick(&self, catalog: &Catalog, sni: Option<&str>) -> Picked {
        self.of(catalog.generation).policies.pick(sni)
    }

    /// The issuers of every generation here: a successor of an authority trusts all that it trusted.
    pub fn issuers(&self) -> &Issuers {
        &self.newest.issuers
    }

    /// The generation of this number; the newest when that one is over.
    fn of(&self, number: u64) -> &Generation {
        let mut before = self.before.iter();
        let found = before.find(|generation| generation.policies.generation() == number);
        found.unwrap_or(&self.newest)
    }

    fn connector(&self, upstream: &Upstream) -> Option<Arc<ClientConfig>> {
        let mut all = std::iter::once(&self.newest).chain(&self.before);
        all.find_map(|generation| generation.connectors.of(upstream))
    }
}

impl Connectors for ArcSwap<Generations> {
    fn of(&self, upstream: &Upstream) -> Option<Arc<ClientConfig>> {
        self.load().connector(upstream)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::crypto::authority::Authority;
    use crate::crypto::tls::{self, Roots, ServerCertificate, ServerCertificates, UpstreamTls};
    use crate::domain::snapshot::HostPolicies;
    use crate::domain::time::Timestamp;
    use crate::domain::tls_policy::{TlsPolicy, TlsVersion};
    use crate::domain::upstream::{AnswerBounds, Endpoint, PoolBounds, Protocol, Timeouts};

    fn upstream(tls_generation: u64, protocol: Protocol) -> Upstream {
        Upstream {
            name: "api".parse().unwrap(),
            endpoints: vec![Endpoint {
                tls: true,
                host: "api.test".into(),
                port: 443,
            }],
            protocol,
            timeouts: Timeouts::default(),
            pool: PoolBounds::default(),
            http: AnswerBounds::default(),
            tcp: crate::domain::tcp::Tcp::default(),
            server_name: None,
            tls_generation,
        }
    }

    fn policies(generation: u64) -> TlsPolicies {
        let now = Timestamp::from_unix_seconds(1_800_000_000);
        let made = Authority::generate("Test", now).unwrap();
        let roots = &made.root_cert_pem;
        let authority =
            Authority::load(&made.issuing_cert_pem, &made.issuing_key_pem, roots, now).unwrap();
        let (cert_pem, key_pem) = authority.issue_server(&["a.test".to_owned()], now).unwrap();
        let certificates =
            ServerCertificates::new(vec![ServerCertificate { cert_pem, key_pem }]).unwrap();
        let config =
            tls::server_config(Arc::new(certificates), None, TlsVersion::V1_2, false).unwrap();
        let configs = HashMap::from([(TlsPolicy::default(), config)]);
        TlsPolicies::new(generation, configs, HostPolicies::default()).unwrap()
    }

    /// A generation of one upstream, with its connector.
    fn generation(number: u64, upstream: &Upstream) -> (Generation, Arc<ClientConfig>) {
        let config = tls::upstream_config(UpstreamTls {
            roots: Roots::System,
            identity: None,
            http2: upstream.protocol == Protocol::Http2,
        })
        .unwrap();
        let mut connectors = ConnectorMap::default();
        connectors.insert(upstream, Arc::clone(&config));
        let generation = Generation {
            policies: policies(number),
            connectors,
            issuers: Issuers::default(),
        };
        (generation, config)
    }

    #[track_caller]
    fn is(found: Option<Arc<ClientConfig>>, expected: Option<&Arc<ClientConfig>>) {
        assert_eq!(
            found.map(|config| Arc::as_ptr(&config)),
            expected.map(Arc::as_ptr)
        );
    }

    #[test]
    fn an_upstream_is_reached_with_the_tls_settings_of_its_own_generation() {
        let [old, other, http2] = [
            upstream(1, Protocol::Http1),
            upstream(2, Protocol::Http1),
            upstream(2, Protocol::Http2),
        ];
        let (first, of_old) = generation(1, &old);
        let (second, of_other) = generation(2, &other);
        let (third, of_http2) = generation(3, &http2);
        let first = Generations::new(first);
        is(first.connector(&old), Some(&of_old));
        is(first.connector(&other), None);
        let both = first.followed_by(second);
        is(both.connector(&old), Some(&of_old));
        is(both.connector(&other), Some(&of_other));
        let settled = both.settled();
        is(settled.connector(&old), None);
        let three = both.followed_by(third);
        is(three.connector(&old), Some(&of_old));
        is(three.connector(&other), Some(&of_other));
        is(three.connector(&http2), Some(&of_http2));
        // The same settings again: the newest reading of the files that they name.
        let (fourth, again) = generation(4, &old);
        is(three.followed_by(fourth).connector(&old), Some(&again));
    }

    #[test]
    fn a_handshake_goes_by_the_generation_that_judges_it() {
        let number = |generations: &Generations, asked| {
            let found = generations.of(asked);
            found.policies.generation()
        };
        let upstream = upstream(1, Protocol::Http1);
        let next = |number| generation(number, &upstream).0;
        let mut all = Generations::new(next(1));
        for number in 2..=6 {
            all = all.followed_by(next(number));
        }
        // Those that the data plane has not confirmed, within the bound.
        for (asked, found) in [(6, 6), (5, 5), (4, 4), (3, 3), (2, 6), (7, 6)] {
            assert_eq!(number(&all, asked), found, "{asked}");
        }
        assert_eq!(number(&all.settled(), 5), 6);
    }
}
