//! The exit codes of commands, and their error messages.

use std::fmt::{self, Write as _};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::api::client::{ClientError, Refusal};
use crate::daemon::lock::InUse;

use super::plain::plain;

/// The exit codes, which scripts may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    NotAuthorised = 4,
    Conflict = 5,
    Invalid = 6,
    Unreachable = 7,
    ThresholdCrossed = 8,
    /// Stored, but not confirmed by every worker.
    Unconfirmed = 9,
    /// The number that sysexits.h calls `EX_CONFIG`; the systemd unit does not restart on it.
    ConfigInvalidAtStart = 78,
}

impl Exit {
    /// The exit code for an answer of the admin API.
    const fn of_status(status: u16) -> Self {
        match status {
            400 | 413..=415 | 422 => Self::Invalid,
            401 | 403 => Self::NotAuthorised,
            404 => Self::NotFound,
            409 | 412 => Self::Conflict,
            _ => Self::Failed,
        }
    }

    /// The exit code for a stored change: the receipt says whether it is in force on every worker.
    pub(super) fn of_receipt(answer: &Value) -> Self {
        if answer.pointer("/receipt/confirmed") == Some(&Value::Bool(false)) {
            Self::Unconfirmed
        } else {
            Self::Done
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The failure of a command, in words for the operator.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    message: String,
    /// Advice for the operator.
    help: Option<String>,
    /// The gateway's own answer, for `--output json`.
    problem: Option<Value>,
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            help: None,
            problem: None,
        }
    }

    /// The same failure, ending with another code.
    #[must_use]
    pub(super) fn exiting(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    #[must_use]
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// A file or stream that could not be read or written; the message names it.
    pub(super) fn io(doing: impl fmt::Display, error: &std::io::Error) -> Self {
        Self::new(Exit::Failed, format!("{doing}: {error}"))
    }

    /// True if the gateway wants the change confirmed.
    pub(super) fn wants_confirmation(&self) -> bool {
        let reason = self
            .problem
            .as_ref()
            .and_then(|problem| problem.get("reason"));
        reason.is_some_and(|reason| reason == "confirmation_needed")
    }

    /// The failure as a script reads it on stderr with `--output json`.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "error": {
                "exit": self.exit as u8,
                "message": self.message,
                "help": self.help,
                "problem": self.problem,
            }
        })
    }
}

/// The failure as a person reads it on stderr.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let said = |exit| Self::new(exit, chain(&error));
        match &error {
            ClientError::Problem(refusal) => refused(refusal),
            ClientError::Address => said(Exit::Usage),
            ClientError::Token | ClientError::Trust(_) => said(Exit::Invalid),
            ClientError::Unreachable { .. } => said(Exit::Unreachable).help(UNREACHABLE),
            ClientError::Foreign(_) => said(Exit::Unreachable),
            ClientError::Lost(_) => said(Exit::Unreachable)
                .help("the change may have been made: check before you repeat it"),
        }
    }
}

const UNREACHABLE: &str = "is it running, and is this the right place? --admin-socket, --admin-url and --config \
                           say where to look; the socket is for root and the gateway's own user";

/// The words of a detail that its title does not have, as they go on behind the title.
fn beyond(title: &str, detail: &str) -> String {
    let repeated = detail.split_at_checked(title.len());
    let repeated = repeated.filter(|(begin, _)| begin.eq_ignore_ascii_case(title));
    match repeated {
        Some((_, ".")) => String::new(),
        Some((_, rest)) if !rest.starts_with(char::is_alphanumeric) => rest.to_owned(),
        _ if detail.is_empty() => String::new(),
        _ => format!(": {detail}"),
    }
}

/// A refusal of the admin API.
fn refused(refusal: &Refusal) -> Failure {
    let mut message = plain(&refusal.title);
    let help = refusal.help.as_deref().filter(|help| !help.is_empty());
    // Where there is nothing exact to say, the detail repeats the help.
    if help != Some(&refusal.detail) {
        message.push_str(&plain(&beyond(&refusal.title, &refusal.detail)));
    }
    if let Some(reason) = refusal.reason {
        let _ = write!(message, " ({reason})");
    }
    for problem in &refusal.problems {
        message.push_str("\n  ");
        if let Some(line) = problem.line {
            let _ = write!(message, "line {line}: ");
        }
        if !problem.path.is_empty() {
            let _ = write!(message, "{}: ", plain(&problem.path));
        }
        message.push_str(&plain(&problem.message));
        if let Some(suggestion) = &problem.suggestion {
            let _ = write!(message, " ({})", plain(suggestion));
        }
    }
    for affected in &refusal.affected {
        message.push_str("\n  ");
        message.push_str(&use_of_a_client(affected));
    }
    Failure {
        exit: match refusal.reason {
            Some(reason) if reason.code() == "unconfirmed" => Exit::Unconfirmed,
            _ => Exit::of_status(refusal.status),
        },
        message,
        help: help.map(plain),
        problem: Some(json!({
            "status": refusal.status,
            "reason": refusal.reason,
            "title": refusal.title,
            "detail": refusal.detail,
            "request_id": refusal.request_id,
            "problems": refusal.problems,
            "affected": refusal.affected,
        })),
    }
}

/// One use that a change would stop.
fn use_of_a_client(affected: &Value) -> String {
    let text = |name: &str| plain(affected.get(name).and_then(Value::as_str).unwrap_or("?"));
    let with = match affected.get("certificate").and_then(Value::as_bool) {
        Some(true) => "with a certificate",
        _ => "without a certificate",
    };
    let unvouched = match affected.get("without_auth_token").and_then(Value::as_bool) {
        Some(true) => " for a session without an auth token",
        _ => "",
    };
    let (method, last) = (text("method"), text("last_used_at"));
    format!("{method} {with}{unvouched}, last used {last}")
}

