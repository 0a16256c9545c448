//! The process's own numbers: processor time, memory, file descriptors, and what was built.
//!
//! The collector of the metrics library counts processor time in whole seconds, which is too coarse for a rate.

use std::fs;
use std::sync::Mutex;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, IntGauge, IntGaugeVec, Opts, Registry};

/// What was built, and of what.
#[derive(Clone, Copy, Debug)]
pub struct BuildInfo<'a> {
    pub version: &'a str,
    pub revision: &'a str,
    pub rustc: &'a str,
    pub tls_provider: &'a str,
}

/// Registers `process_*` and `countersign_build_info`.
pub fn register(registry: &Registry, build: &BuildInfo<'_>) -> prometheus::Result<()> {
    registry.register(Box::new(ProcessCollector::new()?))?;
    let info = IntGaugeVec::new(
        Opts::new(
            "countersign_build_info",
            "What was built; the value is always 1.",
        ),
        &["version", "revision", "rustc", "tls_provider"],
    )?;
    info.with_label_values(&[
        build.version,
        build.revision,
        build.rustc,
        build.tls_provider,
    ])
    .set(1);
    registry.register(Box::new(info))
}

/// Reads `/proc/self` whenever the metrics are fetched.
#[derive(Debug)]
pub struct ProcessCollector {
    /// One fetch at a time: the counter is moved forward by what was added since the last.
    cpu: Mutex<Counter>,
    open_fds: IntGauge,
    max_fds: IntGauge,
    virtual_memory: IntGauge,
    resident_memory: IntGauge,
    threads: IntGauge,
    start_time: Gauge,
}

impl ProcessCollector {
    pub fn new() -> prometheus::Result<Self> {
        Ok(Self {
            cpu: Mutex::new(Counter::new(
                "process_cpu_seconds_total",
                "Processor time that was spent, in user and in system mode.",
            )?),
            open_fds: IntGauge::new("process_open_fds", "Open file descriptors.")?,
            max_fds: IntGauge::new(
                "process_max_fds",
                "The most file descriptors that may be open.",
            )?,
            virtual_memory: IntGauge::new("process_virtual_memory_bytes", "Address space in use.")?,
            resident_memory: IntGauge::new("process_resident_memory_bytes", "Memory in use.")?,
            threads: IntGauge::new("process_threads", "Threads of the process.")?,
            start_time: Gauge::new(
                "process_start_time_seconds",
                "When the process began, in seconds since 1970.",
            )?,
        })
    }

    fn gauges(&self) -> [&dyn Collector; 6] {
        [
            &self.open_fds,
            &self.max_fds,
            &self.virtual_memory,
            &self.resident_memory,
            &self.threads,
            &self.start_time,
        ]
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        // The counter sits in a mutex, so its description cannot be lent out; names stay unique all the same,
        // since the six others are registered with it or not at all.
        self.gauges()
            .iter()
            .flat_map(|gauge| gauge.desc())
            .collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let mut families = Vec::with_capacity(7);
        if let Some(stat) = Stat::read(&read("/proc/self/stat")) {
            if let Ok(cpu) = self.cpu.lock() {
                cpu.inc_by((stat.cpu_seconds - cpu.get()).max(0.0));
                families.extend(cpu.collect());
            }
            self.threads.set(stat.threads);
            self.virtual_memory.set(stat.virtual_bytes);
            if let Some(boot) = boot_time(&read("/proc/stat")) {
                self.start_time.set(boot + stat.started_after_boot);
            }
        }
        if let Some(bytes) = resident_bytes(&read("/proc/self/status")) {
            self.resident_memory.set(bytes);
        }
        if let Some(max) = files_max(&read("/proc/self/limits")) {
            self.max_fds.set(max);
        }
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            // One of them is the one that this very listing holds open.
            let open = entries.count().saturating_sub(1);
            self.open_fds.set(i64::try_from(open).unwrap_or(i64::MAX));
        }
        families.extend(self.gauges().iter().flat_map(|gauge| gauge.collect()));
        families
    }
}

/// Linux reports processor time in hundredths of a second to user space on every architecture that we build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// What `/proc/self/stat` tells (proc(5)).
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    threads: i64,
    started_after_boot: f64,
    virtual_bytes: i64,
}

impl Stat {
    fn read(text: &str) -> Option<Self> {
        // The second field is the program's name in brackets, and may hold blanks and brackets itself.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // `fields[0]` is the third field of the page.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let whole = |number: usize| fields.get(number - 3)?.parse::<i64>().ok();
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / TICKS_PER_SECOND,
            threads: whole(20)?,
            started_after_boot: field(22)? / TICKS_PER_SECOND,
            virtual_bytes: whole(23)?,
        })
    }
}

fn boot_time(proc_stat: &str) -> Option<f64> {
    let line = proc_stat
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

fn resident_bytes(proc_status: &str) -> Option<i64> {
    let line = proc_status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn files_max(proc_limits: &str) -> Option<i64> {
    let line = proc_limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_brackets_in_its_name_is_read() {
        let text =
            "42 (odd ) name) S 1 42 42 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 7 0 1000 8192 3 rest";
        assert_eq!(
            Stat::read(text),
            Some(Stat {
                cpu_seconds: 3.0,
                threads: 7,
                started_after_boot: 10.0,
                virtual_bytes: 8192
            })
        );
        assert_eq!(Stat::read("42 (cut off) S 1"), None);
    }

    #[test]
    fn this_process_has_numbers() {
        let registry = Registry::new();
        let build = BuildInfo {
            version: "1",
            revision: "abc",
            rustc: "1.95",
            tls_provider: "aws-lc-rs",
        };
        register(&registry, &build).unwrap();
        registry.gather();
        let families = registry.gather();
        let value = |name: &str| {
            let family = families.iter().find(|family| family.name() == name);
            let metric = &family
                .unwrap_or_else(|| panic!("{name} is missing"))
                .get_metric()[0];
            metric.get_gauge().get_value() + metric.get_counter().get_value()
        };
        for name in [
            "process_open_fds",
            "process_max_fds",
            "process_virtual_memory_bytes",
            "process_resident_memory_bytes",
            "process_threads",
            "process_start_time_seconds",
        ] {
            assert!(value(name) > 0.0, "{name}");
        }
        assert!(value("process_cpu_seconds_total") >= 0.0);
        assert!((value("countersign_build_info") - 1.0).abs() < f64::EPSILON);
    }
}
