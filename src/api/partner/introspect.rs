//! `POST /oauth2/introspect`: the state of a token, for the one who receives it (RFC 7662).

use http::Method;
use serde_json::{Value, json};

use super::metrics::TokenMetrics;
use super::oauth::{OauthCall, Refusal, granted};
use crate::control::tokens::auth_token::Vouched;
use crate::control::tokens::introspect::Introspected;
use crate::control::tokens::service::TokenService;
use crate::domain::identity::Claimed;
use crate::domain::local::{LocalEndpoint, SMALL_BODY};
use crate::domain::local_call::{LocalAnswer, LocalCall};
use crate::domain::policy::Requirement;
use crate::domain::session::Session;
use crate::domain::time::Timestamp;
use crate::domain::token::Claims;

/// The endpoint's row in the table.
pub static ENDPOINT: LocalEndpoint = LocalEndpoint {
    name: "countersign.introspect",
    path: "/oauth2/introspect",
    methods: &[Method::POST],
    requirement: Requirement::None,
    limits: &[],
    body_max: SMALL_BODY,
    open_to_quarantined: false,
    checks_secrets: true,
    of_tokens: true,
};

/// Says whether a token is valid, and what it claims.
pub async fn answer(
    tokens: &TokenService,
    metrics: &TokenMetrics,
    call: &LocalCall,
) -> LocalAnswer {
    match introspect(tokens, call).await {
        Ok((introspected, claimed)) => {
            metrics.introspected(!matches!(introspected, Introspected::Inactive));
            LocalAnswer {
                response: granted(&describe(&introspected, &call.snapshot.catalog.issuer)),
                reason: None,
                claimed: Some(claimed),
            }
        }
        Err(refusal) => {
            metrics.refused(refusal.reason);
            refusal.answer(call)
        }
    }
}

async fn introspect(
    tokens: &TokenService,
    call: &LocalCall,
) -> Result<(Introspected, Claimed), Refusal> {
    let read = OauthCall::read(call)?;
    let snapshot = tokens.current();
    let client = tokens
        .authenticate(&snapshot, &read.proof(), tokens.now())
        .await?;
    let claimed = client.claimed();
    let token = read.required("token")?;
    let introspected = tokens.introspect(&snapshot, &client, token).await?;
    Ok((introspected, claimed))
}

fn describe(introspected: &Introspected, issuer: &str) -> Value {
    match introspected {
        Introspected::Inactive => json!({ "active": false }),
        Introspected::Access(claims) => access(claims),
        Introspected::Refresh(session) => refresh(session, issuer),
        Introspected::Auth {
            vouched,
            expires_at,
        } => auth(vouched, *expires_at, issuer),
    }
}

/// The claims of an access token, as the token itself has them.
fn access(claims: &Claims) -> Value {
    let subject = claims.subject.as_ref().map(ToString::to_string);
    let session = claims.session.as_ref();
    let issued_at = claims.issued_at.unix_seconds();
    without_nulls(json!({
        "active": true,
        "token_type": if claims.proof_key.is_some() { "DPoP" } else { "Bearer" },
        "scope": (!claims.scopes.is_empty()).then(|| claims.scopes.to_string()),
        "client_id": claims.key,
        "app": claims.app,
        "sub": subject.unwrap_or_else(|| claims.key.to_string()),
        "iss": claims.issuer,
        "aud": claims.audience,
        "jti": claims.id,
        "iat": issued_at,
        "nbf": issued_at,
        "exp": claims.expires_at.unix_seconds(),
        "sid": session.map(|session| session.id),
        "device_id": session.and_then(|session| session.device.clone()),
        "cnf": confirmation(claims),
    }))
}

/// The certificate and the key that a token is bound to, as the token itself has them.
fn confirmation(claims: &Claims) -> Option<Value> {
    let certificate = claims.certificate.map(|bound| base64url(bound.as_bytes()));
    let jkt = claims.proof_key.map(|bound| base64url(bound.as_bytes()));
    (certificate.is_some() || jkt.is_some())
        .then(|| without_nulls(json!({ "x5t#S256": certificate, "jkt": jkt })))
}

fn refresh(session: &Session, issuer: &str) -> Value {
    without_nulls(json!({
        "active": true,
        "token_type": "refresh_token",
        "scope": (!session.scopes.is_empty()).then(|| session.scopes.to_string()),
        "app": session.app,
        "sub": session.user,
        "iss": issuer,
        "iat": session.refreshed_at.unix_seconds(),
        "exp": session.idle_until.min(session.expires_at).unix_seconds(),
        "sid": session.id,
        "device_id": session.device,
    }))
}

fn auth(vouched: &Vouched, expires_at: Timestamp, issuer: &str) -> Value {
    without_nulls(json!({
        "active": true,
        "token_type": "urn:countersign:token-type:auth",
        "scope": (!vouched.scopes.is_empty()).then(|| vouched.scopes.to_string()),
        "client_id": vouched.key,
        "app": vouched.app,
        "sub": vouched.user,
        "iss": issuer,
        "exp": expires_at.unix_seconds(),
        "device_id": vouched.device,
    }))
}

fn base64url(bytes: &[u8]) -> String {
    data_encoding::BASE64URL_NOPAD.encode(bytes)
}

fn without_nulls(mut object: Value) -> Value {
    if let Value::Object(members) = &mut object {
        members.retain(|_, value| !value.is_null());
    }
    object
}
