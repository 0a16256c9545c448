//! The JSON Schema of the configuration, from the same structs that read it.

use serde_json::{Value, json};

use super::root::Config;

/// The JSON Schema (2020-12), for editors and for `config/schema.json`.
pub fn schema() -> Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12();
    let mut schema = settings.into_generator().into_root_schema_for::<Config>();
    schema.insert("title".to_owned(), json!("Countersign"));
    schema.insert("required".to_owned(), json!(["version", "hosts"]));
    let mut schema = schema.to_value();
    if let Some(types) = schema.get_mut("$defs").and_then(Value::as_object_mut) {
        types.values_mut().for_each(take_nothing);
    }
    schema
}

/// A section whose every key is commented out is nothing in YAML, and is read as the section's defaults.
fn take_nothing(part: &mut Value) {
    let is_section = part.get("properties").is_some() && part.get("required").is_none();
    if let Some(kind) = part.get_mut("type").filter(|_| is_section) {
        *kind = json!(["object", "null"]);
    }
}

/// The schema as `config/schema.json` holds it.
pub fn schema_text() -> String {
    let text = serde_json::to_string_pretty(&schema()).expect("a schema is plain JSON");
    text + "\n"
}
