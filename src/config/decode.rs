//! A document into typed sections, with every problem and not just the first.
//!
//! serde stops at the first error. So each refused part is reported and pruned from the tree, and the rest is read
//! again, until nothing is refused.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};

use super::document::{Entry, Node, Value};
use super::path::{Step, YamlPath};
use super::problem::Finding;
use super::secret::SECRET_MARK;
use crate::domain::suggest::nearest;

/// The maximum number of findings: an operator fixes the first ones before reading more.
pub const FINDINGS_MAX: usize = 50;

/// The result of decoding: the value that could be read, and the findings.
#[derive(Debug)]
pub struct Decoded<T> {
    /// Absent when nothing useful is left, or when there are more than [`FINDINGS_MAX`] findings.
    pub value: Option<T>,
    pub findings: Vec<Finding>,
    /// The paths of the values that were refused.
    pub pruned: Vec<YamlPath>,
}

/// Reads a document; refused parts are pruned from `root`.
pub fn decode<T: DeserializeOwned>(root: &mut Node) -> Decoded<T> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut pruned: Vec<YamlPath> = Vec::new();
    loop {
        let failure = match T::deserialize(NodeDeserializer(root)) {
            Ok(value) => {
                return Decoded {
                    value: Some(value),
                    findings,
                    pruned,
                };
            }
            Err(failure) => failure,
        };
        let path: YamlPath = failure.steps.iter().rev().cloned().collect();
        if !failure.follows_from(&path, &pruned) {
            findings.push(failure.finding(path.clone()));
        }
        if path.steps().is_empty() || findings.len() >= FINDINGS_MAX {
            return Decoded {
                value: None,
                findings,
                pruned,
            };
        }
        root.prune(&path);
        pruned.push(path);
    }
}

/// The error of a value that could not be read, with the path to it, innermost step first.
#[derive(Debug)]
struct Failure {
    kind: Kind,
    steps: Vec<Step>,
    at_key: bool,
    sensitive: bool,
}

#[derive(Debug)]
enum Kind {
    /// Any other error.
    Message(String),
    MissingKey(&'static str),
    UnknownKey(String, &'static [&'static str]),
    UnknownWord(String, &'static [&'static str]),
}

impl Failure {
    fn of(kind: Kind) -> Self {
        Self {
            kind,
            steps: Vec::new(),
            at_key: false,
            sensitive: false,
        }
    }

    fn message(message: impl Into<String>) -> Self {
        Self::of(Kind::Message(message.into()))
    }

    fn below(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// True for a missing key that was refused earlier: it is not reported again.
    fn follows_from(&self, path: &YamlPath, pruned: &[YamlPath]) -> bool {
        match self.kind {
            Kind::MissingKey(key) => pruned.contains(&path.key(key)),
            _ => false,
        }
    }

    fn finding(self, path: YamlPath) -> Finding {
        let did_you_mean =
            |word: &str, known: &[&'static str]| match nearest(word, known.iter().copied()) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("known: {}", known.join(", ")),
            };
        let (message, suggestion) = match self.kind {
            Kind::Message(message) => (message, None),
            Kind::MissingKey(key) => (format!("{key} is missing"), None),
            Kind::UnknownKey(key, known) => {
                let suggestion = did_you_mean(&key, known);
                ("there is no such key".to_owned(), Some(suggestion))
            }
            Kind::UnknownWord(word, known) => {
                let message = format!("expected one of {}", known.join(", "));
                let meant = nearest(&word, known.iter().copied());
                (message, meant.map(|meant| format!("did you mean {meant}?")))
            }
        };
        Finding {
            path,
            message,
            suggestion,
            at_key: self.at_key,
            sensitive: self.sensitive,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

impl std::error::Error for Failure {}

impl serde::de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::message(message.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self::of(Kind::MissingKey(field))
    }

    /// An error for numbers only: the text was a whole number, and its type refused it.
    fn invalid_value(_: serde::de::Unexpected<'_>, _: &dyn serde::de::Expected) -> Self {
        Self::message("expected a whole number of at least 1")
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::of(Kind::UnknownKey(field.to_owned(), expected))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::of(Kind::UnknownWord(variant.to_owned(), expected))
    }
}

/// A node as serde sees it. Texts stay texts: a number is read only where one is expected.
#[derive(Clone, Copy)]
struct NodeDeserializer<'n>(&'n Node);

impl<'n> NodeDeserializer<'n> {
    fn text(self, wanted: &str) -> Result<&'n str, Failure> {
        match &self.0.value {
            Value::Scalar { text, .. } => Ok(text),
            _ => Err(self.mismatch(wanted)),
        }
    }

    fn mismatch(self, wanted: &str) -> Failure {
        let found = match &self.0.value {
            Value::Mapping(_) => "keys and values",
            Value::Null | Value::Pruned => "nothing",
            Value::Scalar { .. } => "a text",
            Value::Sequence(_) => "a list",
        };
        Failure::message(format!("expected {wanted}, found {found}"))
    }

    fn number<T: std::str::FromStr + Bounds>(self) -> Result<T, Failure> {
        let wanted = || format!("a whole number from {} to {}", T::MIN_TEXT, T::MAX);
        let text = self.text(&wanted())?;
        let digits = text.strip_prefix('-').unwrap_or(text);
        let whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| whole);
        number.ok_or_else(|| Failure::message(format!("expected {}", wanted())))
    }
}

