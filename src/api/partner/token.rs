//! `POST /oauth2/token`: every grant (RFC 6749, RFC 8693), bound to the certificate when there is one (RFC 8705, 3).

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response};
use serde_json::{Value, json};

use super::cors;
use super::form::Form;
use super::grants;
use super::metrics::TokenMetrics;
use super::oauth::{self, DPOP, OauthCall, Refusal};
use crate::control::tokens::mint::{Bound, Kind, MintedToken};
use crate::control::tokens::request::{Grant, TokenRequest};
use crate::control::tokens::service::TokenService;
use crate::domain::identity::Claimed;
use crate::domain::local::{LocalEndpoint, SMALL_BODY, TOKEN};
use crate::domain::local_call::{LocalAnswer, LocalCall};
use crate::domain::policy::Requirement;
use crate::domain::reason::Reason;
use crate::domain::secret::Secret;

/// The endpoint's row in the table.
pub static ENDPOINT: LocalEndpoint = LocalEndpoint {
    name: TOKEN,
    path: "/oauth2/token",
    methods: &[Method::POST],
    requirement: Requirement::None,
    limits: &[],
    body_max: SMALL_BODY,
    open_to_quarantined: false,
    checks_secrets: true,
    of_tokens: true,
};

const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// Mints a token, or says why not in the words of RFC 6749, 5.2.
pub async fn answer(
    tokens: &TokenService,
    metrics: &TokenMetrics,
    call: &LocalCall,
) -> LocalAnswer {
    let mut answer = judged(tokens, metrics, call).await;
    cors::let_read(call, oauth::shows_publishable(call), &mut answer);
    answer
}

async fn judged(tokens: &TokenService, metrics: &TokenMetrics, call: &LocalCall) -> LocalAnswer {
    let mut answer = match mint(tokens, metrics, call).await {
        Ok(minted) => LocalAnswer {
            response: granted(&minted),
            reason: None,
            claimed: Some(Claimed {
                app: Some(minted.app),
                key: Some(minted.key),
                certificate: None,
            }),
        },
        Err(refusal) => {
            metrics.refused(refusal.reason);
            refusal.answer(call)
        }
    };
    offer_nonce(tokens, call, &mut answer);
    answer
}

/// Gives a client that proves a key the nonce for its next proofs (RFC 9449, 8).
fn offer_nonce(tokens: &TokenService, call: &LocalCall, answer: &mut LocalAnswer) {
    let nonce = match answer.reason {
        Some(Reason::DpopNonceWanted) => Some(tokens.wanted_nonce()),
        _ if call.request.headers().contains_key(DPOP) => tokens.offered_nonce(),
        _ => None,
    };
    if let Some(nonce) = nonce.and_then(|nonce| HeaderValue::try_from(nonce).ok()) {
        answer.response.headers_mut().insert(DPOP_NONCE, nonce);
    }
}

async fn mint(
    tokens: &TokenService,
    metrics: &TokenMetrics,
    call: &LocalCall,
) -> Result<MintedToken, Refusal> {
    let read = OauthCall::read(call)?;
    let grant = grants::read(&read)?;
    judge_resources(&read.form, &call.snapshot.catalog.issuer)?;
    let request = TokenRequest {
        client: read.proof(),
        proof: read.dpop()?,
        grant,
        scope: read.form.get("scope"),
    };
    let minted = tokens.grant(&tokens.current(), &request).await?;
    metrics.issued(Grant::as_str(&grant), minted.bound);
    Ok(minted)
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

fn granted(minted: &MintedToken) -> Response<Bytes> {
    let scopes = &minted.scopes;
    let mut body = json!({
        "access_token": minted.token.expose(),
        "token_type": match (minted.kind, minted.bound) {
            // It is no access token, and opens nothing by itself (RFC 8693, 2.2.1).
            (Kind::Auth, _) => "N_A",
            (_, Bound::Key) => "DPoP",
            (_, Bound::Certificate | Bound::Nothing) => "Bearer",
        },
        "expires_in": minted.expires_in.as_secs(),
        "issued_token_type": minted.kind.urn(),
        "refresh_token": minted.refresh.as_ref().map(Secret::expose),
        // An empty scope is no value of the standard's grammar.
        "scope": (!scopes.is_empty()).then(|| scopes.to_string()),
    });
    if let Value::Object(members) = &mut body {
        members.retain(|_, value| !value.is_null());
    }
    oauth::granted(&body)
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
