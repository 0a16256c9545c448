//! Assertions: signed once for a caller and an audience, and sent for the first half of their life.
//!
//! A kept assertion saves a signature and decides nothing. The caller is checked again for each request, before any
//! identity header is set.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use quick_cache::unsync::Cache;

use crate::crypto::assertion::{Assertion, AssertionSigner, SignedBy};
use crate::domain::app::App;
use crate::domain::id::{CertificateId, KeyId};
use crate::domain::identity::{Bearer, Identity, TokenMark};
use crate::domain::identity_headers::AssertionPlan;
use crate::domain::scope::ScopeSet;
use crate::domain::time::Timestamp;
use crate::proxy::codec::field_list::FieldList;

const ASSERTION: HeaderName = HeaderName::from_static("x-countersign-assertion");

/// Assertions that a worker keeps, about 1 KiB each. A caller whose own is evicted pays a signature again.
const KEPT_MAX: usize = 4096;

/// A worker's assertions.
#[derive(Debug)]
pub struct Assertions {
    signer: Arc<AssertionSigner>,
    /// The kept assertions; made at the first use.
    kept: OnceCell<RefCell<Cache<For, Rc<Kept>>>>,
}

/// The key of a kept assertion: its subject and its audience.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct For {
    certificate: Option<CertificateId>,
    key: Option<KeyId>,
    token: Option<TokenMark>,
    /// The audience's address in memory. A kept assertion holds its audience, so that no other can have the address.
    audience: usize,
}

/// A signed assertion, with the claims that do not follow from the ids.
#[derive(Debug)]
struct Kept {
    value: HeaderValue,
    issued_at: Timestamp,
    /// The time from which the next one is signed.
    until: Timestamp,
    issuer: Arc<str>,
    _audience: Arc<str>,
    app: Arc<App>,
    scopes: Option<ScopeSet>,
    key: SignedBy,
}

impl Assertions {
    pub fn new(signer: Arc<AssertionSigner>) -> Self {
        Self {
            signer,
            kept: OnceCell::new(),
        }
    }

    /// Adds the field with the assertion for an upstream.
    pub fn put(
        &self,
        fields: &mut FieldList,
        identity: &Identity,
        plan: &AssertionPlan,
        issuer: &Arc<str>,
        now: Timestamp,
    ) {
        let Some(app) = identity.app() else {
            return;
        };
        let kept = self.kept.get_or_init(|| RefCell::new(Cache::new(KEPT_MAX)));
        let wanted = wanted(identity, plan);
        let known = kept.borrow_mut().get(&wanted).map(Rc::clone);
        let known = known.filter(|known| {
            // An earlier key may have been removed from the JWKS by which upstreams verify.
            self.signer.is_current(&known.key) && known.says(identity, app, issuer, now)
        });
        let assertion = known.or_else(|| {
            let fresh = Rc::new(self.sign(identity, app, plan, issuer, now)?);
            kept.borrow_mut().insert(wanted, Rc::clone(&fresh));
            Some(fresh)
        });
        if let Some(assertion) = assertion {
            fields.insert(ASSERTION, assertion.value.clone());
        }
    }

    fn sign(
        &self,
        identity: &Identity,
        app: &Arc<App>,
        plan: &AssertionPlan,
        issuer: &Arc<str>,
        now: Timestamp,
    ) -> Option<Kept> {
        let issued_at = now.whole_seconds();
        let expires_at = end(identity, issued_at.plus(plan.ttl));
        let scopes = identity.bearer().and_then(Bearer::scopes);
        let (text, key) = self.signer.sign(&Assertion {
            issuer,
            audience: &plan.audience,
            app: app.id,
            app_name: &app.name,
            credential: &identity.credential()?,
            method: identity.method(),
            subject: identity.subject(),
            scopes,
            certificate: identity.certificate().map(|proof| proof.fingerprint),
            issued_at,
            expires_at,
        });
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(Kept {
            value,
            issued_at,
            until: issued_at.plus(expires_at.since(issued_at) / 2),
            issuer: Arc::clone(issuer),
            _audience: Arc::clone(&plan.audience),
            app: Arc::clone(app),
            scopes: scopes.cloned(),
            key,
        })
    }
}

impl Kept {
    /// True if an assertion signed now would say the same, except for its time.
    fn says(&self, identity: &Identity, app: &Arc<App>, issuer: &Arc<str>, now: Timestamp) -> bool {
        let in_time = self.issued_at <= now && now < self.until;
        in_time
            && Arc::ptr_eq(&self.app, app)
            && (Arc::ptr_eq(&self.issuer, issuer) || self.issuer == *issuer)
            && self.scopes.as_ref() == identity.bearer().and_then(Bearer::scopes)
    }
}

fn wanted(identity: &Identity, plan: &AssertionPlan) -> For {
    For {
        certificate: identity.certificate().map(|proof| proof.id),
        key: identity.key(),
        token: identity.bearer().and_then(Bearer::token),
        audience: Arc::as_ptr(&plan.audience).addr(),
    }
}

