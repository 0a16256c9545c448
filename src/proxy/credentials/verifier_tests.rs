use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::crypto::api_key::generate_key;
use crate::crypto::jwt::TokenSigner;
use crate::domain::api_key::{Environment, KeyKind};
use crate::domain::app::{App, AppState};
use crate::domain::credential::CredentialState;
use crate::domain::id::{AppId, KeyId, TokenId};
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
            }),
            apps: Shelf::build([(app.id, Arc::new(app))]),
            certificates: Shelf::default(),
            keys: Shelf::build([(KeyId::from_bits(2), key)]),
            key_index: crate::domain::key_index::KeyIndex::default(),
            verification_keys: Arc::new([signer.verification_key()]),
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
        let fate = |by| self.verifier.token(text, by, &self.snapshot).map(|_| ());
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
