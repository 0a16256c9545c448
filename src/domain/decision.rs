//! The decision about a request: one order of checks, for the walk and for everything that explains it.
//!
//! certificate → route → quarantine → TLS policy → upgrade → field names → credential → policy. The first check that
//! fails decides. Nothing here waits, and nothing here changes anything.

use std::sync::Arc;

use super::accepted::CredentialKind;
use super::certificate::Fingerprint;
use super::header_names::HeaderNames;
use super::identity::{Bearer, Caller, CertificateProof, Evidence};
use super::permit::Permit;
use super::policy::Policy;
use super::reason::Reason;
use super::request::RequestHead;
use super::route::{Miss, Route, Target};
use super::snapshot::Snapshot;
use super::time::{Timestamp, Validity};
use super::tls_match::{Handshake, Mismatch};
use super::upgrades::Upgrades;

/// The facts that a request is decided by, beside the snapshot and the request's own fields.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub head: RequestHead<'a>,
    /// The certificate of the connection, whose chain the handshake has verified.
    pub certificate: Option<(&'a Fingerprint, &'a Validity)>,
    pub handshake: Handshake<'a>,
    pub now: Timestamp,
}

/// The fields of a request. A check asks about them when its turn comes and the route's rule is known, so that no
/// signature is verified for a request that is refused before.
pub trait Fields {
    /// The refusal of a request by one of its fields.
    type Refusal;

    /// Judges a request for another protocol.
    fn upgrade(&mut self, allowed: &Upgrades) -> Result<(), Self::Refusal>;

    /// Judges field names with other characters than letters, digits and hyphens.
    fn names(&self, rule: HeaderNames) -> Result<(), Self::Refusal>;

    /// True if the sender's address has failed too often lately to try another secret.
    fn locked_out(&self) -> bool;

    /// Verifies the signature of the request by a key of ours; `None` if it has none. Asked only where the route accepts
    /// signatures.
    fn signature(&self) -> Option<Evidence<Bearer>> {
        None
    }

    /// Verifies the key or token by the policy of a route that looks at one; without one, nothing is looked at.
    fn bearer(
        &self,
        looked_at: Option<&Policy>,
        certificate: &Evidence<CertificateProof>,
    ) -> Evidence<Bearer>;
}

/// The decision about one request.
#[derive(Debug)]
pub struct Decision<'s, R> {
    /// The evidence of the sender, as far as the checks came to it.
    pub caller: Caller,
    /// The route, if one was found.
    pub route: Option<&'s Arc<Route>>,
    pub outcome: Result<Permit, Denial<R>>,
}

/// The check that a request failed, and the reason; `R` is the refusal by one of its fields.
#[derive(Debug, PartialEq, Eq)]
pub enum Denial<R> {
    /// The certificate of the connection is not valid now.
    Quarantine(Reason),
    Route(Miss),
    TlsPolicy(Mismatch),
    Upgrade(R),
    FieldNames(R),
    /// The caller did not prove what the route requires.
    Policy(Reason),
}

impl<R> Denial<R> {
    /// True for a denial by the caller's credentials, which is a failed authentication.
    pub fn is_of_credentials(&self) -> bool {
        matches!(self, Self::Quarantine(_) | Self::Policy(_))
    }
}

