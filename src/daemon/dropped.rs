//! The numbers of access log lines that were lost, by cause.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, Opts, Registry};

type Source = Box<dyn Fn() -> u64 + Send + Sync>;

/// The collector, which reads the counts whenever the metrics are fetched.
pub struct Dropped {
    counter: IntCounterVec,
    /// The sources, locked so that one fetch runs at a time: it adds the growth since the last to the counters.
    sources: Mutex<Vec<(&'static str, Source)>>,
}

impl fmt::Debug for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dropped").finish_non_exhaustive()
    }
}

impl Dropped {
    /// Registers the counter with each source and its cause.
    pub fn register(
        registry: &Registry,
        sources: Vec<(&'static str, Source)>,
    ) -> prometheus::Result<()> {
        let counter = IntCounterVec::new(
            Opts::new(
                "countersign_access_log_dropped_total",
                "Lines of the access log that were dropped, by cause.",
            ),
            &["cause"],
        )?;
        let sources = Mutex::new(sources);
        registry.register(Box::new(Self { counter, sources }))
    }
}

impl Collector for Dropped {
    fn desc(&self) -> Vec<&Desc> {
        self.counter.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        for (cause, source) in &*sources {
            let counter = self.counter.with_label_values(&[cause]);
            counter.inc_by(source().saturating_sub(counter.get()));
        }
        self.counter.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn what_was_dropped_is_told_as_it_stands() {
        let registry = Registry::new();
        let count = Arc::new(AtomicU64::new(0));
        let source = Arc::clone(&count);
        let sources: Vec<(_, Source)> = vec![
            ("behind", Box::new(move || source.load(Ordering::Relaxed))),
            ("unwritable", Box::new(|| 0)),
        ];
        Dropped::register(&registry, sources).unwrap();
        for expected in [0, 3, 3, 5] {
            count.store(expected, Ordering::Relaxed);
            let text = prometheus::TextEncoder::new()
                .encode_to_string(&registry.gather())
                .unwrap();
            let line =
                format!("countersign_access_log_dropped_total{{cause=\"behind\"}} {expected}\n");
            assert!(text.contains(&line), "{text}");
            assert!(text.contains("{cause=\"unwritable\"} 0\n"), "{text}");
        }
    }
}
