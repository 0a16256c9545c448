//! `countersign user`: the users of Apps.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Admin;
use super::confirm::Confirmation;
use super::exit::{Exit, Failure};
use super::global::Global;
use super::output::{self, Format};
use super::plain::plain;

/// End everything that a user of an App has open.
#[derive(Subcommand, Debug)]
pub(super) enum User {
    Revoke(Revoke),
}

/// End every session of a user, with all their tokens; the user may log in again.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  countersign user revoke --app acme alice")]
pub(super) struct Revoke {
    /// The user's App, by its id or name.
    #[arg(long)]
    app: String,
    /// The user, as the App names it.
    user: String,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// The answer, with its own fields in a member where a table shows them.
fn shown(format: Format, answer: Value) -> Value {
    match format {
        Format::Table => json!({
            "ended": { "sessions_ended": answer.get("sessions_ended") },
            "receipt": answer.get("receipt"),
        }),
        Format::Json | Format::Yaml => answer,
    }
}

impl User {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let Self::Revoke(revoke) = self;
        let (user, app) = (plain(&revoke.user), plain(&revoke.app));
        let question = format!("End every session of the user {user} of the App {app} now?");
        revoke.confirmation.ask(&question)?;
        let admin = Admin::find(global)?;
        let body = json!({ "app": revoke.app, "user": revoke.user });
        let answer = admin.post("/users/revoke", body).await?;
        output::print(&output::thing(
            global.output,
            &shown(global.output, answer),
            "ended",
        ))?;
        Ok(Exit::Done)
    }
}
