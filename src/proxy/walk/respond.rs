//! Answers to refusals: a reason becomes status, fields and a problem (RFC 9457). This is the only place for that.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::crypto::x509::Leaf;
use crate::domain::api_key::Environment;
use crate::domain::ascii::Ascii;
use crate::domain::name::NAME_CHARS_MAX;
use crate::domain::reason::Reason;
use crate::domain::time::Timestamp;

use crate::proxy::codec::field_list::FieldList;
use crate::proxy::counters::standing::Strictest;
use crate::proxy::fields::cors;
use crate::proxy::fields::forwarding::{REQUEST_ID, RequestName, passing};
use crate::proxy::fields::grpc;
use crate::proxy::messages::message::Response;
use crate::proxy::messages::missing;
use crate::proxy::messages::offence::Offence;
use crate::proxy::messages::refusal::{DpopChallenge, Extra, Refusal};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
const REASON: HeaderName = HeaderName::from_static("x-countersign-reason");
const LEGACY_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const LEGACY_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const LEGACY_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The `Retry-After` of a refusal without a better one: soon, and not at once.
const RETRY_SECONDS: u64 = 1;

/// The circumstances of an answer besides the reason.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    pub request: &'a RequestName,
    /// The certificate that the connection was opened with.
    pub leaf: Option<&'a Leaf>,
    pub now: Timestamp,
    /// True if the caller needs the refusal in gRPC's form.
    pub grpc: bool,
}

/// The answer to a refused request, and the status by which it is counted.
pub fn refuse(refusal: &Refusal, about: Circumstances<'_>) -> (StatusCode, Response<Bytes>) {
    let status = status(refusal.reason.shown(), &refusal.extra);
    let mut answer = if about.grpc {
        trailers_only(refusal, status, about)
    } else {
        explained(refusal, status, about)
    };
    if let Some(reader) = &refusal.reader {
        cors::allow(&mut answer.fields, reader);
    }
    (status, answer)
}

/// A refusal of a gRPC call: nothing but a head (gRPC over HTTP/2, Trailers-Only).
fn trailers_only(
    refusal: &Refusal,
    status: StatusCode,
    about: Circumstances<'_>,
) -> Response<Bytes> {
    let shown = refusal.reason.shown();
    let mut response = Response::new(StatusCode::OK, Bytes::new());
    let fields = &mut response.fields;
    let kind = HeaderValue::from_static("application/grpc");
    fields.insert(header::CONTENT_TYPE, kind);
    let code = grpc::status(shown, status.as_u16());
    fields.insert(GRPC_STATUS, HeaderValue::from(code as u16));
    let text = format!("{}. {}", shown.title(), detail(shown, &refusal.extra));
    insert(fields, GRPC_MESSAGE, &grpc::message(&text));
    insert(fields, REASON, shown.code());
    name(fields, about.request);
    offer_nonce(fields, refusal);
    if let Extra::Limited(strictest) = &refusal.extra {
        allowance(fields, strictest);
    }
    if matches!(status.as_u16(), 429 | 503) {
        fields.insert(header::RETRY_AFTER, retry_after(&refusal.extra).into());
    }
    response
}

