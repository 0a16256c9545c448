use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::crypto::api_key::generate_key;
use crate::crypto::jwt::TokenSigner;
use crate::domain::api_key::{Environment, KeyKind};
use crate::domain::app::{App, AppState};
use crate::domain::credential::CredentialState;
use crate::domain::id::{AppId, KeyId, TokenId};
use crate::domain::policy::Requirement;
use crate::domain::rate::Allowance;
use crate::domain::route::RouteTable;
use crate::domain::shelf::Shelf;
use crate::domain::snapshot::{Catalog, HostPolicies, KeyEntry};
use crate::proxy::connections::last_token::tests::keeps;
use crate::proxy::counters::local::{Buckets, Counters};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const BOUND: Fingerprint = Fingerprint::from_bytes([7; 32]);
const ISSUER: &str = "https://api.example.com";

struct Scene {
    /// The cache of a connection that all tokens are shown on.
    last: LastToken,
    verifier: Verifier,
    snapshot: Snapshot,
    signer: TokenSigner,
    secret: String,
}

fn scene() -> Scene {
    let hasher = Arc::new(SecretHasher::new(None));
    let secret = generate_key(KeyId::from_bits(2), KeyKind::Secret, Environment::Live);
    let signer = TokenSigner::load(&TokenSigner::generate()).unwrap();
    let app = App::sample(1, "acme");
    let key = KeyEntry {
        digest: hasher.digest(secret.expose()),
        scopes: "orders:read".parse().unwrap(),
        networks: vec!["192.0.2.0/24".parse().unwrap()].into(),
        ..KeyEntry::sample(app.id)
    };
    let allowance = Allowance {
        interval: 60_000_000_000,
        window: 60_000_000_000 * 3,
    };
    let counters = Rc::new(Counters::new(Arc::new(Buckets::new(1024))));
    Scene {
        last: LastToken::default(),
        verifier: Verifier::new(
            hasher,
            Proofs::sample(),
            AccessTokens::sample(),
            FailedAttempts::new(counters, allowance),
            16,
            IssuerTokens::new(16, tokio::sync::mpsc::channel(1).0),
        ),
        snapshot: Snapshot {
            version: 1,
            revision: 1,
            catalog: Arc::new(Catalog {
                generation: 1,
                routes: RouteTable::default(),
                upstreams: foldhash::HashMap::default(),
                tls_policies: HostPolicies::default(),
                issuer: ISSUER.into(),
                client_auth: crate::domain::token::ClientAuthMethods::default(),
                legacy_limit_fields: false,
                profile: crate::domain::token_profile::TokenProfile::default(),
                issuers: crate::domain::issuer::ForeignIssuers::default(),
            }),
            apps: Shelf::build([(app.id, Arc::new(app))]),
            certificates: Shelf::default(),
            keys: Shelf::build([(KeyId::from_bits(2), key)]),
            key_index: crate::domain::key_index::KeyIndex::default(),
            verification_keys: Arc::new([signer.verification_key()]),
            published: Arc::default(),
            token_ends: Shelf::default(),
        },
        signer,
        secret: secret.expose().to_owned(),
    }
}

impl Scene {
    fn token(&self, certificate: Option<Fingerprint>) -> String {
        self.signer.sign(&Claims {
            issuer: ISSUER.to_owned(),
            audience: ISSUER.to_owned(),
            id: TokenId::from_bits(3),
            app: AppId::from_bits(1),
            key: KeyId::from_bits(2),
            subject: None,
            scopes: "orders:read".parse().unwrap(),
            issued_at: NOW,
            expires_at: NOW.plus(Duration::from_mins(15)),
            certificate,
            proof_key: None,
            session: None,
        })
    }

    fn key_from(&self, text: &str, address: IpAddr) -> Result<(), Reason> {
        let by = Presenter {
            address,
            last: &self.last,
            certificate: None,
            origin: None,
            dpop: None,
            now: NOW,
        };
        self.verifier.key(text, by, &self.snapshot).map(|_| ())
    }

    /// The result of a token: the same on a new connection and on one that may have kept it.
    fn token_with(
        &self,
        text: &str,
        certificate: Option<&Fingerprint>,
        now: Timestamp,
    ) -> Result<(), Reason> {
        let by = |last| Presenter {
            address: HERE,
            last,
            certificate,
            origin: None,
            dpop: None,
            now,
        };
        let policy = Policy::new(Requirement::Token, "".parse().unwrap());
        let verify = |by| self.verifier.token(text, by, &policy, &self.snapshot);
        let fate = |by| verify(by).map(|_| ());
        let known = fate(by(&self.last));
        assert_eq!(fate(by(&LastToken::default())), known);
        known
    }