/// An error and its causes, each after a colon.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let exit = match error.downcast_ref::<InUse>() {
            Some(_) => Exit::Conflict,
            None => Exit::Failed,
        };
        Self::new(exit, format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(document: Value) -> Failure {
        refused(&serde_json::from_value(document).unwrap())
    }

    #[test]
    fn every_answer_has_its_exit_code() {
        for (status, exit) in [
            (400, Exit::Invalid),
            (401, Exit::NotAuthorised),
            (403, Exit::NotAuthorised),
            (404, Exit::NotFound),
            (409, Exit::Conflict),
            (412, Exit::Conflict),
            (413, Exit::Invalid),
            (422, Exit::Invalid),
            (429, Exit::Failed),
            (500, Exit::Failed),
            (503, Exit::Failed),
        ] {
            let document = json!({"status": status, "title": "", "detail": ""});
            assert_eq!(refusal(document).exit, exit, "{status}");
        }
    }

    #[test]
    fn what_is_stored_and_not_confirmed_has_a_code_of_its_own() {
        let unconfirmed = json!({"receipt": {"version": 4, "confirmed": false}});
        assert_eq!(Exit::of_receipt(&unconfirmed), Exit::Unconfirmed);
        let confirmed = json!({"receipt": {"version": 4, "confirmed": true}});
        assert_eq!(Exit::of_receipt(&confirmed), Exit::Done);
        assert_eq!(Exit::of_receipt(&json!({})), Exit::Done);
        let document = json!({"status": 503, "title": "", "detail": "", "reason": "unconfirmed"});
        assert_eq!(refusal(document).exit, Exit::Unconfirmed);
    }

    #[test]
    fn the_codes_are_those_of_the_manual() {
        let codes = [
            (Exit::Done, 0),
            (Exit::Failed, 1),
            (Exit::Usage, 2),
            (Exit::NotFound, 3),
            (Exit::NotAuthorised, 4),
            (Exit::Conflict, 5),
            (Exit::Invalid, 6),
            (Exit::Unreachable, 7),
            (Exit::ThresholdCrossed, 8),
            (Exit::Unconfirmed, 9),
            (Exit::ConfigInvalidAtStart, 78),
        ];
        for (exit, code) in codes {
            assert_eq!(exit as u8, code);
        }
    }

    #[test]
    fn a_refusal_is_told_with_its_detail_reason_and_help() {
        let document = |detail: &str| {
            json!({
                "status": 422,
                "title": "The key is weak",
                "detail": detail,
                "reason": "csr_key_weak",
                "help": "Make a new key.",
                "request_id": "req_1",
            })
        };
        let failure = refusal(document("RSA with 1024 bits"));
        assert_eq!(
            failure.to_string(),
            "error: The key is weak: RSA with 1024 bits (csr_key_weak)\n  help: Make a new key."
        );
        let told = failure.to_json();
        assert_eq!(told.pointer("/error/exit"), Some(&json!(6)));
        assert_eq!(
            told.pointer("/error/problem/reason"),
            Some(&json!("csr_key_weak"))
        );
        assert_eq!(
            told.pointer("/error/problem/request_id"),
            Some(&json!("req_1"))
        );
        assert_eq!(
            refusal(document("Make a new key.")).to_string(),
            "error: The key is weak (csr_key_weak)\n  help: Make a new key."
        );
    }

    #[test]
    fn what_the_title_says_is_not_said_again() {
        for (detail, expected) in [
            ("", ""),
            ("The key is weak.", ""),
            (
                "the key is weak; make a new key pair",
                "; make a new key pair",
            ),
            ("The key is weakened", ": The key is weakened"),
            ("RSA with 1024 bits.", ": RSA with 1024 bits."),
        ] {
            assert_eq!(beyond("The key is weak", detail), expected, "{detail}");
        }
    }

    #[test]
    fn a_refused_reload_names_every_problem() {
        let document = json!({
            "status": 422,
            "title": "The input is not valid",
            "detail": "2 problems",
            "problems": [
                {"path": "wrokers", "line": 3, "column": 1, "message": "unknown key", "suggestion": "workers"},
                {"path": "", "line": null, "column": null, "message": "no such file", "suggestion": null},
            ],
        });
        assert_eq!(
            refusal(document).to_string(),
            "error: The input is not valid: 2 problems\n  line 3: wrokers: unknown key (workers)\n  no such file"
        );
    }

    #[test]
    fn a_gateway_that_is_not_there_is_unreachable() {
        let gone = ClientError::Unreachable {
            at: "/run/x.sock".to_owned(),
            source: std::io::ErrorKind::NotFound.into(),
        };
        let failure = Failure::from(gone);
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(failure.to_string().contains("/run/x.sock"));
        assert_eq!(
            Failure::from(ClientError::Foreign(200)).exit,
            Exit::Unreachable
        );
        assert_eq!(Failure::from(ClientError::Address).exit, Exit::Usage);
        assert_eq!(Failure::from(ClientError::Token).exit, Exit::Invalid);
    }

    #[test]
    fn a_local_file_that_is_missing_is_not_a_thing_that_the_gateway_lacks() {
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        assert_eq!(Failure::io("cannot read x", &missing).exit, Exit::Failed);
        let document = json!({"status": 404, "title": "", "detail": ""});
        assert_eq!(refusal(document).exit, Exit::NotFound);
    }
}
