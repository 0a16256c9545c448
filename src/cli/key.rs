//! `countersign key`: the partners' keys.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::app_names::{name_app, name_apps};
use super::cert::{RevocationReason, State};
use super::client::Admin;
use super::confirm::Confirmation;
use super::duration::Span;
use super::exit::{Exit, Failure};
use super::global::Global;
use super::key_scan::Scan;
use super::listing::{self, Extent, Query};
use super::new_file::{NewFile, Readers};
use super::output::{self, Column, Format};
use super::plain::plain;

/// Create, rotate and revoke the partners' keys, which they exchange for access tokens.
#[derive(Subcommand, Debug)]
pub(super) enum Key {
    Create(Create),
    Import(Import),
    Scan(Scan),
    List(List),
    Get(Which),
    Rotate(Rotate),
    Revoke(Revoke),
}

/// Create a key; it is shown only once.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  countersign key create --app acme --scope orders:read --scope orders:write --expires 90d
  countersign key create --app acme --network 203.0.113.0/24 --secret-file acme.key
  countersign key create --app acme --kind publishable --origin https://shop.example --limit events=100/m
  countersign key create --app acme --kind signing --scope orders:write --secret-file acme.sg")]
pub(super) struct Create {
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    secret: SecretArgs,
}

/// The properties of a new key.
#[derive(Args, Debug)]
pub(super) struct KeyArgs {
    /// The App's name or id.
    #[arg(long)]
    app: String,
    /// The key's name, for example the place where it is used.
    #[arg(long)]
    name: Option<String>,
    /// The key's kind: secret (`sk_…`) for servers, publishable (`pk_…`) for pages and programs that anybody can read,
    /// or signing (`sg_…`) for servers that sign each request.
    #[arg(long, value_enum, default_value_t)]
    kind: Kind,
    /// The key's environment: live (`sk_live_…`) or test (`sk_test_…`).
    #[arg(long, value_enum, default_value_t)]
    environment: Environment,
    /// A scope that tokens made with the key may have; repeat it for more.
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// A network that may use the key, for example 203.0.113.0/24; repeat it for more. Without one, all may.
    #[arg(long = "network", value_name = "CIDR", value_parser = network)]
    networks: Vec<String>,
    /// An origin whose pages may use a publishable key, for example `https://shop.example`; repeat it for more.
    #[arg(long = "origin", value_name = "ORIGIN")]
    origins: Vec<String>,
    /// A limit of the key, for example events=1000/m; repeat it for more. It takes the place of the limit of that
    /// name on routes that have one; a name that no route has counts all requests of the key.
    #[arg(long = "limit", value_name = "NAME=RATE", value_parser = limit)]
    limits: Vec<(String, String)>,
    /// A quota of the key, for example day=10000/d or hour=1000/h; repeat it for more. Its windows are those of the clock,
    /// UTC. Its name is a limit's name too.
    #[arg(long = "quota", value_name = "NAME=QUOTA", value_parser = limit)]
    quotas: Vec<(String, String)>,
    /// The key's lifetime, for example 90d; no expiry when absent.
    #[arg(long, value_name = "DURATION")]
    expires: Option<Span>,
}

/// Import a key that another system made, by its digest; its holder goes on showing the same text.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  printf %s \"$KEY\" | sha256sum
  countersign key import --app acme --digest 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
pub(super) struct Import {
    /// The digest of the key's text, in 64 hexadecimal digits.
    #[arg(long, value_name = "HEX")]
    digest: String,
    /// The algorithm: SHA-256, or HMAC-SHA256 under the secret that is `keys.pepper`.
    #[arg(long, value_enum, default_value_t)]
    algorithm: Algorithm,
    #[command(flatten)]
    key: KeyArgs,
}

/// The algorithm of a digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Algorithm {
    #[default]
    Sha256,
    HmacSha256,
}

impl Algorithm {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::HmacSha256 => "hmac-sha256",
        }
    }
}

/// List keys; their secrets are not stored and cannot be shown.
#[derive(Args, Debug)]
pub(super) struct List {
    /// Only keys of this App (name or id).
    #[arg(long)]
    app: Option<String>,
    /// Only keys in this state.
    #[arg(long, value_enum)]
    state: Option<State>,
    #[command(flatten)]
    extent: Extent,
}

/// Show one key, without its secret.
#[derive(Args, Debug)]
pub(super) struct Which {
    /// The key's id (key_…).
    id: String,
}

