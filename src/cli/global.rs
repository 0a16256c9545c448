//! The options of every command.

use std::path::PathBuf;

use clap::Args;

use super::output::Format;

/// The options of every command.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Global {
    /// The format of results.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        help_heading = GLOBAL
    )]
    pub(super) output: Format,

    /// The configuration file; by default ./countersign.yaml, then /etc/countersign/countersign.yaml.
    #[arg(
        long,
        global = true,
        env = "COUNTERSIGN_CONFIG",
        value_name = "FILE",
        help_heading = GLOBAL
    )]
    pub(super) config: Option<PathBuf>,

    #[command(flatten)]
    pub(super) admin: AdminArgs,
}

pub(super) const GLOBAL: &str = "Global options";

/// The address of the gateway's admin API; not needed on the gateway's own machine.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = GLOBAL)]
#[expect(
    clippy::struct_field_names,
    reason = "they are the names of the options"
)]
pub(super) struct AdminArgs {
    /// The gateway's local socket; by default the configuration's.
    #[arg(
        long,
        global = true,
        env = "COUNTERSIGN_ADMIN_SOCKET",
        value_name = "PATH"
    )]
    pub(super) admin_socket: Option<PathBuf>,

    /// The URL of a remote gateway's admin API: https, host and port; needs --admin-ca and --admin-token-file.
    #[arg(long, global = true, env = "COUNTERSIGN_ADMIN_URL", value_name = "URL")]
    pub(super) admin_url: Option<String>,

    /// The authority that signed the admin API's certificate, in PEM.
    #[arg(long, global = true, env = "COUNTERSIGN_ADMIN_CA", value_name = "FILE")]
    pub(super) admin_ca: Option<PathBuf>,

    /// The file that holds the admin token.
    #[arg(
        long,
        global = true,
        env = "COUNTERSIGN_ADMIN_TOKEN_FILE",
        value_name = "FILE"
    )]
    pub(super) admin_token_file: Option<PathBuf>,
}

impl AdminArgs {
    /// True if an option names the gateway.
    pub(super) const fn is_named(&self) -> bool {
        self.admin_url.is_some() || self.admin_socket.is_some()
    }
}
