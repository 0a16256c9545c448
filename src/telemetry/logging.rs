//! The process's log: structured lines on standard error, written by a thread of their own.

use std::io::IsTerminal;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError};
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
    let filter = filter(&settings.filter).map_err(LogError::Filter)?;
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

/// Libraries that speak to strangers, and log a line for each connection that breaks a rule: without the address,
/// and as many lines as the stranger likes. The rooms that use them write limited lines of their own.
const UNHEARD: &str = "h2=off,hyper=off,hyper_util=off,rustls=off,tokio_rustls=off,webpki=off";

/// The operator's filter. Libraries that speak to strangers are heard where it names them, and at levels whose volume
/// is unbounded anyway.
fn filter(asked: &str) -> Result<EnvFilter, ParseError> {
    let builder = EnvFilter::builder();
    let filter = builder.parse(asked)?;
    let bounded = filter
        .max_level_hint()
        .is_some_and(|level| level <= LevelFilter::INFO);
    if bounded {
        // A directive that comes later takes the place of an earlier one for the same target.
        return EnvFilter::builder().parse(format!("{UNHEARD},{asked}"));
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// The targets of the lines that are written under a filter.
    fn heard(asked: &str) -> Vec<&'static str> {
        #[derive(Clone, Default)]
        struct Lines(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter(asked).unwrap())
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "h2::proto::streams::recv", "line-h2");
            tracing::error!(target: "hyper::proto::h2", "line-hyper");
            tracing::warn!(target: "rustls::common_state", "line-rustls");
            tracing::info!(target: "countersign::proxy", "line-ours");
            tracing::debug!(target: "h2::codec", "line-debug");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let all = ["h2", "hyper", "rustls", "ours", "debug"];
        let written = |name: &&str| text.contains(&format!("line-{name}"));
        all.into_iter().filter(written).collect()
    }

    #[test]
    fn libraries_that_strangers_can_make_speak_are_heard_when_they_are_asked_for() {
        for (asked, expected) in [
            ("info", &["ours"][..]),
            ("warn", &[]),
            ("error", &[]),
            ("info,h2=warn", &["h2", "ours"]),
            ("debug", &["h2", "hyper", "rustls", "ours", "debug"]),
        ] {
            assert_eq!(heard(asked), expected, "{asked}");
        }
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_refused() {
        let settings = LogSettings {
            filter: "countersign=loud".to_owned(),
            format: LogFormat::Text,
        };
        assert!(matches!(start(&settings), Err(LogError::Filter(_))));
    }
}
