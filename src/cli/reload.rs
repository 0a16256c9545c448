//! `countersign reload`: applies the changed configuration file.

use clap::Args;
use serde_json::json;

use super::client::Admin;
use super::exit::{Exit, Failure};
use super::global::Global;
use super::output;

/// Reload the configuration file without dropping a connection; an invalid file changes nothing.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  countersign config check && countersign reload")]
pub(super) struct Reload {
    /// Take a configuration that has no route although the running one has some.
    #[arg(long)]
    allow_empty: bool,
}

impl Reload {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        // A gateway of an earlier version knows no such field, so it is not sent without need.
        let body = if self.allow_empty {
            json!({"allow_empty": true})
        } else {
            json!({})
        };
        let answer = Admin::find(global)?.post("/reload", body).await?;
        output::print(&output::thing(global.output, &answer, ""))?;
        Ok(Exit::Done)
    }
}
