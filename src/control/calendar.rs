//! Calendar: the periodic work, one row for each job, and its metrics.
//!
//! Each job has a task of its own, so that one which waits for a disk delays no other. A job that fails or panics is
//! counted, and runs again at its next time.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::{error, info, warn};

use super::error::Error;
use crate::domain::time::Clock;

/// One run of a job.
type Run = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// A row of the calendar.
pub struct Job {
    /// The name in metrics and logs.
    name: &'static str,
    /// The time between two runs.
    every: Duration,
    work: Box<dyn Fn() -> Run + Send + Sync>,
    /// True if the last run has failed.
    failing: AtomicBool,
}

impl Job {
    pub fn new<F: Future<Output = Result<(), Error>> + Send + 'static>(
        name: &'static str,
        every: Duration,
        work: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            every,
            work: Box::new(move || Box::pin(work())),
            failing: AtomicBool::new(false),
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, every, .. } = self;
        write!(f, "{name} every {every:?}")
    }
}

/// The jobs of a process.
#[derive(Debug)]
pub struct Calendar {
    jobs: Vec<Job>,
    /// The tasks of the runs, each of which ends with the task of its job.
    runs: TaskTracker,
    metrics: JobMetrics,
    clock: Arc<dyn Clock>,
}

impl Calendar {
    /// A calendar of these jobs, with the series of each.
    pub fn new(
        jobs: Vec<Job>,
        clock: Arc<dyn Clock>,
        registry: &Registry,
    ) -> prometheus::Result<Self> {
        let metrics = JobMetrics::register(registry)?;
        for job in &jobs {
            metrics.begin(job.name);
        }
        Ok(Self {
            jobs,
            runs: TaskTracker::new(),
            metrics,
            clock,
        })
    }

    /// Runs every job once, one after another.
    pub async fn run_once(&self) {
        for job in &self.jobs {
            self.run(job).await;
        }
    }

    /// Runs every job at its times until `end`, in tasks of `tasks`. A job that runs then is dropped.
    pub fn begin(self: Arc<Self>, tasks: &TaskTracker, end: &CancellationToken) {
        for place in 0..self.jobs.len() {
            let repeated = Arc::clone(&self).repeat(place);
            tasks.spawn(end.clone().run_until_cancelled_owned(repeated));
        }
    }

    async fn repeat(self: Arc<Self>, place: usize) {
        let Some(job) = self.jobs.get(place) else {
            return;
        };
        let mut times = interval_at(Instant::now() + job.every, job.every);
        // A job that took long is not run several times in a row.
        times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            times.tick().await;
            self.run(job).await;
        }
    }

    async fn run(&self, job: &Job) {
        // A task of its own, whose panic ends this run and nothing else.
        let task = AbortOnDropHandle::new(self.runs.spawn((job.work)()));
        match task.await {
            Ok(Ok(())) => self.succeeded(job),
            Ok(Err(failure)) => {
                if self.failed(job) {
                    let cause = failure.source.as_ref().map(ToString::to_string);
                    warn!(job = job.name, error = %failure, cause, "periodic work failed; it is tried again");
                }
            }
            Err(panic) => {
                self.failed(job);
                error!(job = job.name, error = %panic, "periodic work panicked: a bug; it is tried again");
            }
        }
    }

    fn succeeded(&self, job: &Job) {
        let now = self.clock.now().unix_seconds();
        let succeeded = self.metrics.succeeded.with_label_values(&[job.name]);
        succeeded.set(now);
        if job.failing.swap(false, Ordering::Relaxed) {
            info!(job = job.name, "periodic work succeeds again");
        }
    }

    /// Counts a failure. True if it is the first in a row, which is logged; the metrics have the others.
    fn failed(&self, job: &Job) -> bool {
        self.metrics.failed.with_label_values(&[job.name]).inc();
        !job.failing.swap(true, Ordering::Relaxed)
    }
}

/// The families of the jobs.
#[derive(Debug)]
struct JobMetrics {
    succeeded: IntGaugeVec,
    failed: IntCounterVec,
}

