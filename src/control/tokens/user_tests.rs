//! Users: vouched for, logged in, refreshed, and ended in every way.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::error::TokenError;
use super::introspect::Introspected;
use super::mint::{Kind, MintedToken};
use super::request::{ClientProof, Grant, TokenRequest};
use super::service::TokenService;
use crate::control::app_settings::AppPatch;
use crate::control::keys::NewKey;
use crate::control::testing::{ACTOR, Fixture, new_key};
use crate::control::testing_edges::{token_service_by, token_service_for};
use crate::crypto::jwt::{self, TokenSigner};
use crate::domain::api_key::{ApiKey, Environment};
use crate::domain::app_settings::SecureMode;
use crate::domain::credential::{Ended, RevocationReason};
use crate::domain::listing::Page;
use crate::domain::patch::Patch;
use crate::domain::reason::Reason;
use crate::domain::secret::Secret;
use crate::domain::time::Clock as _;
use crate::domain::token::{Claims, ClientAuthMethod};
use crate::domain::token_end::TokensOf;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

/// A token service with an App whose server vouches for users, and whose devices log them in.
struct Desk {
    fixture: Fixture,
    service: TokenService,
    signer: Arc<TokenSigner>,
    server: (ApiKey, Secret),
    device: (ApiKey, Secret),
    /// A Key of another App.
    other: (ApiKey, Secret),
}

impl Desk {
    async fn new() -> Self {
        let fixture = Fixture::new().await;
        fixture.app("acme").await;
        fixture.app("other").await;
        let server = fixture.key(
            "acme",
            "countersign:vouch countersign:introspect read write",
        );
        let server = server.await;
        let device = fixture.key("acme", "").await;
        let other = fixture.key("other", "countersign:vouch read").await;
        let signer = Arc::new(TokenSigner::load(&TokenSigner::generate()).unwrap());
        let service = token_service_by(&fixture, Arc::clone(&signer));
        let keys: Arc<[_]> = Arc::new([signer.verification_key()]);
        let publisher = fixture.control.publisher();
        publisher.set_verification_keys(keys).await.unwrap();
        Self {
            fixture,
            service,
            signer,
            server,
            device,
            other,
        }
    }

    async fn ask(
        &self,
        (key, secret): &(ApiKey, Secret),
        address: IpAddr,
        grant: Grant<'_>,
        scope: Option<&str>,
    ) -> Result<MintedToken, TokenError> {
        let id = key.id.to_string();
        let request = TokenRequest {
            proof: None,
            client: proof(&id, secret, address),
            grant,
            scope,
        };
        let snapshot = self.fixture.snapshot();
        self.service.grant(&snapshot, &request).await
    }

    async fn vouch(&self, user: &str, device: Option<&str>) -> MintedToken {
        let grant = Grant::Vouch { user, device };
        self.ask(&self.server, HERE, grant, None).await.unwrap()
    }

    async fn login(&self, auth: &str) -> Result<MintedToken, TokenError> {
        let grant = Grant::Session {
            auth_token: auth,
            device: None,
        };
        self.ask(&self.device, HERE, grant, None).await
    }

    /// A user who is logged in.
    async fn logged_in(&self, user: &str, device: Option<&str>) -> MintedToken {
        let auth = self.vouch(user, device).await;
        self.login(auth.token.expose()).await.unwrap()
    }

    async fn refresh(&self, token: &MintedToken, from: IpAddr) -> Result<MintedToken, TokenError> {
        let refresh_token = token.refresh.as_ref().unwrap().expose();
        let grant = Grant::Refresh { refresh_token };
        self.ask(&self.device, from, grant, None).await
    }

    fn claims(&self, token: &MintedToken) -> Claims {
        let keys = [self.signer.verification_key()];
        let now = self.fixture.clock.now();
        jwt::verify(token.token.expose(), &keys, "https://gateway.test", now).unwrap()
    }

