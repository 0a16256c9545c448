//! The world of a configuration: everything that a reload replaces, built whole before anything is replaced.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::descriptors::Shares;
use super::own_names;
use super::settings::tcp_options;
use crate::config::parts::Replaceable;
use crate::config::upstreams::{Protocol, Upstream as WrittenUpstream};
use crate::crypto::authority::Authority;
use crate::crypto::certificate_details::Issuers;
use crate::crypto::tls::{self, Roots, ServerCertificate, ServerCertificates, UpstreamTls};
use crate::crypto::tls_error::TlsError;
use crate::crypto::verifier::{self, RegistryView};
use crate::domain::certificate::Profile;
use crate::domain::snapshot::Catalog;
use crate::domain::time::{Clock, Timestamp};
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
    pub served: Served,
    pub authority: Arc<Authority>,
    pub profile: Profile,
}

/// The certificate of a listener.
#[derive(Debug)]
pub struct Served {
    pub certificates: Arc<ServerCertificates>,
    /// The names for which our own authority issued the certificate, so that we have to renew it; `None` when it is the
    /// operator's.
    pub issued_for: Option<Vec<String>>,
}

/// The remaining life of a certificate at its renewal: a third, so that after a failed renewal an operator has a month
/// to notice.
const RENEWED_BEFORE: Duration = Duration::from_hours(30 * 24);

impl Served {
    /// A certificate for these names from our own authority.
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

    /// Issues a new certificate if ours ends soon; open connections keep the old one.
    ///
    /// A certificate that ends with its authority is not renewed: the next one would end no later.
    pub fn renew(&self, authority: &Authority, now: Timestamp) -> anyhow::Result<()> {
        let ends = self.certificates.not_after();
        let due = |(_, end): &(String, Timestamp)| is_due(*end, authority.not_after(), now);
        if ends.iter().any(due) {
            self.issue_anew(authority, now)?;
        }
        Ok(())
    }

    /// Issues a new certificate, if ours is issued at all: for another authority, whose chain clients need.
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

fn is_due(end: Timestamp, authority_end: Timestamp, now: Timestamp) -> bool {
    end < now.plus(RENEWED_BEFORE).min(authority_end)
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

/// The parts from which a world is built, beside the configuration.
#[derive(Debug)]
pub struct Ground<'a> {
    pub authority: Arc<Authority>,
    pub registry: Arc<dyn RegistryView>,
    pub clock: &'a dyn Clock,
    /// The address on which partners are listened for.
    pub listening: IpAddr,
    /// The new catalogue's generation.
    pub generation: u64,
    /// The open files that connections to upstreams may use.
    pub shares: Shares,
}

impl World {
    pub fn build(config: &Replaceable<'_>, ground: &Ground<'_>) -> anyhow::Result<Self> {
        let served = served(config, ground)?;
        for (name, upstream) in config.upstreams {
            // An option that the kernel refuses is reported here, before a request needs a connection.
            let granted = tcp_options(&upstream.tcp).try_out();
            granted.with_context(|| format!("upstreams.{name}.tcp"))?;
        }
        let mut catalog = config.catalog(ground.generation).context("hosts")?;
        ground.shares.hold(&mut catalog);
        let keep = catalog.tells_of_certificates();
        let policies = policies(config, ground, &served.certificates)?;
        Ok(Self {
            generation: Generation {
                policies: policies.keeping_certificates(keep),
                connectors: connectors(config, &catalog)?,
                issuers: Issuers::new(ground.authority.issuers()),
            },
            catalog: Arc::new(catalog),
            served,
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
fn served(config: &Replaceable<'_>, ground: &Ground<'_>) -> anyhow::Result<Served> {
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
        let names = own_names::of(config, ground.listening, own_names::machine());
        tracing::info!(
            ?names,
            "no server certificate is configured: the gateway's authority issues one"
        );
        return Served::issued(&ground.authority, names, ground.clock.now());
    }
    let certificates = ServerCertificates::new(configured).context("tls.certificates")?;
    Ok(Served {
        certificates: Arc::new(certificates),
        issued_for: None,
    })
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
    Ok(TlsPolicies::new(ground.generation, configs, asked.hosts)?)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_unix_seconds(1_800_000_000)
    }

    fn days(days: u64) -> Duration {
        Duration::from_hours(24 * days)
    }

    fn authority() -> Authority {
        let made = Authority::generate("Test", now()).unwrap();
        let roots = &made.root_cert_pem;
        Authority::load(&made.issuing_cert_pem, &made.issuing_key_pem, roots, now()).unwrap()
    }

    fn end(served: &Served) -> Timestamp {
        served.certificates.not_after()[0].1
    }

    #[test]
    fn a_certificate_of_our_own_lives_ninety_days_and_is_renewed_a_month_before_its_end() {
        let authority = authority();
        let served = Served::issued(&authority, vec!["a.test".to_owned()], now()).unwrap();
        let first = end(&served);
        assert!(first <= now().plus(days(90)) && first > now().plus(days(89)));
        for day in [0, 30, 59] {
            served.renew(&authority, now().plus(days(day))).unwrap();
            assert_eq!(end(&served), first, "day {day}");
        }
        // A gateway that runs for years, checked once a day, never shows a certificate that ends soon.
        let mut renewals = 0;
        for day in 60..1000 {
            let (before, today) = (end(&served), now().plus(days(day)));
            served.renew(&authority, today).unwrap();
            renewals += u32::from(end(&served) != before);
            assert!(end(&served) > today.plus(days(29)), "day {day}");
        }
        assert_eq!(renewals, 16, "one every 60 days");
    }

    #[test]
    fn a_certificate_that_ends_with_its_authority_is_not_renewed_again_and_again() {
        let authority = authority();
        let late = authority.not_after().minus(days(10));
        let served = Served::issued(&authority, vec!["a.test".to_owned()], late).unwrap();
        assert_eq!(end(&served), authority.not_after());
        for (left, authority_left, due) in [
            (10, 10, false),
            (31, 400, false),
            (29, 400, true),
            (5, 29, true),
        ] {
            let at = |left| now().plus(days(left));
            assert_eq!(is_due(at(left), at(authority_left), now()), due, "{left}");
        }
    }

    #[test]
    fn a_certificate_that_was_brought_is_left_alone() {
        let authority = authority();
        let brought = issue(&authority, &["a.test".to_owned()], now()).unwrap();
        let served = Served {
            certificates: Arc::new(ServerCertificates::new(vec![brought]).unwrap()),
            issued_for: None,
        };
        let before = end(&served);
        served.renew(&authority, now().plus(days(80))).unwrap();
        assert_eq!(end(&served), before);
    }
}
