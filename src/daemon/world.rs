//! The world of a configuration: everything that a reload replaces, built whole before anything is replaced.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Context as _;

use super::descriptors::Shares;
use super::own_names;
use super::settings::tcp_options;
use crate::config::parts::Replaceable;
use crate::config::upstreams::{Protocol, Upstream as WrittenUpstream};
use crate::control::server_certificates::Shown;
use crate::crypto::authority::Authority;
use crate::crypto::certificate_details::Issuers;
use crate::crypto::issuer_token::IssuerVerifier;
use crate::crypto::tls::{self, Roots, ServerCertificate, ServerCertificates, UpstreamTls};
use crate::crypto::tls_error::TlsError;
use crate::crypto::verifier::{self, RegistryView};
use crate::domain::certificate::Profile;
use crate::domain::snapshot::Catalog;
use crate::domain::time::Clock;
use crate::domain::tls_policy::TlsPolicy;
use crate::net::tls::ServerConfig;
use crate::proxy::generations::Generation;
use crate::proxy::intake::handshake::TlsPolicies;
use crate::proxy::upstream::connectors::ConnectorMap;

/// The parts that a reload replaces.
#[derive(Debug)]
pub struct World {
    pub catalog: Arc<Catalog>,
    /// The data plane's other parts.
    pub generation: Generation,
    /// The certificates that partners see.
    pub shown: Shown,
    pub authority: Arc<Authority>,
    pub profile: Profile,
}

/// The parts from which a world is built, beside the configuration.
#[derive(Debug)]
pub struct Ground<'a> {
    pub authority: Arc<Authority>,
    pub registry: Arc<dyn RegistryView>,
    pub clock: &'a dyn Clock,
    /// The address on which partners are listened for.
    pub listening: IpAddr,
    /// The new catalogue, from the same configuration.
    pub catalog: Arc<Catalog>,
}

/// The catalogue of a configuration, with connections to upstreams within the shares of the open files.
pub fn catalog(
    config: &Replaceable<'_>,
    generation: u64,
    shares: &Shares,
) -> anyhow::Result<Arc<Catalog>> {
    let mut catalog = config.catalog(generation).context("hosts")?;
    for issuer in catalog.issuers.iter() {
        // A set that is given is read here, before a token needs it.
        IssuerVerifier::new(issuer, None)
            .with_context(|| format!("issuers.{}.keys.jwks", issuer.name))?;
    }
    shares.hold(&mut catalog);
    Ok(Arc::new(catalog))
}

impl World {
    pub fn build(config: &Replaceable<'_>, ground: &Ground<'_>) -> anyhow::Result<Self> {
        let shown = shown(config, ground)?;
        for (name, upstream) in config.upstreams {
            // An option that the kernel refuses is reported here, before a request needs a connection.
            let granted = tcp_options(&upstream.tcp).try_out();
            granted.with_context(|| format!("upstreams.{name}.tcp"))?;
        }
        let catalog = Arc::clone(&ground.catalog);
        let keep = catalog.tells_of_certificates();
        let policies = policies(config, ground, shown.certificates())?;
        Ok(Self {
            generation: Generation {
                policies: policies.keeping_certificates(keep),
                connectors: connectors(config, &catalog)?,
                issuers: Issuers::new(ground.authority.issuers()),
            },
            catalog,
            shown,
            authority: Arc::clone(&ground.authority),
            profile: config.profile.into(),
        })
    }
}

fn connectors(config: &Replaceable<'_>, catalog: &Catalog) -> anyhow::Result<ConnectorMap> {
    let mut connectors = ConnectorMap::default();
    for (name, upstream) in &catalog.upstreams {
        let over_tls = upstream.endpoints.iter().any(|endpoint| endpoint.tls);
        let written = config.upstreams.get(name).filter(|_| over_tls);
        if let Some(written) = written {
            let made = connector(written);
            connectors.insert(
                upstream,
                made.with_context(|| format!("upstreams.{name}.tls"))?,
            );
        }
    }
    Ok(connectors)
}

/// The configured certificates, or one from our own authority for the configured hosts.
fn shown(config: &Replaceable<'_>, ground: &Ground<'_>) -> anyhow::Result<Shown> {
    let configured: Vec<ServerCertificate> = config
        .tls
        .certificates
        .iter()
        .map(|pair| ServerCertificate {
            cert_pem: pair.cert.text().to_owned(),
            key_pem: pair.key.secret().clone(),
        })
        .collect();
    if !configured.is_empty() {
        return Shown::brought(configured).context("tls.certificates");
    }
    let names = own_names::of(config, ground.listening, own_names::machine());
    tracing::info!(
        ?names,
        "no server certificate is configured: the gateway's authority issues one"
    );
    Ok(Shown::issued(&ground.authority, names, ground.clock.now())?)
}

/// The TLS policies: one for all hosts, and one for each kind of exception.
fn policies(
    config: &Replaceable<'_>,
    ground: &Ground<'_>,
    certificates: &Arc<ServerCertificates>,
) -> anyhow::Result<TlsPolicies> {
    let asked = config.tls_policies();
    let configs = asked
        .policies
        .into_iter()
        .map(|policy| {
            let made = server_config(config, ground, certificates, policy)?;
            Ok((policy, made))
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(TlsPolicies::new(
        ground.catalog.generation,
        configs,
        asked.hosts,
    )?)
}

/// A configuration with new ticket keys and a new session store: no session outlives a change of trust.
fn server_config(
    config: &Replaceable<'_>,
    ground: &Ground<'_>,
    certificates: &Arc<ServerCertificates>,
    policy: TlsPolicy,
) -> anyhow::Result<Arc<ServerConfig>> {
    let verifier = verifier::client_verifier(
        ground.authority.anchors(),
        policy.mode(),
        policy.reject(),
        Arc::clone(&ground.registry),
    )?;
    Ok(tls::server_config(
        Arc::clone(certificates),
        Some(verifier),
        policy.oldest(),
        config.http2,
    )?)
}

/// The connector for an upstream's `https` endpoints.
pub fn connector(
    upstream: &WrittenUpstream,
) -> Result<Arc<crate::net::tls::ClientConfig>, TlsError> {
    let settings = UpstreamTls {
        roots: match &upstream.tls.ca {
            Some(ca) => Roots::Pem(ca.text().to_owned()),
            None => Roots::System,
        },
        identity: match (&upstream.tls.client_cert, &upstream.tls.client_key) {
            (Some(cert), Some(key)) => Some((cert.text().to_owned(), key.secret().clone())),
            _ => None,
        },
        http2: upstream.protocol == Protocol::Http2,
    };
    tls::upstream_config(settings)
}