/// Create a new key with the same scopes, networks, origins, limits and expiry; the old key stays valid for the overlap.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  countersign key rotate key_01j… --overlap 24h")]
pub(super) struct Rotate {
    /// The old key's id (key_…).
    id: String,
    /// The time for which the old key stays valid.
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    overlap: Span,
    /// Revoke the old key at once, in place of an overlap.
    #[arg(long, conflicts_with = "overlap")]
    revoke_old: bool,
    #[command(flatten)]
    secret: SecretArgs,
}

/// Revoke a key: the key and the tokens made with it are no longer valid.
#[derive(Args, Debug)]
pub(super) struct Revoke {
    /// The key's id (key_…).
    id: String,
    /// The reason.
    #[arg(long, value_enum, default_value_t)]
    reason: RevocationReason,
    /// Leave the tokens that were made with the key until they expire.
    #[arg(long)]
    keep_tokens: bool,
    /// Revoke a key that retires and is still used, though its successor never was.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// The destination of a secret that is shown only once.
#[derive(Args, Debug)]
pub(super) struct SecretArgs {
    /// Write the secret to this file, which only its owner can read, instead of to stdout.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Replace the file if it exists.
    #[arg(long, requires = "secret_file")]
    force: bool,
}

/// The kind of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    #[default]
    Secret,
    Publishable,
    Signing,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Publishable => "publishable",
            Self::Signing => "signing",
        }
    }
}

/// The environment of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Environment {
    #[default]
    Live,
    Test,
}

impl Environment {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }
}

const COLUMNS: &[Column] = &[
    Column("ID", "/id"),
    Column("APP", "/app"),
    Column("NAME", "/name"),
    Column("HINT", "/hint"),
    Column("STATE", "/state"),
    Column("SCOPES", "/scopes"),
    Column("EXPIRES", "/expires_at"),
];

impl Key {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let admin = Admin::find(global)?;
        match self {
            Self::Create(create) => {
                let file = create.secret.open()?;
                let mut answer = admin.post("/keys", create.key.body()).await?;
                name_app(&admin, global.output, &mut answer, "key").await;
                return show(file, global.output, answer, "key");
            }
            Self::Rotate(rotate) => {
                let file = rotate.secret.open()?;
                let path = listing::path("/keys", &rotate.id, "/rotate");
                let body = if rotate.revoke_old {
                    json!({"revoke_old": true})
                } else {
                    json!({"overlap": rotate.overlap.as_str()})
                };
                let mut answer = admin.post(&path, body).await?;
                name_app(&admin, global.output, &mut answer, "key").await;
                return show(file, global.output, answer, "key");
            }
            Self::Scan(scan) => return scan.run(&admin, global).await,
            Self::Import(import) => {
                let mut answer = admin.post("/keys/import", import.body()).await?;
                name_app(&admin, global.output, &mut answer, "key").await;
                output::print(&output::thing(global.output, &answer, "key"))?;
                return Ok(Exit::of_receipt(&answer));
            }
            Self::List(list) => {
                let query = Query::default()
                    .with("app", list.app.as_deref())
                    .with("state", list.state.map(State::as_str));
                let mut listed = admin.list("/keys", &query, &list.extent).await?;
                name_apps(&admin, global.output, &mut listed.items).await;
                listed.print(global.output, COLUMNS)?;
            }
            Self::Get(which) => {
                let mut answer = admin.get(&listing::path("/keys", &which.id, "")).await?;
                name_app(&admin, global.output, &mut answer, "key").await;
                output::print(&output::thing(global.output, &answer, "key"))?;
            }
            Self::Revoke(revoke) => {
                let id = plain(&revoke.id);
                let tokens = if revoke.keep_tokens {
                    ""
                } else {
                    " and the tokens made with it"
                };
                let question = format!("Revoke the key {id}{tokens} permanently?");
                revoke.confirmation.ask(&question)?;
                let path = listing::path("/keys", &revoke.id, "/revoke");
                let body = json!({
                    "reason": revoke.reason.as_str(),
                    "keep_tokens": revoke.keep_tokens,
                    "force": revoke.force,
                });
                let mut answer = admin.post(&path, body).await?;
                name_app(&admin, global.output, &mut answer, "key").await;
                output::print(&output::thing(global.output, &answer, "key"))?;
            }
        }
        Ok(Exit::Done)
    }
}

impl Import {
    fn body(&self) -> Value {
        let mut body = self.key.body();
        if let Some(fields) = body.as_object_mut() {
            fields.insert("digest".to_owned(), self.digest.clone().into());
            fields.insert("algorithm".to_owned(), self.algorithm.as_str().into());
        }
        body
    }
}

