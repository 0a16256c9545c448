//! Families of metrics: what one is, and how it is made and registered.

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

/// From a quarter of a millisecond to a minute: answers from a neighbour's cache, and slow exports.
const SECONDS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0, 60.0,
];

/// A family of metrics. The name and the help are what operators read.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    pub name: &'static str,
    pub help: &'static str,
    pub labels: &'static [&'static str],
}

/// The maker of families, each of which is registered at once.
#[derive(Clone, Copy, Debug)]
pub struct Maker<'r>(pub &'r Registry);

impl Maker<'_> {
    pub fn counters(self, family: &Family) -> prometheus::Result<IntCounterVec> {
        self.register(IntCounterVec::new(family.opts(), family.labels)?)
    }

    pub fn counter(self, family: &Family) -> prometheus::Result<IntCounter> {
        self.register(IntCounter::with_opts(family.opts())?)
    }

    pub fn gauges(self, family: &Family) -> prometheus::Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(family.opts(), family.labels)?)
    }

    pub fn gauge(self, family: &Family) -> prometheus::Result<IntGauge> {
        self.register(IntGauge::with_opts(family.opts())?)
    }

    /// Times in seconds, by labels.
    pub fn histograms(self, family: &Family) -> prometheus::Result<HistogramVec> {
        self.register(HistogramVec::new(family.seconds(), family.labels)?)
    }

    /// Times in seconds.
    pub fn histogram(self, family: &Family) -> prometheus::Result<Histogram> {
        self.register(Histogram::with_opts(family.seconds())?)
    }

    fn register<C: Collector + Clone + 'static>(self, made: C) -> prometheus::Result<C> {
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }
}

impl Family {
    fn opts(&self) -> Opts {
        Opts::new(self.name, self.help)
    }

    fn seconds(&self) -> HistogramOpts {
        HistogramOpts::new(self.name, self.help).buckets(SECONDS.to_vec())
    }
}