impl JobMetrics {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let succeeded = IntGaugeVec::new(
            Opts::new(
                "countersign_job_last_success_timestamp_seconds",
                "Time of the last successful run of a periodic job.",
            ),
            &["job"],
        )?;
        let failed = IntCounterVec::new(
            Opts::new(
                "countersign_job_failures_total",
                "Failed runs of a periodic job.",
            ),
            &["job"],
        )?;
        registry.register(Box::new(succeeded.clone()))?;
        registry.register(Box::new(failed.clone()))?;
        Ok(Self { succeeded, failed })
    }

    fn begin(&self, job: &str) {
        self.succeeded.with_label_values(&[job]);
        self.failed.with_label_values(&[job]);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;
    use crate::control::testing::HandClock;

    const SECOND: Duration = Duration::from_secs(1);

    fn counting(
        name: &'static str,
        every: Duration,
        ends: impl Fn(u32) -> Result<(), Error> + Copy + Send + Sync + 'static,
    ) -> (Job, Arc<AtomicU32>) {
        let runs = Arc::new(AtomicU32::new(0));
        let kept = Arc::clone(&runs);
        let job = Job::new(name, every, move || {
            let run = kept.fetch_add(1, Ordering::SeqCst) + 1;
            async move { ends(run) }
        });
        (job, runs)
    }

    fn calendar(jobs: Vec<Job>) -> (Arc<Calendar>, Registry) {
        let registry = Registry::new();
        let calendar = Calendar::new(jobs, HandClock::at(1_800_000_000), &registry).unwrap();
        (Arc::new(calendar), registry)
    }

    fn exported(registry: &Registry) -> String {
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather());
        text.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn every_job_runs_at_its_own_times_until_the_end() {
        let (often, often_runs) = counting("often", SECOND, |_| Ok(()));
        let (seldom, seldom_runs) = counting("seldom", SECOND * 10, |_| Ok(()));
        let hangs = Job::new("hangs", SECOND, std::future::pending);
        let (calendar, _) = calendar(vec![hangs, often, seldom]);
        let (tasks, end) = (TaskTracker::new(), CancellationToken::new());
        calendar.begin(&tasks, &end);
        let runs = || {
            (
                often_runs.load(Ordering::SeqCst),
                seldom_runs.load(Ordering::SeqCst),
            )
        };
        assert_eq!(runs(), (0, 0));
        tokio::time::sleep(SECOND * 20 + SECOND / 2).await;
        assert_eq!(runs(), (20, 2));
        end.cancel();
        tasks.close();
        tasks.wait().await;
        tokio::time::sleep(SECOND * 20).await;
        assert_eq!(runs(), (20, 2));
    }

    #[tokio::test]
    async fn a_job_that_fails_or_panics_is_counted_and_harms_no_other() {
        let (fails, _) = counting("fails", SECOND, |run| {
            if run < 3 {
                Err(Error::conflict("on purpose"))
            } else {
                Ok(())
            }
        });
        let (panics, _) = counting("panics", SECOND, |run| {
            assert!(run > 3, "on purpose");
            Ok(())
        });
        let (works, _) = counting("works", SECOND, |_| Ok(()));
        let (calendar, registry) = calendar(vec![fails, panics, works]);
        let series = |job: &str, failures: u32, at: i64| {
            [
                format!("countersign_job_failures_total{{job=\"{job}\"}} {failures}\n"),
                format!("countersign_job_last_success_timestamp_seconds{{job=\"{job}\"}} {at}\n"),
            ]
        };
        let holds = |expected: &[[String; 2]]| {
            let text = exported(&registry);
            for line in expected.iter().flatten() {
                assert!(text.contains(line), "{line}\n{text}");
            }
        };
        holds(&["fails", "panics", "works"].map(|job| series(job, 0, 0)));
        calendar.run_once().await;
        calendar.run_once().await;
        let now = 1_800_000_000;
        holds(&[
            series("fails", 2, 0),
            series("panics", 2, 0),
            series("works", 0, now),
        ]);
        calendar.run_once().await;
        calendar.run_once().await;
        holds(&[
            series("fails", 2, now),
            series("panics", 3, now),
            series("works", 0, now),
        ]);
    }
}
