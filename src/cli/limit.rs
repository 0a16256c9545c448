//! `countersign limit`: the limits of Apps, raised for a while.

use clap::{ArgGroup, Args, Subcommand};
use serde_json::json;

use super::client::Admin;
use super::duration::Span;
use super::exit::{Exit, Failure};
use super::global::Global;
use super::listing::{self, Extent, Query};
use super::output::{self, Column};
use crate::domain::factor::Factor;
use crate::domain::time::Timestamp;

/// Raise the limits of an App until a date, and show which are raised.
#[derive(Subcommand, Debug)]
pub(super) enum Limit {
    Boost(Boost),
    List(List),
    End(End),
}

/// Raise the limits of an App, or of one of its keys, by a factor until a date.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  countersign limit boost acme --factor 3 --for 48h --why 'their launch'\n  countersign limit boost --key key_01… --limit orders --factor 1.5 --until 2026-12-04",
    group = ArgGroup::new("of").required(true).args(["app", "key"]),
    group = ArgGroup::new("end").required(true).args(["until", "span"])
)]
pub(super) struct Boost {
    /// The App, by its id or name.
    app: Option<String>,
    /// The only key that the boost is for (key_…), instead of an App.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The only limit that the boost raises, by its name; without it, all that count the App, its keys or its users.
    #[arg(long, value_name = "NAME")]
    limit: Option<String>,
    /// The factor: more than 1, at most 1000.
    #[arg(long)]
    factor: Factor,
    /// The end of the boost: a time of RFC 3339, or a day (its midnight, UTC).
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// The boost's life, for example 48h.
    #[arg(long = "for", value_name = "DURATION")]
    span: Option<Span>,
    /// A note for the audit trail.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
}

/// List the boosts that have not ended.
#[derive(Args, Debug)]
pub(super) struct List {
    /// List those of one App, by its id or name.
    #[arg(long)]
    app: Option<String>,
    #[command(flatten)]
    extent: Extent,
}

/// End a boost before its date.
#[derive(Args, Debug)]
pub(super) struct End {
    /// The boost's id (bst_…).
    id: String,
}

const COLUMNS: &[Column] = &[
    Column("ID", "/id"),
    Column("APP", "/app"),
    Column("KEY", "/key"),
    Column("LIMIT", "/limit"),
    Column("FACTOR", "/factor"),
    Column("UNTIL", "/until"),
];

impl Limit {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let admin = Admin::find(global)?;
        let answer = match self {
            Self::Boost(boost) => admin.post("/limits/boosts", boost.body()).await?,
            Self::End(end) => {
                let path = listing::path("/limits/boosts", &end.id, "/end");
                admin.post(&path, json!({})).await?
            }
            Self::List(list) => {
                let query = Query::default().with("app", list.app.as_deref());
                let listed = admin.list("/limits/boosts", &query, &list.extent).await?;
                listed.print(global.output, COLUMNS)?;
                return Ok(Exit::Done);
            }
        };
        output::print(&output::thing(global.output, &answer, "boost"))?;
        Ok(Exit::Done)
    }
}

impl Boost {
    fn body(&self) -> serde_json::Value {
        let factor = f64::from(self.factor.hundredths()) / 100.0;
        let mut body = json!({ "factor": factor });
        if let Some(fields) = body.as_object_mut() {
            let span = self.span.as_ref().map(|span| span.as_str().to_owned());
            let until = self.until.map(|until| until.to_string());
            let texts = [
                ("app", self.app.clone()),
                ("key", self.key.clone()),
                ("limit", self.limit.clone()),
                ("until", until),
                ("expires_in", span),
                ("why", self.why.clone()),
            ];
            let given = texts
                .into_iter()
                .filter_map(|(name, text)| Some((name, text?)));
            fields.extend(given.map(|(name, text)| (name.to_owned(), text.into())));
        }
        body
    }
}

/// A time of RFC 3339, or a day.
fn time(text: &str) -> Result<Timestamp, &'static str> {
    let whole = format!("{text}T00:00:00Z");
    let read = text.parse().or_else(|_| whole.parse());
    read.ok()
        .ok_or("not a day (2026-12-04) or a time of RFC 3339 (2026-12-04T18:00:00Z)")
}