    /// Shows a token on the connection until it is kept.
    fn keep(&self, text: &str, certificate: Option<&Fingerprint>) {
        for _ in 0..2 {
            assert_eq!(self.token_with(text, certificate, NOW), Ok(()));
        }
        assert!(keeps(&self.last, text));
    }

    fn set_key(&mut self, change: impl FnOnce(&mut KeyEntry)) {
        let id = KeyId::from_bits(2);
        let mut key = KeyEntry::clone(self.snapshot.keys.get(&id).unwrap());
        change(&mut key);
        self.snapshot.keys = self.snapshot.keys.with(id, key);
    }

    fn set_app(&mut self, state: AppState) {
        let id = AppId::from_bits(1);
        let mut app = App::clone(self.snapshot.apps.get(&id).unwrap());
        app.state = state;
        self.snapshot.apps = self.snapshot.apps.with(id, Arc::new(app));
    }
}

#[test]
fn a_key_counts_only_whole_alive_and_from_its_networks() {
    let mut scene = scene();
    let secret = scene.secret.clone();
    assert_eq!(scene.key_from(&secret, HERE), Ok(()));
    let elsewhere = IpAddr::from([203, 0, 113, 1]);
    assert_eq!(scene.key_from(&secret, elsewhere), Err(Reason::KeyNetwork));
    assert_eq!(
        scene.key_from("sk_live_short", HERE),
        Err(Reason::KeyMalformed)
    );
    scene.set_key(|key| key.state = CredentialState::Revoked);
    assert_eq!(scene.key_from(&secret, HERE), Err(Reason::KeyRevoked));
    scene.set_key(|key| {
        key.state = CredentialState::Retiring;
        key.expires_at = Some(NOW.minus(Duration::from_secs(1)));
    });
    assert_eq!(scene.key_from(&secret, HERE), Err(Reason::KeyExpired));
}

#[test]
fn a_token_is_asked_about_each_time_however_often_it_was_seen() {
    let mut scene = scene();
    let token = scene.token(None);
    assert_eq!(scene.token_with(&token, None, NOW), Ok(()));
    assert_eq!(scene.token_with(&token, Some(&BOUND), NOW), Ok(()));
    let end = NOW.plus(Duration::from_mins(15));
    assert_eq!(
        scene.token_with(&token, None, end),
        Err(Reason::TokenExpired)
    );
    scene.set_app(AppState::Suspended);
    assert_eq!(
        scene.token_with(&token, None, NOW),
        Err(Reason::AppSuspended)
    );
    scene.set_app(AppState::Active);
    assert_eq!(scene.token_with(&token, None, NOW), Ok(()));
    scene.set_key(|key| key.state = CredentialState::Revoked);
    assert_eq!(scene.token_with(&token, None, NOW), Err(Reason::TokenEnded));
}

#[test]
fn a_bound_token_counts_beside_its_certificate_only() {
    let scene = scene();
    let token = scene.token(Some(BOUND));
    let other = Fingerprint::from_bytes([8; 32]);
    assert_eq!(scene.token_with(&token, Some(&BOUND), NOW), Ok(()));
    assert_eq!(
        scene.token_with(&token, Some(&other), NOW),
        Err(Reason::TokenBinding)
    );
    assert_eq!(
        scene.token_with(&token, None, NOW),
        Err(Reason::TokenBinding)
    );
}

#[test]
fn a_signing_key_that_is_taken_away_ends_its_tokens() {
    let mut scene = scene();
    let token = scene.token(None);
    assert_eq!(scene.token_with(&token, None, NOW), Ok(()));
    let other = TokenSigner::load(&TokenSigner::generate()).unwrap();
    scene.snapshot.verification_keys = Arc::new([other.verification_key()]);
    assert_eq!(
        scene.token_with(&token, None, NOW),
        Err(Reason::TokenSignature)
    );
}