impl KeyArgs {
    fn body(&self) -> Value {
        let limit = |(name, rate): &(String, String)| json!({"name": name, "rate": rate});
        let quota = |(name, quota): &(String, String)| json!({"name": name, "quota": quota});
        let quotas = self.quotas.iter().map(quota);
        let limits: Vec<_> = self.limits.iter().map(limit).chain(quotas).collect();
        json!({
            "app": self.app,
            "name": self.name,
            "kind": self.kind.as_str(),
            "environment": self.environment.as_str(),
            "scopes": self.scopes,
            "networks": self.networks,
            "origins": self.origins,
            "limits": limits,
            "expires_in": self.expires.as_ref().map(Span::as_str),
        })
    }
}

impl SecretArgs {
    /// Opens the file for the secret, before one is made.
    pub(super) fn open(&self) -> Result<Option<NewFile>, Failure> {
        let file = self.secret_file.as_deref();
        let file = file.filter(|file| *file != Path::new("-"));
        let file = file.map(|file| NewFile::open(file, Readers::Owner, self.force));
        file.transpose()
    }
}

/// Prints what was made and hands over its secret, this one time. The exit code says whether it is valid everywhere
/// already.
pub(super) fn show(
    file: Option<NewFile>,
    format: Format,
    mut answer: Value,
    name: &str,
) -> Result<Exit, Failure> {
    let exit = Exit::of_receipt(&answer);
    let secret = answer
        .get("secret")
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| {
            Failure::new(Exit::Failed, "it is made, but the answer has no secret")
                .help("revoke it and make another")
        })?;
    let Some(file) = file else {
        print_with_secret(format, &answer, name, &secret)?;
        return Ok(exit);
    };
    if let Err(failure) = file.write(format!("{secret}\n").as_bytes()) {
        print_with_secret(format, &answer, name, &secret)?;
        return Err(failure.help("the secret is on stdout instead"));
    }
    if let Some(fields) = answer.as_object_mut() {
        fields.remove("secret");
    }
    output::print(&output::thing(format, &answer, name))?;
    Ok(exit)
}

fn print_with_secret(
    format: Format,
    answer: &Value,
    name: &str,
    secret: &str,
) -> Result<(), Failure> {
    let mut text = output::thing(format, answer, name);
    if format == Format::Table {
        let _ = writeln!(text, "\nsecret  {secret}");
    }
    output::print(&text)?;
    output::remark("The secret is shown this one time: store it now.");
    Ok(())
}

/// A limit's name and rate.
fn limit(text: &str) -> Result<(String, String), &'static str> {
    let parts = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, rate) = parts.ok_or("it is a name and a number per time: events=1000/m")?;
    Ok((name.to_owned(), rate.to_owned()))
}

/// An address or a network, as far as a typing mistake can be seen here.
fn network(text: &str) -> Result<String, &'static str> {
    const EXPECTED: &str =
        "a network is an address and a prefix length: 203.0.113.0/24 or 2001:db8::/32";
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok().ok_or(EXPECTED)?;
    let longest: u8 = if address.is_ipv4() { 32 } else { 128 };
    match prefix.map(str::parse::<u8>) {
        None => Ok(format!("{address}/{longest}")),
        Some(Ok(prefix)) if prefix <= longest => Ok(format!("{address}/{prefix}")),
        Some(_) => Err(EXPECTED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_checked_before_it_travels() {
        for (typed, sent) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.1", "192.0.2.1/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::1", "::1/128"),
        ] {
            assert_eq!(network(typed).unwrap(), sent);
        }
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "host/8",
            "10.0.0.0/",
            "10.0.0.0/-1",
        ] {
            assert!(network(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_goes_to_the_file_that_only_its_owner_reads() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acme.key");
        let to_file = SecretArgs {
            secret_file: Some(path.clone()),
            force: false,
        };
        let file = to_file.open().unwrap();
        let answer = json!({"key": {"id": "key_1"}, "secret": "sk_test_x"});
        let exit = show(file, Format::Json, answer, "key").unwrap();
        assert_eq!(exit, Exit::Done);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "sk_test_x\n");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_secret_that_is_not_confirmed_is_handed_over_with_another_exit_code() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acme.key");
        let to_file = SecretArgs {
            secret_file: Some(path.clone()),
            force: false,
        };
        let file = to_file.open().unwrap();
        let answer = json!({
            "key": {"id": "key_1"},
            "secret": "sk_test_x",
            "receipt": {"version": 3, "confirmed": false, "workers": 0, "connections_closed": 0},
        });
        let exit = show(file, Format::Table, answer, "key").unwrap();
        assert_eq!(exit, Exit::Unconfirmed);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "sk_test_x\n");
    }

    #[test]
    fn an_answer_without_a_secret_is_no_success() {
        let failure = show(None, Format::Json, json!({}), "key").unwrap_err();
        assert_eq!(failure.exit, Exit::Failed);
    }
}
