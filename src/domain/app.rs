//! App: a partner's integration, which everything of that partner belongs to.

use serde::{Deserialize, Serialize};

use super::id::AppId;
use super::name::Name;
use super::time::Timestamp;

/// The state of an App, which decides whether its credentials are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppState {
    Active,
    /// Permanent: its credentials stay on record and are never valid again.
    Revoked,
    /// For now: every credential is refused until the App is resumed.
    Suspended,
}

impl AppState {
    pub const ALL: [Self; 3] = [Self::Active, Self::Revoked, Self::Suspended];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Revoked => "revoked",
            Self::Suspended => "suspended",
        }
    }
}

/// A partner's integration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    pub id: AppId,
    /// Unique among all Apps.
    pub name: Name,
    pub state: AppState,
    /// The contact for this App; free text of at most 200 characters.
    pub contact: Option<String>,
    pub created_at: Timestamp,
}
