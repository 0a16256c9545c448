//! `POST /oauth2/revoke`: a client ends a token of its own App (RFC 7009).

use http::{Method, Response};

use super::answer::Keep;
use super::cors;
use super::metrics::TokenMetrics;
use super::oauth::{self, OauthCall, Refusal};
use crate::control::tokens::service::TokenService;
use crate::domain::identity::Claimed;
use crate::domain::local::{LocalEndpoint, REVOKE, SMALL_BODY};
use crate::domain::local_call::{LocalAnswer, LocalCall};
use crate::domain::policy::Requirement;

/// The endpoint's row in the table.
pub static ENDPOINT: LocalEndpoint = LocalEndpoint {
    name: REVOKE,
    path: "/oauth2/revoke",
    methods: &[Method::POST],
    requirement: Requirement::None,
    limits: &[],
    body_max: SMALL_BODY,
    open_to_quarantined: false,
    checks_secrets: true,
    of_tokens: true,
};

/// Ends a token. The answer is the same for a token that was ended, was never one, or belongs to another App.
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
    match revoke(tokens, call).await {
        Ok(claimed) => {
            metrics.revoked();
            let mut response = Response::default();
            let fields = response.headers_mut();
            fields.insert(http::header::CACHE_CONTROL, Keep::Nothing.field());
            LocalAnswer {
                response,
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

async fn revoke(tokens: &TokenService, call: &LocalCall) -> Result<Claimed, Refusal> {
    let read = OauthCall::read(call)?;
    let snapshot = tokens.current();
    let client = tokens
        .authenticate_device(&snapshot, &read.proof(), tokens.now())
        .await?;
    let claimed = client.claimed();
    let token = read.required("token")?;
    tokens.revoke(&snapshot, &client, token).await?;
    Ok(claimed)
}
