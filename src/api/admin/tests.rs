//! The admin API as its callers see it: for each grant its refusal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, Request};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::operations::{
    Answer, ConfigProblem, DrainProgress, DrainState, ListeningAt, Operations, ReloadRefusal,
    Reloaded, Status,
};
use super::router::router;
use super::state::AdminState;
use crate::api::client::{AdminClient, ClientError};
use crate::api::edge::Edge;
use crate::api::listen::{self, Listening, LocalSocket, Peer};
use crate::api::openapi;
use crate::control::testing::{ACTOR, CSR, Fixture, OTHER_CSR, P521_CSR, Told};
use crate::control::testing_edges::Server;
use crate::domain::admin::Role;
use crate::domain::id::RequestId;
use crate::domain::listing::Page;
use crate::domain::reason::Reason;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::net::serve::config_for_tests;

/// A process that takes every second configuration.
#[derive(Debug, Default)]
struct Process {
    reloads: AtomicU64,
    drains: AtomicU64,
}

impl Operations for Process {
    fn reload(&self, _allow_empty: bool) -> Answer<'_, Result<Reloaded, ReloadRefusal>> {
        let count = self.reloads.fetch_add(1, Ordering::SeqCst) + 1;
        Box::pin(async move {
            if count % 2 == 1 {
                return Ok(Reloaded {
                    generation: count + 1,
                    revision: 7,
                    restart_needed: vec!["workers".to_owned()],
                });
            }
            let problem = ConfigProblem {
                path: "hosts.api.example.com".to_owned(),
                line: Some(3),
                column: Some(5),
                message: "unknown key requir".to_owned(),
                suggestion: Some("require".to_owned()),
            };
            Err(if count == 4 {
                ReloadRefusal::Unconfirmed { generation: 4 }
            } else {
                ReloadRefusal::Refused {
                    problems: vec![problem],
                }
            })
        })
    }

    fn drain(&self) -> Answer<'_, ()> {
        self.drains.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {})
    }

    fn drain_progress(&self) -> Answer<'_, DrainProgress> {
        let drained = self.drains.load(Ordering::SeqCst) > 0;
        Box::pin(async move {
            DrainProgress {
                state: if drained {
                    DrainState::Drained
                } else {
                    DrainState::Serving
                },
                milliseconds: 1500,
                connections: 0,
                requests: 0,
                requests_cut: 2,
            }
        })
    }

    fn status(&self) -> Answer<'_, Status> {
        Box::pin(async {
            Status {
                version: "1.0.0".to_owned(),
                revision: 7,
                snapshot_version: 9,
                started_at: Timestamp::from_unix_seconds(0),
                ready: true,
                draining: false,
                configuration: "/etc/countersign/countersign.yaml".to_owned(),
                addresses: ListeningAt::default(),
                ends: Vec::new(),
                upstreams: Vec::new(),
            }
        })
    }
}

struct Gateway {
    fixture: Fixture,
    process: Arc<Process>,
    router: Router,
}

struct Answered {
    status: u16,
    fields: HeaderMap,
    body: Value,
}

const LOCAL: Peer = Peer::Local { uid: 0 };

impl Gateway {
    async fn new() -> Self {
        Self::over(Fixture::new().await)
    }

    fn over(fixture: Fixture) -> Self {
        let process = Arc::new(Process::default());
        let state = AdminState::new(
            fixture.control.clone(),
            process.clone(),
            fixture.clock.clone(),
            openapi::json(),
        );
        let edge = Edge {
            ids: Arc::new(|| RequestId::from_bits(1)),
            tasks: TaskTracker::new(),
        };
        Self {
            router: router(state, edge),
            fixture,
            process,
        }
    }

    async fn send(&self, peer: Peer, token: Option<&str>, request: Request<Body>) -> Answered {
        let mut request = request;
        request.extensions_mut().insert(peer);
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().unwrap();
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1_000_000).await.unwrap();
        Answered {
            status: head.status.as_u16(),
            fields: head.headers,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        }
    }

    /// Asks over the socket, and so with every right.
    async fn ask(&self, line: &str, body: Value) -> (u16, Value) {
        let answered = self.send(LOCAL, None, request(line, body)).await;
        (answered.status, answered.body)
    }

    /// The status and the reason, when it is refused.
    async fn refusal(&self, line: &str, body: Value) -> (u16, String) {
        let (status, body) = self.ask(line, body).await;
        (status, body["reason"].as_str().unwrap_or("").to_owned())
    }

    async fn token(&self, name: &str, role: Role) -> Secret {
        let name = name.parse().unwrap();
        let hour = Some(Duration::from_hours(1));
        let created = self
            .fixture
            .control
            .create_admin_token(&ACTOR, name, role, hour);
        created.await.unwrap().1
    }
}

