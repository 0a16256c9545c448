//! The kinds of ambiguous paths that a route accepts: none, all, or a list.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::oddity::{Oddities, Oddity};

/// Kinds of paths that a route takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AmbiguousPaths(pub Oddities);

impl<'de> Deserialize<'de> for AmbiguousPaths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AllOrSome)
    }
}

struct AllOrSome;

impl<'de> Visitor<'de> for AllOrSome {
    type Value = AmbiguousPaths;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false or a list of kinds")
    }

    fn visit_bool<E>(self, all: bool) -> Result<AmbiguousPaths, E> {
        Ok(AmbiguousPaths(if all {
            Oddities::ALL
        } else {
            Oddities::NONE
        }))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut kinds: A) -> Result<AmbiguousPaths, A::Error> {
        let mut set = Oddities::NONE;
        while let Some(kind) = kinds.next_element()? {
            set.insert(kind);
        }
        Ok(AmbiguousPaths(set))
    }
}

impl Serialize for AmbiguousPaths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Oddities::NONE => serializer.serialize_bool(false),
            Oddities::ALL => serializer.serialize_bool(true),
            some => serializer.collect_seq(some.iter()),
        }
    }
}

impl JsonSchema for AmbiguousPaths {
    fn schema_name() -> Cow<'static, str> {
        "AmbiguousPaths".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "boolean" },
                { "type": "array", "items": { "enum": Oddity::ALL.map(Oddity::as_str) } },
            ],
            "description": "All kinds, none, or a list of kinds.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<AmbiguousPaths, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn all_none_or_a_list_is_read_and_written() {
        let list = r#"["encoded_slashes","semicolons"]"#;
        for json in ["true", "false", list] {
            let paths = read(json).unwrap();
            assert_eq!(serde_json::to_string(&paths).unwrap(), json);
        }
        let kinds: Vec<_> = read(list).unwrap().0.iter().collect();
        assert_eq!(kinds, [Oddity::EncodedSlashes, Oddity::Semicolons]);
        assert_eq!(read("[]").unwrap(), AmbiguousPaths(Oddities::NONE));
        let unknown = read(r#"["semicolon"]"#).unwrap_err();
        assert!(unknown.contains("semicolons"), "{unknown}");
        assert!(read("\"semicolons\"").is_err());
    }
}
