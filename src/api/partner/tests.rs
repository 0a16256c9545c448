//! The partner endpoints as partners see them: for each grant its refusal.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{Request, Response};
use serde_json::{Value, json};

use super::service::PartnerService;
use super::table::{self, Answer};
use super::{ca_pem, introspect, jwks, metadata, revoke, token, whoami};
use crate::control::testing::{ACTOR, CSR, Fixture, OTHER_CSR};
use crate::control::testing_edges::token_service;
use crate::domain::certificate::Certificate;
use crate::domain::credential::RevocationReason;
use crate::domain::id::RequestId;
use crate::domain::identity::{Caller, CertificateProof, Evidence};
use crate::domain::local::LocalEndpoint;
use crate::domain::local_call::{LocalAnswer, LocalCall, LocalPeer, ShownCertificate};
use crate::domain::reason::Reason;
use crate::domain::snapshot::Snapshot;

struct Desk {
    fixture: Fixture,
    registry: prometheus::Registry,
    service: Arc<PartnerService>,
    id: String,
    secret: String,
    /// Of the key's App.
    own: Certificate,
    /// Of another App.
    other: Certificate,
}

const FORM: &str = "application/x-www-form-urlencoded";

impl Desk {
    async fn new() -> Self {
        let fixture = Fixture::new().await;
        fixture.app("acme").await;
        fixture.app("other").await;
        let (key, secret) = fixture.key("acme", "orders:read orders:write").await;
        let own = fixture.sign("acme", "prod", CSR).await.unwrap();
        let other = fixture.sign("other", "prod", OTHER_CSR).await.unwrap();
        let registry = prometheus::Registry::new();
        let metrics = crate::api::partner::metrics::TokenMetrics::register(&registry);
        Self {
            registry,
            service: Arc::new(PartnerService {
                metrics: metrics.unwrap(),
                control: fixture.control.clone(),
                tokens: Arc::new(token_service(&fixture)),
                ca_pem: Arc::new(ArcSwap::from_pointee(Bytes::from(
                    fixture.control.authority().ca_pem().to_owned(),
                ))),
            }),
            id: key.id.to_string(),
            secret: secret.expose().to_owned(),
            own: own.value.certificate,
            other: other.value.certificate,
            fixture,
        }
    }

    /// The reasons for which the token endpoint counts refusals.
    fn counted(&self) -> Vec<String> {
        let families = self.registry.gather();
        let errors = families
            .iter()
            .find(|family| family.name() == "countersign_token_errors_total");
        let series = errors.unwrap().get_metric().iter();
        series
            .map(|metric| metric.get_label()[0].value().to_owned())
            .collect()
    }

    fn proof(&self, certificate: &Certificate) -> Evidence<CertificateProof> {
        let now = crate::domain::time::Clock::now(&*self.fixture.clock);
        let judged =
            self.fixture
                .snapshot()
                .judge(&certificate.fingerprint, &certificate.validity, now);
        judged.map_or_else(Evidence::Refused, Evidence::Proved)
    }

    async fn call(
        &self,
        endpoint: &'static LocalEndpoint,
        shown: Option<&Certificate>,
        request: Request<Bytes>,
    ) -> LocalAnswer {
        let snapshot = self.fixture.snapshot();
        self.call_under(snapshot, endpoint, shown, request).await
    }

    /// A call whose head was decided by this snapshot.
    async fn call_under(
        &self,
        snapshot: Arc<Snapshot>,
        endpoint: &'static LocalEndpoint,
        shown: Option<&Certificate>,
        request: Request<Bytes>,
    ) -> LocalAnswer {
        let certificate = shown.map(|certificate| ShownCertificate {
            serial: certificate.serial,
            fingerprint: certificate.fingerprint,
            subject: certificate.subject.clone(),
            validity: certificate.validity,
        });
        let call = LocalCall {
            endpoint,
            request,
            snapshot,
            caller: Caller::shown(shown.map_or(Evidence::Absent, |shown| self.proof(shown))),
            peer: LocalPeer {
                address: "192.0.2.1".parse().unwrap(),
                certificate,
                tls_version: "TLSv1.3",
                sni: Some("api.example.com".into()),
            },
            request_id: RequestId::from_bits(1),
            now: crate::domain::time::Clock::now(&*self.fixture.clock),
        };
        match table::answer(&self.service, call).unwrap() {
            Answer::Ready(answer) => *answer,
            Answer::Waits(answer) => answer.await,
        }
    }