/// A refusal as a problem (RFC 9457).
fn explained(refusal: &Refusal, status: StatusCode, about: Circumstances<'_>) -> Response<Bytes> {
    let shown = refusal.reason.shown();
    let body = problem(shown, status, &refusal.extra, about).to_string();
    let mut response = Response::new(status, Bytes::from(body));
    let fields = &mut response.fields;
    fields.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    name(fields, about.request);
    if status == StatusCode::UNAUTHORIZED || shown == Reason::ScopeMissing {
        let challenge = match &refusal.dpop {
            Some(dpop) => dpop_challenge(shown, dpop),
            None => challenge(shown, &refusal.extra),
        };
        fields.insert(header::WWW_AUTHENTICATE, challenge);
    }
    offer_nonce(fields, refusal);
    if refusal.reason == Reason::RequestMalformed {
        // A client that frames one request in an odd way may mean another one by the bytes behind it.
        fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Extra::Allow(methods) = &refusal.extra {
        let list: Vec<&str> = methods.iter().map(http::Method::as_str).collect();
        insert(fields, header::ALLOW, &list.join(", "));
    }
    if let Extra::Limited(strictest) = &refusal.extra {
        allowance(fields, strictest);
    }
    if matches!(status.as_u16(), 429 | 503) {
        fields.insert(header::RETRY_AFTER, retry_after(&refusal.extra).into());
    }
    response
}

/// Adds the request's id to its answer.
pub fn name(fields: &mut FieldList, request: &RequestName) {
    fields.insert(REQUEST_ID, request.value.clone());
}

/// Adds the standing of the nearest limit (draft-ietf-httpapi-ratelimit-headers).
pub fn allowance(fields: &mut FieldList, strictest: &Strictest) {
    fields.insert(RATE_LIMIT_POLICY, strictest.limit.policy().clone());
    if let Ok(value) = HeaderValue::from_bytes(standing(strictest).as_bytes()) {
        fields.insert(RATE_LIMIT, passing(value));
    }
    if let Some(reset) = strictest.legacy_reset {
        legacy(fields, strictest, reset);
    }
}

/// Adds the fields that clients read before there was a draft. None of them is standardised; the time is in Unix
/// seconds, as most services have it, and is never early.
fn legacy(fields: &mut FieldList, strictest: &Strictest, reset: Timestamp) {
    let count = strictest.limit.measure().count();
    fields.insert(LEGACY_LIMIT, count.into());
    fields.insert(LEGACY_REMAINING, strictest.standing.remaining.into());
    let reset = reset.unix_seconds().saturating_add(1);
    fields.insert(LEGACY_RESET, reset.into());
}

/// Room for a name in quotes, two numbers of 32 and 64 bits, and the text between them.
type StandingText = Ascii<{ NAME_CHARS_MAX + 2 + 3 + 10 + 3 + 20 }>;

/// `"orders";r=3;t=12`. Every answer of a limited route has it, so no formatter is used.
fn standing(strictest: &Strictest) -> StandingText {
    let standing = &strictest.standing;
    let reset = whole_seconds(standing.full_in.max(standing.retry_after));
    let mut digits = itoa::Buffer::new();
    Ascii::EMPTY
        .and(b"\"")
        .and(strictest.limit.name().as_str().as_bytes())
        .and(b"\";r=")
        .and(digits.format(standing.remaining).as_bytes())
        .and(b";t=")
        .and(digits.format(reset).as_bytes())
}

fn status(shown: Reason, extra: &Extra) -> StatusCode {
    let code = match extra {
        Extra::Misdirected => 421,
        // A refusal in the handshake has no status of its own, and gets here only after one.
        _ if shown.status() == 0 => 403,
        _ => shown.status(),
    };
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn problem(shown: Reason, status: StatusCode, extra: &Extra, about: Circumstances<'_>) -> Value {
    let request_id = about.request.value.to_str().unwrap_or_default();
    let mut problem = Map::new();
    let mut say = |name: &str, value: Value| problem.insert(name.to_owned(), value);
    say("type", format!("urn:countersign:reason:{shown}").into());
    say("title", shown.title().into());
    say("status", status.as_u16().into());
    say("detail", detail(shown, extra).into());
    say("reason", shown.code().into());
    say("request_id", request_id.into());
    match extra {
        Extra::Limited(strictest) => {
            say("limit", strictest.limit.name().as_str().into());
            say("per", strictest.limit.per().as_str().into());
            say("retry_after", retry_after(extra).into());
            say(
                "violated-policies",
                json!([strictest.limit.name().as_str()]),
            );
        }
        Extra::RetryAfter(_) => {
            say("retry_after", retry_after(extra).into());
        }
        Extra::Scopes(scopes) => {
            say("scope", scopes.to_string().into());
        }
        Extra::Offence(offence) => {
            say("rule", offence.rule.into());
            if let Some(at) = offence.at {
                say("at", at.into());
            }
            if !offence.sent.is_empty() {
                say("sent", offence.sent.as_str().into());
            }
        }
        Extra::Accepted(kinds) => {
            say("accept", kinds.as_slice().into());
        }
        Extra::Environments(environments) => {
            let named: Vec<&str> = environments.iter().map(Environment::as_str).collect();
            say("environments", named.into());
        }
        Extra::Allow(_) | Extra::Misdirected | Extra::Missing(_) | Extra::Nothing => {}
    }
    if let Some(leaf) = about.leaf.filter(|_| is_about_the_certificate(shown)) {
        say("serial", leaf.serial.to_string().into());
        say("fingerprint", leaf.fingerprint.to_string().into());
        say("not_before", json!(leaf.validity.not_before));
        say("not_after", json!(leaf.validity.not_after));
        say("now", json!(about.now));
        say("reject_id", request_id.into());
    }
    Value::Object(problem)
}

/// The fault of this request, if it is known, and the cure.
fn detail(shown: Reason, extra: &Extra) -> Cow<'static, str> {
    match extra {
        Extra::Missing(requirement) => missing::detail(*requirement, shown)
            .unwrap_or_else(|| shown.help())
            .into(),
        Extra::Offence(offence) => offending(offence, shown.help()).into(),
        _ => shown.help().into(),
    }
}

fn offending(offence: &Offence, help: &str) -> String {
    let Offence { says, at, sent, .. } = offence;
    let place = match (at, sent.as_str()) {
        (_, "") => String::new(),
        (None, sent) => format!(" ({sent})"),
        (Some(at), sent) => format!(" ({sent} at byte {at})"),
    };
    format!("{says}{place}. {help}")
}

const fn is_about_the_certificate(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::AppRevoked
            | Reason::AppSuspended
            | Reason::CertExpired
            | Reason::CertNotYetValid
            | Reason::CertRevoked
            | Reason::CertUnregistered
            | Reason::TokenBinding
    )
}

