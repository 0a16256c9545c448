//! Findings as they are gathered.

use crate::config::path::YamlPath;
use crate::config::problem::Finding;

/// Findings as they are gathered.
#[derive(Debug, Default)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    pub fn add(&mut self, path: YamlPath, message: impl Into<String>) {
        self.0.push(Finding::new(path, message));
    }

    pub fn add_if(&mut self, wrong: bool, path: YamlPath, message: &str) {
        if wrong {
            self.add(path, message);
        }
    }
}

/// The path of dotted keys.
pub fn at(keys: &str) -> YamlPath {
    keys.split('.')
        .fold(YamlPath::root(), |path, key| path.key(key))
}
