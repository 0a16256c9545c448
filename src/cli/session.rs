//! `countersign session`: the sessions of users.

use clap::{Args, Subcommand};
use serde_json::json;

use super::client::Admin;
use super::confirm::Confirmation;
use super::exit::{Exit, Failure};
use super::global::Global;
use super::listing::{self, Extent, Query};
use super::output::{self, Column};
use super::plain::plain;

/// List and end the sessions of users.
#[derive(Subcommand, Debug)]
pub(super) enum Session {
    List(List),
    Get(Get),
    Revoke(Revoke),
}

/// List the sessions that have not ended.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  countersign session list --app acme --user alice")]
pub(super) struct List {
    /// List those of one App, by its id or name.
    #[arg(long)]
    app: Option<String>,
    /// List those of one user, as the App names it.
    #[arg(long)]
    user: Option<String>,
    /// List those on one device, as the App names it.
    #[arg(long)]
    device: Option<String>,
    #[command(flatten)]
    extent: Extent,
}

/// Show a session, for a day after its end, too.
#[derive(Args, Debug)]
pub(super) struct Get {
    /// The session's id (ses_…).
    id: String,
}

/// End a session with all its tokens; the gateway refuses them at once.
#[derive(Args, Debug)]
pub(super) struct Revoke {
    /// The session's id (ses_…).
    id: String,
    #[command(flatten)]
    confirmation: Confirmation,
}

const COLUMNS: &[Column] = &[
    Column("ID", "/id"),
    Column("APP", "/app"),
    Column("USER", "/user"),
    Column("DEVICE", "/device"),
    Column("CREATED", "/created_at"),
    Column("REFRESHED", "/refreshed_at"),
    Column("EXPIRES", "/expires_at"),
];

impl Session {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let admin = Admin::find(global)?;
        match self {
            Self::List(list) => {
                let query = Query::default()
                    .with("app", list.app.as_deref())
                    .with("user", list.user.as_deref())
                    .with("device", list.device.as_deref());
                let listed = admin.list("/sessions", &query, &list.extent).await?;
                listed.print(global.output, COLUMNS)?;
            }
            Self::Get(get) => {
                let path = listing::path("/sessions", &get.id, "");
                let answer = admin.get(&path).await?;
                output::print(&output::thing(global.output, &answer, "session"))?;
            }
            Self::Revoke(revoke) => {
                let question = format!("End the session {} now?", plain(&revoke.id));
                revoke.confirmation.ask(&question)?;
                let path = listing::path("/sessions", &revoke.id, "/revoke");
                let answer = admin.post(&path, json!({})).await?;
                output::print(&output::thing(global.output, &answer, "session"))?;
            }
        }
        Ok(Exit::Done)
    }
}
