//! `countersign token-key`: the key that signs access tokens.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Admin;
use super::confirm::Confirmation;
use super::exit::{Exit, Failure};
use super::global::Global;
use super::output::{self, Column};

/// Rotate the key that signs access tokens.
#[derive(Subcommand, Debug)]
pub(super) enum TokenKey {
    List(List),
    Rotate(Rotate),
}

/// List the keys that verify access tokens: the signing key, and earlier keys until their tokens have expired.
#[derive(Args, Debug)]
pub(super) struct List {}

/// Sign access tokens with a new key; earlier tokens stay valid until they expire.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  countersign token-key rotate
  countersign token-key rotate --end-tokens --yes      for a key that may have leaked")]
pub(super) struct Rotate {
    /// End all earlier tokens at once; partners fetch new ones.
    #[arg(long)]
    end_tokens: bool,
    #[command(flatten)]
    confirmation: Confirmation,
}

const COLUMNS: &[Column] = &[
    Column("KID", "/kid"),
    Column("STATE", "/state"),
    Column("UNTIL", "/until"),
];

impl TokenKey {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let admin = Admin::find(global)?;
        match self {
            Self::List(List {}) => {
                let answer = admin.get("/token-keys").await?;
                let items = answer.get("items").and_then(Value::as_array);
                let items = items.map_or(&[][..], Vec::as_slice);
                output::print(&output::list(global.output, items, COLUMNS))?;
                Ok(Exit::Done)
            }
            Self::Rotate(rotate) => {
                if rotate.end_tokens {
                    let question = "End all existing access tokens?";
                    rotate.confirmation.ask(question)?;
                }
                let body = json!({"end_tokens": rotate.end_tokens});
                let answer = admin.post("/token-keys/rotate", body).await?;
                output::print(&output::thing(global.output, &answer, "token_key"))?;
                Ok(Exit::of_receipt(&answer))
            }
        }
    }
}
