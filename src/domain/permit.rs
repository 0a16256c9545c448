//! The decision: who may use a route.

use std::sync::Arc;

use foldhash::HashMap;

use super::accepted::{AcceptedKinds, CredentialKind};
use super::app_settings::Mtls;
use super::id::AppId;
use super::identity::{Bearer, Caller, Identity};
use super::local::LocalEndpoint;
use super::name::Name;
use super::policy::{BearerKind, Policy, Requirement};
use super::reason::Reason;
use super::route::{Route, Target};
use super::signed_request::{DigestAlgorithm, SignedBody};
use super::upstream::Upstream;

/// Proof that the policy of its route allowed a request. Only [`Permit::decide`] makes one, and nothing is forwarded
/// without one. It opens the target of its own route and no other.
#[derive(Debug)]
pub struct Permit {
    grant: Grant,
    destination: Destination,
}

/// The facts of a permit: whom it admitted, and where.
#[derive(Debug)]
pub struct Grant {
    route: Arc<Route>,
    identity: Option<Identity>,
}

/// The one place that a permit opens.
#[derive(Debug)]
pub enum Destination {
    Upstream(ToUpstream),
    /// The same, once the body is known to be the one that was signed.
    Held(Held),
    Local(&'static LocalEndpoint),
}

/// The permit to send one request to an upstream. It is neither copied nor made from anything but a [`Permit`], and
/// the step that forwards takes it.
#[derive(Debug)]
pub struct ToUpstream(Arc<Upstream>);

impl ToUpstream {
    /// Spends the permit.
    pub fn spend(self) -> Arc<Upstream> {
        self.0
    }
}

/// The permit of a signed request whose body has not been compared with its digests yet. Nothing but its body opens it.
#[derive(Debug)]
pub struct Held {
    permit: ToUpstream,
    signed: SignedBody,
    app: AppId,
}

impl Held {
    /// The App that has signed.
    pub fn app(&self) -> AppId {
        self.app
    }

    /// Releases the permit together with the body, if the body has the digests that were signed. `digest` computes one.
    pub fn release<B: AsRef<[u8]>>(
        self,
        body: B,
        digest: impl Fn(DigestAlgorithm, &[u8]) -> Vec<u8>,
    ) -> Result<(ToUpstream, B), Reason> {
        if self.signed.is_of(body.as_ref(), digest) {
            Ok((self.permit, body))
        } else {
            Err(Reason::ContentDigestMismatch)
        }
    }
}

impl Grant {
    pub fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// The caller's identity; `None` only on routes that require nothing, when nothing was proved.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }
}

impl Permit {
    pub fn route(&self) -> &Arc<Route> {
        self.grant.route()
    }

    /// The caller's identity, as [`Grant::identity`] has it.
    pub fn identity(&self) -> Option<&Identity> {
        self.grant.identity()
    }

    /// Opens the target of the route, once.
    pub fn open(self) -> (Grant, Destination) {
        (self.grant, self.destination)
    }