    /// The judgement of the walk, with which introspection has to agree.
    async fn state(&self, token: &MintedToken) -> Result<(), Reason> {
        let snapshot = self.fixture.snapshot();
        let now = self.fixture.clock.now();
        let live = snapshot.live_token(&self.claims(token), now).map(|_| ());
        assert_eq!(self.is_active(token.token.expose()).await, live.is_ok());
        live
    }

    async fn is_active(&self, token: &str) -> bool {
        let snapshot = self.fixture.snapshot();
        let (key, secret) = &self.server;
        let id = key.id.to_string();
        let now = self.fixture.clock.now();
        let client = self
            .service
            .authenticate(&snapshot, &proof(&id, secret, HERE), now)
            .await
            .unwrap();
        let introspected = self.service.introspect(&snapshot, &client, token).await;
        !matches!(introspected.unwrap(), Introspected::Inactive)
    }

    async fn revoke(&self, (key, secret): &(ApiKey, Secret), token: &str) {
        let snapshot = self.fixture.snapshot();
        let id = key.id.to_string();
        let now = self.fixture.clock.now();
        let client = self
            .service
            .authenticate(&snapshot, &proof(&id, secret, HERE), now)
            .await
            .unwrap();
        self.service
            .revoke(&snapshot, &client, token)
            .await
            .unwrap();
    }
}

fn proof<'r>(id: &'r str, secret: &'r Secret, address: IpAddr) -> ClientProof<'r> {
    ClientProof {
        client_id: id,
        secret: Some(secret.expose()),
        assertion: None,
        method: ClientAuthMethod::ClientSecretBasic,
        certificate: None,
        address,
        origin: None,
    }
}

fn reason<T: std::fmt::Debug>(refused: Result<T, TokenError>) -> Reason {
    let refused = refused.unwrap_err();
    assert_eq!(refused.shown, Reason::GrantInvalid, "{refused:?}");
    refused.reason
}

#[tokio::test]
async fn a_user_that_is_vouched_for_gets_a_session() {
    let desk = Desk::new().await;
    let auth = desk.vouch("alice", Some("phone")).await;
    assert_eq!(auth.kind, Kind::Auth);
    assert!(auth.token.expose().len() <= 100 && auth.refresh.is_none());
    assert_eq!(auth.scopes.to_string(), "read write");
    assert!(desk.is_active(auth.token.expose()).await);
    let token = desk.login(auth.token.expose()).await.unwrap();
    assert!(!desk.is_active(auth.token.expose()).await);
    let claims = desk.claims(&token);
    assert_eq!(claims.subject.as_ref().unwrap().as_str(), "alice");
    assert_eq!(
        (claims.app, claims.key),
        (desk.device.0.app, desk.device.0.id)
    );
    assert_eq!(claims.scopes.to_string(), "read write");
    let session = claims.session.unwrap();
    assert_eq!(session.device.unwrap().as_str(), "phone");
    let kept = desk.fixture.control.session(session.id).await.unwrap();
    assert_eq!(kept.user.as_str(), "alice");
    assert_eq!(desk.state(&token).await, Ok(()));
    assert!(
        desk.is_active(token.refresh.as_ref().unwrap().expose())
            .await
    );
}

