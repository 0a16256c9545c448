//! `countersign drain`: asks the gateway to finish its work and stop.

use clap::Args;
use serde_json::json;

use super::args::Global;
use super::client::Admin;
use super::exit::{Exit, Failure};
use super::output;

/// Stop gently: readiness first, then no new connections, then the end of what runs or of drain.timeout.
#[derive(Args, Debug)]
pub(super) struct Drain {}

impl Drain {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        Admin::find(global)?.post("/drain", json!({})).await?;
        let begun = json!({"draining": true});
        output::print(&output::thing(global.output, &begun, ""))?;
        Ok(Exit::Done)
    }
}
