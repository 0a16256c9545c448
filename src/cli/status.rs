//! `countersign status`: how the running gateway is.

use clap::Args;

use super::args::Global;
use super::client::Admin;
use super::exit::{Exit, Failure};
use super::output;

/// Show the running gateway's version, what is in force, and whether it is ready.
#[derive(Args, Debug)]
pub(super) struct Status {}

impl Status {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let answer = Admin::find(global)?.get("/status").await?;
        output::print(&output::thing(global.output, &answer, ""))?;
        Ok(Exit::Done)
    }
}
