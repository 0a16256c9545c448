//! `countersign app`: Apps, the partners' integrations.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::app_set::AppSet;
use super::client::Admin;
use super::confirm::Confirmation;
use super::exit::{Exit, Failure};
use super::global::Global;
use super::listing::{self, Extent, Query};
use super::output::{self, Column};
use super::plain::plain;

/// Create, change, suspend and revoke Apps: the partners' integrations, which own certificates and keys.
#[derive(Subcommand, Debug)]
pub(super) enum App {
    Create(Create),
    List(List),
    Get(Which),
    Set(AppSet),
    Suspend(Suspend),
    Resume(Resume),
    Revoke(Revoke),
}

/// Create an App.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  countersign app create acme --contact ops@acme.example")]
pub(super) struct Create {
    /// The App's name: 1 to 30 characters from a-z, 0-9, '-', '_' and '.'; it is part of the App's certificates.
    name: String,
    /// The contact for the App: an address, a team, a ticket.
    #[arg(long)]
    contact: Option<String>,
}

/// List Apps.
#[derive(Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    extent: Extent,
}

/// Show one App.
#[derive(Args, Debug)]
pub(super) struct Which {
    /// The App's name or id.
    app: String,
}

/// Suspend an App: its credentials are refused until it is resumed, and its open connections are closed.
#[derive(Args, Debug)]
pub(super) struct Suspend {
    /// The App's name or id.
    app: String,
}

/// Resume a suspended App.
#[derive(Args, Debug)]
pub(super) struct Resume {
    /// The App's name or id.
    app: String,
}

/// Revoke an App permanently, with all its certificates and keys; its open connections are closed.
#[derive(Args, Debug)]
pub(super) struct Revoke {
    /// The App's name or id.
    app: String,
    #[command(flatten)]
    confirmation: Confirmation,
}

const COLUMNS: &[Column] = &[
    Column("ID", "/id"),
    Column("NAME", "/name"),
    Column("STATE", "/state"),
    Column("CONTACT", "/contact"),
    Column("CREATED", "/created_at"),
];

impl App {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let admin = Admin::find(global)?;
        let answer = match self {
            Self::Create(create) => admin.post("/apps", create.body()).await?,
            Self::Get(which) => admin.get(&listing::path("/apps", &which.app, "")).await?,
            Self::Set(set) => set.run(&admin).await?,
            Self::Suspend(suspend) => change(&admin, &suspend.app, "/suspend").await?,
            Self::Resume(resume) => change(&admin, &resume.app, "/resume").await?,
            Self::Revoke(revoke) => {
                let app = plain(&revoke.app);
                let question = format!("Revoke the App {app} and all its credentials permanently?");
                revoke.confirmation.ask(&question)?;
                change(&admin, &revoke.app, "/revoke").await?
            }
            Self::List(list) => {
                let listed = admin.list("/apps", &Query::default(), &list.extent).await?;
                listed.print(global.output, COLUMNS)?;
                return Ok(Exit::Done);
            }
        };
        output::print(&output::thing(global.output, &answer, "app"))?;
        Ok(Exit::Done)
    }
}

impl Create {
    fn body(&self) -> Value {
        json!({"name": self.name, "contact": self.contact})
    }
}

async fn change(admin: &Admin, app: &str, verb: &str) -> Result<Value, Failure> {
    admin
        .post(&listing::path("/apps", app, verb), json!({}))
        .await
}
