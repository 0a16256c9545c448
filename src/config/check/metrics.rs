//! Metrics: labels that nobody would see, or too many.

use super::findings::{Findings, at};
use crate::config::metrics::AppLabel;
use crate::config::root::Config;

/// Apps with series of their own. Each has five, and a scrape carries all of them every few seconds.
const APPS_MAX: usize = 1000;

pub fn check(config: &Config, findings: &mut Findings) {
    let apps = &config.metrics.apps;
    let path = at("metrics.apps");
    let listed = apps.label == AppLabel::Listed;
    findings.add_if(
        listed && apps.names.is_empty(),
        path.key("names"),
        "`label: listed` needs at least one App in names",
    );
    findings.add_if(
        !listed && !apps.names.is_empty(),
        path.key("names"),
        "names are used only with `label: listed`",
    );
    findings.add_if(
        apps.names.len() > APPS_MAX,
        path.key("names"),
        "at most 1000 Apps can have their own series",
    );
    let max = usize::try_from(apps.max).unwrap_or(usize::MAX);
    findings.add_if(
        !(1..=APPS_MAX).contains(&max),
        path.key("max"),
        "max must be from 1 to 1000",
    );
}