    /// Decides whether `caller` may use `route`, by the route's own policy. `upstreams` are those of the catalogue that
    /// holds the route.
    pub fn decide(
        caller: &Caller,
        route: &Arc<Route>,
        upstreams: &HashMap<Name, Arc<Upstream>>,
    ) -> Result<Self, Reason> {
        let policy = &route.policy;
        let proved = prove(policy.requirement, caller);
        let identity = proved.map_err(|reason| unsigned(policy, reason))?;
        refuse_without_certificate(identity.as_ref(), caller)?;
        if let Some(identity) = &identity {
            takes(policy, identity)?;
        }
        let granted = identity
            .as_ref()
            .and_then(Identity::bearer)
            .and_then(Bearer::scopes)
            .is_some_and(|scopes| scopes.covers(&policy.scopes));
        if !policy.scopes.is_empty() && !granted {
            return Err(Reason::ScopeMissing);
        }
        let destination = match &route.target {
            Target::Local(endpoint) => Destination::Local(endpoint),
            Target::Upstream(name) => {
                // A catalogue without the upstream of one of its routes is not built.
                let upstream = upstreams.get(name).ok_or(Reason::Internal)?;
                let permit = ToUpstream(Arc::clone(upstream));
                match identity.as_ref().and_then(signed_body) {
                    Some((app, signed)) => Destination::Held(Held {
                        permit,
                        signed,
                        app,
                    }),
                    None => Destination::Upstream(permit),
                }
            }
        };
        let route = Arc::clone(route);
        Ok(Self {
            grant: Grant { route, identity },
            destination,
        })
    }
}

/// The digests of the body of a signed request, and the App that has signed.
fn signed_body(identity: &Identity) -> Option<(AppId, SignedBody)> {
    let bearer = identity.bearer()?;
    let signed = bearer.facts().signed.as_ref()?;
    Some((bearer.app().id, signed.body.clone()?))
}

/// The reason for a caller that has shown nothing: where only signatures are accepted, one is missing.
fn unsigned(policy: &Policy, reason: Reason) -> Reason {
    let only = AcceptedKinds::new([CredentialKind::Signature]);
    match reason {
        Reason::CredentialMissing if policy.accept == only => Reason::SignatureMissing,
        reason => reason,
    }
}

/// Refuses a caller whose App has to show a certificate on every request, where it does not.
fn refuse_without_certificate(identity: Option<&Identity>, caller: &Caller) -> Result<(), Reason> {
    let Some(app) = identity.and_then(Identity::app) else {
        return Ok(());
    };
    if app.settings.mtls != Mtls::Always {
        return Ok(());
    }
    let certificate = caller.certificate.require(Reason::CertRequired)?;
    if certificate.app.id == app.id {
        Ok(())
    } else {
        Err(Reason::AppsDiffer)
    }
}

/// The identity that the credentials of `caller` prove, if they are those that are required.
fn prove(requirement: Requirement, caller: &Caller) -> Result<Option<Identity>, Reason> {
    let certificate = || caller.certificate.require(Reason::CertMissing);
    let bearer = || bearer(requirement, caller);
    match requirement {
        Requirement::None => Identity::of(caller.certificate.proved(), None),
        Requirement::Mtls => Identity::of(Some(certificate()?), None),
        Requirement::Key | Requirement::Token => Identity::of(None, Some(bearer()?)),
        Requirement::MtlsAndKey | Requirement::MtlsAndToken => {
            let certificate = certificate().map_err(|reason| match reason {
                // Who calls is proved; the connection is not enough.
                Reason::CertMissing if bearer().is_ok() => Reason::CertRequired,
                reason => reason,
            });
            Identity::of(Some(certificate?), Some(bearer()?))
        }
        Requirement::MtlsOrKey | Requirement::MtlsOrToken => {
            match (caller.certificate.proved(), bearer()) {
                // A credential of another kind is not looked at where the certificate suffices.
                (Some(certificate), Err(Reason::KindNotAccepted)) => {
                    Identity::of(Some(certificate), None)
                }
                // What was shown and does not count is refused, even where the other proof would do.
                (_, Err(reason)) if reason != Reason::CredentialMissing => Err(reason),
                (None, Err(reason)) => Err(certificate()
                    .err()
                    .filter(|why| *why != Reason::CertMissing)
                    .unwrap_or(reason)),
                (certificate, bearer) => Identity::of(certificate, bearer.ok()),
            }
        }
    }
}

/// Refuses a proved credential of a kind or an environment that the route does not take.
///
/// A certificate alone has the environment of its App. Where nothing is required, nothing is asked.
fn takes(policy: &Policy, identity: &Identity) -> Result<(), Reason> {
    let environment = match (identity.bearer(), identity.app()) {
        (Some(bearer), _) => {
            if !policy.takes(bearer) {
                return Err(Reason::KindNotAccepted);
            }
            bearer.facts().environment
        }
        (None, Some(app)) if policy.requirement != Requirement::None => app.settings.environment,
        (None, _) => return Ok(()),
    };
    if policy.environments.has(environment) {
        Ok(())
    } else {
        Err(Reason::EnvironmentMismatch)
    }
}

/// The proved key or token, if it is what the requirement asks for: a token where a key is asked for is proved, and of
/// another kind.
fn bearer(requirement: Requirement, caller: &Caller) -> Result<&Bearer, Reason> {
    let bearer = caller.bearer.require(Reason::CredentialMissing)?;
    let kind = match bearer {
        Bearer::Key { .. } => BearerKind::Key,
        Bearer::Token { .. } | Bearer::Foreign { .. } => BearerKind::Token,
    };
    if requirement.bearer_kind() == Some(kind) {
        Ok(bearer)
    } else {
        Err(Reason::KindNotAccepted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::app::App;
    use crate::domain::certificate::{Fingerprint, SerialNumber};
    use crate::domain::id::{CertificateId, KeyId, TokenId};
    use crate::domain::identity::{AuthMethod, CertificateProof, Evidence, KeyFacts};
    use crate::domain::route::{HostPattern, PathPattern, Target};
    use crate::domain::time::{Timestamp, Validity};
    use crate::domain::token::Claims;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1000);

    fn app(bits: u128) -> Arc<App> {
        Arc::new(App::sample(bits, "acme"))
    }

    fn certificate(of: u128) -> Evidence<CertificateProof> {
        Evidence::Proved(CertificateProof {
            id: CertificateId::from_bits(1),
            app: app(of),
            fingerprint: Fingerprint::from_bytes([1; 32]),
            serial: SerialNumber::from_bytes(&[1]).unwrap(),
            validity: Validity {
                not_before: NOW,
                not_after: NOW,
            },
        })
    }

    fn key(of: u128, scopes: &str) -> Evidence<Bearer> {
        Evidence::Proved(Bearer::Key {
            id: KeyId::from_bits(1),
            app: app(of),
            scopes: scopes.parse().unwrap(),
            facts: KeyFacts::default(),
        })
    }

    fn token(of: u128, scopes: &str) -> Evidence<Bearer> {
        let claims = Claims {
            issuer: "https://a.test".to_owned(),
            audience: "https://a.test".to_owned(),
            id: TokenId::from_bits(1),
            app: AppId::from_bits(of),
            key: KeyId::from_bits(1),
            subject: None,
            scopes: scopes.parse().unwrap(),
            issued_at: NOW,
            expires_at: NOW,
            certificate: None,
            proof_key: None,
            session: None,
        };
        Evidence::Proved(Bearer::Token {
            app: app(of),
            claims: Arc::new(claims),
            facts: KeyFacts::default(),
        })
    }

    fn decide(
        requirement: Requirement,
        scopes: &str,
        certificate: Evidence<CertificateProof>,
        bearer: Evidence<Bearer>,
    ) -> Result<Option<AuthMethod>, Reason> {
        let policy = Policy::new(requirement, scopes.parse().unwrap());
        decide_by(policy, certificate, bearer)
    }

    fn decide_by(
        policy: Policy,
        certificate: Evidence<CertificateProof>,
        bearer: Evidence<Bearer>,
    ) -> Result<Option<AuthMethod>, Reason> {
        let route = Arc::new(Route {
            name: "r".into(),
            host: HostPattern::Any,
            path: PathPattern::prefix("/").unwrap(),
            methods: Vec::new(),
            policy,
            limits: Vec::new(),
            target: Target::Upstream("up".parse().unwrap()),
            body_max: None,
            body_times: crate::domain::pace::BodyTimes::default(),
            ambiguous_paths: crate::domain::oddity::Oddities::NONE,
            keep_credential: false,
            identity_headers: Arc::default(),
            upgrades: crate::domain::upgrades::Upgrades::default(),
            header_names: crate::domain::header_names::HeaderNames::default(),
        });
        let upstream = Arc::new(Upstream::sample("up"));
        Permit::decide(
            &Caller {
                certificate,
                bearer,
            },
            &route,
            &std::iter::once((upstream.name.clone(), upstream)).collect(),
        )
        .map(|permit| permit.identity().map(Identity::method))
    }

    #[test]
    fn each_requirement_grants_and_refuses() {
        use AuthMethod as M;
        use Evidence::{Absent, Refused};
        use Reason as R;
        use Requirement as Q;
        let check = |requirement, certificate, bearer, expected| {
            assert_eq!(
                decide(requirement, "", certificate, bearer),
                expected,
                "{requirement:?}"
            );
        };
        check(Q::None, Absent, Absent, Ok(None));
        check(Q::None, certificate(1), Absent, Ok(Some(M::Mtls)));
        check(Q::None, Refused(R::CertExpired), Absent, Ok(None));
        check(Q::Mtls, certificate(1), Absent, Ok(Some(M::Mtls)));
        check(Q::Mtls, Absent, key(1, ""), Err(R::CertMissing));
        check(
            Q::Mtls,
            Refused(R::CertRevoked),
            Absent,
            Err(R::CertRevoked),
        );
        check(Q::Key, Absent, key(1, ""), Ok(Some(M::Key)));
        check(Q::Key, certificate(1), Absent, Err(R::CredentialMissing));
        check(Q::Key, Absent, token(1, ""), Err(R::KindNotAccepted));
        check(Q::Key, Absent, Refused(R::KeyRevoked), Err(R::KeyRevoked));
        check(Q::Token, Absent, token(1, ""), Ok(Some(M::Token)));
        check(Q::Token, Absent, key(1, ""), Err(R::KindNotAccepted));
        check(
            Q::MtlsAndKey,
            certificate(1),
            key(1, ""),
            Ok(Some(M::MtlsKey)),
        );
        check(
            Q::MtlsAndKey,
            certificate(1),
            key(2, ""),
            Err(R::AppsDiffer),
        );
        check(Q::MtlsAndKey, Absent, key(1, ""), Err(R::CertRequired));
        check(Q::MtlsAndKey, Absent, token(1, ""), Err(R::CertMissing));
        check(
            Q::MtlsAndKey,
            Absent,
            Refused(R::KeyWrong),
            Err(R::CertMissing),
        );
        check(Q::MtlsAndKey, Absent, Absent, Err(R::CertMissing));
        check(Q::MtlsAndToken, Absent, token(1, ""), Err(R::CertRequired));
        check(
            Q::MtlsAndKey,
            certificate(1),
            Absent,
            Err(R::CredentialMissing),
        );
        check(
            Q::MtlsAndToken,
            certificate(1),
            token(1, ""),
            Ok(Some(M::MtlsToken)),
        );
        check(
            Q::MtlsAndToken,
            certificate(1),
            token(2, ""),
            Err(R::AppsDiffer),
        );
        check(
            Q::MtlsAndToken,
            Refused(R::CertExpired),
            token(1, ""),
            Err(R::CertExpired),
        );
        check(Q::MtlsOrKey, certificate(1), Absent, Ok(Some(M::Mtls)));
        check(Q::MtlsOrKey, Absent, key(1, ""), Ok(Some(M::Key)));
        check(
            Q::MtlsOrKey,
            certificate(1),
            key(1, ""),
            Ok(Some(M::MtlsKey)),
        );
        check(Q::MtlsOrKey, certificate(1), key(2, ""), Err(R::AppsDiffer));
        check(
            Q::MtlsOrKey,
            certificate(1),
            Refused(R::KeyWrong),
            Err(R::KeyWrong),
        );
        check(
            Q::MtlsOrKey,
            Refused(R::CertExpired),
            Absent,
            Err(R::CertExpired),
        );
        check(Q::MtlsOrKey, Absent, Absent, Err(R::CredentialMissing));
        check(Q::MtlsOrToken, Absent, token(1, ""), Ok(Some(M::Token)));
        check(Q::MtlsOrToken, Absent, key(1, ""), Err(R::KindNotAccepted));
        check(
            Q::MtlsOrToken,
            certificate(1),
            key(1, ""),
            Ok(Some(M::Mtls)),
        );
    }

    #[test]
    fn an_app_that_always_shows_a_certificate_is_refused_without_its_own() {
        use Evidence::{Absent, Refused};
        let strict = |of| {
            let mut app = App::sample(of, "acme");
            app.settings.mtls = Mtls::Always;
            Arc::new(app)
        };
        let bearer = || {
            let (id, scopes) = (KeyId::from_bits(1), "a".parse().unwrap());
            let app = strict(1);
            Evidence::Proved(Bearer::Key {
                id,
                app,
                scopes,
                facts: KeyFacts::default(),
            })
        };
        for (certificate, expected) in [
            (certificate(1), Ok(Some(AuthMethod::Key))),
            (certificate(2), Err(Reason::AppsDiffer)),
            (Absent, Err(Reason::CertRequired)),
            (Refused(Reason::CertExpired), Err(Reason::CertExpired)),
        ] {
            let shown = format!("{certificate:?}");
            let decided = decide(Requirement::Key, "a", certificate, bearer());
            assert_eq!(decided, expected, "{shown}");
        }
        assert_eq!(decide(Requirement::None, "", Absent, bearer()), Ok(None));
    }

    #[test]
    fn a_route_takes_the_kinds_and_environments_that_it_names() {
        use crate::domain::accepted::CredentialKind as K;
        use crate::domain::accepted::{AcceptedKinds, Environments};
        use crate::domain::api_key::{Environment, KeyKind};
        use Environment::{Live, Test};
        use Reason::{EnvironmentMismatch as Foreign, KindNotAccepted as Kind};
        let of = |kind, environment| match key(1, "") {
            Evidence::Proved(Bearer::Key {
                id, app, scopes, ..
            }) => Evidence::Proved(Bearer::Key {
                id,
                app,
                scopes,
                facts: KeyFacts {
                    kind,
                    environment,
                    ..KeyFacts::default()
                },
            }),
            other => other,
        };
        let default = AcceptedKinds::DEFAULT;
        let publishable = AcceptedKinds::new([K::PublishableKey]);
        let (live, test) = (Environments::DEFAULT, Environments::new([Test]));
        let both = Environments::ALL;
        for (accept, environments, kind, environment, expected) in [
            (default, live, KeyKind::Secret, Live, None),
            (default, live, KeyKind::Secret, Test, Some(Foreign)),
            (default, test, KeyKind::Secret, Live, Some(Foreign)),
            (default, both, KeyKind::Secret, Test, None),
            (default, both, KeyKind::Publishable, Live, Some(Kind)),
            (default, both, KeyKind::Signing, Live, Some(Kind)),
            (publishable, both, KeyKind::Publishable, Test, None),
            (publishable, both, KeyKind::Secret, Live, Some(Kind)),
        ] {
            for requirement in [
                Requirement::Key,
                Requirement::MtlsAndKey,
                Requirement::MtlsOrKey,
            ] {
                let policy = Policy {
                    accept,
                    environments,
                    ..Policy::new(requirement, "".parse().unwrap())
                };
                let decided = decide_by(policy, certificate(1), of(kind, environment));
                let shown = format!("{requirement:?} {kind:?} {environment:?}");
                assert_eq!(decided.err(), expected, "{shown}");
            }
        }
        let of_test_app = match certificate(1) {
            Evidence::Proved(proof) => {
                let mut app = App::clone(&proof.app);
                app.settings.environment = Test;
                Evidence::Proved(CertificateProof {
                    app: Arc::new(app),
                    ..proof
                })
            }
            other => other,
        };
        for (requirement, expected) in [
            (Requirement::Mtls, Some(Foreign)),
            (Requirement::None, None),
        ] {
            let policy = Policy::new(requirement, "".parse().unwrap());
            let decided = decide_by(policy, of_test_app.clone(), Evidence::Absent);
            assert_eq!(decided.err(), expected, "{requirement:?}");
        }
        let user_only = Policy {
            accept: AcceptedKinds::new([K::UserToken]),
            ..Policy::new(Requirement::Token, "".parse().unwrap())
        };
        let decided = decide_by(user_only, Evidence::Absent, token(1, ""));
        assert_eq!(decided, Err(Kind));
    }

    #[test]
    fn every_scope_of_the_route_is_needed() {
        let with = |scopes| decide(Requirement::Key, "a b", Evidence::Absent, key(1, scopes));
        assert_eq!(with("a b c"), Ok(Some(AuthMethod::Key)));
        assert_eq!(with("a"), Err(Reason::ScopeMissing));
        let alone = decide(Requirement::Mtls, "a", certificate(1), Evidence::Absent);
        assert_eq!(
            alone,
            Err(Reason::ScopeMissing),
            "a certificate alone has no scopes"
        );
    }
}