#[test]
fn a_connection_that_has_kept_a_token_takes_no_other_one_for_it() {
    let others: [fn(&str) -> String; 4] = [
        |token| token.split_at(token.len() - 2).0.to_owned(),
        |token| {
            let (front, back) = token.split_at(token.len() - 9);
            let (swapped, back) = back.split_at(1);
            format!("{front}{}{back}", if swapped == "A" { "B" } else { "A" })
        },
        |token| format!("{token}A"),
        |token| token.replacen('.', ".e", 1),
    ];
    for other in others {
        let scene = scene();
        let token = scene.token(None);
        let other = &other(&token);
        scene.keep(&token, None);
        let refused = scene.token_with(other, None, NOW);
        assert!(refused.is_err(), "{other}");
        assert!(!keeps(&scene.last, &token) && !keeps(&scene.last, other));
    }
}

#[test]
fn a_kept_token_ends_with_its_time_its_key_its_app_its_network_and_its_certificate() {
    let mut scene = scene();
    let token = scene.token(Some(BOUND));
    let refused = |scene: &Scene, expected: Reason, by: Option<&Fingerprint>, now| {
        assert_eq!(scene.token_with(&token, by, now), Err(expected));
        assert!(!keeps(&scene.last, &token), "{expected}: it is wiped");
    };
    scene.keep(&token, Some(&BOUND));
    let end = NOW.plus(Duration::from_mins(15));
    refused(&scene, Reason::TokenExpired, Some(&BOUND), end);
    scene.keep(&token, Some(&BOUND));
    let other = Fingerprint::from_bytes([8; 32]);
    refused(&scene, Reason::TokenBinding, Some(&other), NOW);
    scene.keep(&token, Some(&BOUND));
    refused(&scene, Reason::TokenBinding, None, NOW);
    scene.keep(&token, Some(&BOUND));
    scene.set_app(AppState::Suspended);
    refused(&scene, Reason::AppSuspended, Some(&BOUND), NOW);
    scene.set_app(AppState::Active);
    scene.keep(&token, Some(&BOUND));
    scene.set_key(|key| key.networks = vec!["203.0.113.0/24".parse().unwrap()].into());
    refused(&scene, Reason::KeyNetwork, Some(&BOUND), NOW);
    scene.set_key(|key| key.networks = Box::default());
    scene.keep(&token, Some(&BOUND));
    scene.set_key(|key| key.state = CredentialState::Revoked);
    refused(&scene, Reason::TokenEnded, Some(&BOUND), NOW);
}

#[test]
fn a_kept_token_whose_claims_were_forgotten_is_verified_anew() {
    let mut scene = scene();
    let token = scene.token(None);
    scene.keep(&token, None);
    let same = scene.signer.verification_key();
    scene.snapshot.verification_keys = Arc::new([same]);
    assert_eq!(scene.token_with(&token, None, NOW), Ok(()));
    let other = TokenSigner::load(&TokenSigner::generate()).unwrap();
    scene.snapshot.verification_keys = Arc::new([other.verification_key()]);
    assert!(keeps(&scene.last, &token));
    assert_eq!(
        scene.token_with(&token, None, NOW),
        Err(Reason::TokenSignature)
    );
}

#[test]
fn an_address_that_guesses_waits_but_a_token_that_was_verified_does_not() {
    let scene = scene();
    let token = scene.token(None);
    assert_eq!(scene.token_with(&token, None, NOW), Ok(()));
    for _ in 0..3 {
        let guess = generate_key(KeyId::from_bits(2), KeyKind::Secret, Environment::Live);
        assert_eq!(scene.key_from(guess.expose(), HERE), Err(Reason::KeyWrong));
    }
    let secret = &scene.secret;
    assert_eq!(scene.key_from(secret, HERE), Err(Reason::AuthRateLimited));
    assert_eq!(
        scene.token_with("new", None, NOW),
        Err(Reason::AuthRateLimited)
    );
    assert_eq!(scene.token_with(&token, None, NOW), Ok(()));
    let other = IpAddr::from([192, 0, 2, 2]);
    assert_eq!(scene.key_from(secret, other), Ok(()));
}

mod of_issuers {
    use crate::domain::token_profile::TokenProfile;
    use serde_json::{Value, json};

    use super::*;
    use crate::crypto::jwk::Algorithm;
    use crate::crypto::jwk_testing::TestKey;
    use crate::domain::accepted::AcceptedKinds;
    use crate::domain::identity::TokenMark;
    use crate::domain::issuer::Source;
    use crate::domain::issuer::{FetchedSets, ForeignIssuer, ForeignIssuers, ToldClaim};
    use tokio::sync::mpsc;