impl Snapshot {
    /// Decides about a request.
    pub fn decide<F: Fields>(
        &self,
        question: &Question<'_>,
        fields: &mut F,
    ) -> Decision<'_, F::Refusal> {
        let mut caller = Caller::shown(self.evidence(question.certificate, question.now));
        let found = self.catalog.routes.find(&question.head);
        let route = found.as_ref().ok().copied();
        let outcome = self.check(question, found, &mut caller, fields);
        Decision {
            caller,
            route,
            outcome,
        }
    }

    /// The checks, in their order.
    fn check<F: Fields>(
        &self,
        question: &Question<'_>,
        found: Result<&Arc<Route>, Miss>,
        caller: &mut Caller,
        fields: &mut F,
    ) -> Result<Permit, Denial<F::Refusal>> {
        quarantine(&caller.certificate, found.as_ref().ok().copied())
            .map_err(Denial::Quarantine)?;
        let route = found.map_err(Denial::Route)?;
        let requirement = route.policy.requirement;
        question
            .handshake
            .serves(
                &self.catalog.tls_policies,
                question.head.host,
                requirement.needs_certificate(),
            )
            .map_err(Denial::TlsPolicy)?;
        fields.upgrade(&route.upgrades).map_err(Denial::Upgrade)?;
        fields
            .names(route.header_names)
            .map_err(Denial::FieldNames)?;
        // An endpoint that checks secrets itself: guessing there is slowed down here.
        if checks_secrets(route) && fields.locked_out() {
            return Err(Denial::Policy(Reason::AuthRateLimited));
        }
        let looked_at = Some(&route.policy).filter(|_| looked_at(route));
        let signed = accepts_signatures(route).then(|| fields.signature());
        caller.bearer = match signed.flatten() {
            Some(evidence) => evidence,
            None => fields.bearer(looked_at, &caller.certificate),
        };
        Permit::decide(caller, route, &self.catalog.upstreams).map_err(Denial::Policy)
    }

    /// Asks the registry whether the connection's certificate is valid now.
    pub fn evidence(
        &self,
        certificate: Option<(&Fingerprint, &Validity)>,
        now: Timestamp,
    ) -> Evidence<CertificateProof> {
        let Some((fingerprint, validity)) = certificate else {
            return Evidence::Absent;
        };
        match self.judge(fingerprint, validity, now) {
            Ok(proof) => Evidence::Proved(proof),
            Err(reason) => Evidence::Refused(reason),
        }
    }
}

/// Refuses a caller whose certificate was refused, except at the endpoints that are open to it. `route` is absent when
/// none was found: the refusal of the certificate comes first, since nothing else that the caller requests will work.
fn quarantine(
    certificate: &Evidence<CertificateProof>,
    route: Option<&Arc<Route>>,
) -> Result<(), Reason> {
    let Evidence::Refused(reason) = certificate else {
        return Ok(());
    };
    match route.map(|route| &route.target) {
        Some(Target::Local(endpoint)) if endpoint.open_to_quarantined => Ok(()),
        _ => Err(*reason),
    }
}

/// True if a key or token matters to the route, or if the endpoint describes it to its holder.
fn looked_at(route: &Route) -> bool {
    let tells = matches!(&route.target, Target::Local(endpoint) if endpoint.tells_who());
    tells || route.policy.requirement.looks_at_bearer()
}

fn accepts_signatures(route: &Route) -> bool {
    route.policy.accept.has(CredentialKind::Signature)
}

fn checks_secrets(route: &Route) -> bool {
    matches!(&route.target, Target::Local(endpoint) if endpoint.checks_secrets)
}

#[cfg(test)]
mod tests {
    use foldhash::HashMap;
    use http::Method;

