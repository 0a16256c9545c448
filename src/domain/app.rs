//! App: a partner's integration, which everything of that partner belongs to.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::app_settings::AppSettings;
use super::boost::Boost;
use super::id::AppId;
use super::name::{NAME_CHARS_MAX, Name};
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    pub id: AppId,
    /// Unique among all Apps.
    pub name: Name,
    pub state: AppState,
    /// The contact for this App; free text of at most 200 characters.
    pub contact: Option<String>,
    pub settings: AppSettings,
    /// The boosts of its limits; some of them may have ended.
    pub boosts: Arc<[Boost]>,
    pub created_at: Timestamp,
}

/// Characters of a revoked App's id that its name ends with once another App has taken the name.
const NAME_END: usize = 10;

impl App {
    /// An active App of this number and name, with the default settings.
    #[cfg(test)]
    pub fn sample(number: u128, name: &str) -> Self {
        Self {
            id: AppId::from_bits(number),
            name: name.parse().unwrap(),
            state: AppState::Active,
            contact: None,
            settings: AppSettings::default(),
            boosts: Arc::default(),
            created_at: Timestamp::from_unix_seconds(0),
        }
    }

    /// The name that a revoked App goes on under when another one takes its own: the end of its id tells them apart.
    pub fn name_given_up(&self) -> Name {
        let id = self.id.to_string();
        let end: String = id.chars().skip(id.len().saturating_sub(NAME_END)).collect();
        let begin = self.name.as_str().chars();
        let begin: String = begin.take(NAME_CHARS_MAX - NAME_END - 1).collect();
        let name = format!("{begin}.{end}").parse();
        name.unwrap_or_else(|_| self.name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_given_up_stays_a_name_and_tells_apps_apart() {
        for (name, begin) in [
            ("acme", "acme."),
            ("a-name-of-thirty-characters-xx", "a-name-of-thirty-ch."),
        ] {
            let given_up = |bits| App::sample(bits, name).name_given_up();
            assert!(
                given_up(1).as_str().starts_with(begin),
                "{}",
                given_up(1).as_str()
            );
            assert_ne!(given_up(1), given_up(2));
        }
    }
}
