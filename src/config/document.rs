//! YAML as a tree whose values know their place.
//!
//! The tree is ours, over the library's parser: serde alone stops at the first error, keeps no positions for what
//! spans sections, and turns `1.20` into a number before we can ask what was written.

use std::collections::{HashMap, HashSet};

use serde_yaml::granit_parser::{Event, Marker, Parser, ScalarStyle, Span};

use super::path::{Step, YamlPath};

/// The maximum size of a configuration: thousands of routes fit.
pub const BYTES_MAX: usize = 1 << 20;

/// The maximum number of values in a document; an alias is counted each time it is used.
const NODES_MAX: usize = 100_000;

/// The maximum nesting; a configuration needs seven levels.
const DEPTH_MAX: usize = 24;

/// The place of a value in its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The number of the source, in the order of layers.
    pub source: usize,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    pub end_line: usize,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub struct Node {
    pub place: Place,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub enum Value {
    Mapping(Vec<Entry>),
    Null,
    /// A text as written, not yet read as a number.
    Scalar {
        text: String,
        plain: bool,
    },
    Sequence(Vec<Node>),
    /// A value that was refused; reading continues as if it were absent.
    Pruned,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    pub key_place: Place,
    pub node: Node,
}

/// An error of a text as YAML.
#[derive(Debug)]
pub struct Fault {
    pub place: Place,
    pub message: String,
}

impl Node {
    /// The value at a path, if there is one.
    pub fn find(&self, path: &YamlPath) -> Option<&Self> {
        path.steps().iter().try_fold(self, Self::step)
    }

    fn step<'n>(&'n self, step: &Step) -> Option<&'n Self> {
        match (&self.value, step) {
            (Value::Mapping(entries), Step::Key(key)) => {
                let entry = entries.iter().find(|entry| entry.key == *key);
                entry.map(|entry| &entry.node)
            }
            (Value::Sequence(nodes), Step::Index(index)) => nodes.get(*index),
            _ => None,
        }
    }

    /// The place of a path, or of the nearest value above it; with `at_key`, the place of the key.
    pub fn place_of(&self, path: &YamlPath, at_key: bool) -> Place {
        let mut node = self;
        let mut place = self.place;
        for step in path.steps() {
            let Some(next) = node.step(step) else {
                return place;
            };
            place = match (&node.value, step) {
                (Value::Mapping(entries), Step::Key(key)) => entries
                    .iter()
                    .find(|entry| entry.key == *key)
                    .filter(|entry| at_key || !matches!(entry.node.value, Value::Scalar { .. }))
                    .map_or(next.place, |entry| entry.key_place),
                _ => next.place,
            };
            node = next;
        }
        place
    }

    /// Removes a refused value from the tree.
    pub fn prune(&mut self, path: &YamlPath) {
        let mut node = self;
        for step in path.steps() {
            let next = match (&mut node.value, step) {
                (Value::Mapping(entries), Step::Key(key)) => entries
                    .iter_mut()
                    .find(|entry| entry.key == *key)
                    .map(|entry| &mut entry.node),
                (Value::Sequence(nodes), Step::Index(index)) => nodes.get_mut(*index),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => return,
            }
        }
        node.value = Value::Pruned;
    }

    fn count(&self) -> usize {
        match &self.value {
            Value::Mapping(entries) => {
                1 + entries
                    .iter()
                    .map(|entry| 1 + entry.node.count())
                    .sum::<usize>()
            }
            Value::Sequence(nodes) => 1 + nodes.iter().map(Self::count).sum::<usize>(),
            Value::Null | Value::Pruned | Value::Scalar { .. } => 1,
        }
    }

    fn depth(&self) -> usize {
        match &self.value {
            Value::Mapping(entries) => {
                1 + entries
                    .iter()
                    .map(|entry| entry.node.depth())
                    .max()
                    .unwrap_or(0)
            }
            Value::Sequence(nodes) => 1 + nodes.iter().map(Self::depth).max().unwrap_or(0),
            Value::Null | Value::Pruned | Value::Scalar { .. } => 0,
        }
    }
}

