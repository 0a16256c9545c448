//! `POST /api/v1/certificates`

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::view::SignedCertificateView;
use crate::api::admin::authenticate::Operator;
use crate::api::admin::body::Body;
use crate::api::admin::span::Span;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;
use crate::control::certificates::SignRequest;
use crate::domain::name::Name;

/// A signing request, and whose it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignCertificate {
    /// The App's id or name.
    app: String,
    /// The certificate's name, unique among the App's valid certificates; the name of a valid certificate rotates it.
    #[schema(value_type = String, pattern = "^[a-z0-9][a-z0-9._-]{0,29}$")]
    name: Name,
    /// A PKCS #10 request in PEM. Only its public key is used.
    csr: String,
    /// The profile's lifetime when absent, and never more than the profile allows.
    #[schema(value_type = Option<String>, example = "90d")]
    lifetime: Option<Span>,
}

/// Signs a certificate for the key of a signing request.
#[utoipa::path(
    post, path = "/api/v1/certificates", tag = "certificates", operation_id = "sign_certificate",
    request_body = SignCertificate, responses((status = 201, body = SignedCertificateView))
)]
pub async fn sign(
    State(state): State<AdminState>,
    Operator(actor): Operator,
    Body(body): Body<SignCertificate>,
) -> Result<(StatusCode, Json<SignedCertificateView>), Problem> {
    let request = SignRequest {
        app: body.app,
        name: body.name,
        csr: body.csr.into_bytes(),
        lifetime: body.lifetime.map(|span| span.0),
    };
    let signed = state.control.sign_certificate(&actor, request).await?;
    Ok((StatusCode::CREATED, Json(signed.into())))
}
