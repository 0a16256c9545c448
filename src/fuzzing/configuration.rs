//! The configuration: good or refused with a place that exists, and the same whatever comments stand beside it.

use std::path::Path;

use crate::config::load::{Layers, load_text};
use crate::config::problem::{Problem, Problems};
use crate::config::root::Config;

/// Reads `bytes` as a configuration file; true when it is good.
pub fn check(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let read = load(text);
    assert_eq!(read, load(text), "read again, it is another");
    match read {
        Ok(config) => {
            let commented = load(&format!("{text}\n# the end\n"));
            assert_eq!(commented.as_ref(), Ok(&config), "a comment changes it");
            true
        }
        Err(problems) => {
            assert!(!problems.0.is_empty(), "refused without a problem");
            for problem in &problems.0 {
                assert_has_a_place(problem, text);
            }
            assert!(problems.to_string().len() <= 1000 * (problems.0.len() + 1));
            false
        }
    }
}

fn load(text: &str) -> Result<Config, Problems> {
    load_text(text, Path::new("countersign.yaml"), &Layers::default())
}

fn assert_has_a_place(problem: &Problem, text: &str) {
    assert!(!problem.message.is_empty());
    let (Some(line), Some(column)) = (problem.line, problem.column) else {
        return;
    };
    assert!((1..=lines(text) + 1).contains(&line), "{problem:?}");
    assert!(column >= 1, "{problem:?}");
    let mut characters = problem.message.chars();
    let readable = |character: char| !character.is_control() || character == '\n';
    assert!(characters.all(readable), "{:?}", problem.message);
}

/// How many lines there are for YAML, to which a CR alone ends one as well.
fn lines(text: &str) -> usize {
    text.replace("\r\n", "\n")
        .replace('\r', "\n")
        .lines()
        .count()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_of_configurations_keeps_its_properties() {
        super::super::corpus::holds("configuration", super::check);
    }
}