/// Reads a text as one YAML document.
pub fn parse(text: &str, source: usize) -> Result<Node, Vec<Fault>> {
    let mut builder = Builder {
        source,
        open: Vec::new(),
        root: None,
        anchors: HashMap::new(),
        nodes: 0,
        duplicates: Vec::new(),
    };
    if text.len() > BYTES_MAX {
        let message = "a configuration has at most 1 MiB".to_owned();
        return Err(vec![fault(builder.start(), message)]);
    }
    for event in Parser::new_from_str(text) {
        let step = match event {
            Ok((event, span)) => builder.take(event, span),
            Err(error) => {
                let place = builder.place(*error.marker(), *error.marker());
                Err(fault(place, format!("this is not YAML: {}", error.info())))
            }
        };
        if let Err(fault) = step {
            builder.duplicates.push(fault);
            return Err(builder.duplicates);
        }
    }
    let place = builder.start();
    if builder.duplicates.is_empty() {
        Ok(builder.root.unwrap_or(Node {
            place,
            value: Value::Null,
        }))
    } else {
        Err(builder.duplicates)
    }
}

/// The builder of the tree from the parser's events, with limits far above any real configuration.
struct Builder {
    source: usize,
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    /// Duplicate keys; reading continues, so that all of them are reported.
    duplicates: Vec<Fault>,
}

fn fault(place: Place, message: String) -> Fault {
    Fault { place, message }
}

/// A mapping or sequence that is not complete yet.
struct Open {
    place: Place,
    anchor: usize,
    inside: Inside,
}

enum Inside {
    Mapping {
        entries: Vec<Entry>,
        keys: HashSet<String>,
        key: Option<(String, Place)>,
    },
    Sequence(Vec<Node>),
}

impl Builder {
    fn start(&self) -> Place {
        Place {
            source: self.source,
            line: 1,
            column: 1,
            end_line: 1,
        }
    }

