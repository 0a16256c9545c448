//! `config/countersign.yaml`: every key at its default, with its description, generated from the structs.

use serde_json::Value as Json;

use super::document::{Entry, Node, Value, parse};
use super::root::Config;
use super::schema::schema;

/// Columns of a comment, its indent included.
const WIDTH: usize = 110;

/// A host, a route, a limit and an upstream with what they must say, so that their defaults can be shown.
const EXAMPLE: &str = r#"
hosts:
  api.example.com:
    routes:
      - name: orders
        match: { path: /v1/orders, methods: [GET] }
        limits: [{ name: orders, per: app, rate: 100/s }]
        upstream: orders
upstreams:
  orders:
    endpoints: ["http://127.0.0.1:9001"]
"#;

const HEAD: &str = "\
# yaml-language-server: $schema=schema.json
#
# Every key of a Countersign configuration at its default, with an example of a host, a route and an upstream.
# Generated from the code and compared with it by a test. Copy the keys that you change. Keys after a `#` are not set.
#
# Times: 30s, 15m, 1h30m, 90d. Sizes: 64KiB, 10MiB. Rates: 100/s, 10/15m.
# Secrets are references: ${file:path}, ${env:NAME} or ${credential:name}.
# Environment variables override any key: COUNTERSIGN_LOG__LEVEL=debug sets log.level.
";

/// The annotated default configuration.
pub fn annotated_default() -> String {
    let schema = schema();
    let config: Config = serde_yaml::from_str(EXAMPLE).expect("the example is a configuration");
    let plain = serde_yaml::to_string(&config).expect("a configuration can be written");
    let root = parse(&plain, 0).expect("what was written can be read");
    let mut writer = Writer {
        schema: &schema,
        text: HEAD.to_owned(),
    };
    if let Value::Mapping(entries) = &root.value {
        for entry in entries {
            writer.text.push('\n');
            writer.entry(entry, &schema, 0, "");
        }
    }
    writer.text
}

struct Writer<'s> {
    schema: &'s Json,
    text: String,
}

impl<'s> Writer<'s> {
    fn mapping(&mut self, entries: &[Entry], schema: &'s Json, indent: usize) {
        for entry in entries {
            self.entry(entry, schema, indent, "");
        }
    }

    /// Writes a key with its description and what is below it; `lead` replaces the indent of the first line.
    fn entry(&mut self, entry: &Entry, schema: &'s Json, indent: usize, lead: &str) {
        let (below, description) = self.property(schema, &entry.key);
        let blank = " ".repeat(indent);
        if lead.is_empty() {
            self.comment(&description, indent);
        }
        let first = if lead.is_empty() { &blank } else { lead };
        let key = scalar(&entry.key, false);
        let head = format!("{first}{key}:");
        match &entry.node.value {
            Value::Null | Value::Pruned => {
                self.line(&format!("{first}# {key}:"));
            }
            Value::Mapping(entries) if !entries.is_empty() => {
                self.line(&head);
                self.mapping(entries, below, indent + 2);
            }
            Value::Sequence(nodes) if nodes.iter().any(is_block) => {
                self.line(&head);
                for node in nodes {
                    self.item(node, below.get("items").unwrap_or(&Json::Null), indent + 2);
                }
            }
            value => {
                let value = flow(value);
                self.line(&format!("{head} {value}"));
            }
        }
    }

    /// An item of a list of mappings: its first key stands behind the dash.
    fn item(&mut self, node: &Node, schema: &'s Json, indent: usize) {
        let schema = self.resolve(schema);
        let Value::Mapping(entries) = &node.value else {
            let item = flow(&node.value);
            self.line(&format!("{}- {item}", " ".repeat(indent)));
            return;
        };
        let dash = format!("{}- ", " ".repeat(indent));
        for (place, entry) in entries.iter().enumerate() {
            if place == 0 {
                let (_, description) = self.property(schema, &entry.key);
                self.comment(&description, indent);
                self.entry(entry, schema, indent + 2, &dash);
            } else {
                self.entry(entry, schema, indent + 2, "");
            }
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn comment(&mut self, description: &str, indent: usize) {
        let blank = " ".repeat(indent);
        let mut line = String::new();
        for word in description.split_whitespace() {
            if !line.is_empty() && indent + 3 + line.chars().count() + word.chars().count() > WIDTH
            {
                self.line(&format!("{blank}# {line}"));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if !line.is_empty() {
            self.line(&format!("{blank}# {line}"));
        }
    }

    /// The schema of a key, and its own description or else that of its type.
    fn property(&self, schema: &'s Json, key: &str) -> (&'s Json, String) {
        let own = schema.get("properties").and_then(|keys| keys.get(key));
        let by_pattern = || schema.get("additionalProperties");
        let own = own.or_else(by_pattern).unwrap_or(&Json::Null);
        let below = self.resolve(own);
        let is_named = schema.get("properties").is_some();
        let text = |schema: &Json| {
            schema
                .get("description")
                .and_then(Json::as_str)
                .map(str::to_owned)
        };
        let description = text(own).or_else(|| text(below)).filter(|_| is_named);
        (below, description.unwrap_or_default())
    }

    /// Follows a reference; of "this or null", takes this.
    fn resolve(&self, schema: &'s Json) -> &'s Json {
        let choice = schema.get("anyOf").and_then(|choices| choices.get(0));
        let target = choice.unwrap_or(schema).get("$ref").and_then(Json::as_str);
        target
            .and_then(|target| target.strip_prefix('#'))
            .and_then(|pointer| self.schema.pointer(pointer))
            .unwrap_or(schema)
    }
}

fn is_block(node: &Node) -> bool {
    matches!(&node.value, Value::Mapping(entries) if !entries.is_empty())
}

fn flow(value: &Value) -> String {
    match value {
        Value::Null | Value::Pruned => "null".to_owned(),
        Value::Scalar { text, plain } => scalar(text, !plain),
        Value::Mapping(_) => "{}".to_owned(),
        Value::Sequence(nodes) => {
            let items: Vec<String> = nodes.iter().map(|node| flow(&node.value)).collect();
            format!("[{}]", items.join(", "))
        }
    }
}

/// A text, in quotes where YAML might take it for something else.
fn scalar(text: &str, quoted: bool) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    let is_plain = text.bytes().all(plain) && !text.starts_with('-') && !text.is_empty();
    if is_plain && !quoted {
        text.to_owned()
    } else {
        Json::from(text).to_string()
    }
}