/// `POST /api/v1/apps` and a body; null is none.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the lines of cases read better without `&`"
)]
fn request(line: &str, body: Value) -> Request<Body> {
    let (method, path) = line.split_once(' ').unwrap();
    let request = Request::builder().method(method).uri(path);
    if body.is_null() {
        return request.body(Body::empty()).unwrap();
    }
    let request = request.header(CONTENT_TYPE, "application/json");
    request.body(Body::from(body.to_string())).unwrap()
}

fn remote(address: &str) -> Peer {
    Peer::Remote(address.parse().unwrap())
}

#[tokio::test]
async fn an_app_is_made_found_and_ended() {
    let gateway = Gateway::new().await;
    let new = json!({"name": "acme", "contact": "ops@acme.test"});
    let (status, app) = gateway.ask("POST /api/v1/apps", new.clone()).await;
    assert_eq!((status, &app["state"]), (201, &json!("active")));
    assert_eq!(app["contact"], "ops@acme.test");
    let by_id = format!("GET /api/v1/apps/{}", app["id"].as_str().unwrap());
    for line in ["GET /api/v1/apps/acme", &by_id] {
        assert_eq!(gateway.ask(line, Value::Null).await, (200, app.clone()));
    }
    for (verb, state) in [
        ("suspend", "suspended"),
        ("resume", "active"),
        ("revoke", "revoked"),
    ] {
        let line = format!("POST /api/v1/apps/acme/{verb}");
        let (status, changed) = gateway.ask(&line, Value::Null).await;
        assert_eq!((status, &changed["app"]["state"]), (200, &json!(state)));
        assert_eq!(changed["receipt"]["workers"], 2, "{changed}");
        assert_eq!(changed["receipt"]["confirmed"], true, "{changed}");
    }
    for (line, body, refusal) in [
        (
            "POST /api/v1/apps",
            json!({"name": "A b"}),
            (422, Reason::InputInvalid),
        ),
        (
            "POST /api/v1/apps",
            json!({"name": "b", "nme": "c"}),
            (422, Reason::InputInvalid),
        ),
        ("POST /api/v1/apps", json!({}), (422, Reason::InputInvalid)),
        ("POST /api/v1/apps", json!([]), (422, Reason::InputInvalid)),
        (
            "POST /api/v1/apps",
            Value::Null,
            (415, Reason::InputInvalid),
        ),
        (
            "POST /api/v1/apps?a=b",
            json!({"name": "b"}),
            (422, Reason::InputInvalid),
        ),
        (
            "POST /api/v1/apps/acme/suspend",
            json!({"a": 1}),
            (422, Reason::InputInvalid),
        ),
        (
            "POST /api/v1/apps/acme/resume",
            Value::Null,
            (409, Reason::Conflict),
        ),
        (
            "GET /api/v1/apps/acme?verbose=1",
            Value::Null,
            (422, Reason::InputInvalid),
        ),
        (
            "GET /api/v1/apps/other",
            Value::Null,
            (404, Reason::NotFound),
        ),
        (
            "GET /api/v1/apps/app_00000000000000000000000007",
            Value::Null,
            (404, Reason::NotFound),
        ),
        (
            "GET /api/v1/apps/%ff",
            Value::Null,
            (400, Reason::RequestMalformed),
        ),
    ] {
        let expected = (refusal.0, refusal.1.code().to_owned());
        assert_eq!(
            gateway.refusal(line, body.clone()).await,
            expected,
            "{line} {body}"
        );
    }
    // The name of an App that is revoked for ever is free, and then taken.
    for (status, reason) in [(201, ""), (409, "conflict")] {
        let answer = gateway.refusal("POST /api/v1/apps", new.clone()).await;
        assert_eq!(answer, (status, reason.to_owned()));
    }
}

