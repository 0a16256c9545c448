//! Certificates as operators see them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::admin::receipt::ReceiptView;
use crate::control::certificates::SignedCertificate;
use crate::control::publish::Changed;
use crate::domain::certificate::{Certificate, Fingerprint, KeyAlgorithm, SerialNumber};
use crate::domain::credential::{CredentialState, RevocationReason};
use crate::domain::id::{AppId, CertificateId};
use crate::domain::name::Name;
use crate::domain::time::Timestamp;

/// A client certificate as operators see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Certificate)]
pub struct CertificateView {
    #[schema(value_type = String)]
    id: CertificateId,
    #[schema(value_type = String)]
    app: AppId,
    #[schema(value_type = String)]
    name: Name,
    /// `pending`, `active`, `retiring`, `revoked` or `expired`.
    #[schema(value_type = String)]
    state: CredentialState,
    /// Hexadecimal digits in lower case.
    #[schema(value_type = String)]
    serial: SerialNumber,
    /// SHA-256 of the certificate, in hexadecimal digits.
    #[schema(value_type = String)]
    fingerprint: Fingerprint,
    subject: String,
    #[schema(value_type = String)]
    key: KeyAlgorithm,
    #[schema(value_type = String, format = DateTime)]
    not_before: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    not_after: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
    #[schema(value_type = Option<String>)]
    revocation_reason: Option<RevocationReason>,
}

/// A certificate with the certificate itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CertificateWithPem)]
pub struct CertificateWithPemView {
    #[serde(flatten)]
    certificate: CertificateView,
    pem: String,
}

/// A certificate that was just signed: what the partner gets, and the proof that it is let in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SignedCertificate)]
pub struct SignedCertificateView {
    certificate: CertificateView,
    pem: String,
    /// The certificate and its issuer, in the order in which a client sends them.
    chain_pem: String,
    receipt: ReceiptView,
}

/// A certificate after a change, and the proof that the change is in force.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChangedCertificate)]
pub struct ChangedCertificateView {
    certificate: CertificateView,
    receipt: ReceiptView,
}

impl From<Certificate> for CertificateView {
    fn from(certificate: Certificate) -> Self {
        Self {
            id: certificate.id,
            app: certificate.app,
            name: certificate.name,
            state: certificate.state,
            serial: certificate.serial,
            fingerprint: certificate.fingerprint,
            subject: certificate.subject,
            key: certificate.key,
            not_before: certificate.validity.not_before,
            not_after: certificate.validity.not_after,
            created_at: certificate.created_at,
            revoked_at: certificate.revoked_at,
            revocation_reason: certificate.revocation_reason,
        }
    }
}

impl From<Certificate> for CertificateWithPemView {
    fn from(certificate: Certificate) -> Self {
        Self {
            pem: certificate.pem.clone(),
            certificate: certificate.into(),
        }
    }
}

impl From<Changed<SignedCertificate>> for SignedCertificateView {
    fn from(signed: Changed<SignedCertificate>) -> Self {
        let SignedCertificate {
            certificate,
            chain_pem,
        } = signed.value;
        Self {
            pem: certificate.pem.clone(),
            certificate: certificate.into(),
            chain_pem,
            receipt: signed.receipt.into(),
        }
    }
}

impl From<Changed<Certificate>> for ChangedCertificateView {
    fn from(changed: Changed<Certificate>) -> Self {
        Self {
            certificate: changed.value.into(),
            receipt: changed.receipt.into(),
        }
    }
}
