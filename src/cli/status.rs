//! `countersign status`: the state of the running gateway.

use clap::Args;

use super::args::Global;
use super::client::Admin;
use super::exit::{Exit, Failure};
use super::output;

/// Show the running gateway's version, the configuration and snapshot in force, and its readiness.
#[derive(Args, Debug)]
pub(super) struct Status {}

impl Status {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let answer = Admin::find(global)?.get("/status").await?;
        output::print(&output::thing(global.output, &answer, ""))?;
        Ok(Exit::Done)
    }
}
