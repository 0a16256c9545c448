//! The path of a value in a document: `hosts.api.example.com.routes[0].upstream`.

use std::fmt;

/// The path from a document's root to one of its values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct YamlPath(Vec<Step>);

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Index(usize),
    Key(String),
}

impl YamlPath {
    pub fn root() -> Self {
        Self::default()
    }

    /// The path of the value at `key` below this one.
    #[must_use]
    pub fn key(&self, key: impl fmt::Display) -> Self {
        self.with(Step::Key(key.to_string()))
    }

    /// The path of the value at `index` below this one.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// The path of the value that holds this one; the root's is the root.
    #[must_use]
    pub fn parent(&self) -> Self {
        let all_but_last = self.0.split_last().map_or(&[][..], |(_, rest)| rest);
        Self(all_but_last.to_vec())
    }

    pub fn starts_with(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    pub fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl FromIterator<Step> for YamlPath {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        Self(steps.into_iter().collect())
    }
}

impl fmt::Display for YamlPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if place == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_like_the_document() {
        let routes = YamlPath::root().key("hosts").key("api.test").key("routes");
        let upstream = routes.index(0).key("upstream");
        assert_eq!(upstream.to_string(), "hosts.api.test.routes[0].upstream");
        assert!(upstream.starts_with(&routes) && !routes.starts_with(&upstream));
        assert_eq!(upstream.parent(), routes.index(0));
        assert_eq!(YamlPath::root().parent(), YamlPath::root());
    }
}
