//! Records of exchanges, of administrative changes, and of publications that took effect.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::api_key::KeyHint;
use super::certificate::SerialNumber;
use super::id::{AppId, AuditEventId, KeyId, RequestId};
use super::identity::AuthMethod;
use super::reason::Reason;
use super::scope::ScopeSet;
use super::time::Timestamp;

/// One request and how it ended. Holds no secret and no query.
#[derive(Clone, Debug)]
pub struct AccessRecord {
    pub at: Timestamp,
    pub request_id: RequestId,
    /// The request id of a trusted hop, if its form differs from ours: the caller was given that one.
    pub hop_request_id: Option<Box<str>>,
    /// The caller's own name for the request: at most 128 visible ASCII characters.
    pub caller_request_id: Option<Box<str>>,
    pub client: IpAddr,
    pub method: http::Method,
    pub host: Option<Arc<str>>,
    /// At most 1 KiB of it.
    pub path: Box<str>,
    pub protocol: http::Version,
    /// The route's name; absent when none was found.
    pub route: Option<Arc<str>>,
    pub status: u16,
    /// The reason of a refusal or cut; absent after success.
    pub reason: Option<Reason>,
    /// The exact cause of the reason, in a few words without a secret.
    pub cause: Option<Box<str>>,
    /// The endpoint that was tried last, where the cause is the upstream's.
    pub endpoint: Option<Arc<str>>,
    /// The name of the first field that was taken off because of its name.
    pub dropped_field: Option<Box<str>>,
    pub app: Option<AppId>,
    pub key: Option<KeyId>,
    /// The part of the key that may be shown, if it was proved.
    pub hint: Option<KeyHint>,
    /// The scopes of the proved key or token.
    pub scopes: ScopeSet,
    pub certificate: Option<SerialNumber>,
    pub auth: Option<AuthMethod>,
    pub duration: Duration,
    /// From the forwarded head to the upstream's head.
    pub upstream: Option<Duration>,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// The receipt of a published snapshot: proof that it is in force, if it is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The snapshot's version.
    pub version: u64,
    /// True if every worker has answered in time.
    pub confirmed: bool,
    /// The workers that decide by it now.
    pub workers: u32,
    /// These, and those that did not answer in time; 0 when none could be asked.
    pub workers_total: u32,
    /// Connections that were open on something which has ended, and are closed or closing now. Changes that were
    /// published together share the number, and one with which nothing ended has 0.
    pub connections_closed: u32,
}

/// One administrative change, written in the transaction that made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    pub id: AuditEventId,
    pub at: Timestamp,
    /// The author; see [`super::admin::Actor`].
    pub actor: String,
    /// The action, as `noun.verb`, for example `cert.revoke`.
    pub action: String,
    /// The id of the changed object.
    pub subject: String,
    /// The App that it belongs to, if any.
    pub app: Option<AppId>,
    /// Details, as a flat JSON object; never a secret.
    pub detail: serde_json::Value,
}
