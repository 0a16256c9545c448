//! The operators' client: asks the admin API over the unix socket or over TLS.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::{TcpStream, UnixStream};

use super::admin::operations::ConfigProblem;
use crate::domain::reason::Reason;
use crate::domain::secret::Secret;
use crate::net::call::{self, CallError, Trust, TrustError};

/// Asks the admin API of one gateway.
pub struct AdminClient {
    door: Door,
}

enum Door {
    Socket(PathBuf),
    Tls {
        host: String,
        port: u16,
        trust: Trust,
        /// `Bearer …`, marked as sensitive.
        authorization: HeaderValue,
    },
}

/// A refusal of the admin API, as far as it could be read.
#[derive(Clone, Debug, Deserialize)]
pub struct Refusal {
    pub status: u16,
    pub reason: Option<Reason>,
    pub title: String,
    pub detail: String,
    #[serde(default)]
    pub help: Option<String>,
    #[serde(default)]
    pub request_id: Option<String>,
    /// The problems of a refused configuration.
    #[serde(default)]
    pub problems: Vec<ConfigProblem>,
    /// The uses that an unconfirmed change would stop.
    #[serde(default)]
    pub affected: Vec<Value>,
}

/// The failure of a call.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the gateway's address is not an https URL with a host and nothing after it")]
    Address,
    #[error("the admin token cannot be sent in a header")]
    Token,
    #[error("the trusted authorities cannot be used")]
    Trust(#[source] TrustError),
    /// Nobody answers there.
    #[error("the gateway cannot be reached at {at}")]
    Unreachable {
        at: String,
        #[source]
        source: io::Error,
    },
    /// Somebody is there, and the answer was lost: the change may have been made.
    #[error("the gateway's answer was lost")]
    Lost(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{}", .0.detail)]
    Problem(Box<Refusal>),
    /// An answer that the admin API would not give.
    #[error("the server is not a gateway's admin API: it answered with status {0}")]
    Foreign(u16),
}

/// The maximum size of an answer, larger than a full page of certificates.
const ANSWER_MAX: usize = 16 * 1024 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longer than the gateway itself waits for its workers, so that its explanation arrives.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

impl fmt::Debug for AdminClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AdminClient").field(&self.at()).finish()
    }
}

impl AdminClient {
    /// Asks over the socket of a gateway on this machine.
    pub fn unix(path: &Path) -> Self {
        Self {
            door: Door::Socket(path.to_owned()),
        }
    }

    /// Asks over TLS; trusts the authorities of `ca_pem` and no others.
    pub fn https(url: &str, ca_pem: &str, token: &Secret) -> Result<Self, ClientError> {
        let url: Uri = url.parse().ok().ok_or(ClientError::Address)?;
        let bare = matches!(url.path(), "" | "/") && url.query().is_none();
        let host = url.host().filter(|host| !host.is_empty());
        let (Some("https"), true, Some(host)) = (url.scheme_str(), bare, host) else {
            return Err(ClientError::Address);
        };
        let bearer = zeroize::Zeroizing::new(format!("Bearer {}", token.expose().trim()));
        let mut authorization = HeaderValue::from_str(&bearer)
            .ok()
            .ok_or(ClientError::Token)?;
        authorization.set_sensitive(true);
        Ok(Self {
            door: Door::Tls {
                host: host.trim_matches(['[', ']']).to_owned(),
                port: url.port_u16().unwrap_or(7443),
                trust: Trust::authorities(ca_pem).map_err(ClientError::Trust)?,
                authorization,
            },
        })
    }

    /// The address for messages.
    pub fn at(&self) -> String {
        match &self.door {
            Door::Socket(path) => path.display().to_string(),
            Door::Tls { host, port, .. } => format!("https://{host}:{port}"),
        }
    }

