//! What a configuration comes to: everything that a reload replaces, built whole before anything is replaced.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::descriptors::Shares;
use super::settings::tcp_options;
use crate::config::root::Config;
use crate::config::tls as written;
use crate::config::upstreams::{Protocol, Upstream as WrittenUpstream};
use crate::crypto::authority::Authority;
use crate::crypto::tls::{self, Roots, ServerCertificate, ServerCertificates, UpstreamTls};
use crate::crypto::verifier::{self, RegistryView};
use crate::domain::certificate::Profile;
use crate::domain::name::Name;
use crate::domain::snapshot::Catalog;
use crate::domain::time::{Clock, Timestamp};
use crate::net::tls::ServerConfig;
use crate::proxy::handshake::TlsPolicies;
use crate::proxy::upstream::upstreams::Connectors;

/// What a reload replaces.
#[derive(Debug)]
pub struct World {
    pub catalog: Arc<Catalog>,
    pub policies: TlsPolicies,
    pub connectors: Connectors,
    pub served: Served,
    pub profile: Profile,
}

/// What a listener shows its callers.
#[derive(Debug)]
pub struct Served {
    pub certificates: Arc<ServerCertificates>,
    /// The names for which our own authority issued the certificate, so that we have to renew it;
    /// `None` when the operator brought it.
    pub issued_for: Option<Vec<String>>,
}

/// A certificate that we issued is renewed when it has this long to go.
const RENEWED_BEFORE: Duration = Duration::from_hours(30 * 24);

impl Served {
    /// One that our own authority issues for these names.
    pub fn issued(
        authority: &Authority,
        names: Vec<String>,
        now: Timestamp,
    ) -> anyhow::Result<Self> {
        let certificates = ServerCertificates::new(vec![issue(authority, &names, now)?])?;
        Ok(Self {
            certificates: Arc::new(certificates),
            issued_for: Some(names),
        })
    }

    /// Issues a new one if ours ends soon; connections that are open keep the old one.
    pub fn renew(&self, authority: &Authority, now: Timestamp) -> anyhow::Result<()> {
        let soon = now.plus(RENEWED_BEFORE);
        if self
            .certificates
            .not_after()
            .iter()
            .all(|(_, end)| *end > soon)
        {
            return Ok(());
        }
        self.issue_anew(authority, now)
    }

    /// Issues a new one, if ours is issued at all: for another authority, whose chain clients are to be shown.
    pub fn issue_anew(&self, authority: &Authority, now: Timestamp) -> anyhow::Result<()> {
        let Some(names) = &self.issued_for else {
            return Ok(());
        };
        self.certificates
            .replace(vec![issue(authority, names, now)?])?;
        tracing::info!(?names, "server certificate renewed");
        Ok(())
    }
}

fn issue(
    authority: &Authority,
    names: &[String],
    now: Timestamp,
) -> anyhow::Result<ServerCertificate> {
    let issued = authority.issue_server(names, now);
    let (cert_pem, key_pem) = issued.context("issuing a server certificate")?;
    Ok(ServerCertificate { cert_pem, key_pem })
}

/// What a world is built from beside the configuration.
#[derive(Debug)]
pub struct Ground<'a> {
    pub authority: &'a Authority,
    pub registry: Arc<dyn RegistryView>,
    pub clock: &'a dyn Clock,
    /// The new catalogue's generation.
    pub generation: u64,
    /// The files that upstreams' connections may be.
    pub shares: Shares,
}

