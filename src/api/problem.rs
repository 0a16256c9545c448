//! Turns a reason into an answer: problem details as RFC 9457 has them, the same shape wherever the gateway itself answers.

use std::error::Error;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use crate::control::error::Error as ControlError;
use crate::domain::id::RequestId;
use crate::domain::reason::Reason;
use crate::net::log_limit::LogLimit;

/// The media type of problem details.
pub const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A refusal on its way to the caller.
#[derive(Debug)]
pub struct Problem(Box<Inner>);

/// Boxed, because results that carry a problem are passed around and seldom hold one.
#[derive(Debug)]
struct Inner {
    reason: Reason,
    status: StatusCode,
    detail: Option<String>,
    members: Map<String, Value>,
    retry_after: Option<Duration>,
    challenge: Option<HeaderValue>,
    allow: Option<HeaderValue>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Problem {
    #[cfg(test)]
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    pub fn new(reason: Reason) -> Self {
        let status = StatusCode::from_u16(reason.status())
            .ok()
            .unwrap_or(StatusCode::FORBIDDEN);
        Self(Box::new(Inner {
            reason,
            status,
            detail: None,
            members: Map::new(),
            retry_after: None,
            challenge: None,
            allow: None,
            source: None,
        }))
    }

    /// The detail, in words for the caller.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Another status than the catalogue's, where the protocol has a more exact one.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.0.status = status;
        self
    }

    /// One more member, as RFC 9457 allows; it cannot replace one that every problem has.
    #[must_use]
    pub fn member(mut self, name: &str, value: Value) -> Self {
        self.0.members.insert(name.to_owned(), value);
        self
    }

    #[must_use]
    pub fn retry_after(mut self, span: Duration) -> Self {
        self.0.retry_after = Some(span);
        self
    }

    /// The challenge for `WWW-Authenticate`.
    #[must_use]
    pub fn challenge(mut self, challenge: HeaderValue) -> Self {
        self.0.challenge = Some(challenge);
        self
    }

    /// The methods that there are, for `Allow`.
    #[must_use]
    pub fn allow(mut self, methods: HeaderValue) -> Self {
        self.0.allow = Some(methods);
        self
    }

    /// The cause, for the log and never for the caller.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The document that the caller reads.
    pub fn document(&self, request_id: RequestId) -> Value {
        let shown = self.0.reason.shown();
        let mut document = self.0.members.clone();
        let always = json!({
            "type": format!("urn:countersign:reason:{shown}"),
            "title": shown.title(),
            "status": self.0.status.as_u16(),
            "detail": self.0.detail.as_deref().unwrap_or_else(|| shown.help()),
            "help": shown.help(),
            "reason": shown,
            "request_id": request_id,
        });
        if let Value::Object(always) = always {
            document.extend(always);
        }
        Value::Object(document)
    }

    /// The whole answer. Faults of our own are logged here, with all that lies behind them.
    pub fn answer(self, request_id: RequestId) -> http::Response<Bytes> {
        if self.0.status.is_server_error() {
            static FAILED: LogLimit = LogLimit::new();
            if let Some(suppressed) = FAILED.permit() {
                let (reason, cause) = (self.0.reason, chain(self.0.source.as_deref()));
                tracing::error!(%request_id, %reason, cause, suppressed, "a request failed");
            }
        }
        // A line of its own in a terminal: without an end, the prompt would stick to it.
        let body = Bytes::from(self.document(request_id).to_string() + "\n");
        let mut answer = http::Response::new(body);
        *answer.status_mut() = self.0.status;
        let fields = answer.headers_mut();
        fields.insert(CONTENT_TYPE, PROBLEM_JSON);
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(span) = self.0.retry_after {
            // Rounded up: who comes back too early is refused again.
            fields.insert(
                RETRY_AFTER,
                HeaderValue::from(
                    span.as_millis()
                        .div_ceil(1000)
                        .try_into()
                        .unwrap_or(u64::MAX),
                ),
            );
        }
        if let Some(challenge) = self.0.challenge {
            fields.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(methods) = self.0.allow {
            fields.insert(ALLOW, methods);
        }
        answer.extensions_mut().insert(self.0.reason);
        answer
    }
}

/// Says why, from the outside in.
fn chain(error: Option<&(dyn Error + Send + Sync + 'static)>) -> Option<String> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error?);
    let mut text = String::new();
    while let Some(error) = next {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.to_string());
        next = error.source();
    }
    Some(text)
}

/// A problem inside a response: the edge knows the request's id and writes the body.
#[derive(Clone, Debug)]
pub struct Unwritten(std::sync::Arc<std::sync::Mutex<Option<Problem>>>);

impl Unwritten {
    /// The problem, for the first caller that takes it.
    pub fn take(&self) -> Option<Problem> {
        self.0.lock().ok()?.take()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        let unwritten = Unwritten(std::sync::Arc::new(std::sync::Mutex::new(Some(self))));
        response.extensions_mut().insert(unwritten);
        response
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let problem = Self::new(error.reason).detail(error.detail.clone());
        let problem = if error.affected.is_empty() {
            problem
        } else {
            problem.member("affected", json!(error.affected))
        };
        problem.because(error)
    }
}

impl From<Reason> for Problem {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_every_problem_says() {
        let problem = Problem::new(Reason::NotFound)
            .detail("There is no App acme.")
            .member("status", json!(200))
            .member("hint", json!("look"));
        let document = problem.document(RequestId::from_bits(1));
        assert_eq!(
            document,
            json!({
                "type": "urn:countersign:reason:not_found",
                "title": Reason::NotFound.title(),
                "status": 404,
                "detail": "There is no App acme.",
                "help": Reason::NotFound.help(),
                "reason": "not_found",
                "request_id": "req_00000000000000000000000001",
                "hint": "look",
            })
        );
    }

    #[test]
    fn secrets_that_are_refused_look_alike() {
        let body = |reason| {
            Problem::new(reason)
                .answer(RequestId::from_bits(1))
                .into_body()
        };
        assert_eq!(body(Reason::KeyRevoked), body(Reason::KeyUnknown));
    }

    #[test]
    fn a_pause_is_rounded_up_to_seconds() {
        let answer = Problem::new(Reason::AuthRateLimited)
            .retry_after(Duration::from_millis(1001))
            .answer(RequestId::from_bits(1));
        assert_eq!(answer.headers()[RETRY_AFTER], "2");
    }

    #[test]
    fn what_lies_behind_stays_behind() {
        let problem = Problem::new(Reason::Internal).because(std::io::Error::other("/etc/secret"));
        assert!(
            !problem
                .document(RequestId::from_bits(1))
                .to_string()
                .contains("/etc")
        );
    }
}
