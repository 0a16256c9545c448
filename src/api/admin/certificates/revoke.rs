//! `POST /api/v1/certificates/{certificate}/revoke`

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use utoipa::ToSchema;

use super::view::ChangedCertificateView;
use crate::api::admin::authenticate::Operator;
use crate::api::admin::body::OptionalBody;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;
use crate::domain::credential::RevocationReason;

/// The reason of a certificate's revocation.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RevokeCertificate {
    /// `unspecified` when absent; after `key-compromise` no certificate with the same key is signed again.
    #[schema(value_type = Option<String>, example = "key-compromise")]
    reason: RevocationReason,
}

/// Revokes a certificate permanently, and closes the connections that were opened with it.
#[utoipa::path(
    post, path = "/api/v1/certificates/{certificate}/revoke", tag = "certificates", operation_id = "revoke_certificate",
    params(("certificate" = String, Path, description = "The certificate's id, fingerprint or serial number.")),
    request_body = Option<RevokeCertificate>, responses((status = 200, body = ChangedCertificateView))
)]
pub async fn revoke(
    State(state): State<AdminState>,
    Operator(actor): Operator,
    Path(certificate): Path<String>,
    OptionalBody(body): OptionalBody<RevokeCertificate>,
) -> Result<Json<ChangedCertificateView>, Problem> {
    let certificate = state.control.certificate_id(&certificate).await?;
    let revoked = state
        .control
        .revoke_certificate(&actor, certificate, body.reason)
        .await?;
    Ok(Json(revoked.into()))
}