/// The challenge of RFC 6750, 3: for a request without a credential, the scheme and nothing more.
fn challenge(shown: Reason, extra: &Extra) -> HeaderValue {
    let text = match (shown, extra) {
        (Reason::CredentialMissing, _) => "Bearer realm=\"countersign\"".to_owned(),
        // No scheme is registered for TLS client certificates; a challenge there must be (RFC 9110, 15.5.2).
        (Reason::CertMissing, _) => "Certificate realm=\"countersign\"".to_owned(),
        (Reason::ScopeMissing, Extra::Scopes(scopes)) => {
            format!(
                "Bearer realm=\"countersign\", error=\"insufficient_scope\", scope=\"{scopes}\""
            )
        }
        (reason, _) if is_about_a_signature(reason) => format!(
            "Signature realm=\"countersign\", error_description=\"{}\"",
            reason.title()
        ),
        (reason, _) => format!(
            "Bearer realm=\"countersign\", error=\"invalid_token\", error_description=\"{}\"",
            reason.title()
        ),
    };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Bearer"))
}

/// The challenge of RFC 9449, 7.1, for a caller that proves a key.
fn dpop_challenge(shown: Reason, challenge: &DpopChallenge) -> HeaderValue {
    let error = match shown {
        Reason::DpopNonceWanted => "use_dpop_nonce",
        Reason::ScopeMissing => "insufficient_scope",
        reason if reason.is_of_dpop() => "invalid_dpop_proof",
        _ => "invalid_token",
    };
    let text = format!(
        "DPoP realm=\"countersign\", error=\"{error}\", error_description=\"{}\", algs=\"{}\"",
        shown.title(),
        challenge.algorithms
    );
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("DPoP"))
}

/// Adds the nonce that the next proof needs.
fn offer_nonce(fields: &mut FieldList, refusal: &Refusal) {
    let challenge = refusal.dpop.as_deref();
    if let Some(nonce) = challenge.and_then(|challenge| challenge.nonce.as_deref()) {
        insert(fields, DPOP_NONCE, nonce);
    }
}

/// True for faults of a signature. No scheme is registered for signatures of requests (RFC 9421) either.
const fn is_about_a_signature(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ContentDigestMismatch
            | Reason::SignatureComponentsMissing
            | Reason::SignatureMalformed
            | Reason::SignatureMissing
            | Reason::SignatureReplayed
            | Reason::SignatureTooOld
    )
}

fn retry_after(extra: &Extra) -> u64 {
    match extra {
        Extra::Limited(strictest) => whole_seconds(strictest.standing.retry_after),
        Extra::RetryAfter(wait) => whole_seconds(*wait),
        _ => RETRY_SECONDS,
    }
}

/// The seconds, rounded up, so that a caller that waits that long is admitted; at least one.
fn whole_seconds(span: std::time::Duration) -> u64 {
    let up = u64::from(span.subsec_nanos() > 0);
    span.as_secs().saturating_add(up).max(1)
}

