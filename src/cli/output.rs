//! The output of commands: tables for people, JSON and YAML for scripts.
//!
//! Results go to stdout and notes to stderr, so that a pipe gets results only. `anstream` removes colours if
//! `NO_COLOR` is set or the output is not a terminal.

use std::fmt::Write as _;
use std::io::{ErrorKind, IsTerminal as _, Write};

use clap::ValueEnum;
use serde_json::Value;

use super::exit::{Exit, Failure};
use super::plain::{plain, plain_lines};

/// The format of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table for people.
    #[default]
    Table,
    /// The admin API's own JSON, for scripts.
    Json,
    /// The same as YAML.
    Yaml,
}

/// One column of a list: its title, and the JSON pointer of its value in an item.
pub(super) struct Column(pub(super) &'static str, pub(super) &'static str);

/// A list in the format of `--output`.
pub(super) fn list(format: Format, items: &[Value], columns: &[Column]) -> String {
    match format {
        Format::Json => json(&Value::from(items)),
        Format::Yaml => yaml(&Value::from(items)),
        Format::Table => table(items, columns),
    }
}

/// One object in the format of `--output`. `name` is its member in the answer, which may also have a receipt.
pub(super) fn thing(format: Format, answer: &Value, name: &str) -> String {
    match format {
        Format::Json => json(answer),
        Format::Yaml => yaml(answer),
        Format::Table => {
            let mut text = fields(answer.get(name).unwrap_or(answer));
            if let Some(receipt) = answer.get("receipt").and_then(receipt) {
                let _ = writeln!(text, "\n{receipt}");
            }
            text
        }
    }
}

/// The receipt of a change, as a sentence.
fn receipt(receipt: &Value) -> Option<String> {
    let number = |name: &str| receipt.get(name).and_then(Value::as_u64);
    let version = number("version")?;
    if receipt.get("confirmed") == Some(&Value::Bool(false)) {
        let silent = match (number("workers"), number("workers_total")) {
            (Some(workers), Some(total)) if total > workers => {
                format!(
                    "{} of {} did not answer",
                    total - workers,
                    count(total, "worker")
                )
            }
            _ => "the workers did not answer".to_owned(),
        };
        return Some(format!(
            "Stored (snapshot {version}), but NOT CONFIRMED: {silent} in time. See the gateway's log."
        ));
    }
    let workers = count(number("workers")?, "worker");
    let closed = count(number("connections_closed")?, "connection");
    Some(format!(
        "In force on {workers} (snapshot {version}); {closed} closed."
    ))
}

/// `1 worker`, `2 workers`.
pub(super) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

fn json(value: &Value) -> String {
    // `Value`'s `Display` cannot fail, and its alternate form is indented.
    format!("{value:#}\n")
}

fn table(items: &[Value], columns: &[Column]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(columns.iter().map(|Column(title, _)| *title));
    for item in items {
        table.add_row(
            columns
                .iter()
                .map(|Column(_, place)| item.pointer(place).map_or_else(absent, cell)),
        );
    }
    aligned(&table)
}

/// The fields that identify an object, which come first; the others follow by name.
const FIRST: &[&str] = &["id", "name", "app", "state"];

fn fields(thing: &Value) -> String {
    let Some(fields) = thing.as_object() else {
        return format!("{}\n", cell(thing));
    };
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    let mut long = String::new();
    let rank = |name: &str| FIRST.iter().position(|first| *first == name);
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_by_key(|(name, _)| rank(name).unwrap_or(FIRST.len()));
    for (name, value) in fields {
        match value.as_str() {
            // What spans lines (PEM) follows the table as it is, to be copied.
            Some(text) if text.contains('\n') => {
                let _ = write!(long, "\n{}", plain_lines(text));
            }
            _ => {
                table.add_row([name.replace('_', " "), cell(value)]);
            }
        }
    }
    aligned(&table) + &long
}

/// The table without the spaces that pad it on both sides.
fn aligned(table: &comfy_table::Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        let line = line.strip_prefix(' ').unwrap_or(&line).trim_end();
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn absent() -> String {
    "-".to_owned()
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => absent(),
        Value::String(text) if text.is_empty() => absent(),
        Value::String(text) => plain(text),
        Value::Array(values) if values.is_empty() => absent(),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join(" "),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| format!("{name}={}", cell(value)))
            .collect::<Vec<_>>()
            .join(" "),
        other => other.to_string(),
    }
}

/// YAML for any JSON value. Text of several lines becomes a block, so that PEM can be copied; no other text is wrapped.
fn yaml(value: &Value) -> String {
    let options = serde_yaml::ser_options! {
        compact_list_indent: false,
        folded_wrap_chars: usize::MAX,
    };
    serde_yaml::to_string_with_options(value, options).expect("a JSON value is YAML as well")
}

/// Writes a result to stdout.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // `countersign cert list | head` has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::new(
            Exit::Failed,
            format!("cannot write to stdout: {error}"),
        )),
        Ok(()) => Ok(()),
    }
}