    /// Asks once. `path` begins with `/api/v1/` and may have a query; an answer without a body is null.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, ClientError> {
        let request = self.request(method, path, body)?;
        let asking = tokio::time::timeout(ANSWER_TIMEOUT, self.exchange(request));
        let answer = match asking.await {
            Ok(answer) => answer?,
            Err(elapsed) => return Err(ClientError::Lost(elapsed.into())),
        };
        read(&answer)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::new(Full::default());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().ok().ok_or(ClientError::Address)?;
        let host = match &self.door {
            Door::Socket(_) => "localhost".to_owned(),
            Door::Tls { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Door::Tls { host, port, .. } => format!("{host}:{port}"),
        };
        let fields = request.headers_mut();
        fields.insert(
            HOST,
            HeaderValue::from_str(&host)
                .ok()
                .ok_or(ClientError::Address)?,
        );
        fields.insert(CONNECTION, HeaderValue::from_static("close"));
        if let Door::Tls { authorization, .. } = &self.door {
            fields.insert(AUTHORIZATION, authorization.clone());
        }
        if let Some(body) = body {
            fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = Full::from(body.to_string());
        }
        Ok(request)
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<http::Response<Bytes>, ClientError> {
        let answer = match &self.door {
            Door::Socket(path) => {
                let stream = self.reach(UnixStream::connect(path)).await?;
                call::exchange(stream, request, ANSWER_MAX).await
            }
            Door::Tls {
                host, port, trust, ..
            } => {
                let stream = self
                    .reach(async {
                        let stream = TcpStream::connect((host.as_str(), *port)).await?;
                        trust.connect(stream, host).await
                    })
                    .await?;
                call::exchange(stream, request, ANSWER_MAX).await
            }
        };
        answer.map_err(|error: CallError| ClientError::Lost(error.into()))
    }

    async fn reach<T>(
        &self,
        connecting: impl Future<Output = io::Result<T>>,
    ) -> Result<T, ClientError> {
        let connected = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected,
            Err(elapsed) => Err(elapsed.into()),
        };
        connected.map_err(|source| ClientError::Unreachable {
            at: self.at(),
            source,
        })
    }
}

fn read(answer: &http::Response<Bytes>) -> Result<Value, ClientError> {
    let status = answer.status();
    let foreign = || ClientError::Foreign(status.as_u16());
    if status.is_success() {
        return match answer.body() {
            empty if empty.is_empty() => Ok(Value::Null),
            body => serde_json::from_slice(body).ok().ok_or_else(foreign),
        };
    }
    let problem = answer
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/problem+json");
    let refusal = problem
        .then(|| serde_json::from_slice::<Refusal>(answer.body()).ok())
        .flatten()
        .filter(|refusal| StatusCode::from_u16(refusal.status).is_ok());
    match refusal {
        Some(refusal) => Err(ClientError::Problem(Box::new(refusal))),
        None => Err(foreign()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, kind: &'static str, body: &'static str) -> http::Response<Bytes> {
        http::Response::builder()
            .status(status)
            .header(CONTENT_TYPE, kind)
            .body(Bytes::from_static(body.as_bytes()))
            .unwrap()
    }

    #[test]
    fn only_a_gateways_answers_are_believed() {
        let json = "application/json";
        assert_eq!(read(&answer(202, json, "")).unwrap(), Value::Null);
        assert_eq!(
            read(&answer(200, json, "[1]")).unwrap(),
            serde_json::json!([1])
        );
        for (status, kind, body) in [
            (200, "text/html", "<html>"),
            (502, "text/html", "<html>"),
            (404, json, r#"{"status":404,"title":"","detail":""}"#),
            (404, "application/problem+json", "{}"),
        ] {
            let error = read(&answer(status, kind, body)).unwrap_err();
            assert!(matches!(error, ClientError::Foreign(_)), "{body}");
        }
        let body = r#"{"type":"urn:x","status":404,"reason":"not_found","title":"t","detail":"There is no App acme."}"#;
        let error = read(&answer(404, "application/problem+json", body)).unwrap_err();
        assert_eq!(error.to_string(), "There is no App acme.");
        let ClientError::Problem(refusal) = error else {
            panic!()
        };
        assert_eq!(refusal.reason, Some(Reason::NotFound));
    }

    #[test]
    fn an_address_is_an_https_url_and_no_more() {
        let token = Secret::new("cs_admin_x".to_owned());
        for bad in [
            "",
            "gateway:7443",
            "http://gateway:7443",
            "https://",
            "https://gateway/path",
            "https://gateway?a",
        ] {
            let client = AdminClient::https(bad, "", &token);
            assert!(matches!(client, Err(ClientError::Address)), "{bad}");
        }
        let client = AdminClient::https("https://gateway:7443", "", &token);
        assert!(matches!(client, Err(ClientError::Trust(_))));
    }

    #[tokio::test]
    async fn nobody_there_is_said_so() {
        let client = AdminClient::unix(Path::new("/nowhere/admin.sock"));
        let error = client
            .call(Method::GET, "/api/v1/status", None)
            .await
            .unwrap_err();
        assert!(matches!(error, ClientError::Unreachable { .. }));
        assert!(error.to_string().contains("/nowhere/admin.sock"));
    }
}