fn insert(fields: &mut FieldList, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        fields.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::domain::certificate::{Fingerprint, SerialNumber};
    use crate::domain::id::RequestId;
    use crate::domain::limit::{Limit, Per};
    use crate::domain::rate::Rate;
    use crate::domain::time::Validity;
    use crate::proxy::counters::standing::Standing;

    fn request() -> RequestName {
        RequestName {
            id: RequestId::from_bits(1),
            value: HeaderValue::from_static("req_1"),
        }
    }

    fn leaf() -> Leaf {
        Leaf {
            fingerprint: Fingerprint::from_bytes([0xab; 32]),
            key_digest: Fingerprint::from_bytes([1; 32]),
            serial: SerialNumber::from_bytes(&[0x0a, 0xff]).unwrap(),
            validity: Validity {
                not_before: "2026-01-01T00:00:00Z".parse().unwrap(),
                not_after: "2026-02-01T00:00:00Z".parse().unwrap(),
            },
            subject: "CN=acme".to_owned(),
            sans: Vec::new(),
            key: None,
            der: None,
        }
    }

    fn answered(refusal: impl Into<Refusal>) -> (http::Response<Bytes>, Value) {
        let request = request();
        let leaf = leaf();
        let (_, response) = refuse(
            &refusal.into(),
            Circumstances {
                grpc: false,
                request: &request,
                leaf: Some(&leaf),
                now: "2026-03-01T12:00:00Z".parse().unwrap(),
            },
        );
        let response = http::Response::from(response);
        let body = serde_json::from_slice(response.body()).unwrap();
        (response, body)
    }

    #[test]
    fn every_reason_has_an_answer_that_says_which_it_is() {
        for reason in Reason::ALL.iter().copied() {
            let (response, body) = answered(reason);
            assert!(response.status().as_u16() >= 400, "{reason}");
            assert_eq!(body["reason"], reason.shown().code(), "{reason}");
            assert_eq!(body["status"], response.status().as_u16(), "{reason}");
            assert_eq!(body["request_id"], "req_1", "{reason}");
            assert_eq!(response.headers()["x-request-id"], "req_1", "{reason}");
            assert_eq!(
                response.headers()[header::CONTENT_TYPE],
                "application/problem+json"
            );
            let challenged = response.headers().contains_key(header::WWW_AUTHENTICATE);
            assert_eq!(
                challenged,
                response.status() == 401 || reason == Reason::ScopeMissing,
                "{reason}"
            );
        }
    }

    #[test]
    fn a_call_of_grpc_is_refused_in_its_own_words() {
        let request = request();
        for reason in Reason::ALL.iter().copied() {
            let about = Circumstances {
                grpc: true,
                request: &request,
                leaf: None,
                now: "2026-03-01T12:00:00Z".parse().unwrap(),
            };
            let (status, response) = refuse(&reason.into(), about);
            assert!(status.as_u16() >= 400, "{reason}");
            let fields = &response.fields;
            assert_eq!(response.status, 200, "{reason}");
            assert!(response.body.is_empty(), "{reason}");
            assert_eq!(fields["content-type"], "application/grpc");
            assert_eq!(fields["x-countersign-reason"], reason.shown().code());
            assert_eq!(fields["x-request-id"], "req_1");
            let code: u16 = fields["grpc-status"].to_str().unwrap().parse().unwrap();
            assert!((1..=16).contains(&code), "{reason}: {code}");
            let message = fields["grpc-message"].to_str().unwrap();
            assert!(message.contains(reason.shown().title().split(' ').next().unwrap()));
        }
    }

    #[test]
    fn what_is_refused_is_named_with_its_place() {
        let offence = Offence::new("semicolons", "The path holds a semicolon", Some(2), b";");
        let (_, body) = answered(Refusal::naming(Reason::PathInvalid, offence));
        assert_eq!(
            (&body["rule"], &body["at"], &body["sent"]),
            (&json!("semicolons"), &json!(2), &json!(";"))
        );
        let detail = body["detail"].as_str().unwrap();
        assert!(
            detail.starts_with("The path holds a semicolon (; at byte 2). "),
            "{detail}"
        );
    }

    #[test]
    fn secrets_that_are_wrong_unknown_revoked_or_expired_look_the_same() {
        let (expected, _) = answered(Reason::KeyWrong);
        for reason in [
            Reason::KeyUnknown,
            Reason::KeyRevoked,
            Reason::KeyExpired,
            Reason::KeyMalformed,
            Reason::TokenSignature,
            Reason::TokenEnded,
        ] {
            let (response, _) = answered(reason);
            assert_eq!(response.status(), expected.status(), "{reason}");
            assert_eq!(response.headers(), expected.headers(), "{reason}");
            assert_eq!(response.body(), expected.body(), "{reason}");
        }
    }

    #[test]
    fn a_refused_certificate_is_explained() {
        let (response, body) = answered(Reason::CertExpired);
        assert_eq!(response.status(), 403);
        assert_eq!(body["serial"], "0aff");
        assert_eq!(body["not_after"], "2026-02-01T00:00:00Z");
        assert_eq!(body["not_before"], "2026-01-01T00:00:00Z");
        assert_eq!(body["now"], "2026-03-01T12:00:00Z");
        assert_eq!(body["reject_id"], "req_1");
        let (_, body) = answered(Reason::RouteUnknown);
        assert_eq!(body.get("serial"), None);
    }

    #[test]
    fn a_missing_method_names_the_others() {
        let extra = Extra::Allow(vec![http::Method::GET, http::Method::PUT]);
        let (response, _) = answered(Refusal::with(Reason::MethodUnknown, extra));
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()[header::ALLOW], "GET, PUT");
    }

    #[test]
    fn a_used_up_limit_says_which_and_until_when() {
        let strictest = Strictest::new(
            Arc::new(Limit::new(
                "orders".parse().unwrap(),
                Per::App,
                Rate {
                    count: 100,
                    period: Duration::from_mins(1),
                    burst: 20,
                },
            )),
            Standing {
                remaining: 0,
                full_in: Duration::from_secs(12),
                retry_after: Duration::from_millis(600),
            },
        );
        let (response, body) = answered(Refusal::with(
            Reason::RateLimited,
            Extra::Limited(Box::new(strictest)),
        ));
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert_eq!(response.headers()["ratelimit"], "\"orders\";r=0;t=12");
        assert_eq!(
            response.headers()["ratelimit-policy"],
            "\"orders\";q=100;w=60"
        );
        assert_eq!(body["limit"], "orders");
        assert_eq!(body["retry_after"], 1);
    }

    #[test]
    fn the_longest_names_and_numbers_of_a_limit_are_told_whole() {
        let rate = Rate {
            count: 1,
            period: Duration::from_secs(1),
            burst: 1,
        };
        let name = "a".repeat(NAME_CHARS_MAX);
        let strictest = Strictest::new(
            Arc::new(Limit::new(name.parse().unwrap(), Per::App, rate)),
            Standing {
                remaining: u32::MAX,
                full_in: Duration::MAX,
                retry_after: Duration::ZERO,
            },
        );
        let mut headers = FieldList::new();
        allowance(&mut headers, &strictest);
        let expected = format!("\"{name}\";r=4294967295;t=18446744073709551615");
        assert_eq!(headers["ratelimit"], expected);
    }

    #[test]
    fn challenges_are_those_of_rfc_6750() {
        let challenge = |refusal: Refusal| {
            let (response, _) = answered(refusal);
            response.headers()[header::WWW_AUTHENTICATE]
                .to_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(
            challenge(Reason::CredentialMissing.into()),
            "Bearer realm=\"countersign\""
        );
        assert!(challenge(Reason::TokenExpired.into()).contains("error=\"invalid_token\""));
        let scopes = Extra::Scopes("orders:read orders:write".parse().unwrap());
        assert_eq!(
            challenge(Refusal::with(Reason::ScopeMissing, scopes)),
            "Bearer realm=\"countersign\", error=\"insufficient_scope\", scope=\"orders:read orders:write\""
        );
    }

    #[test]
    fn challenges_to_prove_a_key_are_those_of_rfc_9449() {
        let challenged = |reason: Reason, nonce: Option<&str>| {
            let challenge = DpopChallenge {
                algorithms: "ES256 EdDSA",
                nonce: nonce.map(str::to_owned),
            };
            answered(Refusal::from(reason).challenged_by(challenge)).0
        };
        for (reason, error) in [
            (Reason::DpopProofStale, "invalid_dpop_proof"),
            (Reason::DpopNonceWanted, "use_dpop_nonce"),
            (Reason::TokenExpired, "invalid_token"),
            (Reason::ScopeMissing, "insufficient_scope"),
        ] {
            let answer = challenged(reason, None);
            let text = answer.headers()[header::WWW_AUTHENTICATE].to_str().unwrap();
            let begins = format!("DPoP realm=\"countersign\", error=\"{error}\"");
            assert!(text.starts_with(&begins), "{text}");
            assert!(text.ends_with("algs=\"ES256 EdDSA\""), "{text}");
            assert!(!answer.headers().contains_key(DPOP_NONCE));
        }
        let answer = challenged(Reason::DpopNonceWanted, Some("n-1"));
        assert_eq!(answer.headers()[DPOP_NONCE], "n-1");
    }

    #[test]
    fn another_tls_policy_is_421_only_on_a_used_connection() {
        let (fresh, _) = answered(Reason::HostMismatch);
        assert_eq!(fresh.status(), 403);
        let (used, _) = answered(Refusal::with(Reason::HostMismatch, Extra::Misdirected));
        assert_eq!(used.status(), 421);
    }
}
