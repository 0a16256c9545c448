//! Routing: a request finds its route.

use std::sync::Arc;

use http::Method;

use crate::domain::path::Path;
use crate::domain::reason::Reason;
use crate::domain::request::RequestHead;
use crate::domain::route::{Miss, Route};
use crate::domain::snapshot::{Catalog, Snapshot};

use super::offence::Offence;
use super::peer::Peer;
use super::refusal::{Extra, Refusal};

/// Finds the route of a request.
pub fn find<'s>(
    snapshot: &'s Snapshot,
    host: &str,
    path: &Path<'_>,
    method: &Method,
) -> Result<&'s Arc<Route>, Refusal> {
    let head = RequestHead { host, path, method };
    snapshot
        .catalog
        .routes
        .find(&head)
        .map_err(|miss| missed(miss, path))
}

fn missed(miss: Miss, path: &Path<'_>) -> Refusal {
    match (Offence::of_miss(path.raw(), &miss), miss) {
        (Some(offence), _) => Refusal::naming(Reason::PathInvalid, offence),
        (None, Miss::Method(allowed)) => {
            Refusal::with(Reason::MethodUnknown, Extra::Allow(allowed))
        }
        (None, _) => Reason::RouteUnknown.into(),
    }
}

/// The reason why a connection does not serve a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The host has another TLS policy than the one that the connection was opened for.
    Host,
    /// The connection's own host requires more since a reload; the connection serves nothing any more.
    Outdated,
}

/// Checks that a connection may serve a host: a handshake under one host's policy proves nothing for another host, and
/// a handshake before a reload may have required less than the policy does now.
pub fn tls_policy(
    catalog: &Catalog,
    host: &str,
    peer: &Peer,
    needs_certificate: bool,
) -> Result<(), Mismatch> {
    let asked = catalog.tls_policy(host);
    if asked == peer.policy {
        return Ok(());
    }
    let own = peer.sni.as_deref().unwrap_or_default();
    let own = catalog.tls_policy(own.strip_suffix('.').unwrap_or(own));
    let suffices = own == peer.policy || peer.policy.suffices(peer.shown(), own, needs_certificate);
    match (suffices, own == asked) {
        (true, true) => Ok(()),
        (true, false) => Err(Mismatch::Host),
        (false, _) => Err(Mismatch::Outdated),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::domain::route::RouteTable;
    use crate::domain::snapshot::HostPolicies;
    use crate::domain::tls_policy::ClientAuthMode::{self, Off, Optional, Required};
    use crate::domain::tls_policy::{Reject, TlsPolicy, TlsVersion};
    use crate::domain::token::ClientAuthMethods;
    use crate::proxy::peer::Origin;

    fn policy(mode: ClientAuthMode) -> TlsPolicy {
        TlsPolicy::new(mode, Reject::Explain, TlsVersion::V1_2)
    }

    /// A connection to `own.test` that showed no certificate.
    fn opened_under(mode: ClientAuthMode) -> Peer {
        Peer {
            origin: Origin {
                address: IpAddr::from([192, 0, 2, 1]),
                trusted_hop: false,
            },
            leaf: None,
            policy: policy(mode),
            sni: Some("own.test".into()),
            tls_version: "TLSv1.3",
            http2: true,
        }
    }

    #[test]
    fn a_connection_serves_hosts_that_ask_what_its_own_asked() {
        use Mismatch::{Host, Outdated};
        for (then, own, other, to_own, to_other) in [
            (Optional, Optional, Optional, Ok(()), Ok(())),
            (Optional, Optional, Required, Ok(()), Err(Host)),
            (Required, Required, Optional, Ok(()), Err(Host)),
            (Off, Off, Optional, Ok(()), Err(Host)),
            // After a reload that requires less, or nothing that was not shown.
            (Optional, Off, Off, Ok(()), Ok(())),
            (Optional, Off, Optional, Ok(()), Ok(())),
            (Optional, Off, Required, Ok(()), Err(Host)),
            // After a reload that requires a certificate that was not shown.
            (Optional, Required, Required, Err(Outdated), Err(Outdated)),
            (Optional, Required, Off, Err(Outdated), Err(Outdated)),
            (Off, Optional, Optional, Err(Outdated), Err(Outdated)),
        ] {
            let catalog = Catalog {
                generation: 2,
                routes: RouteTable::default(),
                upstreams: foldhash::HashMap::default(),
                tls_policies: HostPolicies {
                    general: policy(other),
                    by_host: std::iter::once(("own.test".to_owned(), policy(own))).collect(),
                },
                issuer: "".into(),
                client_auth: ClientAuthMethods::default(),
            };
            let peer = opened_under(then);
            let to = |host| tls_policy(&catalog, host, &peer, true);
            let case = format!("opened under {then:?}, now {own:?}, other {other:?}");
            assert_eq!(to("own.test"), to_own, "{case}");
            assert_eq!(to("other.test"), to_other, "{case}");
        }
    }
}
