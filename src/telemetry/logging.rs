//! The process's log: structured lines on standard error, written by a thread of their own.

use std::io::IsTerminal;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    #[default]
    Json,
    /// For people; coloured on a terminal.
    Text,
}

/// What the log holds and how it looks.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// A level, or a list of `target=level`, for example `info,countersign::proxy=debug`.
    pub filter: String,
    pub format: LogFormat,
}

/// Why the log was not started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("the log's level is not a level and not a list like info,countersign::proxy=debug")]
    Filter(#[source] ParseError),
    #[error("a log has been started in this process already")]
    Started(#[source] TryInitError),
}

/// Holds the log open; what is still in the queue is written when it is dropped.
#[derive(Debug)]
pub struct LogGuard {
    _worker: WorkerGuard,
}

/// Lines that may wait for standard error. A reader that stalls costs lines, which are counted, and never a request.
const LINES_WAITING_MAX: usize = 16_384;

/// Starts the log of this process. Standard output stays free for what the caller asked for.
pub fn start(settings: &LogSettings) -> Result<LogGuard, LogError> {
    let filter = EnvFilter::builder()
        .parse(&settings.filter)
        .map_err(LogError::Filter)?;
    let (writer, worker) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_WAITING_MAX)
        .lossy(true)
        .thread_name("countersign-log")
        .finish(std::io::stderr());
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(std::io::stderr().is_terminal());
    match settings.format {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .finish()
            .try_init(),
        LogFormat::Text => lines.finish().try_init(),
    }
    .map_err(LogError::Started)?;
    Ok(LogGuard { _worker: worker })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_refused() {
        let settings = LogSettings {
            filter: "countersign=loud".to_owned(),
            format: LogFormat::Text,
        };
        assert!(matches!(start(&settings), Err(LogError::Filter(_))));
    }
}
