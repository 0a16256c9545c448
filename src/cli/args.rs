//! The arguments of the command line.

use clap::{Parser, Subcommand};

use super::global::Global;
use super::{
    admin_token, app, audit, cert, completions, config, csr, demo, drain, key, limit, man, reload,
    serve, session, status, store, token_key, user,
};

/// An mTLS gateway that signs its partners' certificates and enforces them.
#[derive(Parser, Debug)]
#[command(
    name = "countersign",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = FIRST_STEPS,
    after_long_help = LONG_HELP,
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

const FIRST_STEPS: &str = "\
First steps:
  countersign demo                                  the whole gateway, with a tour to paste
  countersign config default > countersign.yaml     every setting at its default, with a description
  countersign serve --config countersign.yaml
  countersign app create acme
  countersign cert sign --app acme --name prod --csr partner.csr -o acme.pem";

const LONG_HELP: &str = "\
First steps:
  countersign demo                                  the whole gateway, with a tour to paste
  countersign config default > countersign.yaml     every setting at its default, with a description
  countersign serve --config countersign.yaml
  countersign app create acme
  countersign cert sign --app acme --name prod --csr partner.csr -o acme.pem
  countersign key create --app acme --scope orders:read --expires 90d

Exit codes:
  0  done                                 5  conflict with what exists
  1  failed                               6  invalid input or configuration
  2  wrong usage                          7  the gateway cannot be reached
  3  not found                            8  a threshold is crossed (cert list --expiring 30d --fail)
  4  not authorised                       9  stored, but not confirmed by every worker
                                         78  the configuration is invalid at start (serve)

Durations are written 90d, 24h, 1h30m or 30s. NO_COLOR disables colours.";

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    Serve(serve::Serve),
    Demo(demo::Demo),
    #[command(subcommand)]
    Config(config::Config),
    #[command(subcommand)]
    App(app::App),
    #[command(subcommand)]
    Cert(cert::Cert),
    #[command(subcommand)]
    Key(key::Key),
    #[command(subcommand)]
    Csr(csr::Csr),
    #[command(subcommand)]
    Audit(audit::Audit),
    #[command(subcommand)]
    AdminToken(admin_token::AdminToken),
    #[command(subcommand)]
    TokenKey(token_key::TokenKey),
    #[command(subcommand)]
    Limit(limit::Limit),
    #[command(subcommand)]
    Session(session::Session),
    #[command(subcommand)]
    User(user::User),
    #[command(subcommand)]
    Store(store::Store),
    Reload(reload::Reload),
    Drain(drain::Drain),
    Status(status::Status),
    Completions(completions::Completions),
    Man(man::Man),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("countersign").chain(line.split_whitespace()))
    }

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_the_documents_say_can_be_typed() {
        for line in [
            "demo",
            "demo --dir ./x --listen 127.0.0.1:0 --upstream http://127.0.0.1:9 --once --output json",
            "serve --config countersign.yaml",
            "--output json serve",
            "config check",
            "config check other.yaml",
            "config schema",
            "config default",
            "app create acme --contact ops@acme.example",
            "app list --limit 5 --after app_1 --output yaml",
            "app get acme",
            "app suspend acme",
            "app resume acme",
            "app revoke acme --yes",
            "cert sign --app acme --name prod --csr partner.csr -o acme.pem",
            "cert sign --app acme --csr - --lifetime 90d",
            "cert list --expiring 30d",
            "cert list --expiring 30d --fail --app acme --state active",
            "cert get crt_1",
            "cert revoke crt_1 --reason key-compromise --wait",
            "key create --app acme --scope orders:read --expires 90d",
            "key create --app acme --name ci --environment test --scope a --scope b --network 10.0.0.0/8",
            "key list --app acme --state revoked",
            "key get key_1",
            "key rotate key_1 --overlap 24h",
            "key create --app acme --kind publishable --origin https://shop.example --limit events=5/m",
            "key import --app acme --digest 00 --algorithm hmac-sha256",
            "key rotate key_1 --revoke-old",
            "key revoke key_1 -y --keep-tokens --force",
            "key scan ./src -",
            "key revoke key_1 -y",
            "csr inspect partner.csr",
            "csr inspect -",
            "session list --app acme --user alice --device phone",
            "session get ses_1",
            "session revoke ses_1 --yes",
            "user revoke --app acme alice -y",
            "audit list --app acme --action key.create --subject key_1",
            "admin-token create ci --role operator --expires 30d",
            "admin-token list",
            "admin-token revoke adm_1 --yes",
            "store backup /var/backups/countersign.db",
            "reload",
            "drain",
            "status --output json",
            "status --admin-url https://gateway:7443 --admin-ca ca.pem --admin-token-file token",
            "status --admin-socket /run/countersign/admin.sock",
            "completions zsh",
            "man ./man",
        ] {
            if let Err(error) = parse(line) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_as_usage() {
        for line in [
            "nonsense",
            "app",
            "app create",
            "app list --limit 0",
            "cert sign --app acme",
            "cert sign --csr x",
            "cert list --fail",
            "cert list --expiring soon",
            "cert list --expiring 30",
            "cert revoke crt_1 --reason because",
            "key create",
            "key create --app acme --network everywhere",
            "key create --app acme --environment prod",
            "key rotate key_1 --revoke-old --overlap 1h",
            "key scan",
            "admin-token create ci",
            "admin-token create ci --role root",
            "demo --listen nowhere",
            "status --output xml",
            "completions",
        ] {
            let error = parse(line).err().unwrap_or_else(|| panic!("{line}"));
            assert_eq!(error.exit_code(), 2, "{line}");
        }
        let help = parse("--help").unwrap_err();
        assert_eq!(help.kind(), ErrorKind::DisplayHelp);
        assert_eq!(help.exit_code(), 0);
    }

    #[test]
    fn every_command_and_every_option_says_what_it_is_for() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path}");
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{path} {}",
                    argument.get_id()
                );
            }
            for below in command.get_subcommands() {
                check(below, &path);
            }
        }
        check(&Cli::command(), "");
    }
}