    struct Routes {
        scene: Scene,
        idp: TestKey,
        missed: mpsc::Receiver<Source>,
    }

    fn issuer() -> ForeignIssuer {
        ForeignIssuer {
            told: vec![ToldClaim {
                claim: "role".to_owned(),
                header: http::HeaderName::from_static("x-user-role"),
            }],
            ..ForeignIssuer::sample("idp", "acme")
        }
    }

    fn routes() -> Routes {
        let mut scene = scene();
        let idp = TestKey::p256();
        let (asks, missed) = mpsc::channel(4);
        scene.verifier.issuers = IssuerTokens::new(16, asks);
        let mut routes = Routes { scene, idp, missed };
        routes.configure(vec![issuer(), ForeignIssuer::sample("other", "acme")]);
        routes.publish();
        routes
    }

    fn claims() -> Value {
        json!({
            "iss": "https://idp.test", "aud": "acme", "sub": "alice", "role": "admin",
            "exp": 1_800_000_100,
        })
    }

    /// A policy that takes the tokens of these issuers, and no other credential.
    fn only(issuers: &[&str]) -> Policy {
        Policy {
            accept: AcceptedKinds::new([]),
            issuers: issuers.iter().map(|name| name.parse().unwrap()).collect(),
            ..Policy::new(Requirement::Token, "".parse().unwrap())
        }
    }

    impl Routes {
        fn configure(&mut self, issuers: Vec<ForeignIssuer>) {
            self.configure_for(issuers, TokenProfile::Standard);
        }

        fn configure_for(&mut self, issuers: Vec<ForeignIssuer>, profile: TokenProfile) {
            let before = &self.scene.snapshot.catalog;
            self.scene.snapshot.catalog = Arc::new(Catalog {
                generation: before.generation + 1,
                routes: RouteTable::default(),
                upstreams: foldhash::HashMap::default(),
                tls_policies: HostPolicies::default(),
                issuer: ISSUER.into(),
                client_auth: crate::domain::token::ClientAuthMethods::default(),
                legacy_limit_fields: false,
                profile,
                issuers: ForeignIssuers::new(issuers.into_iter().map(Arc::new).collect()),
            });
        }

        fn publish(&mut self) {
            let set: Arc<str> = self.idp.set().into();
            let source = issuer().source().unwrap();
            let sets: FetchedSets = [(source, set)].into_iter().collect();
            self.scene.snapshot.published = Arc::new(sets);
        }

        fn sign(&self, kid: &str, claims: &Value) -> String {
            let header = json!({"alg": "ES256", "kid": kid, "typ": "JWT"}).to_string();
            self.idp
                .seal(Algorithm::Es256, &header, &claims.to_string())
        }

        fn show(&self, text: &str, policy: &Policy, now: Timestamp) -> Result<Bearer, Reason> {
            let by = Presenter {
                address: HERE,
                last: &LastToken::default(),
                certificate: None,
                origin: None,
                dpop: None,
                now,
            };
            let Scene {
                verifier, snapshot, ..
            } = &self.scene;
            verifier.token(text, by, policy, snapshot)
        }

        fn fate(&self, text: &str, policy: &Policy) -> Result<String, Reason> {
            let bearer = self.show(text, policy, NOW)?;
            Ok(bearer.subject().unwrap().to_string())
        }
    }

    #[test]
    fn a_token_counts_where_its_issuer_is_named_and_nowhere_else() {
        let routes = routes();
        let token = routes.sign("k", &claims());
        for _ in 0..2 {
            let bearer = routes.show(&token, &only(&["idp"]), NOW).unwrap();
            assert_eq!(bearer.app().name.as_str(), "acme");
            assert_eq!((bearer.key(), bearer.scopes()), (None, None));
            assert!(matches!(bearer.token(), Some(TokenMark::Foreign(_))));
            let told = &bearer.foreign().unwrap().told;
            assert_eq!(told.len(), 1);
            assert_eq!(
                (told[0].0.as_str(), told[0].1.as_bytes()),
                ("x-user-role", &b"admin"[..])
            );
        }
        let plain = Policy::new(Requirement::Token, "".parse().unwrap());
        for policy in [&only(&[]), &plain] {
            assert_eq!(routes.fate(&token, policy), Err(Reason::KindNotAccepted));
        }
        // It was verified before, and is refused as one that this worker has never seen.
        let verified = routes.fate(&token, &only(&["other"]));
        assert_eq!(verified, Err(Reason::KindNotAccepted));
        let never_seen = routes.sign("k", &json!({"iss": "https://idp.test"}));
        let refused = routes.fate(&never_seen, &only(&["other"]));
        assert_eq!(refused, Err(Reason::KindNotAccepted));
        // One of ours is proved, and of a kind that the policy does not take.
        let ours = routes.scene.token(None);
        for _ in 0..2 {
            let bearer = routes.show(&ours, &only(&["idp"]), NOW).unwrap();
            assert!(!only(&["idp"]).takes(&bearer) && plain.takes(&bearer));
        }
    }

