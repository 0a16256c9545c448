//! The match between a connection and a host: a connection serves hosts of the TLS policy that it was opened under.

use super::snapshot::HostPolicies;
use super::tls_policy::{Shown, TlsPolicy};

/// The handshake of a connection, as far as it decides which hosts the connection serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake<'a> {
    /// The TLS policy that the handshake was made under.
    pub policy: TlsPolicy,
    pub shown: Shown,
    pub sni: Option<&'a str>,
}

/// The reason why a connection does not serve a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The host has another TLS policy than the one that the connection was opened for.
    Host,
    /// The connection's own host requires more since a reload; the connection serves nothing any more.
    Outdated,
}

impl Handshake<'_> {
    /// Checks that the connection may serve `host`: a handshake under one host's policy proves nothing for another
    /// host, and a handshake before a reload may have required less than the policy does now.
    pub fn serves(
        &self,
        policies: &HostPolicies,
        host: &str,
        needs_certificate: bool,
    ) -> Result<(), Mismatch> {
        let asked = policies.of(host);
        if asked == self.policy {
            return Ok(());
        }
        let own = self.sni.unwrap_or_default();
        let own = policies.of(own.strip_suffix('.').unwrap_or(own));
        let suffices =
            own == self.policy || self.policy.suffices(self.shown, own, needs_certificate);
        match (suffices, own == asked) {
            (true, true) => Ok(()),
            (true, false) => Err(Mismatch::Host),
            (false, _) => Err(Mismatch::Outdated),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tls_policy::ClientAuthMode::{self, Off, Optional, Required};
    use crate::domain::tls_policy::{Reject, TlsVersion};

    fn policy(mode: ClientAuthMode) -> TlsPolicy {
        TlsPolicy::new(mode, Reject::Explain, TlsVersion::V1_2)
    }

    /// The handshake of a connection to `own.test` that showed no certificate.
    fn opened_under(mode: ClientAuthMode) -> Handshake<'static> {
        Handshake {
            policy: policy(mode),
            shown: Shown {
                certificate: false,
                version: TlsVersion::V1_3,
            },
            sni: Some("own.test"),
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
            let policies = HostPolicies {
                general: policy(other),
                by_host: std::iter::once(("own.test".to_owned(), policy(own))).collect(),
            };
            let to = |host| opened_under(then).serves(&policies, host, true);
            let case = format!("opened under {then:?}, now {own:?}, other {other:?}");
            assert_eq!(to("own.test"), to_own, "{case}");
            assert_eq!(to("other.test"), to_other, "{case}");
        }
    }
}
