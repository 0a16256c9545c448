//! How busy the process's runtimes are: whether the workers carry the same, and what waits in them.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, IntGaugeVec, Opts, Registry};
use std::sync::Mutex;
use tokio::runtime::RuntimeMetrics;

/// Reads the runtimes whenever the metrics are fetched. There are as many as the configuration says.
#[derive(Debug)]
pub struct Runtimes {
    named: Vec<(String, RuntimeMetrics)>,
    /// One fetch at a time: counters are moved forward by what was added since the last.
    fetching: Mutex<()>,
    busy: CounterVec,
    tasks: IntGaugeVec,
}

impl Runtimes {
    /// Exports these runtimes by their names.
    pub fn register(
        registry: &Registry,
        named: Vec<(String, RuntimeMetrics)>,
    ) -> prometheus::Result<()> {
        registry.register(Box::new(Self {
            named,
            fetching: Mutex::default(),
            busy: CounterVec::new(
                Opts::new(
                    "countersign_tokio_busy_seconds_total",
                    "How long the threads of a runtime had something to do.",
                ),
                &["runtime"],
            )?,
            tasks: IntGaugeVec::new(
                Opts::new(
                    "countersign_tokio_tasks",
                    "Tasks of a runtime that have not ended.",
                ),
                &["runtime"],
            )?,
        }))
    }
}

impl Collector for Runtimes {
    fn desc(&self) -> Vec<&Desc> {
        let mut all = self.busy.desc();
        all.extend(self.tasks.desc());
        all
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Ok(_one) = self.fetching.lock() else {
            return Vec::new();
        };
        for (name, runtime) in &self.named {
            let busy: f64 = (0..runtime.num_workers())
                .map(|worker| runtime.worker_total_busy_duration(worker).as_secs_f64())
                .sum();
            let counter = self.busy.with_label_values(&[name]);
            counter.inc_by((busy - counter.get()).max(0.0));
            let tasks = i64::try_from(runtime.num_alive_tasks()).unwrap_or(i64::MAX);
            self.tasks.with_label_values(&[name]).set(tasks);
        }
        let mut all = self.busy.collect();
        all.extend(self.tasks.collect());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_that_works_is_busy() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let registry = Registry::new();
        let named = vec![("worker-0".to_owned(), runtime.metrics())];
        Runtimes::register(&registry, named).unwrap();
        let exported = || {
            prometheus::TextEncoder::new()
                .encode_to_string(&registry.gather())
                .unwrap()
        };
        assert!(exported().contains("countersign_tokio_tasks{runtime=\"worker-0\"} 0\n"));
        let begun = std::time::Instant::now();
        while runtime.metrics().worker_total_busy_duration(0).is_zero() {
            runtime.block_on(async {
                for _ in 0..1000 {
                    tokio::task::yield_now().await;
                }
            });
            assert!(begun.elapsed() < std::time::Duration::from_secs(20));
        }
        let text = exported();
        let busy = text.lines().find_map(|line| {
            line.strip_prefix("countersign_tokio_busy_seconds_total{runtime=\"worker-0\"} ")
        });
        assert!(busy.unwrap().parse::<f64>().unwrap() > 0.0, "{text}");
    }
}
