//! The access log and the log of the gateway itself.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::text_value;

/// The access log: one JSON line for each exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLog {
    /// `true` enables the access log.
    pub enabled: bool,
    /// The destination: `stdout`, or a file, which `SIGUSR1` reopens after it was moved away.
    pub path: LogTarget,
}

/// The destination of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogTarget {
    #[default]
    Stdout,
    File(PathBuf),
}

/// The error for a text that is not the destination of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a log goes to stdout or to a file")]
pub struct InvalidLogTarget;

impl std::str::FromStr for LogTarget {
    type Err = InvalidLogTarget;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => Err(InvalidLogTarget),
            _ if text.ends_with('/') || text.contains('\0') => Err(InvalidLogTarget),
            "stdout" => Ok(Self::Stdout),
            path => Ok(Self::File(path.into())),
        }
    }
}

impl fmt::Display for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

text_value!(LogTarget, "LogTarget", r"[^/]$", "stdout, or a file.");

/// The gateway's own log, on stderr.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// The minimum level: `error`, `warn`, `info`, `debug` or `trace`.
    pub level: Level,
    /// The format: `text` for people, `json` for machines.
    pub format: LogFormat,
}

/// The minimum level of a log line.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl Level {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

impl Default for AccessLog {
    fn default() -> Self {
        Self {
            enabled: true,
            path: LogTarget::Stdout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_goes_to_stdout_or_to_a_file() {
        for (text, target) in [
            ("stdout", Some(LogTarget::Stdout)),
            (
                "/var/log/access.log",
                Some(LogTarget::File("/var/log/access.log".into())),
            ),
            ("", None),
            ("/var/log/", None),
        ] {
            assert_eq!(text.parse::<LogTarget>().ok(), target, "{text}");
        }
    }
}
