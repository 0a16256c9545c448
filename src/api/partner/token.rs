//! `POST /oauth2/token`: the client credentials grant (RFC 6749, 4.4), bound to the certificate when there is one (RFC 8705, 3).

use bytes::Bytes;
use http::header::{CONTENT_TYPE, PRAGMA, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::client_auth::{self, ClientAuthRefusal};
use super::form::Form;
use super::metrics::TokenMetrics;
use super::service::{Keep, PartnerRequest, json};
use crate::control::tokens::{MintedToken, TokenError, TokenRequest, TokenService};
use crate::domain::id::KeyId;
use crate::domain::identity::{Claimed, Evidence};
use crate::domain::reason::Reason;
use crate::domain::secret::Secret;

/// Mints a token, or says why not in the words of RFC 6749, 5.2.
pub fn answer(
    tokens: &TokenService,
    metrics: &TokenMetrics,
    asked: &PartnerRequest,
) -> Response<Bytes> {
    match mint(tokens, asked) {
        Ok(minted) => {
            metrics.issued(minted.bound);
            let mut response = granted(&minted);
            response.extensions_mut().insert(Claimed {
                app: Some(minted.app),
                key: Some(minted.key),
                certificate: None,
            });
            response
        }
        Err(refusal) => {
            metrics.refused(refusal.reason);
            let mut response = refused(&refusal, asked);
            response.extensions_mut().insert(Claimed {
                key: named_key(asked),
                ..Claimed::default()
            });
            response
        }
    }
}

/// The Key that a refused request names, proved or not: only the record hears of it.
fn named_key(asked: &PartnerRequest) -> Option<KeyId> {
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

fn mint(tokens: &TokenService, asked: &PartnerRequest) -> Result<MintedToken, Refusal> {
    let form = form(&asked.request)?;
    // A certificate that does not count is never passed over: whoever shows one wants a token bound to it.
    let certificate = match &asked.peer.certificate {
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
    let client = client_auth::read(asked.request.headers(), &form)?;
    let request = TokenRequest {
        client_id: &client.client_id,
        secret: client.secret.as_ref().map(Secret::expose),
        method: client.method,
        scope: form.get("scope"),
        certificate,
        address: asked.peer.address,
    };
    Ok(tokens.exchange(&asked.snapshot, request)?)
}

fn form(request: &Request<Bytes>) -> Result<Form, Refusal> {
    if request.uri().query().is_some() {
        return Err(invalid(
            "parameters belong in the body: addresses are written into logs",
        ));
    }
    if !is_form(request.headers()) {
        return Err(invalid(
            "send the body with Content-Type: application/x-www-form-urlencoded",
        ));
    }
    Form::read(request.body()).map_err(|error| invalid(&error.to_string()))
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

fn refused(refusal: &Refusal, asked: &PartnerRequest) -> Response<Bytes> {
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
    response.extensions_mut().insert(refusal.reason);
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
