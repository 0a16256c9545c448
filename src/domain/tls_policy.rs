//! The TLS policy of a host: what a handshake asks of a client, and whether an earlier handshake asked enough.

/// The request for a client certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClientAuthMode {
    Off,
    #[default]
    Optional,
    Required,
}

/// The answer to a certificate of ours that is not valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reject {
    /// The handshake finishes, so that answers can say what is wrong; no request is forwarded.
    #[default]
    Explain,
    /// The handshake is refused.
    Alert,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsVersion {
    #[default]
    V1_2,
    V1_3,
}

/// The demands of a handshake. Two policies with the same demands are equal, also if they come from different
/// configurations: a connection outlives the configuration under which it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TlsPolicy {
    mode: ClientAuthMode,
    reject: Reject,
    /// The oldest version that is spoken.
    oldest: TlsVersion,
}

/// The facts of a handshake that are not in its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// A certificate whose chain was verified and whose key the client holds.
    pub certificate: bool,
    pub version: TlsVersion,
}

impl TlsPolicy {
    /// A policy. Where no certificate is asked for, none is rejected.
    pub fn new(mode: ClientAuthMode, reject: Reject, oldest: TlsVersion) -> Self {
        let reject = match mode {
            ClientAuthMode::Off => Reject::default(),
            ClientAuthMode::Optional | ClientAuthMode::Required => reject,
        };
        Self {
            mode,
            reject,
            oldest,
        }
    }

    pub const fn mode(self) -> ClientAuthMode {
        self.mode
    }

    pub const fn reject(self) -> Reject {
        self.reject
    }

    pub const fn oldest(self) -> TlsVersion {
        self.oldest
    }

    /// True if a handshake under this policy proved all that one under `now` would have proved.
    ///
    /// `needs_certificate` says that the request needs one: a client that was never asked cannot have shown any.
    /// How a certificate is rejected does not matter, because the registry is asked on every request.
    pub fn suffices(self, shown: Shown, now: Self, needs_certificate: bool) -> bool {
        let certificate = match now.mode {
            ClientAuthMode::Off => true,
            ClientAuthMode::Optional => self.mode != ClientAuthMode::Off || !needs_certificate,
            ClientAuthMode::Required => shown.certificate,
        };
        certificate && shown.version >= now.oldest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ClientAuthMode::{Off, Optional, Required};
    use TlsVersion::{V1_2, V1_3};

    fn policy(mode: ClientAuthMode, oldest: TlsVersion) -> TlsPolicy {
        TlsPolicy::new(mode, Reject::Explain, oldest)
    }

    #[test]
    fn a_policy_is_known_by_what_it_demands() {
        let alert = |mode| TlsPolicy::new(mode, Reject::Alert, V1_2);
        assert_eq!(alert(Off), policy(Off, V1_2), "nothing is rejected there");
        let all = [
            alert(Off),
            alert(Optional),
            alert(Required),
            policy(Optional, V1_2),
            policy(Required, V1_2),
            policy(Off, V1_3),
        ];
        let distinct: std::collections::BTreeSet<_> = all.into();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn an_earlier_handshake_suffices_when_it_proved_what_is_asked_now() {
        for (then, certificate, now, needs, expected) in [
            // A client that was asked and showed a certificate has done all that any mode asks.
            (Optional, true, Required, true, true),
            (Required, true, Optional, true, true),
            (Required, true, Off, false, true),
            // One that showed none has not, where a certificate is required now.
            (Optional, false, Required, true, false),
            (Optional, false, Required, false, false),
            (Off, false, Required, false, false),
            (Optional, false, Off, false, true),
            // One that was never asked may serve what needs no certificate.
            (Off, false, Optional, false, true),
            (Off, false, Optional, true, false),
        ] {
            let shown = Shown {
                certificate,
                version: V1_3,
            };
            let found = policy(then, V1_2).suffices(shown, policy(now, V1_2), needs);
            assert_eq!(found, expected, "{then:?} {certificate} -> {now:?} {needs}");
        }
    }

    #[test]
    fn an_older_version_never_suffices_where_a_newer_one_is_the_oldest() {
        for (version, oldest, expected) in [
            (V1_2, V1_2, true),
            (V1_3, V1_2, true),
            (V1_3, V1_3, true),
            (V1_2, V1_3, false),
        ] {
            for mode in [Off, Optional, Required] {
                let shown = Shown {
                    certificate: true,
                    version,
                };
                let found = policy(mode, V1_2).suffices(shown, policy(mode, oldest), true);
                assert_eq!(found, expected, "{version:?} under {oldest:?}, {mode:?}");
            }
        }
    }

    #[test]
    fn rejection_by_alert_or_by_answer_is_as_good_as_the_other() {
        for (then, now) in [
            (Reject::Explain, Reject::Alert),
            (Reject::Alert, Reject::Explain),
        ] {
            let shown = Shown {
                certificate: true,
                version: V1_3,
            };
            let of = |reject| TlsPolicy::new(Required, reject, V1_2);
            assert!(of(then).suffices(shown, of(now), true), "{then:?}");
        }
    }
}
