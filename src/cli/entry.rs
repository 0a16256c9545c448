//! The start of the process: arguments in, exit code out.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use super::args::{Cli, Command};
use super::exit::{Exit, Failure};
use super::global::Global;
use super::output::{self, Format};

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => finish(&cli.global, run(cli.command, &cli.global)),
        // clap writes help and versions to stdout with code 0, mistakes to stderr with code 2.
        Err(said) => {
            let _ = said.print();
            u8::try_from(said.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
        }
    }
}

fn run(command: Command, global: &Global) -> Result<Exit, Failure> {
    match command {
        Command::Serve(serve) => serve.run(global),
        Command::Demo(demo) => demo.run(global),
        Command::Config(config) => config.run(global),
        Command::Completions(completions) => completions.run(&mut Cli::command()),
        Command::Man(man) => man.run(Cli::command()),
        Command::Store(store) => store.run(global),
        Command::Csr(csr) => wait(csr.run(global)),
        Command::App(app) => wait(app.run(global)),
        Command::Cert(cert) => wait(cert.run(global)),
        Command::Key(key) => wait(key.run(global)),
        Command::Audit(audit) => wait(audit.run(global)),
        Command::AdminToken(token) => wait(token.run(global)),
        Command::TokenKey(key) => wait(key.run(global)),
        Command::Limit(limit) => wait(limit.run(global)),
        Command::Session(session) => wait(session.run(global)),
        Command::User(user) => wait(user.run(global)),
        Command::Reload(reload) => wait(reload.run(global)),
        Command::Drain(drain) => wait(drain.run(global)),
        Command::Status(status) => wait(status.run(global)),
    }
}

/// The runtime for commands: they call the running gateway sequentially, so one thread is enough.
fn wait(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("cannot start", &error))?
        .block_on(work)
}

const UNCONFIRMED: &str = "warning: stored, and not confirmed by every worker; the gateway's log says which one did not \
                           answer, and it may not know of the change yet";

fn finish(global: &Global, result: Result<Exit, Failure>) -> ExitCode {
    match result {
        Ok(exit) => {
            if exit == Exit::Unconfirmed {
                output::remark(UNCONFIRMED);
            }
            exit.into()
        }
        Err(failure) => {
            match global.output {
                Format::Json => output::remark(&format!("{:#}", failure.to_json())),
                Format::Table | Format::Yaml => output::remark(&failure.to_string()),
            }
            failure.exit.into()
        }
    }
}
