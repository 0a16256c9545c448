//! The means of the partner endpoints.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;

use super::metrics::TokenMetrics;
use crate::control::service::Control;
use crate::control::tokens::service::TokenService;

/// The services that answer partners.
#[derive(Debug)]
pub struct PartnerService {
    pub tokens: Arc<TokenService>,
    pub metrics: TokenMetrics,
    /// The operations by which a holder revokes its own key.
    pub control: Control,
    /// The authority's certificates, for partners to download. Replaced with the authority.
    pub ca_pem: Arc<ArcSwap<Bytes>>,
}
