//! `countersign reload`: applies the changed configuration file.

use clap::Args;
use serde_json::json;

use super::args::Global;
use super::client::Admin;
use super::exit::{Exit, Failure};
use super::output;

/// Reload the configuration file without dropping a connection; an invalid file changes nothing.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  countersign config check && countersign reload")]
pub(super) struct Reload {}

impl Reload {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let answer = Admin::find(global)?.post("/reload", json!({})).await?;
        output::print(&output::thing(global.output, &answer, ""))?;
        Ok(Exit::Done)
    }
}
