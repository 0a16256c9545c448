//! `countersign man`: the manual pages, generated from the help texts.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Args, Command};

use super::exit::{Exit, Failure};
use super::output;

/// Write the manual pages, one for each command, to a directory.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  countersign man ./man && man ./man/countersign-cert-sign.1")]
pub(super) struct Man {
    /// The directory; it is created if it does not exist.
    #[arg(value_name = "DIR", default_value = "man")]
    dir: PathBuf,
}

impl Man {
    /// Writes the pages of the command line `cli`.
    pub(super) fn run(self, cli: Command) -> Result<Exit, Failure> {
        let dir = self.dir.display();
        let mut root = cli.disable_help_subcommand(true);
        root.build();
        std::fs::create_dir_all(&self.dir)
            .and_then(|()| write_pages(&root, &self.dir))
            .map_err(|error| Failure::io(format!("cannot write manual pages to {dir}"), &error))?;
        output::remark(&format!("Written to {dir}"));
        Ok(Exit::Done)
    }
}

/// Writes the page of a command, and those of the commands below it.
fn write_pages(command: &Command, dir: &Path) -> io::Result<()> {
    let below = command.get_subcommands();
    for command in below.filter(|command| !command.is_hide_set()) {
        write_pages(command, dir)?;
    }
    let page = clap_mangen::Man::new(command.clone());
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    text.extend(synopsis(command).into_bytes());
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut text)?;
    }
    text.extend(after(command).into_bytes());
    std::fs::write(dir.join(page.get_filename()), text)
}

/// The command as it is written, with what each option takes.
fn synopsis(command: &Command) -> String {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let mut line = name.to_owned();
    let own = |arg: &&Arg| !arg.is_hide_set() && !arg.is_global_set();
    let options = command.get_arguments().filter(own);
    for option in options.filter(|arg| !arg.is_positional()) {
        if !matches!(
            option.get_action(),
            ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
        ) {
            let _ = write!(line, " {}", as_written(option));
        }
    }
    for positional in command.get_positionals().filter(own) {
        let _ = write!(line, " {}", as_written(positional));
    }
    if command.has_subcommands() {
        line.push_str(" COMMAND");
    }
    format!(".SH SYNOPSIS\n{}\n", roff(&line))
}

fn as_written(arg: &Arg) -> String {
    let values = if arg.get_action().takes_values() {
        arg.get_value_names().unwrap_or_default().join(" ")
    } else {
        String::new()
    };
    let name = match (arg.get_long(), arg.get_short()) {
        (Some(long), _) => format!("--{long}"),
        (None, Some(short)) => format!("-{short}"),
        (None, None) => String::new(),
    };
    let written = [name, values].join(" ").trim().to_owned();
    let repeated = matches!(arg.get_action(), ArgAction::Append);
    match (arg.is_required_set(), repeated) {
        (true, _) => written,
        (false, true) => format!("[{written}]..."),
        (false, false) => format!("[{written}]"),
    }
}

/// The text after the options in `--help`, each part of it a section under its own title.
fn after(command: &Command) -> String {
    let help = command
        .get_after_long_help()
        .or_else(|| command.get_after_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let mut text = String::new();
    for part in help.split("\n\n").filter(|part| !part.trim().is_empty()) {
        let (title, body) = match part.split_once(":\n") {
            Some(("Example", body)) => ("EXAMPLES".to_owned(), body),
            Some((title, body)) if !title.contains('\n') => (title.to_uppercase(), body),
            _ => ("NOTES".to_owned(), part),
        };
        let _ = write!(text, ".SH {}\n.nf\n{}\n.fi\n", roff(&title), roff(body));
    }
    text
}

/// Text as roff reads it: a backslash, a dash and a line that begins as a request are themselves.
fn roff(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        if line.starts_with(['.', '\'']) {
            format!("\\&{line}")
        } else {
            line
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Cli;
    use clap::CommandFactory;

    fn pages() -> (tempfile::TempDir, impl Fn(&str) -> String) {
        let dir = tempfile::tempdir().unwrap();
        let man = Man {
            dir: dir.path().join("man1"),
        };
        man.run(Cli::command()).unwrap();
        let at = dir.path().join("man1");
        (dir, move |page: &str| {
            let text = std::fs::read_to_string(at.join(page)).unwrap();
            text.replace("\\-", "-")
        })
    }

    #[test]
    fn every_command_has_its_page_and_no_page_has_a_section_without_a_meaning() {
        let (dir, page) = pages();
        for name in [
            "countersign.1",
            "countersign-cert-sign.1",
            "countersign-key-rotate.1",
        ] {
            assert!(page(name).contains("countersign"), "{name}");
        }
        for entry in std::fs::read_dir(dir.path().join("man1")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let text = page(&name);
            assert!(text.contains(".SH SYNOPSIS\n"), "{name}");
            assert!(!text.contains("EXTRA"), "{name}");
        }
    }

    #[test]
    fn a_synopsis_says_what_each_option_takes() {
        let (_dir, page) = pages();
        for (name, parts) in [
            (
                "countersign-cert-sign.1",
                &[
                    "--app APP",
                    "--csr FILE",
                    "[--lifetime DURATION]",
                    "[--out FILE]",
                    "[--force]",
                ][..],
            ),
            ("countersign-cert-revoke.1", &["[--reason REASON]", " ID"]),
            (
                "countersign-key-create.1",
                &["[--scope SCOPE]...", "[--secret-file FILE]"],
            ),
            ("countersign-app.1", &["countersign app COMMAND"]),
            (
                "countersign.1",
                &["EXIT CODES", "FIRST STEPS", "countersign COMMAND"],
            ),
        ] {
            let text = page(name);
            for part in parts {
                assert!(text.contains(part), "{name}: {part}: {text}");
            }
        }
        assert!(page("countersign-cert-sign.1").contains(".SH EXAMPLES\n"));
    }
}