    #[test]
    fn a_set_without_keys_withdraws_what_was_accepted() {
        let mut routes = routes();
        let (policy, token) = (only(&["idp"]), routes.sign("k", &claims()));
        assert!(routes.fate(&token, &policy).is_ok());
        let source = issuer().source().unwrap();
        let none: FetchedSets = [(source, r#"{"keys":[]}"#.into())].into_iter().collect();
        routes.scene.snapshot.published = Arc::new(none);
        assert_eq!(routes.fate(&token, &policy), Err(Reason::IssuerKeys));
    }

    /// It is bound to nothing that the gateway could verify.
    #[test]
    fn a_token_of_another_issuer_does_not_count_under_fapi2() {
        let mut routes = routes();
        let (policy, token) = (only(&["idp"]), routes.sign("k", &claims()));
        assert!(routes.fate(&token, &policy).is_ok());
        routes.configure_for(vec![issuer()], TokenProfile::Fapi2);
        assert_eq!(routes.fate(&token, &policy), Err(Reason::TokenBinding));
    }

    #[test]
    fn keys_and_configuration_that_change_are_asked_again() {
        let mut routes = routes();
        let policy = only(&["idp"]);
        let token = routes.sign("k", &claims());
        assert!(routes.fate(&token, &policy).is_ok());
        routes.idp = TestKey::p256();
        routes.publish();
        assert_eq!(routes.fate(&token, &policy), Err(Reason::IssuerToken));
        let token = routes.sign("k", &claims());
        assert!(routes.fate(&token, &policy).is_ok());
        routes.configure(vec![ForeignIssuer {
            audiences: vec!["globex".to_owned()],
            ..issuer()
        }]);
        assert_eq!(routes.fate(&token, &policy), Err(Reason::IssuerToken));
        routes.configure(vec![issuer()]);
        routes.scene.snapshot.published = Arc::default();
        assert_eq!(routes.fate(&token, &policy), Err(Reason::IssuerKeys));
        routes.configure(Vec::new());
        assert_eq!(routes.fate(&token, &policy), Err(Reason::TokenMalformed));
    }

    #[test]
    fn time_and_app_are_judged_for_each_request() {
        let mut routes = routes();
        let policy = only(&["idp"]);
        let token = routes.sign("k", &claims());
        let ends = NOW.plus(Duration::from_secs(130));
        assert!(routes.show(&token, &policy, NOW).is_ok());
        let before = Timestamp::from_unix_millis(ends.unix_millis() - 1);
        assert!(routes.show(&token, &policy, before).is_ok());
        let expired = routes.show(&token, &policy, ends).unwrap_err();
        assert_eq!(expired, Reason::TokenExpired);
        let mut app = App::sample(1, "acme");
        app.state = AppState::Suspended;
        routes.scene.snapshot.version += 1;
        routes.scene.snapshot.apps = Shelf::build([(app.id, Arc::new(app.clone()))]);
        assert_eq!(routes.fate(&token, &policy), Err(Reason::AppSuspended));
        app.name = "globex".parse().unwrap();
        routes.scene.snapshot.version += 1;
        routes.scene.snapshot.apps = Shelf::build([(app.id, Arc::new(app))]);
        assert_eq!(routes.fate(&token, &policy), Err(Reason::IssuerUnknown));
    }

    #[test]
    fn a_storm_of_unknown_keys_asks_once_a_second() {
        let mut routes = routes();
        let policy = only(&["idp"]);
        for number in 0..50 {
            let token = routes.sign(&format!("k{number}"), &claims());
            assert!(routes.fate(&token, &policy).is_err());
        }
        assert_eq!(routes.missed.try_recv().ok(), issuer().source());
        assert!(routes.missed.try_recv().is_err());
    }
}
