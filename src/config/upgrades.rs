//! The protocols that a route tunnels: `WebSocket`, none, or a list of names.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text::text_value;
use crate::domain::upgrades::{InvalidProtocol, UpgradeProtocol, Upgrades as Set};

/// The protocols that a route opens; `true` is `[websocket]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upgrades(pub Set);

/// One protocol's name, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name(UpgradeProtocol);

impl std::str::FromStr for Name {
    type Err = InvalidProtocol;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

text_value!(
    Name,
    "Protocol",
    r"^[A-Za-z0-9._+-]+(/[A-Za-z0-9._+-]+)?$",
    "A protocol: websocket, name/version."
);

impl<'de> Deserialize<'de> for Upgrades {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMany)
    }
}

struct OneOrMany;

impl<'de> Visitor<'de> for OneOrMany {
    type Value = Upgrades;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false or a list of protocols")
    }

    fn visit_bool<E: Error>(self, websocket: bool) -> Result<Upgrades, E> {
        let named = websocket.then(|| "websocket".parse());
        let set = named.into_iter().collect::<Result<Set, _>>();
        set.map(Upgrades).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Upgrades, A::Error> {
        let mut list = Vec::new();
        while let Some(Name(protocol)) = names.next_element()? {
            list.push(protocol);
        }
        Ok(Upgrades(list.into_iter().collect()))
    }
}

impl Serialize for Upgrades {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_empty() {
            return serializer.serialize_bool(false);
        }
        serializer.collect_seq(self.0.iter().map(ToString::to_string))
    }
}

impl JsonSchema for Upgrades {
    fn schema_name() -> Cow<'static, str> {
        "Upgrades".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "boolean" },
                { "type": "array", "items": generator.subschema_for::<Name>() },
            ],
            "description": "The protocols that are opened; true is [websocket].",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn true_is_websocket_and_others_are_named() {
        let written = |json: &str| {
            let read: Upgrades = serde_json::from_str(json).unwrap();
            serde_json::to_string(&read).unwrap()
        };
        assert_eq!(written("true"), r#"["websocket"]"#);
        assert_eq!(written("false"), "false");
        assert_eq!(written("[]"), "false");
        assert_eq!(
            written(r#"["websocket","mine/2"]"#),
            r#"["websocket","mine/2"]"#
        );
        for bad in [r#"["h2c"]"#, r#"["a b"]"#, "\"websocket\"", "1"] {
            assert!(serde_json::from_str::<Upgrades>(bad).is_err(), "{bad}");
        }
    }
}
