//! The bodies of requests: JSON of known fields, bounded in size and time.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::query;
use crate::api::problem::Problem;
use crate::domain::reason::Reason;

/// The maximum size of a body: enough for the largest signing request, escaped.
pub const BODY_MAX: usize = 128 * 1024;

/// From the head to the end of the body.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// A JSON body whose type refuses unknown fields.
#[derive(Debug)]
pub struct Body<T>(pub T);

/// A JSON body that may be left out, when all of its fields may.
#[derive(Debug)]
pub struct OptionalBody<T>(pub T);

/// The body of a request that says everything in its path; `{}` is taken as well.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        query::none(request.uri())?;
        let json = is_json(request.headers());
        let bytes = read(request).await?;
        json?;
        parse(&bytes).map(Self)
    }
}

impl<S: Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        query::none(request.uri())?;
        let json = is_json(request.headers());
        let bytes = read(request).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        json?;
        parse(&bytes).map(Self)
    }
}

fn is_json(fields: &HeaderMap) -> Result<(), Problem> {
    let kind = fields.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or("");
    if essence.trim().eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(Reason::InputInvalid)
        .status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
        .detail("Send the body with `Content-Type: application/json`."))
}

async fn read(request: Request) -> Result<Bytes, Problem> {
    let mut kept = Kept::default();
    let reading = kept.take(request.into_body());
    match tokio::time::timeout(BODY_TIMEOUT, reading).await {
        _ if kept.passed_over > 0 => Err(Problem::new(Reason::BodyTooLarge)
            .detail(format!("A body here has at most {BODY_MAX} bytes."))),
        Ok(Ok(())) => Ok(kept.bytes.freeze()),
        Ok(Err(error)) => Err(Problem::new(Reason::RequestMalformed).because(error)),
        Err(elapsed) => Err(Problem::new(Reason::BodyTimeout).because(elapsed)),
    }
}

/// A body as far as it is wanted. What is too much is passed over for a while instead of being left on the connection:
/// who closes on unread bytes takes back the answer that says so.
#[derive(Default)]
struct Kept {
    bytes: BytesMut,
    passed_over: usize,
}

impl Kept {
    async fn take(&mut self, mut body: axum::body::Body) -> Result<(), axum::Error> {
        while self.passed_over < PASSED_OVER_MAX
            && let Some(frame) = body.frame().await
        {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            if self.passed_over > 0 || self.bytes.len() + data.len() > BODY_MAX {
                self.passed_over += data.len();
            } else {
                self.bytes.extend_from_slice(&data);
            }
        }
        Ok(())
    }
}

/// More than an operator's tool sends by mistake; the rest of a larger body is not waited for.
const PASSED_OVER_MAX: usize = 4 << 20;

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        let reason = match error.classify() {
            serde_json::error::Category::Data => Reason::InputInvalid,
            _ => Reason::RequestMalformed,
        };
        Problem::new(reason).detail(format!("The body cannot be used: {}.", fault(&error)))
    })
}

/// The fault of a body, without its place in it: bodies are written by programs, in one long line.
fn fault(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    said.strip_suffix(&place).unwrap_or(&said).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body as RawBody;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Thing {
        #[serde(default)]
        name: String,
    }

    fn request(kind: &str, uri: &str, body: impl Into<RawBody>) -> Request {
        let request = Request::builder().uri(uri);
        let request = match kind {
            "" => request,
            kind => request.header(CONTENT_TYPE, kind),
        };
        request.body(body.into()).unwrap()
    }

    #[tokio::test]
    async fn only_json_of_known_fields_is_taken() {
        let json = "application/json";
        let ask = async |kind: &str, uri: &str, body: &str| {
            let read = Body::<Thing>::from_request(request(kind, uri, body.to_owned()), &()).await;
            read.map(|body| body.0.name)
                .map_err(|problem| problem.reason())
        };
        assert_eq!(ask(json, "/", r#"{"name":"a"}"#).await, Ok("a".to_owned()));
        assert_eq!(
            ask("application/JSON; charset=utf-8", "/", "{}").await,
            Ok(String::new())
        );
        for (kind, uri, body, reason) in [
            ("", "/", "{}", Reason::InputInvalid),
            ("text/plain", "/", "{}", Reason::InputInvalid),
            (json, "/?a=b", "{}", Reason::InputInvalid),
            (json, "/", r#"{"nam":"a"}"#, Reason::InputInvalid),
            (json, "/", r#"{"name":1}"#, Reason::InputInvalid),
            (
                json,
                "/",
                r#"{"name":"a","name":"b"}"#,
                Reason::InputInvalid,
            ),
            (json, "/", r#"{"name":"a"} {}"#, Reason::RequestMalformed),
            (json, "/", r#"{"name":"#, Reason::RequestMalformed),
            (json, "/", "", Reason::RequestMalformed),
        ] {
            assert_eq!(
                ask(kind, uri, body).await,
                Err(reason),
                "{kind} {uri} {body}"
            );
        }
    }

    #[tokio::test]
    async fn a_body_has_a_largest_size() {
        let body = " ".repeat(BODY_MAX + 1);
        let read = Body::<Thing>::from_request(request("application/json", "/", body), &()).await;
        assert_eq!(read.unwrap_err().reason(), Reason::BodyTooLarge);
    }

    #[tokio::test]
    async fn a_body_that_may_be_left_out_is_not_guessed() {
        let ask = async |kind: &str, body: &str| {
            OptionalBody::<Nothing>::from_request(request(kind, "/", body.to_owned()), &())
                .await
                .map(|_| ())
                .map_err(|problem| problem.reason())
        };
        assert_eq!(ask("", "").await, Ok(()));
        assert_eq!(ask("application/json", "{}").await, Ok(()));
        assert_eq!(ask("", "{}").await, Err(Reason::InputInvalid));
        let unknown = ask("application/json", r#"{"a":1}"#).await;
        assert_eq!(unknown, Err(Reason::InputInvalid));
    }
}
