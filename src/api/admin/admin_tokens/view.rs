//! Admin tokens as operators see them; the token itself is shown once, where it is made.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::admin::{AdminToken, Role};
use crate::domain::id::AdminTokenId;
use crate::domain::name::Name;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;

/// An admin token as operators see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminToken)]
pub struct AdminTokenView {
    #[schema(value_type = String)]
    id: AdminTokenId,
    #[schema(value_type = String)]
    name: Name,
    /// `viewer`, `operator` or `admin`.
    #[schema(value_type = String)]
    role: Role,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
}

/// An admin token that was just made. Nobody can show the secret again.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedAdminToken)]
pub struct CreatedAdminTokenView {
    token: AdminTokenView,
    /// The whole token.
    secret: String,
}

impl std::fmt::Debug for CreatedAdminTokenView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedAdminTokenView")
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

impl From<AdminToken> for AdminTokenView {
    fn from(token: AdminToken) -> Self {
        Self {
            id: token.id,
            name: token.name,
            role: token.role,
            created_at: token.created_at,
            expires_at: token.expires_at,
            revoked_at: token.revoked_at,
        }
    }
}

impl From<(AdminToken, Secret)> for CreatedAdminTokenView {
    fn from((token, secret): (AdminToken, Secret)) -> Self {
        Self {
            token: token.into(),
            secret: secret.expose().to_owned(),
        }
    }
}
