//! The store of Apps, credentials and the audit log.

use std::fmt;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::text_value;

/// The store of Apps, their credentials and the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// The store's URL, `sqlite:///path/to/file.db`; `countersign.db` in the data directory when not set.
    pub url: Option<StoreUrl>,
}

/// The URL of a store: an SQLite file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreUrl(PathBuf);

/// The error for a text that is not the URL of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a store is a SQLite file: sqlite:///absolute/path.db or sqlite://relative/path.db")]
pub struct InvalidStoreUrl;

impl StoreUrl {
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl std::str::FromStr for StoreUrl {
    type Err = InvalidStoreUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("sqlite://") {
            Some(path)
                if !path.is_empty() && !path.ends_with('/') && !path.contains(['?', '\0']) =>
            {
                Ok(Self(path.into()))
            }
            _ => Err(InvalidStoreUrl),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sqlite://{}", self.0.display())
    }
}

text_value!(
    StoreUrl,
    "StoreUrl",
    r"^sqlite://[^?]+$",
    "A SQLite file: sqlite:///absolute/path.db or sqlite://relative/path.db."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_a_sqlite_file() {
        for (text, path) in [
            ("sqlite:///var/lib/c/c.db", "/var/lib/c/c.db"),
            ("sqlite://data/c.db", "data/c.db"),
        ] {
            let url: StoreUrl = text.parse().unwrap();
            assert_eq!(
                (url.path(), url.to_string().as_str()),
                (Path::new(path), text)
            );
        }
        for bad in [
            "",
            "c.db",
            "sqlite://",
            "sqlite:c.db",
            "sqlite:///x/",
            "sqlite:///x?mode=ro",
            "postgres://x/y",
        ] {
            assert!(bad.parse::<StoreUrl>().is_err(), "{bad}");
        }
    }
}
