//! The access log: a thread that writes finished lines to standard output or a file, and can open the file anew.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Where the lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Appended to; made with mode 0640 when it is not there, for the log's readers are the group.
    File(PathBuf),
    Stdout,
}

/// The access log's thread. Dropping it writes what is left and waits for the thread, but not for ever.
#[derive(Debug)]
pub struct AccessLog {
    /// Without it the thread writes what is left and ends.
    orders: Option<SyncSender<Reopen>>,
    lost: Arc<AtomicU64>,
    /// Lines that are being written.
    held: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
    /// Says nothing; it is closed when the thread has ended.
    ended: Receiver<Never>,
}

/// The order to open the file anew.
#[derive(Debug)]
struct Reopen;

#[derive(Debug)]
enum Never {}

/// How seldom lines are fetched: soon enough for a person who watches.
const INTERVAL_MAX: Duration = Duration::from_millis(100);

/// How often they are: a thread that wakes more than this costs more than the lines do.
const INTERVAL_MIN: Duration = Duration::from_millis(2);

/// How much a fetch should bring. A worker that shares its core with this thread waits while the kernel takes it: some
/// tens of microseconds, where what a busy tenth of a second leaves behind would take half a millisecond.
const BYTES_WANTED: u32 = 64 * 1024;

/// A buffer that a burst has grown beyond this is given back.
const BUFFER_KEPT_MAX: usize = 1024 * 1024;

/// How long the end waits for the last lines: whoever reads standard output may have stopped, and would hold the
/// process for ever.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// How long a destination that failed is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Opens the destination and starts the thread.
///
/// Ten times a second, more often when lines are many, and once more at the end, `fill` appends whole lines to the
/// buffer that it is given.
/// What decides how many lines may wait is whoever collects them; this thread only ever waits for the destination.
pub fn spawn(
    destination: Destination,
    fill: impl FnMut(&mut Vec<u8>) + Send + 'static,
) -> io::Result<AccessLog> {
    let sink = open(&destination)?;
    // One order may wait; a second one behind it would change nothing.
    let (orders, inbox) = sync_channel(1);
    let (ending, ended) = sync_channel::<Never>(0);
    let (lost, held) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut writer = Writer {
        destination,
        sink: Some(sink),
        retry_at: None,
        lost: Arc::clone(&lost),
        held: Arc::clone(&held),
    };
    let thread = std::thread::Builder::new()
        .name("countersign-access-log".to_owned())
        .spawn(move || {
            let _until_the_end = ending;
            writer.run(&inbox, fill);
        })?;
    Ok(AccessLog {
        orders: Some(orders),
        lost,
        held,
        thread: Some(thread),
        ended,
    })
}

impl AccessLog {
    /// Opens the file anew, after a rotation moved the old one away.
    pub fn reopen(&self) {
        let told = self.orders.as_ref().map(|orders| orders.try_send(Reopen));
        if let Some(Err(TrySendError::Disconnected(_))) = told {
            tracing::error!("the access log's thread has ended");
        }
    }

    /// Tells how many lines could not be written so far, even after the log has ended.
    pub fn lost_lines(&self) -> impl Fn() -> u64 + Send + Sync + use<> {
        let lost = Arc::clone(&self.lost);
        move || lost.load(Ordering::Relaxed)
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.orders = None;
        if let Err(RecvTimeoutError::Timeout) = self.ended.recv_timeout(LAST_WORDS) {
            // The thread stays behind in its write, and ends with the process.
            let lines = self.held.load(Ordering::Relaxed);
            self.lost.fetch_add(lines, Ordering::Relaxed);
            tracing::error!(
                lines,
                "the access log accepts no lines: the last lines are lost"
            );
            return;
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the access log's thread has panicked");
        }
    }
}

struct Writer {
    destination: Destination,
    sink: Option<Box<dyn Write + Send>>,
    retry_at: Option<Instant>,
    lost: Arc<AtomicU64>,
    held: Arc<AtomicU64>,
}

