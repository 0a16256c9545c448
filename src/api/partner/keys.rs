//! `POST /.well-known/countersign/keys/revoke`: a holder revokes its own key, with the key as the proof.
//!
//! The holder of a secret key may end it: a thief that does so helps the owner. A publishable key can be read by
//! anybody, and is revoked by operators only.

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::answer::{Keep, json};
use crate::control::service::Control;
use crate::domain::admin::Actor;
use crate::domain::api_key::KeyKind;
use crate::domain::credential::RevocationReason;
use crate::domain::identity::Bearer;
use crate::domain::local::{LocalEndpoint, SMALL_BODY};
use crate::domain::local_call::{LocalAnswer, LocalCall};
use crate::domain::policy::Requirement;
use crate::domain::reason::Reason;
use crate::domain::registry::keys::Revocation;

/// The endpoint's row in the table.
pub static ENDPOINT: LocalEndpoint = LocalEndpoint {
    name: "countersign.keys.revoke",
    path: "/.well-known/countersign/keys/revoke",
    methods: &[Method::POST],
    requirement: Requirement::Key,
    limits: &[],
    body_max: SMALL_BODY,
    open_to_quarantined: false,
    checks_secrets: false,
    of_tokens: false,
};

/// The reason, if the holder gives one.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    reason: RevocationReason,
}

/// Revokes the key that the call was proved with, and the tokens that were minted from it.
pub async fn revoke(control: &Control, call: &LocalCall) -> LocalAnswer {
    let Some(Bearer::Key { id, app, facts, .. }) = call.caller.bearer.proved() else {
        return refused(
            call,
            Reason::CredentialMissing,
            Reason::CredentialMissing.help(),
        );
    };
    if facts.kind != KeyKind::Secret {
        return refused(
            call,
            Reason::KindNotAccepted,
            "only operators revoke keys of this kind",
        );
    }
    let body = call.request.body();
    let asked = if body.is_empty() {
        Ok(Asked::default())
    } else {
        serde_json::from_slice(body)
    };
    let Ok(Asked { reason }) = asked else {
        let help = "send no body, or JSON with the reason: {\"reason\": \"key-compromise\"}";
        return refused(call, Reason::InputInvalid, help);
    };
    let actor = Actor::Partner {
        app: app.id,
        key: *id,
    };
    let revocation = Revocation {
        reason,
        keep_tokens: false,
        force: true,
    };
    match control.revoke_key(&actor, *id, revocation).await {
        Ok(revoked) => {
            let key = revoked.value;
            let told = json!({"key": key.id, "state": key.state, "revoked_at": key.revoked_at});
            json(Keep::Nothing, &told).into()
        }
        Err(error) => refused(call, error.reason, error.reason.help()),
    }
}

fn refused(call: &LocalCall, reason: Reason, detail: &str) -> LocalAnswer {
    let problem = json!({
        "type": format!("urn:countersign:reason:{reason}"),
        "title": reason.title(),
        "status": reason.status(),
        "detail": detail,
        "reason": reason,
        "request_id": call.request_id,
    });
    let body = Bytes::from(problem.to_string() + "\n");
    let mut response: Response<Bytes> =
        super::answer::answer("application/problem+json", Keep::Nothing, body);
    let status = StatusCode::from_u16(reason.status());
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    LocalAnswer {
        response,
        reason: Some(reason),
        claimed: None,
    }
}
