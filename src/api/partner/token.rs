//! `POST /oauth2/token`: the client credentials grant (RFC 6749, 4.4), bound to the certificate when there is one (RFC 8705, 3).

use bytes::Bytes;
use http::header::{CONTENT_TYPE, PRAGMA, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::answer::{Keep, json};
use super::client_auth::{self, ClientAuthRefusal};
use super::form::{Form, InvalidForm};
use super::metrics::TokenMetrics;
use crate::control::tokens::error::TokenError;
use crate::control::tokens::mint::MintedToken;
use crate::control::tokens::request::{ClientProof, Grant, TokenRequest};
use crate::control::tokens::service::TokenService;
use crate::domain::id::KeyId;
use crate::domain::identity::{Claimed, Evidence};
use crate::domain::local::{LocalEndpoint, SMALL_BODY};
use crate::domain::local_call::{LocalAnswer, LocalCall};
use crate::domain::policy::Requirement;
use crate::domain::reason::Reason;
use crate::domain::secret::Secret;

/// The endpoint's row in the table.
pub static ENDPOINT: LocalEndpoint = LocalEndpoint {
    name: "countersign.token",
    path: "/oauth2/token",
    methods: &[Method::POST],
    requirement: Requirement::None,
    limits: &[],
    body_max: SMALL_BODY,
    open_to_quarantined: false,
    checks_secrets: true,
    of_tokens: true,
};

/// Mints a token, or says why not in the words of RFC 6749, 5.2.
pub fn answer(tokens: &TokenService, metrics: &TokenMetrics, asked: &LocalCall) -> LocalAnswer {
    match mint(tokens, asked) {
        Ok(minted) => {
            metrics.issued(minted.bound);
            LocalAnswer {
                response: granted(&minted),
                reason: None,
                claimed: Some(Claimed {
                    app: Some(minted.app),
                    key: Some(minted.key),
                    certificate: None,
                }),
            }
        }
        Err(refusal) => {
            metrics.refused(refusal.reason);
            LocalAnswer {
                response: refused(&refusal, asked),
                reason: Some(refusal.reason),
                claimed: Some(Claimed {
                    key: named_key(asked),
                    ..Claimed::default()
                }),
            }
        }
    }
}

/// The Key that a refused request names, proved or not: only the record hears of it.
fn named_key(asked: &LocalCall) -> Option<KeyId> {
    let form = Form::read(asked.request.body()).ok()?;
    let client = client_auth::read(asked.request.headers(), &form).ok()?;
    client.client_id.parse().ok()
}

/// The refusal of a token.
struct Refusal {
    code: &'static str,
    /// For the record.
    reason: Reason,
    /// For the client.
    shown: Reason,
    description: String,
}

fn mint(tokens: &TokenService, asked: &LocalCall) -> Result<MintedToken, Refusal> {
    let form = form(&asked.request)?;
    // A certificate that does not count is never passed over: whoever shows one wants a token bound to it.
    let certificate = match &asked.caller.certificate {
        Evidence::Absent => None,
        Evidence::Proved(proof) => Some(proof),
        Evidence::Refused(reason) => {
            return Err(Refusal::new("invalid_client", *reason, reason.help()));
        }
    };
    match form.get("grant_type") {
        Some("client_credentials") => {}
        Some(_) => {
            return Err(Refusal::new(
                "unsupported_grant_type",
                Reason::GrantUnsupported,
                "the only grant is client_credentials",
            ));
        }
        None => return Err(invalid("grant_type is missing")),
    }
    judge_resources(&form, &asked.snapshot.catalog.issuer)?;
    let client = client_auth::read(asked.request.headers(), &form)?;
    let request = TokenRequest {
        client: ClientProof {
            client_id: &client.client_id,
            secret: client.secret.as_ref().map(Secret::expose),
            method: client.method,
            certificate,
            address: asked.peer.address,
        },
        grant: Grant::ClientCredentials {
            scope: form.get("scope"),
        },
    };
    Ok(tokens.grant(&asked.snapshot, &request)?)
}

fn form(request: &Request<Bytes>) -> Result<Form, Refusal> {
    if request.uri().query().is_some_and(|query| !query.is_empty()) {
        return Err(invalid(
            "parameters belong in the body: addresses are written into logs",
        ));
    }
    if !is_form(request.headers()) {
        return Err(invalid(
            "send the body with Content-Type: application/x-www-form-urlencoded",
        ));
    }
    Form::read(request.body()).map_err(|error| match error {
        InvalidForm::Secret(around) => {
            Refusal::new("invalid_client", Reason::KeySurrounded, around)
        }
        error => invalid(&error.to_string()),
    })
}

/// A token is valid for one audience, which is the issuer: a request for another one is refused (RFC 8707, 2).
fn judge_resources(form: &Form, issuer: &str) -> Result<(), Refusal> {
    let ours = origin(issuer);
    if form
        .resources()
        .all(|asked| origin(asked).eq_ignore_ascii_case(ours))
    {
        return Ok(());
    }
    let description =
        format!("the only resource that tokens of this gateway are good for is {issuer}");
    Err(Refusal::new(
        "invalid_target",
        Reason::InputInvalid,
        &description,
    ))
}

/// An origin without what says nothing: the path of the root, and the port of its scheme.
fn origin(uri: &str) -> &str {
    let uri = uri.strip_suffix('/').unwrap_or(uri);
    uri.strip_suffix(":443").unwrap_or(uri)
}

fn is_form(fields: &HeaderMap) -> bool {
    let mut all = fields.get_all(CONTENT_TYPE).iter();
    let (Some(kind), None) = (all.next(), all.next()) else {
        return false;
    };
    let essence = kind.to_str().ok().and_then(|kind| kind.split(';').next());
    essence.is_some_and(|essence| {
        essence
            .trim()
            .eq_ignore_ascii_case("application/x-www-form-urlencoded")
    })
}

fn granted(minted: &MintedToken) -> Response<Bytes> {
    let mut body = json!({
        "access_token": minted.access_token,
        "token_type": "Bearer",
        "expires_in": minted.expires_in.as_secs(),
    });
    // An empty scope is no value of the standard's grammar.
    if !minted.scopes.is_empty()
        && let Value::Object(body) = &mut body
    {
        body.insert("scope".to_owned(), json!(minted.scopes.to_string()));
    }
    finish(json(Keep::Nothing, &body))
}

fn refused(refusal: &Refusal, asked: &LocalCall) -> Response<Bytes> {
    let body = json!({
        "error": refusal.code,
        "error_description": refusal.description,
        "reason": refusal.shown,
        "request_id": asked.request_id,
    });
    let mut response = finish(json(Keep::Nothing, &body));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    if refusal.code == "invalid_client" {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        let challenge = HeaderValue::from_static("Basic realm=\"countersign\", charset=\"UTF-8\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// RFC 6749 asks for `Pragma` beside `Cache-Control` on every answer with a token.
fn finish(mut response: Response<Bytes>) -> Response<Bytes> {
    let fields = response.headers_mut();
    fields.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

fn invalid(description: &str) -> Refusal {
    Refusal::new("invalid_request", Reason::InputInvalid, description)
}

impl Refusal {
    /// RFC 6749 allows plain ASCII without quotes and backslashes in a description, and nothing else.
    fn new(code: &'static str, reason: Reason, description: &str) -> Self {
        let plain = |c: char| match c {
            '"' | '`' => '\'',
            ' '..='~' if c != '\\' => c,
            _ => ' ',
        };
        Self {
            code,
            reason,
            shown: reason.shown(),
            description: description.chars().map(plain).collect(),
        }
    }
}

impl From<ClientAuthRefusal> for Refusal {
    fn from(refusal: ClientAuthRefusal) -> Self {
        Self::new(refusal.code, refusal.reason, refusal.description)
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        Self {
            shown: error.shown,
            ..Self::new(error.code, error.reason, error.description)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_asked_for_this_gateway_or_not_at_all() {
        const OURS: &str = "https://api.example.com";
        for (body, granted) in [
            ("", true),
            ("resource=", true),
            ("resource=https://api.example.com", true),
            ("resource=https://api.example.com/", true),
            ("resource=https://API.example.com:443/", true),
            (
                "resource=https://api.example.com&resource=https://api.example.com/",
                true,
            ),
            (
                "resource=https://api.example.com&resource=https://other.example.com",
                false,
            ),
            ("resource=https://api.example.com/v1", false),
            ("resource=https://api.example.com%23x", false),
            ("resource=https://api.example.com?x", false),
            ("resource=http://api.example.com", false),
            ("resource=https://api.example.com:8443", false),
            ("resource=https://api.example.com.evil.test", false),
            ("resource=https://api.example.com//", false),
            ("resource=api.example.com", false),
        ] {
            let form = Form::read(body.as_bytes()).unwrap();
            let judged = judge_resources(&form, OURS).map_err(|refusal| refusal.code);
            let expected = granted.then_some(()).ok_or("invalid_target");
            assert_eq!(judged, expected, "{body}");
        }
    }
}
