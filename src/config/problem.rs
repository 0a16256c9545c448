//! Problems of a configuration, with all that is needed to fix them: place, message, suggestion.

use std::fmt;

use serde::Serialize;

use super::document::Place;
use super::path::YamlPath;

/// One problem of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The path, for example `hosts.api.example.com.routes[0].upstream`; empty for the document itself.
    pub path: String,
    /// The file, environment variable or flag.
    pub source: String,
    /// The line, from 1; absent when there is none.
    pub line: Option<usize>,
    /// The column, from 1, in characters.
    pub column: Option<usize>,
    pub message: String,
    /// The value that was probably meant.
    pub suggestion: Option<String>,
    /// The line, or the part of it that may be shown.
    #[serde(skip)]
    pub snippet: Option<String>,
}

/// All problems, in the order of the document. There is at least one problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problems(pub Vec<Problem>);

/// A problem before its place is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub path: YamlPath,
    pub message: String,
    pub suggestion: Option<String>,
    /// True for a problem of the key, false for one of its value.
    pub at_key: bool,
    /// True if the value may be a secret.
    pub sensitive: bool,
}

impl Finding {
    pub fn new(path: YamlPath, message: impl Into<String>) -> Self {
        Self {
            path,
            message: message.into(),
            suggestion: None,
            at_key: false,
            sensitive: false,
        }
    }

    #[must_use]
    pub fn suggest(self, suggestion: Option<impl Into<String>>) -> Self {
        Self {
            suggestion: suggestion.map(Into::into),
            ..self
        }
    }
}

impl Problems {
    /// A problem of a whole file, for example that it cannot be read.
    pub fn of_source(source: &str, message: String) -> Self {
        Self(vec![Problem {
            path: String::new(),
            source: source.to_owned(),
            line: None,
            column: None,
            message,
            suggestion: None,
            snippet: None,
        }])
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        f.write_str(": ")?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if let (Some(line), Some(column), Some(snippet)) = (self.line, self.column, &self.snippet) {
            let blank = " ".repeat(column.saturating_sub(1));
            write!(f, "\n{line:>6} | {snippet}\n       | {blank}^")?;
        }
        if let Some(suggestion) = &self.suggestion {
            write!(f, "\n       = {suggestion}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        let count = self.0.len();
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "{count} problem{plural}")
    }
}

impl std::error::Error for Problems {}

/// The source of a text, so that its lines can be shown.
#[derive(Debug)]
pub struct Source {
    /// A file's path, a variable or a flag: `COUNTERSIGN_LOG__LEVEL`, `--workers`.
    pub name: String,
    /// The text; absent for a variable or flag.
    pub text: Option<String>,
}

/// The part of a line that may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The line, up to a maximum length.
    Line,
    /// The line up to the end of the key: the rest may be a secret.
    Key,
}

/// The maximum number of characters of a line that a snippet shows.
const SNIPPET_CHARS_MAX: usize = 120;

impl Source {
    /// The line of a place, or the part of it that may be shown.
    pub fn snippet(&self, place: Place, shown: Shown) -> Option<String> {
        let line = self
            .text
            .as_ref()?
            .lines()
            .nth(place.line.checked_sub(1)?)?;
        let key_end = || {
            let rest = line.chars().skip(place.column - 1);
            place.column - 1 + rest.take_while(|character| *character != ':').count()
        };
        let length = line.chars().count();
        let end = match shown {
            Shown::Line => length.min(SNIPPET_CHARS_MAX),
            Shown::Key => key_end().min(length).min(SNIPPET_CHARS_MAX),
        };
        if place.column > SNIPPET_CHARS_MAX {
            return None;
        }
        // A tab is one character wide here, so that the caret stands where it should; controls never reach a terminal.
        let plain = |character: char| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        };
        let text: String = line.chars().take(end).map(plain).collect();
        Some(if end < length { text + " …" } else { text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_show_the_place_the_line_and_what_was_meant() {
        let problem = Problem {
            path: "hosts.a.routes[0].upstream".to_owned(),
            source: "c.yaml".to_owned(),
            line: Some(7),
            column: Some(3),
            message: "there is no upstream orderz".to_owned(),
            suggestion: Some("did you mean orders?".to_owned()),
            snippet: Some("  upstream: orderz".to_owned()),
        };
        assert_eq!(
            Problems(vec![problem]).to_string(),
            "c.yaml:7:3: hosts.a.routes[0].upstream: there is no upstream orderz\n     \
             7 |   upstream: orderz\n       |   ^\n       = did you mean orders?\n1 problem"
        );
    }

    #[test]
    fn snippets_are_bounded_and_plain() {
        let source = |text: &str| Source {
            name: "c.yaml".to_owned(),
            text: Some(text.to_owned()),
        };
        let place = |line, column| Place {
            source: 0,
            line,
            column,
            end_line: line,
        };
        let check = |text: &str, line, column, shown, expected: Option<&str>| {
            let snippet = source(text).snippet(place(line, column), shown);
            assert_eq!(snippet.as_deref(), expected, "{text:?}");
        };
        check("a: 1\n\tb: \u{1b}[2J", 2, 1, Shown::Line, Some(" b:  [2J"));
        check("  kye: hunter2", 1, 3, Shown::Key, Some("  kye …"));
        check("a", 3, 1, Shown::Line, None);
        let long = "x".repeat(500);
        let bounded = format!("{} …", "x".repeat(120));
        check(&long, 1, 1, Shown::Line, Some(&bounded));
        check(&long, 1, 400, Shown::Line, None);
    }
}