#[tokio::test]
async fn an_auth_token_opens_one_session_of_its_own_app_in_time() {
    let desk = Desk::new().await;
    let auth = desk.vouch("alice", Some("phone")).await;
    let text = auth.token.expose();
    for other in ["", "cs_auth_x", "not a token"] {
        assert_eq!(reason(desk.login(other).await), Reason::GrantInvalid);
    }
    desk.login(text).await.unwrap();
    assert_eq!(reason(desk.login(text).await), Reason::GrantInvalid);

    let stolen = desk.vouch("alice", None).await;
    let grant = Grant::Session {
        auth_token: stolen.token.expose(),
        device: None,
    };
    let refused = desk.ask(&desk.other, HERE, grant, None).await;
    assert_eq!(reason(refused), Reason::AppsDiffer);

    let elsewhere = desk.vouch("alice", Some("phone")).await;
    let grant = Grant::Session {
        auth_token: elsewhere.token.expose(),
        device: Some("desk"),
    };
    let refused = desk.ask(&desk.device, HERE, grant, None).await;
    assert_eq!(reason(refused), Reason::GrantInvalid);

    let late = desk.vouch("alice", None).await;
    desk.fixture.clock.advance(Duration::from_secs(601));
    let refused = desk.login(late.token.expose()).await;
    assert_eq!(reason(refused), Reason::GrantInvalid);

    let vouched = desk.vouch("alice", None).await;
    let control = &desk.fixture.control;
    let why = RevocationReason::default();
    control
        .revoke_key(&ACTOR, desk.server.0.id, why)
        .await
        .unwrap();
    let refused = desk.login(vouched.token.expose()).await;
    assert_eq!(reason(refused), Reason::GrantInvalid);
}

#[tokio::test]
async fn a_scope_that_is_refused_uses_no_token_up() {
    let desk = Desk::new().await;
    let auth = desk.vouch("alice", None).await;
    let grant = Grant::Session {
        auth_token: auth.token.expose(),
        device: None,
    };
    let refused = desk.ask(&desk.device, HERE, grant, Some("admin")).await;
    assert_eq!(refused.unwrap_err().code, "invalid_scope");
    let session = desk.login(auth.token.expose()).await.unwrap();
    let refresh = session.refresh.clone().unwrap();
    let grant = Grant::Refresh {
        refresh_token: refresh.expose(),
    };
    let refused = desk.ask(&desk.device, HERE, grant, Some("admin")).await;
    assert_eq!(refused.unwrap_err().code, "invalid_scope");
    assert!(desk.refresh(&session, HERE).await.is_ok());
}

#[tokio::test]
async fn fifty_logins_with_one_auth_token_open_one_session() {
    let desk = Arc::new(Desk::new().await);
    let auth = desk.vouch("alice", None).await;
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (desk, auth) = (Arc::clone(&desk), auth.token.clone());
        logins.spawn(async move { desk.login(auth.expose()).await.is_ok() });
    }
    let logins = logins.join_all().await;
    assert_eq!(logins.into_iter().filter(|opened| *opened).count(), 1);
}

#[tokio::test]
async fn only_a_key_that_may_vouches_and_for_a_user_that_can_be_one() {
    let desk = Desk::new().await;
    let vouch = |user| Grant::Vouch { user, device: None };
    let refused = desk.ask(&desk.device, HERE, vouch("alice"), None).await;
    let refused = refused.unwrap_err();
    assert_eq!(
        (refused.code, refused.reason),
        ("unauthorized_client", Reason::ScopeMissing)
    );
    let long = "a".repeat(101);
    let app = desk.other.0.app.to_string();
    for user in ["", "a b", "zoë", "a\n", &*long, &*app] {
        let refused = desk.ask(&desk.server, HERE, vouch(user), None).await;
        assert_eq!(refused.unwrap_err().code, "invalid_request", "{user:?}");
    }
    for scope in ["countersign:vouch", "admin"] {
        let refused = desk.ask(&desk.server, HERE, vouch("alice"), Some(scope));
        assert_eq!(refused.await.unwrap_err().code, "invalid_scope");
    }
}

#[tokio::test]
async fn a_login_ends_the_session_that_the_device_had() {
    let desk = Desk::new().await;
    let first = desk.logged_in("alice", Some("phone")).await;
    let desktop = desk.logged_in("alice", Some("desk")).await;
    let second = desk.logged_in("alice", Some("phone")).await;
    let id = desk.claims(&first).session.unwrap().id;
    let ended = Ended::Tokens(TokensOf::Session(id));
    assert_eq!(desk.fixture.last_told().1, [ended]);
    assert_eq!(desk.state(&first).await, Err(Reason::TokenEnded));
    assert_eq!(desk.state(&desktop).await, Ok(()));
    assert_eq!(desk.state(&second).await, Ok(()));
    assert_eq!(
        reason(desk.refresh(&first, HERE).await),
        Reason::GrantInvalid
    );
}