impl World {
    pub fn build(config: &Config, ground: &Ground<'_>) -> anyhow::Result<Self> {
        let served = served(config, ground.authority, ground.clock.now())?;
        let connectors = config
            .upstreams
            .iter()
            .filter(|(_, upstream)| upstream.endpoints.iter().any(|endpoint| endpoint.0.tls))
            .map(|(name, upstream)| Ok((name.clone(), connector(name, upstream)?)))
            .collect::<anyhow::Result<Connectors>>()?;
        for (name, upstream) in &config.upstreams {
            // Refused here, and not when somebody waits for a connection.
            let granted = tcp_options(&upstream.tcp).try_out();
            granted.with_context(|| format!("upstreams.{name}.tcp"))?;
        }
        let mut catalog = config.catalog(ground.generation).context("hosts")?;
        ground.shares.hold(&mut catalog);
        let keep = catalog.tells_of_certificates();
        let policies = policies(config, ground, &served.certificates)?;
        Ok(Self {
            catalog: Arc::new(catalog),
            policies: policies.keeping_certificates(keep),
            connectors,
            served,
            profile: config.profile(),
        })
    }
}

/// The configured certificates, or one from our own authority for the configured hosts.
fn served(config: &Config, authority: &Authority, now: Timestamp) -> anyhow::Result<Served> {
    let configured: Vec<ServerCertificate> = config
        .tls
        .certificates
        .iter()
        .map(|pair| ServerCertificate {
            cert_pem: pair.cert.text().to_owned(),
            key_pem: pair.key.secret().clone(),
        })
        .collect();
    if configured.is_empty() {
        let names = served_names(config);
        tracing::info!(
            ?names,
            "no server certificate is configured: the gateway's authority issues one"
        );
        return Served::issued(authority, names, now);
    }
    let certificates = ServerCertificates::new(configured).context("tls.certificates")?;
    Ok(Served {
        certificates: Arc::new(certificates),
        issued_for: None,
    })
}

/// Every name that a partner may call, and this machine's own.
fn served_names(config: &Config) -> Vec<String> {
    let mut names = config.server_names();
    for own in ["localhost", "127.0.0.1"] {
        if !names.iter().any(|name| name == own) {
            names.push(own.to_owned());
        }
    }
    names
}

/// One TLS policy for all hosts, and one for each kind of exception.
fn policies(
    config: &Config,
    ground: &Ground<'_>,
    certificates: &Arc<ServerCertificates>,
) -> anyhow::Result<TlsPolicies> {
    let asked = config.tls_policies();
    let configs = asked
        .policies
        .iter()
        .map(|(number, policy)| {
            let made = server_config(config, ground, certificates, *policy)?;
            Ok((*number, made))
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(TlsPolicies::new(configs, asked.hosts)?)
}

/// Each has ticket keys and a session store of its own, made anew: no session outlives a change of trust.
fn server_config(
    config: &Config,
    ground: &Ground<'_>,
    certificates: &Arc<ServerCertificates>,
    asked: written::ClientAuth,
) -> anyhow::Result<Arc<ServerConfig>> {
    let mode = match asked.mode {
        written::ClientAuthMode::Off => verifier::ClientAuthMode::Off,
        written::ClientAuthMode::Optional => verifier::ClientAuthMode::Optional,
        written::ClientAuthMode::Required => verifier::ClientAuthMode::Required,
    };
    let reject = match asked.reject {
        written::Reject::Alert => verifier::Reject::Alert,
        written::Reject::Explain => verifier::Reject::Explain,
    };
    let verifier = verifier::client_verifier(
        ground.authority.anchors(),
        mode,
        reject,
        Arc::clone(&ground.registry),
    )?;
    let http2 = config.listeners.partners.http.http2;
    Ok(tls::server_config(
        Arc::clone(certificates),
        Some(verifier),
        oldest(config.tls.min_version),
        http2,
    )?)
}

const fn oldest(version: written::TlsVersion) -> tls::TlsVersion {
    match version {
        written::TlsVersion::V1_2 => tls::TlsVersion::V1_2,
        written::TlsVersion::V1_3 => tls::TlsVersion::V1_3,
    }
}

fn connector(
    name: &Name,
    upstream: &WrittenUpstream,
) -> anyhow::Result<Arc<crate::net::tls::ClientConfig>> {
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
    tls::upstream_config(settings).with_context(|| format!("upstreams.{name}.tls"))
}
