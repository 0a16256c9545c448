//! The confirmation of changes that cannot be undone.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;

use super::exit::{Exit, Failure};

/// The option that skips the question.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Confirmation {
    /// Do not ask for confirmation; required without a terminal.
    #[arg(long, short = 'y')]
    pub(super) yes: bool,
}

impl Confirmation {
    /// Returns without an error only after `--yes` or a confirmation at the terminal.
    pub(super) fn ask(self, question: &str) -> Result<(), Failure> {
        let stdin = std::io::stdin();
        let watched = stdin.is_terminal();
        self.ask_on(
            question,
            watched,
            &mut stdin.lock(),
            &mut anstream::stderr(),
        )
    }

    fn ask_on(
        self,
        question: &str,
        watched: bool,
        input: &mut impl BufRead,
        output: &mut impl Write,
    ) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !watched {
            let message = format!("{question} There is no terminal to confirm this.");
            return Err(Failure::new(Exit::Usage, message).help("confirm with --yes"));
        }
        let mut answer = String::new();
        write!(output, "{question} [y/N] ")
            .and_then(|()| output.flush())
            .and_then(|()| input.read_line(&mut answer))
            .map_err(|error| Failure::io("cannot ask", &error))?;
        if ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()) {
            Ok(())
        } else {
            Err(Failure::new(
                Exit::Failed,
                "not confirmed; nothing was changed",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(yes: bool, watched: bool, typed: &str) -> (Result<(), Exit>, String) {
        let mut asked = Vec::new();
        let verdict = Confirmation { yes }
            .ask_on("Revoke it?", watched, &mut typed.as_bytes(), &mut asked)
            .map_err(|failure| failure.exit);
        (verdict, String::from_utf8(asked).unwrap())
    }

    #[test]
    fn only_a_yes_is_a_yes() {
        for typed in ["y\n", "Y\n", " yes \n", "YES\r\n"] {
            let (verdict, asked) = check(false, true, typed);
            assert_eq!(verdict, Ok(()), "{typed:?}");
            assert_eq!(asked, "Revoke it? [y/N] ");
        }
        for typed in ["", "\n", "n\n", "yess\n", "no\n"] {
            assert_eq!(check(false, true, typed).0, Err(Exit::Failed), "{typed:?}");
        }
    }

    #[test]
    fn yes_in_advance_asks_nothing() {
        for watched in [true, false] {
            assert_eq!(check(true, watched, ""), (Ok(()), String::new()));
        }
    }

    #[test]
    fn without_a_terminal_nothing_is_assumed() {
        assert_eq!(
            check(false, false, "y\n"),
            (Err(Exit::Usage), String::new())
        );
    }
}