/// The end of an assertion: no later than that of its proofs.
fn end(identity: &Identity, wanted: Timestamp) -> Timestamp {
    let certificate = identity.certificate().map(|proof| proof.validity.not_after);
    let token = identity.bearer().and_then(Bearer::token_ends);
    let ends = [Some(wanted), certificate, token];
    ends.into_iter().flatten().min().unwrap_or(wanted)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use arc_swap::ArcSwap;
    use data_encoding::BASE64URL_NOPAD;
    use serde_json::Value;

    use super::*;
    use crate::crypto::jwt::TokenSigner;
    use crate::proxy::identity_headers::testing::Scene;

    struct Bench {
        signer: Arc<ArcSwap<TokenSigner>>,
        assertions: Assertions,
        issuer: Arc<str>,
        plan: AssertionPlan,
    }

    impl Bench {
        fn new() -> Self {
            let signer = TokenSigner::load(&TokenSigner::generate()).unwrap();
            let signer = Arc::new(ArcSwap::from_pointee(signer));
            let assertions = AssertionSigner::new(Arc::clone(&signer));
            Self {
                signer,
                assertions: Assertions::new(Arc::new(assertions)),
                issuer: "https://a.test".into(),
                plan: AssertionPlan {
                    audience: "orders".into(),
                    ttl: Duration::from_mins(1),
                },
            }
        }

        fn assertion(&self, identity: &Identity, at: &str) -> String {
            let mut fields = FieldList::new();
            let now = at.parse().unwrap();
            self.assertions
                .put(&mut fields, identity, &self.plan, &self.issuer, now);
            fields.get(&ASSERTION).unwrap().to_str().unwrap().to_owned()
        }
    }

    fn claims(text: &str) -> Value {
        let body = text.split('.').nth(1).unwrap();
        serde_json::from_slice(&BASE64URL_NOPAD.decode(body.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn one_is_used_for_half_of_its_life() {
        let bench = Bench::new();
        let caller = Scene::new().identity();
        let first = bench.assertion(&caller, "2026-06-01T12:00:00Z");
        assert_eq!(bench.assertion(&caller, "2026-06-01T12:00:29.999Z"), first);
        let second = bench.assertion(&caller, "2026-06-01T12:00:30Z");
        assert_ne!(second, first);
        let life = |text: &str| {
            let claims = claims(text);
            claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap()
        };
        assert_eq!((life(&first), life(&second)), (60, 60));
        assert_ne!(
            bench.assertion(&caller, "2026-06-01T11:00:00Z"),
            second,
            "a clock that was set back makes a new one"
        );
    }

    #[test]
    fn one_of_an_earlier_key_is_told_no_more() {
        let bench = Bench::new();
        let caller = Scene::new().identity();
        let first = bench.assertion(&caller, "2026-06-01T12:00:00Z");
        let next = TokenSigner::load(&TokenSigner::generate()).unwrap();
        bench.signer.store(Arc::new(next));
        let second = bench.assertion(&caller, "2026-06-01T12:00:01Z");
        assert_ne!(second.split('.').next(), first.split('.').next());
        assert_eq!(bench.assertion(&caller, "2026-06-01T12:00:02Z"), second);
    }

    #[test]
    fn callers_audiences_and_issuers_have_each_their_own() {
        let mut bench = Bench::new();
        let at = "2026-06-01T12:00:00Z";
        let mtls = Scene::new().identity();
        let user = Scene::new().with_token(Some("alice")).identity();
        let (of_mtls, of_user) = (bench.assertion(&mtls, at), bench.assertion(&user, at));
        assert_eq!(claims(&of_mtls)["sub"], "app_00000000000000000000000001");
        assert_eq!(claims(&of_mtls).get("scope"), None);
        assert_eq!(claims(&of_user)["sub"], "alice");
        assert_eq!(claims(&of_user)["scope"], "orders:read");
        assert_eq!(claims(&of_user)["aud"], "orders");
        bench.plan.audience = "invoices".into();
        assert_eq!(claims(&bench.assertion(&mtls, at))["aud"], "invoices");
        bench.issuer = "https://b.test".into();
        assert_eq!(claims(&bench.assertion(&mtls, at))["iss"], "https://b.test");
    }

    /// The store's values may change under the same ids.
    #[test]
    fn what_an_app_is_called_and_a_key_may_do_is_told_as_it_is_now() {
        let bench = Bench::new();
        let at = "2026-06-01T12:00:00Z";
        let before = Scene::new().without_certificate().identity();
        let assertion = bench.assertion(&before, at);
        assert_eq!(bench.assertion(&before, at), assertion);
        let after = Scene::new().without_certificate().identity();
        assert_ne!(
            bench.assertion(&after, at),
            assertion,
            "another reading of the App"
        );
    }

    #[test]
    fn none_outlives_its_certificate() {
        let bench = Bench::new();
        let caller = Scene::new().identity();
        let assertion = bench.assertion(&caller, "2026-12-31T23:59:39Z");
        let end: Timestamp = "2026-12-31T23:59:59Z".parse().unwrap();
        assert_eq!(claims(&assertion)["exp"], end.unix_seconds());
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let bench = Bench::new();
        let caller = Scene::new().identity();
        for _ in 0..3 {
            // Each audience is at another address, as after so many reloads.
            let plan = AssertionPlan {
                audience: "orders".into(),
                ttl: Duration::from_mins(1),
            };
            let mut fields = FieldList::new();
            let now = "2026-06-01T12:00:00Z".parse().unwrap();
            bench
                .assertions
                .put(&mut fields, &caller, &plan, &bench.issuer, now);
        }
        let kept = bench.assertions.kept.get().unwrap().borrow();
        assert!(kept.len() <= 3);
        assert_eq!(kept.capacity(), u64::try_from(KEPT_MAX).unwrap());
    }
}
