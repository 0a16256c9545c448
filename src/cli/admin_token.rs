//! `countersign admin-token`: who may administer from afar.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::args::Global;
use super::client::Admin;
use super::confirm::Confirmation;
use super::duration::Span;
use super::exit::{Exit, Failure};
use super::key::{SecretArgs, show};
use super::listing::{self, Extent, Query};
use super::output::{self, Column};

/// Create and revoke tokens for the admin API; the local socket needs none.
#[derive(Subcommand, Debug)]
pub(super) enum AdminToken {
    Create(Create),
    List(List),
    Revoke(Revoke),
}

/// Create an admin token; it is shown this one time.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  countersign admin-token create ci --role operator --expires 30d --secret-file ci.token"
)]
pub(super) struct Create {
    /// What to call it: who or what holds it.
    name: String,
    /// What its holder may do.
    #[arg(long, value_enum)]
    role: Role,
    /// When it stops working, for example 30d from now; never when absent.
    #[arg(long, value_name = "DURATION")]
    expires: Option<Span>,
    #[command(flatten)]
    secret: SecretArgs,
}

/// List admin tokens; their secrets are not kept and cannot be shown.
#[derive(Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    extent: Extent,
}

/// Revoke an admin token: it is refused at once.
#[derive(Args, Debug)]
pub(super) struct Revoke {
    /// The token's id (adm_…).
    id: String,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// What an administrator may do; each role may do what the one before may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    /// Look at everything.
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
                let id = output::plain(&revoke.id);
                let question = format!("Revoke the admin token {id}, for ever?");
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
