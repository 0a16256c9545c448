//! `GET /.well-known/countersign/whoami`: returns the caller's identity, or the reason why it has none, also to quarantined connections.

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use super::answer::{Keep, json};
use crate::domain::accepted::CredentialKind;
use crate::domain::identity::{Bearer, Evidence};
use crate::domain::local::{LocalEndpoint, READ, SMALL_BODY, WHOAMI};
use crate::domain::local_call::{LocalCall, ShownCertificate};
use crate::domain::policy::Requirement;

/// The endpoint's row in the table.
pub static ENDPOINT: LocalEndpoint = LocalEndpoint {
    name: WHOAMI,
    path: "/.well-known/countersign/whoami",
    methods: &READ,
    requirement: Requirement::None,
    limits: &[],
    body_max: SMALL_BODY,
    open_to_quarantined: true,
    checks_secrets: false,
    of_tokens: false,
};

/// Says what the caller's certificate proved. Nothing is kept by caches: the next caller is another.
pub fn answer(asked: &LocalCall) -> Response<Bytes> {
    json(Keep::Nothing, &describe(asked))
}

fn describe(asked: &LocalCall) -> Value {
    let peer = &asked.peer;
    let (proof, refused) = match &asked.caller.certificate {
        Evidence::Absent => (None, None),
        Evidence::Proved(proof) => (Some(proof), None),
        Evidence::Refused(reason) => (None, Some(*reason)),
    };
    let mut answer = json!({
        "authenticated": proof.is_some(),
        "app": proof.map(|proof| json!({ "id": proof.app.id, "name": proof.app.name })),
        "certificate": certificate(asked),
        "key": key(asked),
        "tls": { "version": peer.tls_version, "sni": peer.sni },
        "address": peer.address,
        "time": asked.now,
        "request_id": asked.request_id,
    });
    if let (Some(reason), Value::Object(answer)) = (refused, &mut answer) {
        answer.insert("reason".to_owned(), json!(reason));
        answer.insert("title".to_owned(), json!(reason.title()));
        answer.insert("help".to_owned(), json!(reason.help()));
    }
    answer
}

/// The key that the client sent, or that its token was minted from. For a refused one, the answer has the
/// reason that callers get everywhere.
fn key(asked: &LocalCall) -> Value {
    let bearer = match &asked.caller.bearer {
        Evidence::Absent => return Value::Null,
        Evidence::Refused(reason) => return json!({ "reason": reason.shown() }),
        Evidence::Proved(bearer) => bearer,
    };
    let key = bearer.key();
    let entry = key.and_then(|key| asked.snapshot.keys.get(&key));
    let expires_at = match bearer {
        Bearer::Key { .. } => entry.and_then(|entry| entry.expires_at),
        Bearer::Token { .. } | Bearer::Foreign { .. } => bearer.token_ends(),
    };
    json!({
        "id": key,
        "app": { "id": bearer.app().id, "name": bearer.app().name },
        "credential": CredentialKind::of(bearer).map(CredentialKind::as_str),
        "hint": key.map(|_| bearer.facts().hint().to_string()),
        "environment": bearer.facts().environment,
        "scopes": bearer.scopes(),
        "state": entry.map(|entry| entry.state.at(asked.now, entry.expires_at)),
        "expires_at": expires_at,
    })
}

/// The certificate that the client sent. Its state is disclosed because the handshake has proved possession of its key.
fn certificate(asked: &LocalCall) -> Value {
    let Some(leaf) = &asked.peer.certificate else {
        return proved_only(asked);
    };
    let entry = asked.snapshot.certificates.get(&leaf.fingerprint);
    let state = entry.map(|entry| {
        let in_time = !leaf.validity.has_ended(asked.now);
        entry
            .state
            .at(asked.now, (!in_time).then_some(leaf.validity.not_after))
    });
    shown(leaf, entry.map(|entry| entry.id), state)
}

/// Without the certificate at hand, what the registry says of it.
fn proved_only(asked: &LocalCall) -> Value {
    asked
        .caller
        .certificate
        .proved()
        .map_or(Value::Null, |proof| {
            json!({
                "id": proof.id,
                "serial": proof.serial,
                "fingerprint": proof.fingerprint,
                "not_before": proof.validity.not_before,
                "not_after": proof.validity.not_after,
            })
        })
}

fn shown(
    leaf: &ShownCertificate,
    id: Option<crate::domain::id::CertificateId>,
    state: Option<crate::domain::credential::CredentialState>,
) -> Value {
    json!({
        "id": id,
        "serial": leaf.serial,
        "fingerprint": leaf.fingerprint,
        "subject": leaf.subject,
        "not_before": leaf.validity.not_before,
        "not_after": leaf.validity.not_after,
        "state": state,
    })
}