    fn place(&self, start: Marker, end: Marker) -> Place {
        let line = start.line().max(1);
        Place {
            source: self.source,
            line,
            column: start.col() + 1,
            end_line: end.line().max(line),
        }
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let place = self.place(span.start, span.end);
        let refuse = |message: &str| {
            Err(Fault {
                place,
                message: message.to_owned(),
            })
        };
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                refuse("a configuration is one YAML document; this begins a second one")
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, _, Some(_))
            | Event::MappingStart(_, _, Some(_)) => refuse("YAML tags are not supported"),
            Event::Scalar(text, style, anchor, None) => {
                let plain = style == ScalarStyle::Plain;
                let is_null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if is_null {
                    Value::Null
                } else {
                    let text = text.into_owned();
                    Value::Scalar { text, plain }
                };
                self.complete(Node { place, value }, anchor)
            }
            Event::SequenceStart(_, anchor, None) => {
                self.begin(place, anchor, Inside::Sequence(Vec::new()))
            }
            Event::MappingStart(_, anchor, None) => {
                let inside = Inside::Mapping {
                    entries: Vec::new(),
                    keys: HashSet::new(),
                    key: None,
                };
                self.begin(place, anchor, inside)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(place),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return refuse("this alias refers to a value that contains it");
                };
                let (count, depth) = (node.count(), node.depth());
                if self.nodes + count > NODES_MAX || self.open.len() + depth > DEPTH_MAX {
                    return refuse("aliases make this document too large or too deep");
                }
                self.nodes += count;
                let mut node = node.clone();
                node.place = place;
                self.complete(node, 0)
            }
            Event::UnresolvedAlias(_) => refuse("this alias has no anchor above it"),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, place: Place, anchor: usize, inside: Inside) -> Result<(), Fault> {
        if self.open.len() >= DEPTH_MAX {
            let message = format!("values are nested more than {DEPTH_MAX} levels deep");
            return Err(fault(place, message));
        }
        let as_key = matches!(
            self.open.last(),
            Some(Open {
                inside: Inside::Mapping { key: None, .. },
                ..
            })
        );
        if as_key {
            return Err(fault(place, "a key must be text".to_owned()));
        }
        self.open.push(Open {
            place,
            anchor,
            inside,
        });
        Ok(())
    }

    fn end(&mut self, end: Place) -> Result<(), Fault> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let value = match open.inside {
            Inside::Mapping { entries, .. } => Value::Mapping(entries),
            Inside::Sequence(nodes) => Value::Sequence(nodes),
        };
        let place = Place {
            end_line: end.line.max(open.place.line),
            ..open.place
        };
        self.complete(Node { place, value }, open.anchor)
    }

    /// Adds a complete value to the open mapping or sequence, or makes it the root.
    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), Fault> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            let message = format!("a configuration has at most {NODES_MAX} values");
            return Err(fault(node.place, message));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.inside) {
            None => self.root = Some(node),
            Some(Inside::Sequence(nodes)) => nodes.push(node),
            Some(Inside::Mapping { entries, keys, key }) => {
                let place = node.place;
                if let Some((key, key_place)) = key.take() {
                    entries.push(Entry {
                        key,
                        key_place,
                        node,
                    });
                    return Ok(());
                }
                let Value::Scalar { text, .. } = node.value else {
                    let message = "a key must be text".to_owned();
                    return Err(fault(place, message));
                };
                if !keys.insert(text.clone()) {
                    let message = "this key is a duplicate; the same key is set above".to_owned();
                    self.duplicates.push(Fault { place, message });
                }
                *key = Some((text, place));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn first_fault(text: &str) -> String {
        let faults = parse(text, 0).unwrap_err();
        let fault = faults.first().unwrap();
        format!(
            "{}:{} {}",
            fault.place.line, fault.place.column, fault.message
        )
    }

    #[test]
    fn values_know_where_they_stand() {
        let root = parse("a:\n  b: [1, {c: x}]\nä: \"y\"\n", 0).unwrap();
        let at = |path: &YamlPath, at_key| {
            let place = root.place_of(path, at_key);
            (place.line, place.column)
        };
        let b = YamlPath::root().key("a").key("b");
        assert_eq!(at(&b, true), (2, 3));
        assert_eq!(at(&b.index(0), false), (2, 7));
        assert_eq!(at(&b.index(1).key("c"), true), (2, 11));
        assert_eq!(at(&b.index(1).key("c"), false), (2, 14));
        assert_eq!(at(&b.index(1).key("missing"), false), (2, 10));
        assert_eq!(at(&YamlPath::root().key("ä"), false), (3, 4));
    }

    #[test]
    fn aliases_stand_for_what_they_name() {
        let root = parse("a: &x [1, 2]\nb: *x\n", 0).unwrap();
        let second = root.find(&YamlPath::root().key("b").index(1)).unwrap();
        assert!(matches!(&second.value, Value::Scalar { text, .. } if text == "2"));
    }

    #[test]
    fn what_is_not_one_plain_document_is_refused() {
        for (text, expected) in [
            (
                "a: 1\na: 2\n",
                "2:1 this key is a duplicate; the same key is set above",
            ),
            (
                "a: 1\n---\nb: 2\n",
                "2:1 a configuration is one YAML document; this begins a second one",
            ),
            ("a: !!binary x\n", "1:13 YAML tags are not supported"),
            ("[a]: 1\n", "1:1 a key must be text"),
            (
                "a: &x [*x]\n",
                "1:8 this alias refers to a value that contains it",
            ),
        ] {
            assert_eq!(first_fault(text), expected, "{text}");
        }
        for text in ["a: [1", "a: b: c", "a: *none", "a: \"x", "}"] {
            assert!(
                first_fault(text).contains("this is not YAML"),
                "{text}: {}",
                first_fault(text)
            );
        }
    }

    #[test]
    fn bombs_are_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            let line = format!("a{level}: &a{level} [{before}]\n");
            bomb.push_str(&line);
        }
        assert!(first_fault(&bomb).contains("aliases make this document too large"));
        let brackets = "[".repeat(200) + &"]".repeat(200);
        assert!(first_fault(&brackets).contains("nested more than"));
        assert!(first_fault(&"- ".repeat(200)).contains("nested more than"));
        assert!(first_fault(&"- x\n".repeat(NODES_MAX + 1)).contains("at most 100000 values"));
        assert!(first_fault(&"#".repeat(BYTES_MAX + 1)).contains("at most 1 MiB"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[-a-z0-9:\\[\\]{}&*!|>'\"%@`#?~,.$ \\n\\t\\\\]{0,80}") {
            let _ = parse(&text, 0);
        }

        #[test]
        fn any_characters_are_read_or_refused(text in "\\PC*") {
            let _ = parse(&text, 0);
        }
    }
}