impl Writer {
    fn run(&mut self, inbox: &Receiver<Reopen>, mut fill: impl FnMut(&mut Vec<u8>)) {
        let mut buffer = Vec::new();
        let mut interval = INTERVAL_MAX;
        loop {
            let order = inbox.recv_timeout(interval);
            fill(&mut buffer);
            self.write(&buffer);
            interval = next_interval(interval, buffer.len());
            buffer.clear();
            buffer.shrink_to(BUFFER_KEPT_MAX);
            match order {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Reopen) => self.reopen(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn write(&mut self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        if self.retry_at.is_some_and(|at| Instant::now() >= at) {
            self.reopen();
        }
        let count = memchr::memchr_iter(b'\n', lines).count();
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.held.store(count, Ordering::Relaxed);
        let written = match &mut self.sink {
            Some(sink) => sink.write_all(lines).and_then(|()| sink.flush()),
            None => Err(io::Error::from(io::ErrorKind::NotConnected)),
        };
        self.held.store(0, Ordering::Relaxed);
        let Err(error) = written else { return };
        self.lost.fetch_add(count, Ordering::Relaxed);
        if self.sink.take().is_some() {
            tracing::error!(%error, "the access log cannot be written");
        }
        self.retry_at
            .get_or_insert_with(|| Instant::now() + RETRY_AFTER);
    }

    fn reopen(&mut self) {
        match open(&self.destination) {
            Ok(sink) => {
                self.sink = Some(sink);
                self.retry_at = None;
            }
            Err(error) => {
                // The old file is still open, and lines in it are better than no lines.
                tracing::error!(%error, "the access log cannot be reopened");
                self.retry_at = Some(Instant::now() + RETRY_AFTER);
            }
        }
    }
}

/// When to fetch next, after an interval that brought so many bytes. When they stop coming, it is less and less often.
fn next_interval(interval: Duration, brought: usize) -> Duration {
    let brought = u32::try_from(brought).unwrap_or(u32::MAX);
    let enough = interval * BYTES_WANTED / brought.max(1);
    enough.min(interval * 2).clamp(INTERVAL_MIN, INTERVAL_MAX)
}

fn open(destination: &Destination) -> io::Result<Box<dyn Write + Send>> {
    match destination {
        Destination::Stdout => Ok(Box::new(io::stdout())),
        Destination::File(path) => {
            let file: File = OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o640)
                .open(path)?;
            Ok(Box::new(file))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    type Lines = Arc<Mutex<Vec<u8>>>;

    fn start(path: &std::path::Path) -> (AccessLog, Lines) {
        let lines = Lines::default();
        let source = Arc::clone(&lines);
        let log = spawn(Destination::File(path.to_owned()), move |buffer| {
            buffer.append(&mut source.lock().unwrap());
        });
        (log.unwrap(), lines)
    }

    fn add(lines: &Lines, line: &str) {
        lines.lock().unwrap().extend_from_slice(line.as_bytes());
    }

    fn eventually(mut fact: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !fact() {
            assert!(Instant::now() < end, "it did not come true");
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_more_lines_come_the_more_often_they_are_fetched() {
        let settled = |bytes_per_second: u128| {
            (0..20).fold(INTERVAL_MAX, |interval, _| {
                let brought = bytes_per_second * interval.as_micros() / 1_000_000;
                next_interval(interval, usize::try_from(brought).unwrap())
            })
        };
        assert_eq!(settled(0), INTERVAL_MAX);
        assert_eq!(settled(100_000), INTERVAL_MAX);
        assert_eq!(settled(6_553_600).as_millis(), 10);
        assert_eq!(settled(1_000_000_000), INTERVAL_MIN);
        // A pause in a busy stretch does not gather all that comes after it.
        assert_eq!(next_interval(INTERVAL_MIN, 0), INTERVAL_MIN * 2);
        assert_eq!(next_interval(INTERVAL_MAX, usize::MAX), INTERVAL_MIN);
    }

    #[test]
    fn what_was_collected_is_written_before_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let (log, lines) = start(&path);
        add(&lines, "{\"status\":200}\n");
        drop(log);
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\"status\":200}\n"
        );
    }

    #[test]
    fn after_a_rotation_lines_go_to_the_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("access.log"), folder.path().join("old"));
        let (log, lines) = start(&path);
        add(&lines, "one\n");
        eventually(|| std::fs::read_to_string(&path).is_ok_and(|text| text == "one\n"));
        std::fs::rename(&path, &old).unwrap();
        log.reopen();
        eventually(|| path.exists());
        add(&lines, "two\n");
        drop(log);
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "one\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("access.log");
        assert!(spawn(Destination::File(path), |_| {}).is_err());
    }

    /// Nobody reads from this pipe, and it is small.
    #[test]
    fn a_reader_that_has_stopped_does_not_hold_up_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        // Both ways: a pipe without a reader cannot be opened for writing.
        let reader = OpenOptions::new().read(true).write(true).open(&path);
        let (log, lines) = start(&path);
        let lost = log.lost_lines();
        add(&lines, &"a line of a log\n".repeat(100_000));
        let begun = Instant::now();
        drop(log);
        assert!(begun.elapsed() >= LAST_WORDS);
        assert_eq!(lost(), 100_000);
        drop(reader);
    }

    #[test]
    fn a_full_disk_costs_lines_and_is_counted() {
        let (log, lines) = start(std::path::Path::new("/dev/full"));
        let lost = log.lost_lines();
        add(&lines, "lost\n");
        eventually(|| lost() == 1);
        add(&lines, "this\nand that\n");
        eventually(|| lost() == 3);
    }
}