#[tokio::test]
async fn lists_go_on_where_they_stopped() {
    let gateway = Gateway::new().await;
    for name in ["a", "b", "c"] {
        gateway.fixture.app(name).await;
    }
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let line = format!("GET /api/v1/apps?limit=2{after}");
        let (status, list) = gateway.ask(&line, Value::Null).await;
        assert_eq!(status, 200, "{list}");
        let items = list["items"].as_array().unwrap();
        names.extend(
            items
                .iter()
                .map(|app| app["name"].as_str().unwrap().to_owned()),
        );
        match list["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    names.sort();
    assert_eq!(names, ["a", "b", "c"]);
    for query in [
        "limit=0",
        "limit=201",
        "limit=x",
        "after=x",
        "other=1",
        "limit=1&limit=2",
    ] {
        let line = format!("GET /api/v1/apps?{query}");
        let refused = gateway.refusal(&line, Value::Null).await;
        assert_eq!(refused, (422, "input_invalid".to_owned()), "{query}");
    }
}

#[tokio::test]
async fn a_certificate_is_signed_found_and_revoked() {
    let gateway = Gateway::new().await;
    gateway.fixture.app("acme").await;
    gateway.fixture.app("other").await;
    let sign =
        |app: &str, csr: &str| json!({"app": app, "name": "prod", "csr": csr, "lifetime": "30d"});
    let (status, signed) = gateway
        .ask("POST /api/v1/certificates", sign("acme", CSR))
        .await;
    assert_eq!(status, 201, "{signed}");
    let certificate = signed["certificate"].clone();
    assert_eq!(certificate["state"], "active");
    assert_eq!(certificate["key"], "p256");
    assert!(
        signed["chain_pem"]
            .as_str()
            .unwrap()
            .starts_with(signed["pem"].as_str().unwrap().trim())
    );
    assert_eq!(signed["receipt"]["workers"], 2);
    let id = certificate["id"].as_str().unwrap();

    let (status, found) = gateway
        .ask(&format!("GET /api/v1/certificates/{id}"), Value::Null)
        .await;
    assert_eq!((status, &found["pem"]), (200, &signed["pem"]));
    for (query, count) in [
        ("", 1),
        ("?app=acme", 1),
        ("?app=other", 0),
        ("?state=active", 1),
        ("?state=revoked", 0),
        ("?expiring=31d", 1),
        ("?expiring=29d", 0),
    ] {
        let (status, list) = gateway
            .ask(&format!("GET /api/v1/certificates{query}"), Value::Null)
            .await;
        assert_eq!(status, 200, "{query} {list}");
        assert_eq!(list["items"].as_array().unwrap().len(), count, "{query}");
    }
    let revoke = format!("POST /api/v1/certificates/{id}/revoke");
    for (line, body, refusal) in [
        (
            &*revoke,
            json!({"reason": "boredom"}),
            (422, Reason::InputInvalid),
        ),
        (
            "GET /api/v1/certificates?app=nobody",
            Value::Null,
            (404, Reason::NotFound),
        ),
        (
            "GET /api/v1/certificates?state=odd",
            Value::Null,
            (422, Reason::InputInvalid),
        ),
        (
            "GET /api/v1/certificates?expiring=30",
            Value::Null,
            (422, Reason::InputInvalid),
        ),
        (
            "GET /api/v1/certificates/crt_1",
            Value::Null,
            (404, Reason::NotFound),
        ),
        (
            "POST /api/v1/certificates",
            sign("other", CSR),
            (409, Reason::CsrKeyInUse),
        ),
        (
            "POST /api/v1/certificates",
            sign("acme", P521_CSR),
            (422, Reason::CsrKeyType),
        ),
        (
            "POST /api/v1/certificates",
            sign("acme", "nonsense"),
            (422, Reason::CsrMalformed),
        ),
        (
            "POST /api/v1/certificates",
            sign("nobody", OTHER_CSR),
            (404, Reason::NotFound),
        ),
    ] {
        let expected = (refusal.0, refusal.1.code().to_owned());
        assert_eq!(gateway.refusal(line, body).await, expected, "{line}");
    }
    let (status, revoked) = gateway
        .ask(&revoke, json!({"reason": "key-compromise"}))
        .await;
    assert_eq!(status, 200, "{revoked}");
    assert_eq!(revoked["certificate"]["state"], "revoked");
    assert_eq!(
        revoked["certificate"]["revocation_reason"],
        "key-compromise"
    );
    assert_eq!(revoked["receipt"]["connections_closed"], 1);
    assert_eq!(gateway.refusal(&revoke, Value::Null).await.0, 409);
}

#[tokio::test]
async fn a_request_is_looked_at_without_being_signed() {
    let gateway = Gateway::new().await;
    for (csr, verdict) in [
        (CSR, "accepted"),
        (P521_CSR, "refused"),
        ("nonsense", "refused"),
    ] {
        let (status, report) = gateway
            .ask("POST /api/v1/csr/inspect", json!({"csr": csr}))
            .await;
        assert_eq!(
            (status, &report["verdict"]),
            (200, &json!(verdict)),
            "{report}"
        );
    }
}

#[tokio::test]
async fn a_key_is_made_shown_once_rotated_and_revoked() {
    let gateway = Gateway::new().await;
    gateway.fixture.app("acme").await;
    let new = json!({"app": "acme", "scopes": ["orders:read"], "networks": ["192.0.2.0/24"], "expires_in": "90d"});
    let (status, created) = gateway.ask("POST /api/v1/keys", new).await;
    assert_eq!(status, 201, "{created}");
    assert!(created["secret"].as_str().unwrap().starts_with("sk_live_"));
    assert_eq!(created["key"]["name"], "default");
    assert_eq!(created["key"]["scopes"], json!(["orders:read"]));
    let id = created["key"]["id"].as_str().unwrap();
    let (status, found) = gateway
        .ask(&format!("GET /api/v1/keys/{id}"), Value::Null)
        .await;
    assert_eq!((status, &found), (200, &created["key"]));

    let rotate = format!("POST /api/v1/keys/{id}/rotate");
    let (status, rotated) = gateway.ask(&rotate, json!({"overlap": "1h"})).await;
    assert_eq!(status, 201, "{rotated}");
    assert_ne!(rotated["secret"], created["secret"]);
    assert_eq!(rotated["key"]["networks"], created["key"]["networks"]);
    let (_, list) = gateway
        .ask("GET /api/v1/keys?app=acme&state=retiring", Value::Null)
        .await;
    assert_eq!(list["items"][0]["id"], id);
    assert!(list["items"][0]["secret"].is_null());

    let revoke = format!("POST /api/v1/keys/{id}/revoke");
    let (status, revoked) = gateway.ask(&revoke, Value::Null).await;
    assert_eq!((status, &revoked["key"]["state"]), (200, &json!("revoked")));
    for (line, body, refusal) in [
        (&*revoke, Value::Null, (409, Reason::Conflict)),
        (&*rotate, Value::Null, (409, Reason::Conflict)),
        (
            &*rotate,
            json!({"overlap": "soon"}),
            (422, Reason::InputInvalid),
        ),
        (
            "POST /api/v1/keys",
            json!({"app": "nobody"}),
            (404, Reason::NotFound),
        ),
        (
            "POST /api/v1/keys",
            json!({"app": "acme", "scopes": ["a b"]}),
            (422, Reason::InputInvalid),
        ),
        (
            "POST /api/v1/keys",
            json!({"app": "acme", "networks": ["10.0.0.0/33"]}),
            (422, Reason::InputInvalid),
        ),
        (
            "POST /api/v1/keys",
            json!({"app": "acme", "environment": "moon"}),
            (422, Reason::InputInvalid),
        ),
        (
            "GET /api/v1/keys/key_1",
            Value::Null,
            (404, Reason::NotFound),
        ),
    ] {
        let expected = (refusal.0, refusal.1.code().to_owned());
        assert_eq!(
            gateway.refusal(line, body.clone()).await,
            expected,
            "{line} {body}"
        );
    }
}

#[tokio::test]
async fn only_who_proves_it_is_let_in() {
    let gateway = Gateway::new().await;
    let token = gateway.token("ops", Role::Viewer).await;
    let ask = async |address: &str, token: Option<&str>, path: &str| {
        let request = request(&format!("GET {path}"), Value::Null);
        gateway.send(remote(address), token, request).await
    };
    let good = ask("192.0.2.1", Some(token.expose()), "/api/v1/status").await;
    assert_eq!(good.status, 200, "{}", good.body);
    for bad in [
        None,
        Some(""),
        Some("cs_admin_x"),
        Some(&format!("{}x", token.expose())),
    ] {
        for path in ["/api/v1/status", "/api/v1/nowhere", "/"] {
            let refused = ask("192.0.2.2", bad, path).await;
            assert_eq!(refused.status, 401, "{bad:?} {path}");
            assert_eq!(refused.body["reason"], "admin_unauthenticated");
            let challenge = "Bearer realm=\"countersign-admin\"";
            assert_eq!(refused.fields[WWW_AUTHENTICATE], challenge);
        }
    }
    gateway.fixture.clock.advance(Duration::from_hours(2));
    let expired = ask("192.0.2.3", Some(token.expose()), "/api/v1/status").await;
    assert_eq!(expired.status, 401);
}

#[tokio::test]
async fn wrong_tokens_wait_and_neither_none_nor_a_right_one_does() {
    let gateway = Gateway::new().await;
    let token = gateway.token("ops", Role::Viewer).await;
    let revoked = gateway.token("gone", Role::Viewer).await;
    let tokens = gateway.fixture.control.admin_tokens(Page::first(10)).await;
    let gone = tokens
        .unwrap()
        .into_iter()
        .find(|token| token.name.as_str() == "gone");
    let control = &gateway.fixture.control;
    control
        .revoke_admin_token(&ACTOR, gone.unwrap().id)
        .await
        .unwrap();
    let ask = async |token: Option<&str>| {
        let request = request("GET /api/v1/status", Value::Null);
        gateway.send(remote("192.0.2.2"), token, request).await
    };
    for _ in 0..20 {
        assert_eq!(ask(None).await.status, 401, "nothing was guessed");
    }
    for wrong in ["cs_admin_x", revoked.expose()] {
        for _ in 0..5 {
            assert_eq!(ask(Some(wrong)).await.status, 401);
        }
    }
    for wrong in ["cs_admin_x", revoked.expose()] {
        let waiting = ask(Some(wrong)).await;
        let reason = &waiting.body["reason"];
        assert_eq!((waiting.status, reason), (429, &json!("auth_rate_limited")));
        assert!(waiting.fields.contains_key(RETRY_AFTER));
    }
    assert_eq!(ask(Some(token.expose())).await.status, 200, "a right one");
    assert_eq!(ask(None).await.status, 401);
}

#[tokio::test]
async fn each_role_may_do_its_part() {
    let gateway = Gateway::new().await;
    let viewer = gateway.token("viewer", Role::Viewer).await;
    let operator = gateway.token("operator", Role::Operator).await;
    let admin = gateway.token("admin", Role::Admin).await;
    let app = |name: &str| json!({ "name": name });
    for (line, body, allowed) in [
        ("GET /api/v1/apps", Value::Null, [200, 200, 200]),
        ("GET /api/v1/audit", Value::Null, [200, 200, 200]),
        ("GET /api/v1/openapi.json", Value::Null, [200, 200, 200]),
        (
            "POST /api/v1/csr/inspect",
            json!({"csr": CSR}),
            [200, 200, 200],
        ),
        ("POST /api/v1/apps", app("acme"), [403, 201, 409]),
        (
            "POST /api/v1/apps/acme/revoke",
            Value::Null,
            [403, 200, 409],
        ),
        ("GET /api/v1/admin-tokens", Value::Null, [403, 403, 200]),
        (
            "POST /api/v1/admin-tokens",
            json!({"name": "x", "role": "viewer"}),
            [403, 403, 201],
        ),
        ("POST /api/v1/reload", Value::Null, [403, 403, 200]),
        ("POST /api/v1/drain", Value::Null, [403, 403, 202]),
    ] {
        for (token, expected) in [&viewer, &operator, &admin].into_iter().zip(allowed) {
            let asked = request(line, body.clone());
            let answered = gateway
                .send(remote("192.0.2.1"), Some(token.expose()), asked)
                .await;
            assert_eq!(answered.status, expected, "{line} {}", answered.body);
            if expected == 403 {
                assert_eq!(answered.body["reason"], "admin_forbidden");
            }
        }
    }
    assert_eq!(gateway.process.drains.load(Ordering::SeqCst), 1);
    let (status, progress) = gateway.ask("GET /api/v1/drain", Value::Null).await;
    assert_eq!((status, &progress["state"]), (200, &json!("drained")));
    assert_eq!(progress["requests_cut"], 2);
}

#[tokio::test]
async fn an_admin_token_that_is_revoked_lets_nobody_in() {
    let gateway = Gateway::new().await;
    let new = json!({"name": "ci", "role": "operator", "expires_in": "1d"});
    let (status, created) = gateway.ask("POST /api/v1/admin-tokens", new).await;
    assert_eq!(status, 201, "{created}");
    let secret = created["secret"].as_str().unwrap();
    let try_it = async || {
        let asked = request("GET /api/v1/apps", Value::Null);
        gateway
            .send(remote("192.0.2.9"), Some(secret), asked)
            .await
            .status
    };
    assert_eq!(try_it().await, 200);
    let id = created["token"]["id"].as_str().unwrap();
    let revoke = format!("POST /api/v1/admin-tokens/{id}/revoke");
    let (status, revoked) = gateway.ask(&revoke, Value::Null).await;
    assert_eq!(status, 200, "{revoked}");
    assert!(revoked["revoked_at"].is_string());
    assert_eq!(try_it().await, 401);
    assert_eq!(gateway.refusal(&revoke, Value::Null).await.0, 409);
}

#[tokio::test]
async fn a_configuration_that_is_refused_says_all_that_is_wrong() {
    let gateway = Gateway::new().await;
    let (status, reloaded) = gateway.ask("POST /api/v1/reload", Value::Null).await;
    assert_eq!(
        (status, reloaded),
        (
            200,
            json!({"generation": 2, "revision": 7, "restart_needed": ["workers"]})
        )
    );
    let (status, refused) = gateway.ask("POST /api/v1/reload", Value::Null).await;
    assert_eq!(status, 422);
    assert_eq!(refused["problems"][0]["line"], 3);
    assert_eq!(refused["problems"][0]["suggestion"], "require");
    let (_, events) = gateway
        .ask("GET /api/v1/audit?action=gateway.reload", Value::Null)
        .await;
    let accepted = |place: usize| events["items"][place]["detail"]["accepted"].clone();
    assert_eq!(
        (accepted(0), accepted(1)),
        (json!(false), json!(true)),
        "{events}"
    );
    assert_eq!(events["items"][0]["actor"], "local:uid=0");
    gateway.ask("POST /api/v1/reload", Value::Null).await;
    let (status, unconfirmed) = gateway.ask("POST /api/v1/reload", Value::Null).await;
    assert_eq!(
        (status, &unconfirmed["reason"]),
        (503, &json!("unconfirmed"))
    );
    assert_eq!(
        unconfirmed.get("problems"),
        None,
        "nothing is wrong with it"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_shown_once_is_answered_even_when_no_worker_confirms_it() {
    let (outlet, publications) = tokio::sync::mpsc::channel(8);
    let gateway = Gateway::over(Fixture::with_outlet(outlet, Told::default()).await);
    let app = json!({"name": "acme"});
    let refused = gateway.refusal("POST /api/v1/apps", app).await;
    assert_eq!(refused, (503, "unconfirmed".to_owned()));
    for (line, body, what) in [
        ("POST /api/v1/keys", json!({"app": "acme"}), "/secret"),
        (
            "POST /api/v1/certificates",
            json!({"app": "acme", "name": "prod", "csr": CSR}),
            "/chain_pem",
        ),
    ] {
        let (status, made) = gateway.ask(line, body).await;
        assert_eq!(status, 201, "{made}");
        assert!(made.pointer(what).is_some_and(Value::is_string), "{made}");
        assert_eq!(made["receipt"]["confirmed"], false, "{made}");
        assert_eq!(made["receipt"]["workers"], 0, "{made}");
    }
    drop(publications);
}

#[tokio::test]
async fn every_change_can_be_found_in_the_audit_trail() {
    let gateway = Gateway::new().await;
    gateway
        .ask("POST /api/v1/apps", json!({"name": "acme"}))
        .await;
    gateway
        .ask("POST /api/v1/apps", json!({"name": "other"}))
        .await;
    gateway
        .ask("POST /api/v1/keys", json!({"app": "acme"}))
        .await;
    for (query, count) in [
        ("", 3),
        ("?app=acme", 2),
        ("?action=app.create", 2),
        ("?app=acme&action=key.create", 1),
        ("?subject=nothing", 0),
    ] {
        let (status, list) = gateway
            .ask(&format!("GET /api/v1/audit{query}"), Value::Null)
            .await;
        assert_eq!(status, 200, "{query}");
        assert_eq!(
            list["items"].as_array().unwrap().len(),
            count,
            "{query} {list}"
        );
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_too() {
    let gateway = Gateway::new().await;
    let nowhere = gateway.refusal("GET /api/v1/nowhere", Value::Null).await;
    assert_eq!(nowhere, (404, "route_unknown".to_owned()));
    let asked = request("DELETE /api/v1/apps", Value::Null);
    let wrong = gateway.send(LOCAL, None, asked).await;
    assert_eq!(
        (wrong.status, &wrong.body["reason"]),
        (405, &json!("method_unknown"))
    );
    let methods = wrong.fields[ALLOW].to_str().unwrap();
    assert!(
        methods.contains("GET") && methods.contains("POST"),
        "{methods}"
    );
    assert_eq!(wrong.fields[CONTENT_TYPE], "application/problem+json");
}

#[tokio::test]
async fn every_operation_of_the_document_is_answered_and_guarded() {
    let gateway = Gateway::new().await;
    let (_, document) = gateway.ask("GET /api/v1/openapi.json", Value::Null).await;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let path = path.replace('{', "x").replace('}', "");
            let line = format!("{} {path}", method.to_uppercase());
            let (_, reason) = gateway.refusal(&line, Value::Null).await;
            assert!(
                !["route_unknown", "method_unknown", "internal"].contains(&&*reason),
                "{line}"
            );
            let address = remote("192.0.2.1");
            let stranger = gateway
                .send(address, None, request(&line, Value::Null))
                .await;
            assert!(matches!(stranger.status, 401 | 429), "{line}");
        }
    }
}

#[tokio::test]
async fn the_client_speaks_through_both_doors() {
    let gateway = Gateway::new().await;
    let how = Listening::new(CancellationToken::new(), TaskTracker::new());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let socket = LocalSocket::bind(&path, Vec::new()).await.unwrap();
    how.tasks
        .spawn(listen::unix(socket, gateway.router.clone(), how.clone()));
    let local = AdminClient::unix(&path);
    let new = Some(json!({"name": "acme"}));
    let made = local
        .call(Method::POST, "/api/v1/apps", new.clone())
        .await
        .unwrap();
    assert_eq!(made["name"], "acme");
    let refused = local
        .call(Method::POST, "/api/v1/apps", new)
        .await
        .unwrap_err();
    let ClientError::Problem(refusal) = refused else {
        panic!("{refused}")
    };
    assert_eq!(
        (refusal.status, refusal.reason),
        (409, Some(Reason::Conflict))
    );
    let drained = local
        .call(Method::POST, "/api/v1/drain", None)
        .await
        .unwrap();
    assert_eq!(drained, Value::Null);

    let now = Timestamp::from_unix_millis(i64::try_from(unix_millis()).unwrap());
    let server = Server::new("127.0.0.1", now);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let tls = config_for_tests(&server.chain_pem, server.key_pem.expose());
    how.tasks.spawn(listen::tcp(
        listener,
        Some(tls),
        gateway.router.clone(),
        how.clone(),
    ));
    let token = gateway.token("ci", Role::Viewer).await;
    let client = AdminClient::https(&url, &server.ca_pem, &token).unwrap();
    let found = client
        .call(Method::GET, "/api/v1/apps/acme", None)
        .await
        .unwrap();
    assert_eq!(found, made);
    let stranger = Server::new("127.0.0.1", now);
    let distrusting = AdminClient::https(&url, &stranger.ca_pem, &token).unwrap();
    let error = distrusting
        .call(Method::GET, "/api/v1/apps", None)
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    how.closing.cancel();
    how.tasks.close();
    tokio::time::timeout(Duration::from_secs(10), how.tasks.wait())
        .await
        .unwrap();
}

/// The real time, from the age of a file that is made now: only the daemon's clock may be asked.
fn unix_millis() -> u128 {
    let file = tempfile::NamedTempFile::new().unwrap();
    let made = file.as_file().metadata().unwrap().modified().unwrap();
    made.duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis()
}
