//! `countersign status`: the state of the running gateway.

use clap::Args;
use serde_json::{Map, Value};

use super::client::Admin;
use super::exit::{Exit, Failure};
use super::global::Global;
use super::output::{self, Format};

/// Show the running gateway: version, addresses, configuration file, ends of certificates, upstreams, readiness.
#[derive(Args, Debug)]
pub(super) struct Status {}

impl Status {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let answer = Admin::find(global)?.get("/status").await?;
        let shown = match global.output {
            Format::Table => flat(answer),
            Format::Json | Format::Yaml => answer,
        };
        output::print(&output::thing(global.output, &shown, ""))?;
        Ok(Exit::Done)
    }
}

/// One line for each address, certificate and upstream.
fn flat(answer: Value) -> Value {
    let Value::Object(fields) = answer else {
        return answer;
    };
    let mut lines = Map::new();
    let text = |thing: &Value, name: &str| {
        let text = thing.get(name).and_then(Value::as_str);
        text.unwrap_or("?").to_owned()
    };
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("addresses", Value::Object(addresses)) => {
                let named = addresses.into_iter();
                lines.extend(named.map(|(name, address)| (format!("address {name}"), address)));
            }
            ("ends", Value::Array(ends)) => lines.extend(ends.iter().map(|end| {
                let name = format!("end of {}", text(end, "certificate"));
                (name, text(end, "not_after").into())
            })),
            ("upstreams", Value::Array(upstreams)) => {
                lines.extend(upstreams.iter().map(|upstream| {
                    let endpoints = upstream.get("endpoints").cloned().unwrap_or_default();
                    (format!("upstream {}", text(upstream, "name")), endpoints)
                }));
            }
            (_, value) => {
                lines.insert(name, value);
            }
        }
    }
    Value::Object(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_listed_becomes_lines() {
        let answer = json!({
            "version": "1.0.0",
            "addresses": {"admin": "127.0.0.1:7443"},
            "ends": [{"certificate": "root", "not_after": "2036-01-01T00:00:00Z"}],
            "upstreams": [{"name": "orders", "endpoints": ["http://a", "http://b"]}],
        });
        assert_eq!(
            output::thing(Format::Table, &flat(answer), ""),
            "address admin    127.0.0.1:7443\n\
             end of root      2036-01-01T00:00:00Z\n\
             upstream orders  http://a http://b\n\
             version          1.0.0\n"
        );
    }
}
