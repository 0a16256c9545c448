//! The common form of the token endpoint and its neighbours: a form in, JSON out, and refusals as RFC 6749, 5.2, has
//! them.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, PRAGMA, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::answer::{Keep, json};
use super::client_auth::{self, ClientAuth, ClientAuthRefusal};
use super::cors;
use super::form::{Form, InvalidForm};
use crate::control::tokens::error::TokenError;
use crate::control::tokens::proof::bad_proof;
use crate::control::tokens::request::{ClientProof, ShownProof};
use crate::domain::id::KeyId;
use crate::domain::identity::{Claimed, Evidence};
use crate::domain::local_call::{LocalAnswer, LocalCall};
use crate::domain::reason::Reason;
use crate::domain::secret::Secret;

/// The field of a DPoP proof.
pub const DPOP: &str = "dpop";

/// A call that was read: its parameters, and the client that it names.
#[derive(Debug)]
pub struct OauthCall<'c> {
    call: &'c LocalCall,
    pub form: Form,
    client: ClientAuth,
}

impl<'c> OauthCall<'c> {
    pub fn read(call: &'c LocalCall) -> Result<Self, Refusal> {
        let form = form(&call.request)?;
        // A certificate that does not count is never passed over: a client that sends one wants its token bound to it.
        if let Evidence::Refused(reason) = &call.caller.certificate {
            return Err(Refusal::new("invalid_client", *reason, reason.help()));
        }
        let client = client_auth::read(call.request.headers(), &form)?;
        // Before anything is compared: the answer says nothing about the key.
        let secret = client.secret.is_some() && !client.is_publishable();
        if secret && cors::is_of_another_site(call.request.headers()) {
            return Err(Refusal::new(
                "unauthorized_client",
                Reason::SecretInBrowser,
                Reason::SecretInBrowser.help(),
            ));
        }
        Ok(Self { call, form, client })
    }

    pub fn proof(&self) -> ClientProof<'_> {
        ClientProof {
            client_id: &self.client.client_id,
            secret: self.client.secret.as_ref().map(Secret::expose),
            assertion: self.client.assertion.as_ref().map(Secret::expose),
            method: self.client.method,
            certificate: self.call.caller.certificate.proved(),
            address: self.call.peer.address,
            origin: cors::origin(self.call.request.headers()),
        }
    }

    /// The DPoP proof beside the request, if there is one (RFC 9449, 5).
    pub fn dpop(&self) -> Result<Option<ShownProof<'_>>, Refusal> {
        let request = &self.call.request;
        let mut all = request.headers().get_all(DPOP).iter();
        let Some(field) = all.next() else {
            return Ok(None);
        };
        let text = field.to_str().ok().filter(|_| all.next().is_none());
        let host = request.headers().get(HOST);
        Ok(Some(ShownProof {
            text: text.ok_or_else(|| bad_proof(Reason::DpopProofInvalid))?,
            authority: host.and_then(|host| host.to_str().ok()).unwrap_or_default(),
            path: request.uri().path(),
        }))
    }

    /// A parameter that the request must have.
    pub fn required(&self, name: &'static str) -> Result<&str, Refusal> {
        let missing = || invalid(&format!("{name} is missing"));
        self.form.get(name).ok_or_else(missing)
    }
}

/// The Key that a request names, proved or not: only the record hears of it.
pub fn named_key(call: &LocalCall) -> Option<KeyId> {
    client(call)?.client_id.parse().ok()
}

/// True if a request shows a publishable Key, valid or not.
pub fn shows_publishable(call: &LocalCall) -> bool {
    client(call).is_some_and(|client| client.is_publishable())
}

fn client(call: &LocalCall) -> Option<ClientAuth> {
    let form = Form::read(call.request.body()).ok()?;
    client_auth::read(call.request.headers(), &form).ok()
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

/// An answer that no cache keeps. RFC 6749 asks for `Pragma` beside `Cache-Control` on every answer with a token.
pub fn granted(body: &Value) -> Response<Bytes> {
    let mut response = json(Keep::Nothing, body);
    let fields = response.headers_mut();
    fields.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// A refusal: `code`, `shown` and `description` for the client, `reason` for the record.
#[derive(Debug)]
pub struct Refusal {
    pub code: &'static str,
    pub reason: Reason,
    shown: Reason,
    description: String,
}

impl Refusal {
    /// RFC 6749 allows plain ASCII without quotes and backslashes in a description, and nothing else.
    pub fn new(code: &'static str, reason: Reason, description: &str) -> Self {
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

    /// The answer, and what the record learns of it.
    pub fn answer(&self, call: &LocalCall) -> LocalAnswer {
        LocalAnswer {
            response: self.response(call),
            reason: Some(self.reason),
            claimed: Some(Claimed {
                key: named_key(call),
                ..Claimed::default()
            }),
        }
    }

    fn response(&self, call: &LocalCall) -> Response<Bytes> {
        let body = json!({
            "error": self.code,
            "error_description": self.description,
            "reason": self.shown,
            "request_id": call.request_id,
        });
        let mut response = granted(&body);
        *response.status_mut() = match self.code {
            // As on every route: nothing that the client could send would help from there.
            _ if matches!(self.reason, Reason::OriginRefused | Reason::SecretInBrowser) => {
                StatusCode::FORBIDDEN
            }
            "invalid_client" => StatusCode::UNAUTHORIZED,
            "temporarily_unavailable" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        if self.code == "invalid_client" {
            let challenge =
                HeaderValue::from_static("Basic realm=\"countersign\", charset=\"UTF-8\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// The refusal of a request that is not as the standard has it.
pub fn invalid(description: &str) -> Refusal {
    Refusal::new("invalid_request", Reason::InputInvalid, description)
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