/// Writes a note to stderr; a failure is ignored.
pub(super) fn remark(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Replaces the line of progress on a terminal; other outputs get none. An empty text removes it.
pub(super) fn progress(text: &str) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let _ = write!(out, "\r\u{1b}[K{text}").and_then(|()| out.flush());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const COLUMNS: &[Column] = &[
        Column("ID", "/id"),
        Column("NAME", "/name"),
        Column("SCOPES", "/scopes"),
    ];

    fn keys() -> [Value; 2] {
        [
            json!({"id": "key_1", "name": "backend", "scopes": ["orders:read", "orders:write"]}),
            json!({"id": "key_22", "name": null, "scopes": []}),
        ]
    }

    #[test]
    fn a_list_is_a_table_with_a_line_for_each_item() {
        assert_eq!(
            list(Format::Table, &keys(), COLUMNS),
            "ID      NAME     SCOPES\n\
             key_1   backend  orders:read orders:write\n\
             key_22  -        -\n"
        );
    }

    #[test]
    fn an_empty_list_still_has_its_titles() {
        assert_eq!(list(Format::Table, &[], COLUMNS), "ID  NAME  SCOPES\n");
        assert_eq!(list(Format::Json, &[], COLUMNS), "[]\n");
        assert_eq!(list(Format::Yaml, &[], COLUMNS), "[]\n");
    }

    #[test]
    fn a_change_shows_the_thing_and_its_receipt() {
        let answer = json!({
            "app": {"id": "app_1", "created_at": "2026-01-01T00:00:00Z"},
            "receipt": {"version": 42, "workers": 1, "connections_closed": 2},
        });
        assert_eq!(
            thing(Format::Table, &answer, "app"),
            "id          app_1\n\
             created at  2026-01-01T00:00:00Z\n\
             \n\
             In force on 1 worker (snapshot 42); 2 connections closed.\n"
        );
    }

    #[test]
    fn a_receipt_that_is_none_says_so() {
        for (workers, total, silent) in [
            (1, 2, "1 of 2 workers did not answer in time"),
            (0, 1, "1 of 1 worker did not answer in time"),
            (0, 0, "the workers did not answer in time"),
        ] {
            let answer = json!({
                "key": {"id": "key_1"},
                "receipt": {
                    "version": 42, "confirmed": false, "workers": workers, "workers_total": total,
                    "connections_closed": 0,
                },
            });
            let shown = thing(Format::Table, &answer, "key");
            let expected = format!("Stored (snapshot 42), but NOT CONFIRMED: {silent}.");
            assert!(shown.contains(&expected), "{shown}");
            assert!(!shown.contains("In force"), "{shown}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            "([ -~]{0,9}\n){0,3}[ -~]{0,9}".prop_map(Value::from),
            "[-+0-9._:eExonyalsuTZ~]{0,8}".prop_map(Value::from),
            "[a-z ]{70,200}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[ -~]{0,8}", inner, 0..4)
                    .prop_map(|map| map.into_iter().collect::<Value>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn yaml_reads_as_the_json_does(value in value()) {
            let text = yaml(&value);
            let read: Value = serde_yaml::from_str(&text).unwrap();
            prop_assert_eq!(read, value, "{}", text);
        }

        #[test]
        fn yaml_has_no_control_but_line_ends_and_tabs(text in "(\\PC|\\pC){0,20}") {
            let written = yaml(&Value::from(vec![text]));
            prop_assert!(!written.chars().any(|letter| letter.is_control() && !"\n\t".contains(letter)), "{:?}", written);
        }
    }

    #[test]
    fn yaml_is_laid_out_for_people() {
        let value = json!({
            "a": [{"b": "x", "c": [1, true, null]}, {"b": "off"}, [], "12"],
            "d": {"e": "two: words", "f": {}},
            "long": "word ".repeat(30).trim_end(),
            "pem": "-----BEGIN X-----\nAA==\n",
        });
        let long = "word ".repeat(30);
        let expected = [
            "a:",
            "  - b: x",
            "    c:",
            "      - 1",
            "      - true",
            "      - null",
            "  - b: \"off\"",
            "  - []",
            "  - \"12\"",
            "d:",
            "  e: \"two: words\"",
            "  f: {}",
            &format!("long: {}", long.trim_end()),
            "pem: |",
            "  -----BEGIN X-----",
            "  AA==",
            "",
        ];
        assert_eq!(
            yaml(&value).lines().collect::<Vec<_>>().join("\n") + "\n",
            expected.join("\n")
        );
    }

    #[test]
    fn nothing_that_others_chose_reaches_the_terminal_as_a_command() {
        let items = [json!({"id": "\u{1b}[2Jgone", "name": "a\nb", "scopes": "\u{202e}x"})];
        let text = list(Format::Table, &items, COLUMNS);
        assert!(!text.contains('\u{1b}'));
        assert!(text.contains("\\u{1b}[2Jgone"));
        assert!(text.contains("a\\u{a}b"));
        assert!(text.contains("\\u{202e}x"));
    }

    #[test]
    fn text_of_several_lines_follows_the_fields() {
        let answer = json!({"id": "crt_1", "pem": "-----BEGIN\nx\n"});
        assert_eq!(
            thing(Format::Table, &answer, ""),
            "id  crt_1\n\n-----BEGIN\nx\n"
        );
    }
}