/// The bounds of a number, for people.
trait Bounds {
    const MIN_TEXT: i64;
    const MAX: u64;
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty,)*) => {
        $(
            fn $method<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Failure> {
                visitor.$visit(self.number::<$type>()?)
            }
        )*
    };
}

macro_rules! bounds {
    ($($type:ty: $min:expr, $max:expr;)*) => {
        $(
            impl Bounds for $type {
                const MIN_TEXT: i64 = $min;
                const MAX: u64 = $max;
            }
        )*
    };
}

bounds! {
    u8: 0, 255;
    u16: 0, 65_535;
    u32: 0, 4_294_967_295;
    u64: 0, u64::MAX;
    i64: i64::MIN, 9_223_372_036_854_775_807;
}

impl<'n> Deserializer<'n> for NodeDeserializer<'n> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.0.value {
            Value::Mapping(_) => self.deserialize_map(visitor),
            Value::Null | Value::Pruned => visitor.visit_unit(),
            Value::Scalar { text, plain: true } if matches!(&**text, "true" | "false") => {
                self.deserialize_bool(visitor)
            }
            Value::Scalar { text, .. } => visitor.visit_str(text),
            Value::Sequence(_) => self.deserialize_seq(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.0.value {
            Value::Scalar { text, plain: true } if text == "true" => visitor.visit_bool(true),
            Value::Scalar { text, plain: true } if text == "false" => visitor.visit_bool(false),
            Value::Scalar { .. } => Err(Failure::message("expected true or false")),
            _ => Err(self.mismatch("true or false")),
        }
    }

    numbers! {
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_i64 visit_i64 i64,
    }

    fn deserialize_str<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_str(self.text("a text")?)
    }

    fn deserialize_string<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.0.value {
            Value::Null | Value::Pruned => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'n>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let sensitive = name == SECRET_MARK;
        visitor
            .visit_newtype_struct(self)
            .map_err(|failure| Failure {
                sensitive: failure.sensitive || sensitive,
                ..failure
            })
    }

    /// A key without a value is an empty list or section: its children were commented out.
    fn deserialize_seq<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Failure> {
        let nodes = match &self.0.value {
            Value::Sequence(nodes) => nodes.as_slice(),
            Value::Null | Value::Pruned => &[],
            _ => return Err(self.mismatch("a list")),
        };
        visitor.visit_seq(Items {
            rest: nodes.iter().enumerate(),
        })
    }

    fn deserialize_map<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Failure> {
        let entries = match &self.0.value {
            Value::Mapping(entries) => entries.as_slice(),
            Value::Null | Value::Pruned => &[],
            _ => return Err(self.mismatch("keys and values")),
        };
        visitor.visit_map(Entries {
            rest: entries.iter(),
            value: None,
        })
    }

    fn deserialize_struct<V: Visitor<'n>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'n>>(
        self,
        _name: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let wanted = format!("one of {}", words.join(", "));
        visitor.visit_enum(Word(self.text(&wanted)?))
    }

    serde::forward_to_deserialize_any! {
        <V: Visitor<'n>>
        i8 i16 i32 i128 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

/// A list's items, without those that were refused.
struct Items<'n> {
    rest: std::iter::Enumerate<std::slice::Iter<'n, Node>>,
}

impl<'n> SeqAccess<'n> for Items<'n> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'n>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Failure> {
        let next = self
            .rest
            .find(|(_, node)| !matches!(node.value, Value::Pruned));
        next.map(|(index, node)| {
            seed.deserialize(NodeDeserializer(node))
                .map_err(|failure| failure.below(Step::Index(index)))
        })
        .transpose()
    }
}

/// A mapping's entries, without those that were refused.
struct Entries<'n> {
    rest: std::slice::Iter<'n, Entry>,
    value: Option<&'n Entry>,
}

impl<'n> MapAccess<'n> for Entries<'n> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'n>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Failure> {
        let next = self
            .rest
            .find(|entry| !matches!(entry.node.value, Value::Pruned));
        let Some(entry) = next else {
            return Ok(None);
        };
        self.value = Some(entry);
        let key: StrDeserializer<'n, Failure> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|failure| Failure {
            at_key: true,
            ..failure.below(Step::Key(entry.key.clone()))
        })
    }

    fn next_value_seed<V: DeserializeSeed<'n>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        let entry = self
            .value
            .take()
            .ok_or_else(|| Failure::message("a value without a key"))?;
        seed.deserialize(NodeDeserializer(&entry.node))
            .map_err(|failure| failure.below(Step::Key(entry.key.clone())))
    }
}

/// A word of a closed set.
struct Word<'n>(&'n str);

impl<'n> EnumAccess<'n> for Word<'n> {
    type Error = Failure;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'n>>(self, seed: V) -> Result<(V::Value, Self), Failure> {
        let word: StrDeserializer<'n, Failure> = self.0.into_deserializer();
        Ok((seed.deserialize(word)?, self))
    }
}

impl<'n> VariantAccess<'n> for Word<'n> {
    type Error = Failure;

    fn unit_variant(self) -> Result<(), Failure> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'n>>(self, _seed: T) -> Result<T::Value, Failure> {
        Err(Failure::message("this value has no fields"))
    }

    fn tuple_variant<V: Visitor<'n>>(self, _len: usize, _visitor: V) -> Result<V::Value, Failure> {
        Err(Failure::message("this value has no fields"))
    }

    fn struct_variant<V: Visitor<'n>>(
        self,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Failure> {
        Err(Failure::message("this value has no fields"))
    }
}