#[tokio::test]
async fn a_refresh_token_is_used_once_and_a_lost_answer_is_given_again() {
    let desk = Desk::new().await;
    let first = desk.logged_in("alice", Some("phone")).await;
    let second = desk.refresh(&first, HERE).await.unwrap();
    assert_eq!(
        desk.claims(&second).session,
        desk.claims(&first).session,
        "one session"
    );
    let again = desk.refresh(&first, HERE).await.unwrap();
    assert_eq!(again.refresh, second.refresh);
    assert_eq!(again.token, second.token);
    let third = desk.refresh(&second, HERE).await.unwrap();
    desk.fixture.clock.advance(Duration::from_secs(11));
    assert_eq!(desk.state(&third).await, Ok(()));
    assert_eq!(
        reason(desk.refresh(&second, HERE).await),
        Reason::RefreshReused
    );
    for token in [&first, &second, &third] {
        assert_eq!(desk.state(token).await, Err(Reason::TokenEnded));
    }
    assert_eq!(
        reason(desk.refresh(&third, HERE).await),
        Reason::GrantInvalid
    );
}

#[tokio::test]
async fn a_refresh_token_that_another_caller_repeats_ends_the_session() {
    let desk = Desk::new().await;
    let first = desk.logged_in("alice", None).await;
    let second = desk.refresh(&first, HERE).await.unwrap();
    assert_eq!(
        reason(desk.refresh(&first, THERE).await),
        Reason::RefreshReused
    );
    assert_eq!(desk.state(&second).await, Err(Reason::TokenEnded));
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_refreshed_and_when_its_time_has_come() {
    let desk = Desk::new().await;
    let day = Duration::from_hours(24);
    let idle = desk.logged_in("idle", None).await;
    let mut busy = desk.logged_in("busy", None).await;
    desk.fixture.clock.advance(day * 29);
    busy = desk.refresh(&busy, HERE).await.unwrap();
    desk.fixture.clock.advance(day * 2);
    assert_eq!(
        reason(desk.refresh(&idle, HERE).await),
        Reason::GrantInvalid
    );
    for _ in 0..2 {
        desk.fixture.clock.advance(day * 27);
        busy = desk.refresh(&busy, HERE).await.unwrap();
    }
    desk.fixture.clock.advance(day * 6);
    assert_eq!(
        reason(desk.refresh(&busy, HERE).await),
        Reason::GrantInvalid
    );
}

#[tokio::test]
async fn no_token_outlives_a_session_that_is_not_refreshed() {
    let mut desk = Desk::new().await;
    let short = Duration::from_mins(5);
    desk.service = token_service_for(&desk.fixture, Arc::clone(&desk.signer), short);
    let first = desk.logged_in("alice", None).await;
    assert_eq!(first.expires_in, short);
    let second = desk.refresh(&first, HERE).await.unwrap();
    assert_eq!(second.expires_in, short);
}

#[tokio::test]
async fn operators_find_and_end_sessions_with_an_event() {
    let desk = Desk::new().await;
    let control = &desk.fixture.control;
    let phone = desk.logged_in("alice", Some("phone")).await;
    let desktop = desk.logged_in("alice", Some("desk")).await;
    let bob = desk.logged_in("bob", None).await;
    let listed = |app: &str, user: Option<&str>| {
        let query = crate::control::sessions::SessionQuery {
            app: Some(app.to_owned()),
            user: user.map(|user| user.parse().unwrap()),
            device: None,
        };
        control.sessions(query, Page::first(9))
    };
    assert_eq!(listed("acme", None).await.unwrap().len(), 3);
    assert_eq!(listed("acme", Some("alice")).await.unwrap().len(), 2);
    assert_eq!(listed("other", None).await.unwrap(), []);

    let id = desk.claims(&phone).session.unwrap().id;
    let revoked = control.revoke_session(&ACTOR, id).await.unwrap();
    assert_eq!(revoked.value.id, id);
    assert_eq!(desk.state(&phone).await, Err(Reason::TokenEnded));
    let event = desk.fixture.last_event().await;
    assert_eq!(event.action, "session.revoke");
    let again = control.revoke_session(&ACTOR, id).await.unwrap_err();
    assert_eq!(again.reason, Reason::Conflict);

    let ended = control
        .revoke_user(&ACTOR, "acme", "alice".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(ended.value, 1);
    assert_eq!(desk.state(&desktop).await, Err(Reason::TokenEnded));
    assert_eq!(desk.state(&bob).await, Ok(()));
    let event = desk.fixture.last_event().await;
    assert_eq!((&*event.action, &*event.subject), ("user.revoke", "alice"));
    // Nothing to end is not a failure: what was asked for is true.
    let none = control.revoke_user(&ACTOR, "acme", "carol".parse().unwrap());
    assert_eq!(none.await.unwrap().value, 0);
}

#[tokio::test]
async fn a_client_ends_tokens_of_its_own_app_only() {
    let desk = Desk::new().await;
    let auth = desk.vouch("alice", None).await;
    let token = desk.logged_in("alice", None).await;
    let refresh = token.refresh.clone().unwrap();
    for text in [auth.token.expose(), token.token.expose(), refresh.expose()] {
        desk.revoke(&desk.other, text).await;
        assert!(desk.is_active(text).await);
    }
    desk.revoke(&desk.device, token.token.expose()).await;
    assert_eq!(desk.state(&token).await, Err(Reason::TokenEnded));
    let next = desk.refresh(&token, HERE).await.unwrap();
    assert_eq!(desk.state(&next).await, Ok(()));
    let refresh = next.refresh.clone().unwrap();
    desk.revoke(&desk.device, refresh.expose()).await;
    assert_eq!(desk.state(&next).await, Err(Reason::TokenEnded));
    desk.revoke(&desk.device, auth.token.expose()).await;
    assert_eq!(
        reason(desk.login(auth.token.expose()).await),
        Reason::GrantInvalid
    );
    for garbage in ["", "x", "cs_refresh_", "a.b.c"] {
        desk.revoke(&desk.device, garbage).await;
        assert!(!desk.is_active(garbage).await);
    }
}

#[tokio::test]
async fn an_access_token_is_narrowed_and_lives_no_longer() {
    let desk = Desk::new().await;
    let whole = desk.logged_in("alice", None).await;
    desk.fixture.clock.advance(Duration::from_mins(5));
    let grant = Grant::Narrow {
        access_token: whole.token.expose(),
    };
    let by_another = desk.ask(&desk.server, HERE, grant, Some("read")).await;
    assert_eq!(reason(by_another), Reason::GrantInvalid);
    let narrow = desk
        .ask(&desk.device, HERE, grant, Some("read"))
        .await
        .unwrap();
    assert_eq!(narrow.kind, Kind::ExchangedAccess);
    let (from, to) = (desk.claims(&whole), desk.claims(&narrow));
    assert_eq!(to.scopes.to_string(), "read");
    assert_eq!(to.expires_at, from.expires_at);
    assert_eq!((&to.subject, &to.session), (&from.subject, &from.session));
    let more = desk.ask(&desk.device, HERE, grant, Some("read admin"));
    assert_eq!(more.await.unwrap_err().code, "invalid_scope");
    let refused = desk.ask(&desk.other, HERE, grant, None).await;
    assert_eq!(reason(refused), Reason::AppsDiffer);
    desk.revoke(&desk.device, whole.token.expose()).await;
    let refused = desk.ask(&desk.device, HERE, grant, None).await;
    assert_eq!(reason(refused), Reason::TokenEnded);
}

#[tokio::test]
async fn kinds_of_tokens_do_not_stand_for_each_other() {
    let desk = Desk::new().await;
    let auth = desk.vouch("alice", None).await.token;
    let token = desk.logged_in("alice", None).await;
    let (access, refresh) = (token.token.clone(), token.refresh.clone().unwrap());
    let key = desk.server.1.clone();
    for wrong in [&access, &refresh, &key] {
        assert!(desk.login(wrong.expose()).await.is_err());
    }
    for wrong in [&access, &auth, &key] {
        let grant = Grant::Refresh {
            refresh_token: wrong.expose(),
        };
        assert!(desk.ask(&desk.device, HERE, grant, None).await.is_err());
    }
    for wrong in [&refresh, &auth, &key] {
        let grant = Grant::Narrow {
            access_token: wrong.expose(),
        };
        assert!(desk.ask(&desk.device, HERE, grant, None).await.is_err());
    }
    assert_eq!(desk.state(&token).await, Ok(()), "nothing ended by it");
}

#[tokio::test]
async fn without_secure_mode_a_user_needs_no_auth_token() {
    let desk = Desk::new().await;
    let login = || Grant::Login {
        user: "alice",
        device: Some("phone"),
    };
    let refused = desk
        .ask(&desk.server, HERE, login(), None)
        .await
        .unwrap_err();
    assert_eq!(refused.reason, Reason::SecureModeRequired);
    let app = desk.server.0.app.to_string();
    let set = async |secure_mode, confirmed| {
        let patch = AppPatch {
            environment: Patch::Set(Environment::Test),
            secure_mode: Patch::Set(secure_mode),
            ..AppPatch::default()
        };
        let control = &desk.fixture.control;
        control.set_app(&ACTOR, &app, patch, confirmed).await
    };
    set(SecureMode::Off, false).await.unwrap();
    // The keys of an App that was live open no session in this way.
    let refused = desk.ask(&desk.server, HERE, login(), None).await;
    assert_eq!(refused.unwrap_err().reason, Reason::SecureModeRequired);
    let new = NewKey {
        environment: Environment::Test,
        ..new_key("acme", "read")
    };
    let created = desk.fixture.control.create_key(&ACTOR, new).await;
    let tester = created.unwrap().value;
    let minted = desk.ask(&tester, HERE, login(), None).await.unwrap();
    // Nor does a session of the test environment become a live one.
    assert_eq!(
        reason(desk.refresh(&minted, HERE).await),
        Reason::GrantInvalid
    );
    let claims = desk.claims(&minted);
    assert_eq!(claims.subject.unwrap().as_str(), "alice");
    assert!(claims.session.is_some());
    let refused = set(SecureMode::Required, false).await.unwrap_err();
    assert_eq!(refused.reason, Reason::ConfirmationNeeded);
    assert!(refused.affected[0].without_auth_token);
    set(SecureMode::Required, true).await.unwrap();
    let refused = desk
        .ask(&desk.server, HERE, login(), None)
        .await
        .unwrap_err();
    assert_eq!(refused.reason, Reason::SecureModeRequired);
}

#[tokio::test]
async fn an_app_has_so_many_auth_tokens_at_once_and_no_more() {
    let desk = Desk::new().await;
    let grant = |user| Grant::Vouch { user, device: None };
    let mut last = None;
    for _ in 0..100 {
        last = Some(desk.vouch("alice", None).await);
    }
    let refused = desk.ask(&desk.server, HERE, grant("alice"), None).await;
    let refused = refused.map_err(|refused| (refused.code, refused.reason));
    let expected = ("temporarily_unavailable", Reason::TicketLimit);
    assert_eq!(refused.unwrap_err(), expected);
    let other = desk.ask(&desk.other, HERE, grant("bob"), None).await;
    assert!(other.is_ok(), "another App has a share of its own");
    // One that is used makes room.
    desk.login(last.unwrap().token.expose()).await.unwrap();
    desk.vouch("alice", None).await;
}