    use super::*;
    use crate::domain::certificate::SerialNumber;
    use crate::domain::credential::CredentialState;
    use crate::domain::id::{AppId, CertificateId};
    use crate::domain::issuer::ForeignIssuers;
    use crate::domain::local::{LocalEndpoint, READ};
    use crate::domain::path::Path;
    use crate::domain::policy::{Policy, Requirement};
    use crate::domain::route::{HostPattern, PathPattern, RouteTable};
    use crate::domain::shelf::Shelf;
    use crate::domain::snapshot::{Catalog, CertificateEntry, HostPolicies};
    use crate::domain::tls_policy::{ClientAuthMode, Reject, Shown, TlsPolicy, TlsVersion};
    use crate::domain::token::ClientAuthMethods;
    use crate::domain::upstream::Upstream;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1000);
    const FINGERPRINT: Fingerprint = Fingerprint::from_bytes([1; 32]);
    const VALIDITY: Validity = Validity {
        not_before: Timestamp::from_unix_seconds(0),
        not_after: Timestamp::from_unix_seconds(2000),
    };

    const fn endpoint(
        name: &'static str,
        path: &'static str,
        open_to_quarantined: bool,
        checks_secrets: bool,
    ) -> LocalEndpoint {
        LocalEndpoint {
            name,
            path,
            methods: &READ,
            requirement: Requirement::None,
            limits: &[],
            body_max: 0,
            open_to_quarantined,
            checks_secrets,
            of_tokens: false,
        }
    }

    static EXPLAINS: LocalEndpoint = endpoint("explains", "/explains", true, false);
    static SECRETS: LocalEndpoint = endpoint("secrets", "/secrets", false, true);

    fn route(path: &str, requirement: Requirement, target: Target) -> Route {
        Route {
            name: path.into(),
            host: HostPattern::Any,
            path: PathPattern::exact(path).unwrap(),
            methods: vec![Method::GET],
            policy: Policy::new(requirement, "".parse().unwrap()),
            limits: Vec::new(),
            target,
            body_max: None,
            body_times: crate::domain::pace::BodyTimes::default(),
            ambiguous_paths: crate::domain::oddity::Oddities::NONE,
            keep_credential: false,
            identity_headers: Arc::default(),
            upgrades: Upgrades::default(),
            header_names: HeaderNames::default(),
        }
    }

    /// A registry of one revoked certificate. Connections to any host have to be opened with TLS 1.3.
    fn snapshot() -> Snapshot {
        let upstream = Arc::new(Upstream::sample("up"));
        let up = || Target::Upstream(upstream.name.clone());
        let revoked = CertificateEntry {
            id: CertificateId::from_bits(1),
            app: AppId::from_bits(1),
            serial: SerialNumber::from_bytes(&[1]).unwrap(),
            validity: VALIDITY,
            state: CredentialState::Revoked,
        };
        let routes = vec![
            route("/open", Requirement::None, up()),
            route("/key", Requirement::Key, up()),
            route("/explains", Requirement::None, Target::Local(&EXPLAINS)),
            route("/secrets", Requirement::None, Target::Local(&SECRETS)),
        ];
        Snapshot {
            version: 1,
            revision: 1,
            catalog: Arc::new(Catalog {
                generation: 1,
                routes: RouteTable::new(routes).unwrap(),
                upstreams: std::iter::once((upstream.name.clone(), upstream)).collect(),
                tls_policies: HostPolicies {
                    general: policy(TlsVersion::V1_3),
                    by_host: HashMap::default(),
                },
                issuer: "".into(),
                client_auth: ClientAuthMethods::default(),
                legacy_limit_fields: false,
                profile: crate::domain::token_profile::TokenProfile::default(),
                issuers: ForeignIssuers::default(),
            }),
            apps: Shelf::build([]),
            certificates: Shelf::build([(FINGERPRINT, revoked)]),
            keys: Shelf::build([]),
            key_index: crate::domain::key_index::KeyIndex::default(),
            verification_keys: Arc::default(),
            published: Arc::default(),
            token_ends: Shelf::default(),
        }
    }

    fn policy(oldest: TlsVersion) -> TlsPolicy {
        TlsPolicy::new(ClientAuthMode::Optional, Reject::Explain, oldest)
    }

    /// A request in which everything is wrong that `faults` names.
    struct Faulty<'f> {
        faults: &'f [Fault],
        asked: Vec<&'static str>,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Fault {
        Certificate,
        Route,
        Tls,
        Upgrade,
        Names,
        LockedOut,
    }

    impl Faulty<'_> {
        fn judge(&self, fault: Fault) -> Result<(), &'static str> {
            let has = self.faults.contains(&fault);
            if has { Err("fields") } else { Ok(()) }
        }
    }

    impl Fields for Faulty<'_> {
        type Refusal = &'static str;

        fn upgrade(&mut self, _: &Upgrades) -> Result<(), &'static str> {
            self.asked.push("upgrade");
            self.judge(Fault::Upgrade)
        }

        fn names(&self, _: HeaderNames) -> Result<(), &'static str> {
            self.judge(Fault::Names)
        }

        fn locked_out(&self) -> bool {
            self.faults.contains(&Fault::LockedOut)
        }

        fn bearer(&self, _: Option<&Policy>, _: &Evidence<CertificateProof>) -> Evidence<Bearer> {
            Evidence::Absent
        }
    }

    fn decide(path: &str, faults: &[Fault]) -> Result<(), Denial<&'static str>> {
        let has = |fault| faults.contains(&fault);
        let read = Path::read(if has(Fault::Route) { "/nowhere" } else { path }).unwrap();
        let version = if has(Fault::Tls) {
            TlsVersion::V1_2
        } else {
            TlsVersion::V1_3
        };
        let question = Question {
            head: RequestHead {
                host: "a.test",
                path: &read,
                method: &Method::GET,
            },
            certificate: has(Fault::Certificate).then_some((&FINGERPRINT, &VALIDITY)),
            handshake: Handshake {
                policy: policy(version),
                shown: Shown {
                    certificate: false,
                    version,
                },
                sni: Some("a.test"),
            },
            now: NOW,
        };
        let mut fields = Faulty {
            faults,
            asked: Vec::new(),
        };
        let snapshot = snapshot();
        let decision = snapshot.decide(&question, &mut fields);
        assert_eq!(decision.route.is_none(), has(Fault::Route), "{faults:?}");
        let before_fields = has(Fault::Certificate) || has(Fault::Route) || has(Fault::Tls);
        if before_fields && path != EXPLAINS.path {
            assert!(fields.asked.is_empty(), "{faults:?}");
        }
        decision.outcome.map(|_| ())
    }

    #[test]
    fn the_first_check_that_fails_decides() {
        use Fault::{Certificate, LockedOut, Names, Route, Tls, Upgrade};
        let mut faults = vec![Certificate, Route, Tls, Upgrade, Names, LockedOut];
        let expected = [
            Denial::Quarantine(Reason::CertRevoked),
            Denial::Route(Miss::Unknown),
            Denial::TlsPolicy(Mismatch::Outdated),
            Denial::Upgrade("fields"),
            Denial::FieldNames("fields"),
            Denial::Policy(Reason::AuthRateLimited),
        ];
        for denial in expected {
            assert_eq!(decide("/secrets", &faults), Err(denial));
            faults.remove(0);
        }
        assert_eq!(decide("/secrets", &faults), Ok(()));
        let missing = Denial::Policy(Reason::CredentialMissing);
        assert_eq!(decide("/key", &[]), Err(missing));
        assert_eq!(decide("/key", &[Names]), Err(Denial::FieldNames("fields")));
    }

    #[test]
    fn a_refused_certificate_opens_what_explains_it_and_nothing_else() {
        let refused = Err(Denial::Quarantine(Reason::CertRevoked));
        let faults = [Fault::Certificate];
        assert_eq!(decide("/explains", &faults), Ok(()));
        for path in ["/open", "/key", "/secrets"] {
            assert_eq!(decide(path, &faults), refused, "{path}");
        }
    }

    #[test]
    fn only_an_endpoint_that_checks_secrets_asks_who_is_locked_out() {
        assert_eq!(decide("/open", &[Fault::LockedOut]), Ok(()));
        assert_eq!(decide("/explains", &[Fault::LockedOut]), Ok(()));
    }

    #[test]
    fn a_denial_by_credentials_is_a_failed_authentication() {
        assert!(Denial::<()>::Quarantine(Reason::CertRevoked).is_of_credentials());
        assert!(Denial::<()>::Policy(Reason::KeyWrong).is_of_credentials());
        for other in [
            Denial::Route(Miss::Unknown),
            Denial::TlsPolicy(Mismatch::Host),
            Denial::Upgrade(()),
            Denial::FieldNames(()),
        ] {
            assert!(!other.is_of_credentials(), "{other:?}");
        }
    }
}