    async fn get(
        &self,
        endpoint: &'static LocalEndpoint,
        shown: Option<&Certificate>,
    ) -> Response<Bytes> {
        let request = Request::get(endpoint.path).body(Bytes::new()).unwrap();
        self.call(endpoint, shown, request).await.response
    }

    /// `{id}` and `{secret}` stand for the key's; an empty `basic` sends no Authorization.
    async fn token(&self, shown: Option<&Certificate>, basic: &str, body: &str) -> LocalAnswer {
        let fill = |text: &str| {
            text.replace("{id}", &self.id)
                .replace("{secret}", &self.secret)
        };
        let mut request = Request::post("/oauth2/token").header(CONTENT_TYPE, FORM);
        if !basic.is_empty() {
            let encoded = data_encoding::BASE64.encode(fill(basic).as_bytes());
            request = request.header(AUTHORIZATION, format!("Basic {encoded}"));
        }
        let request = request.body(Bytes::from(fill(body))).unwrap();
        self.call(&token::ENDPOINT, shown, request).await
    }
}

fn body(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

#[tokio::test]
async fn each_grant_gives_a_token() {
    let desk = Desk::new().await;
    let (grant, both) = ("grant_type=client_credentials", "orders:read orders:write");
    for (shown, basic, rest, seconds, scope) in [
        (None, "{id}:{secret}", "", 900, both),
        (
            None,
            "{id}:{secret}",
            "&scope=orders:read",
            900,
            "orders:read",
        ),
        (None, "{id}:{secret}", "&client_id={id}", 900, both),
        (
            None,
            "",
            "&client_id={id}&client_secret={secret}",
            900,
            both,
        ),
        (
            Some(&desk.own),
            "{id}:{secret}",
            "&scope=orders%3Aread",
            3600,
            "orders:read",
        ),
        (Some(&desk.own), "", "&client_id={id}", 3600, both),
        (
            None,
            "{id}:{secret}",
            "&resource=https://gateway.test",
            900,
            both,
        ),
    ] {
        let answer = desk.token(shown, basic, &format!("{grant}{rest}")).await;
        assert_eq!(
            (answer.reason, answer.claimed.unwrap().app.is_some()),
            (None, true)
        );
        let response = answer.response;
        let document = body(&response);
        assert_eq!(response.status(), 200, "{rest}: {document}");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(response.headers()["pragma"], "no-cache");
        assert_eq!(document["token_type"], "Bearer");
        assert_eq!(document["expires_in"], seconds, "{rest}");
        assert_eq!(document["scope"], scope);
        assert_eq!(
            document["access_token"]
                .as_str()
                .unwrap()
                .split('.')
                .count(),
            3
        );
    }
}

#[tokio::test]
async fn each_refusal_says_why_in_the_standards_words() {
    let desk = Desk::new().await;
    let counted = desk.counted();
    let (own, other) = (Some(&desk.own), Some(&desk.other));
    let grant = "grant_type=client_credentials";
    let with = |rest: &str| format!("{grant}{rest}");
    for (shown, basic, form, status, code, reason) in [
        (
            None,
            "{id}:{secret}",
            String::new(),
            400,
            "invalid_request",
            Reason::InputInvalid,
        ),
        (
            None,
            "{id}:{secret}",
            "grant_type=password".to_owned(),
            400,
            "unsupported_grant_type",
            Reason::GrantUnsupported,
        ),
        (
            None,
            "{id}:{secret}",
            with("&grant_type=client_credentials"),
            400,
            "invalid_request",
            Reason::InputInvalid,
        ),
        (
            None,
            "{id}:{secret}",
            with("&scope=a&scope=b"),
            400,
            "invalid_request",
            Reason::InputInvalid,
        ),
        (
            None,
            "{id}:{secret}",
            with("&scope=admin"),
            400,
            "invalid_scope",
            Reason::ScopeInvalid,
        ),
        (
            None,
            "{id}:{secret}",
            with("&client_secret={secret}"),
            400,
            "invalid_request",
            Reason::InputInvalid,
        ),
        (
            None,
            "{id}:{secret}",
            with("&a=%"),
            400,
            "invalid_request",
            Reason::InputInvalid,
        ),
        (
            None,
            "",
            with(""),
            401,
            "invalid_client",
            Reason::CredentialMissing,
        ),
        (
            None,
            "",
            with("&client_id={id}"),
            401,
            "invalid_client",
            Reason::CertMissing,
        ),
        (
            None,
            "{id}:nonsense",
            with(""),
            401,
            "invalid_client",
            Reason::KeyMalformed,
        ),
        (
            None,
            "key_00000000000000000000000007:{secret}",
            with(""),
            401,
            "invalid_client",
            Reason::KeyUnknown,
        ),
        (
            None,
            "nobody:{secret}",
            with(""),
            401,
            "invalid_client",
            Reason::KeyUnknown,
        ),
        (
            other,
            "{id}:{secret}",
            with(""),
            401,
            "invalid_client",
            Reason::AppsDiffer,
        ),
        (
            own,
            "",
            with("&client_id=nobody"),
            401,
            "invalid_client",
            Reason::KeyMalformed,
        ),
    ] {
        let LocalAnswer {
            response,
            reason: recorded,
            ..
        } = desk.token(shown, basic, &form).await;
        let document = body(&response);
        let seen = (
            response.status().as_u16(),
            document["error"].as_str().unwrap(),
        );
        assert_eq!(seen, (status, code), "{basic} {form}: {document}");
        assert_eq!(recorded, Some(reason), "{form}");
        assert_eq!(document["reason"], reason.shown().code());
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        let challenge = response.headers().get(WWW_AUTHENTICATE).is_some();
        assert_eq!(challenge, status == 401, "{form}");
        assert!(!document.to_string().contains(&desk.secret), "{document}");
    }
    assert_eq!(desk.counted(), counted, "every reason was there before");
}

#[tokio::test]
async fn a_certificate_learns_nothing_of_the_keys_of_another_app() {
    let desk = Desk::new().await;
    let (control, actor) = (&desk.fixture.control, &ACTOR);
    let ask = async |id: &str| {
        let form = format!("grant_type=client_credentials&client_id={id}");
        desk.token(Some(&desk.other), "", &form).await
    };
    let mut answers = vec![
        (
            Reason::KeyUnknown,
            ask("key_00000000000000000000000007").await,
        ),
        (Reason::KeyMalformed, ask("nobody").await),
        (Reason::AppsDiffer, ask(&desk.id).await),
    ];
    control.suspend_app(actor, "acme").await.unwrap();
    answers.push((Reason::AppSuspended, ask(&desk.id).await));
    control.revoke_app(actor, "acme").await.unwrap();
    answers.push((Reason::AppRevoked, ask(&desk.id).await));
    let [(_, unknown), ..] = &*answers else {
        panic!("there is nothing to compare with");
    };
    let counted = desk.counted();
    for (reason, answer) in &answers {
        assert!(counted.contains(&reason.to_string()), "{reason}");
        assert_eq!(answer.reason, Some(*reason), "for the record");
        let (answer, unknown) = (&answer.response, &unknown.response);
        assert_eq!(answer.status(), unknown.status(), "{reason}");
        assert_eq!(answer.headers(), unknown.headers(), "{reason}");
        assert_eq!(answer.body(), unknown.body(), "{reason}");
    }
    assert_eq!(body(&unknown.response)["reason"], "credential_invalid");
}

#[tokio::test]
async fn parameters_come_in_a_form_and_nowhere_else() {
    let desk = Desk::new().await;
    let form = format!(
        "grant_type=client_credentials&client_id={}&client_secret={}",
        desk.id, desk.secret
    );
    for (uri, kind, status) in [
        ("/oauth2/token", Some(FORM), 200),
        (
            "/oauth2/token",
            Some("Application/X-WWW-Form-URLEncoded;charset=UTF-8"),
            200,
        ),
        ("/oauth2/token?", Some(FORM), 200),
        ("/oauth2/token", Some("application/json"), 400),
        ("/oauth2/token", None, 400),
        (
            "/oauth2/token?grant_type=client_credentials",
            Some(FORM),
            400,
        ),
    ] {
        let request = Request::post(uri);
        let request = match kind {
            Some(kind) => request.header(CONTENT_TYPE, kind),
            None => request,
        };
        let request = request.body(Bytes::from(form.clone())).unwrap();
        let response = desk.call(&token::ENDPOINT, None, request).await.response;
        assert_eq!(response.status(), status, "{uri} {kind:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_does_not_count_is_not_passed_over() {
    let desk = Desk::new().await;
    let revoked =
        desk.fixture
            .control
            .revoke_certificate(&ACTOR, desk.own.id, RevocationReason::Superseded);
    revoked.await.unwrap();
    let grant = "grant_type=client_credentials";
    let response = desk
        .token(Some(&desk.own), "{id}:{secret}", grant)
        .await
        .response;
    assert_eq!(response.status(), 401);
    assert_eq!(body(&response)["reason"], "cert_revoked");
    let answer = desk.token(None, "{id}:{secret}", grant).await;
    assert_eq!(answer.response.status(), 200);
}

#[tokio::test]
async fn whoami_tells_everyone_where_they_stand() {
    let desk = Desk::new().await;
    let nobody = body(&desk.get(&whoami::ENDPOINT, None).await);
    assert_eq!(nobody["authenticated"], false);
    assert_eq!(
        (&nobody["app"], &nobody["certificate"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(nobody["tls"]["version"], "TLSv1.3");
    assert_eq!(nobody["address"], "192.0.2.1");
    assert!(nobody["reason"].is_null());

    let response = desk.get(&whoami::ENDPOINT, Some(&desk.own)).await;
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    let known = body(&response);
    assert_eq!(
        (&known["authenticated"], &known["app"]["name"]),
        (&json!(true), &json!("acme"))
    );
    assert_eq!(known["certificate"]["serial"], desk.own.serial.to_string());
    assert_eq!(known["certificate"]["state"], "active");

    desk.fixture
        .clock
        .advance(std::time::Duration::from_hours(24 * 365));
    let expired = body(&desk.get(&whoami::ENDPOINT, Some(&desk.own)).await);
    assert_eq!(expired["authenticated"], false);
    assert_eq!(expired["app"], Value::Null);
    assert_eq!(expired["reason"], "cert_expired");
    assert_eq!(expired["certificate"]["state"], "expired");
    assert!(
        expired["help"]
            .as_str()
            .unwrap()
            .contains("signing request")
    );
}

#[tokio::test]
async fn what_everyone_may_read_may_be_kept_for_a_while() {
    let desk = Desk::new().await;
    for (endpoint, kind) in [
        (&ca_pem::ENDPOINT, "application/pem-certificate-chain"),
        (&jwks::ENDPOINT, "application/jwk-set+json"),
        (&metadata::ENDPOINT, "application/json"),
    ] {
        let response = desk.get(endpoint, None).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[CONTENT_TYPE], kind);
        assert_eq!(response.headers()[CACHE_CONTROL], "public, max-age=300");
    }
    let pem = desk.get(&ca_pem::ENDPOINT, None).await.into_body();
    assert!(pem.starts_with(b"-----BEGIN CERTIFICATE-----"));
}

#[tokio::test]
async fn a_key_that_was_revoked_while_the_body_was_on_its_way_proves_nothing() {
    let desk = Desk::new().await;
    let before = desk.fixture.snapshot();
    let control = &desk.fixture.control;
    let key = desk.id.parse().unwrap();
    let why = RevocationReason::KeyCompromise;
    control.revoke_key(&ACTOR, key, why).await.unwrap();
    for (endpoint, form) in [
        (&token::ENDPOINT, "grant_type=client_credentials"),
        (&introspect::ENDPOINT, "token=x"),
        (&revoke::ENDPOINT, "token=x"),
    ] {
        let client =
            data_encoding::BASE64.encode(format!("{}:{}", desk.id, desk.secret).as_bytes());
        let request = Request::post(endpoint.path)
            .header(CONTENT_TYPE, FORM)
            .header(AUTHORIZATION, format!("Basic {client}"))
            .body(Bytes::from(form))
            .unwrap();
        let before = Arc::clone(&before);
        let answer = desk.call_under(before, endpoint, None, request).await;
        assert_eq!(answer.response.status(), 401, "{}", endpoint.path);
        assert_eq!(answer.reason, Some(Reason::KeyRevoked), "{}", endpoint.path);
    }
}
