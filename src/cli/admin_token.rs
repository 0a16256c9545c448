//! `countersign admin-token`: tokens for the admin API.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::client::Admin;
use super::confirm::Confirmation;
use super::duration::Span;
use super::exit::{Exit, Failure};
use super::global::Global;
use super::key::{SecretArgs, show};
use super::listing::{self, Extent, Query};
use super::output::{self, Column};
use super::plain::plain;

/// Create and revoke tokens for the admin API; the local socket needs no token.
#[derive(Subcommand, Debug)]
pub(super) enum AdminToken {
    Create(Create),
    List(List),
    Revoke(Revoke),
}

/// Create an admin token; it is shown only once.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  countersign admin-token create ci --role operator --expires 30d --secret-file ci.token"
)]
pub(super) struct Create {
    /// The token's name: the person or system that holds it.
    name: String,
    /// The token's role.
    #[arg(long, value_enum)]
    role: Role,
    /// The token's lifetime, for example 30d; no expiry when absent.
    #[arg(long, value_name = "DURATION")]
    expires: Option<Span>,
    #[command(flatten)]
    secret: SecretArgs,
}

/// List admin tokens; their secrets are not stored and cannot be shown.
#[derive(Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    extent: Extent,
}

/// Revoke an admin token; the gateway refuses it at once.
#[derive(Args, Debug)]
pub(super) struct Revoke {
    /// The token's id (adm_…).
    id: String,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// The role of an admin token; each role includes the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    /// Read everything.
    Viewer,
    /// Also manage Apps, certificates and keys.
    Operator,
    /// Also manage admin tokens and the token key, reload and drain.
    Admin,
}

impl Role {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

const COLUMNS: &[Column] = &[
    Column("ID", "/id"),
    Column("NAME", "/name"),
    Column("ROLE", "/role"),
    Column("CREATED", "/created_at"),
    Column("EXPIRES", "/expires_at"),
    Column("REVOKED", "/revoked_at"),
];

impl AdminToken {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let admin = Admin::find(global)?;
        match self {
            Self::Create(create) => {
                let file = create.secret.open()?;
                let answer = admin.post("/admin-tokens", create.body()).await?;
                return show(file, global.output, answer, "token");
            }
            Self::List(list) => {
                let query = Query::default();
                let listed = admin.list("/admin-tokens", &query, &list.extent).await?;
                listed.print(global.output, COLUMNS)?;
            }
            Self::Revoke(revoke) => {
                let id = plain(&revoke.id);
                let question = format!("Revoke the admin token {id} permanently?");
                revoke.confirmation.ask(&question)?;
                let path = listing::path("/admin-tokens", &revoke.id, "/revoke");
                let answer = admin.post(&path, json!({})).await?;
                output::print(&output::thing(global.output, &answer, "token"))?;
            }
        }
        Ok(Exit::Done)
    }
}

impl Create {
    fn body(&self) -> Value {
        json!({
            "name": self.name,
            "role": self.role.as_str(),
            "expires_in": self.expires.as_ref().map(Span::as_str),
        })
    }
}
