//! Requests by App. Operators create any number of Apps, so the label is off, or its values are limited.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use crate::domain::app::App;
use crate::domain::id::AppId;
use crate::domain::name::Name;

use crate::proxy::settings::AppLabel;

/// The label of Apps without series of their own; no name begins with `_`.
const OTHERS: &str = "_other";

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The family, and the Apps with series of their own. One for the process; cloning is cheap.
#[derive(Clone, Debug)]
pub struct AppMetrics {
    requests: IntCounterVec,
    places: Arc<Places>,
}

#[derive(Debug)]
enum Places {
    /// These Apps, and no others.
    Listed(HashSet<Name>),
    /// The first so many Apps that come.
    First {
        most: usize,
        taken: Mutex<HashSet<AppId>>,
        /// All of them once there is no place left, so that the Apps without one take no lock.
        full: OnceLock<HashSet<AppId>>,
    },
}

impl AppMetrics {
    /// Registers the family; `None` when the label is off.
    pub fn register(registry: &Registry, label: &AppLabel) -> prometheus::Result<Option<Self>> {
        let places = match label {
            AppLabel::Off => return Ok(None),
            AppLabel::Listed(names) => Places::Listed(names.iter().cloned().collect()),
            AppLabel::First(most) => Places::First {
                most: *most,
                taken: Mutex::default(),
                full: OnceLock::new(),
            },
        };
        let requests = IntCounterVec::new(
            Opts::new(
                "countersign_app_requests_total",
                "Requests of partners that proved which App they come from, by class of status.",
            ),
            // The free text stands last; see the requests by route.
            &["code", "app"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        let metrics = Self {
            requests,
            places: Arc::new(places),
        };
        let listed = match &*metrics.places {
            Places::Listed(names) => names.iter().map(Name::as_str).collect(),
            Places::First { .. } => Vec::new(),
        };
        for name in listed.into_iter().chain([OTHERS]) {
            metrics.series(name);
        }
        Ok(Some(metrics))
    }

    fn series(&self, name: &str) -> AppSeries {
        AppSeries(CLASSES.map(|class| self.requests.with_label_values(&[class, name])))
    }

    /// True if the App has series of its own. Once true, it stays true.
    fn has_place(&self, app: &App) -> bool {
        match &*self.places {
            Places::Listed(names) => names.contains(&app.name),
            Places::First { most, taken, full } => {
                if let Some(full) = full.get() {
                    return full.contains(&app.id);
                }
                let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
                let has_place =
                    taken.contains(&app.id) || (taken.len() < *most && taken.insert(app.id));
                if taken.len() >= *most {
                    full.get_or_init(|| taken.clone());
                }
                has_place
            }
        }
    }
}

/// One App's counters, by class of status.
#[derive(Debug)]
pub struct AppSeries([IntCounter; CLASSES.len()]);

impl AppSeries {
    /// Counts a request that was answered with `code`, or that ended without an answer in HTTP.
    pub fn answered(&self, code: u16) {
        let class = usize::from(code / 100).clamp(1, CLASSES.len());
        if let Some(counter) = self.0.get(class - 1) {
            counter.inc();
        }
    }
}

/// A worker's counters of Apps, so that a known App costs one look into a small table and no lock.
#[derive(Debug)]
pub struct WorkerApps {
    all: AppMetrics,
    /// Apps with series of their own, never more than are allowed.
    known: RefCell<HashMap<AppId, Rc<AppSeries>>>,
    others: Rc<AppSeries>,
}

impl WorkerApps {
    pub fn new(all: AppMetrics) -> Self {
        Self {
            others: Rc::new(all.series(OTHERS)),
            known: RefCell::default(),
            all,
        }
    }

    /// The counters for the App's requests.
    pub fn of(&self, app: &App) -> Rc<AppSeries> {
        if let Some(series) = self.known.borrow().get(&app.id) {
            return Rc::clone(series);
        }
        if !self.all.has_place(app) {
            return Rc::clone(&self.others);
        }
        let series = Rc::new(self.all.series(app.name.as_str()));
        self.known.borrow_mut().insert(app.id, Rc::clone(&series));
        series
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(number: u128, name: &str) -> App {
        App::sample(number, name)
    }

    fn exported(registry: &Registry) -> Vec<String> {
        let text = prometheus::TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
        let series = text.lines().filter(|line| !line.starts_with('#'));
        series.map(str::to_owned).collect()
    }

    fn started(label: &AppLabel) -> (Registry, AppMetrics) {
        let registry = Registry::new();
        let all = AppMetrics::register(&registry, label).unwrap().unwrap();
        (registry, all)
    }

    #[test]
    fn off_means_that_there_is_no_such_family() {
        let registry = Registry::new();
        assert!(
            AppMetrics::register(&registry, &AppLabel::Off)
                .unwrap()
                .is_none()
        );
        assert!(registry.gather().is_empty());
    }

    #[test]
    fn listed_apps_have_series_from_the_start_and_all_others_share_one() {
        let (registry, all) = started(&AppLabel::Listed(vec!["acme".parse().unwrap()]));
        assert_eq!(exported(&registry).len(), 2 * CLASSES.len());
        let worker = WorkerApps::new(all);
        worker.of(&app(1, "acme")).answered(200);
        worker.of(&app(2, "beta")).answered(403);
        worker.of(&app(3, "gamma")).answered(403);
        let series = exported(&registry);
        for line in [
            "countersign_app_requests_total{app=\"acme\",code=\"2xx\"} 1",
            "countersign_app_requests_total{app=\"_other\",code=\"4xx\"} 2",
        ] {
            assert!(series.iter().any(|found| found == line), "{series:?}");
        }
        assert_eq!(series.len(), 2 * CLASSES.len());
    }

    #[test]
    fn the_first_apps_keep_their_places_on_every_worker() {
        let (registry, all) = started(&AppLabel::First(2));
        let workers = [WorkerApps::new(all.clone()), WorkerApps::new(all)];
        for number in 1..=50 {
            for worker in &workers {
                worker
                    .of(&app(number, &format!("app-{number}")))
                    .answered(200);
            }
        }
        let series = exported(&registry);
        assert_eq!(series.len(), 3 * CLASSES.len());
        for line in [
            "countersign_app_requests_total{app=\"app-1\",code=\"2xx\"} 2",
            "countersign_app_requests_total{app=\"app-2\",code=\"2xx\"} 2",
            "countersign_app_requests_total{app=\"_other\",code=\"2xx\"} 96",
        ] {
            assert!(series.iter().any(|found| found == line), "{series:?}");
        }
    }

    #[test]
    fn every_status_has_a_class() {
        let (registry, all) = started(&AppLabel::First(0));
        let others = WorkerApps::new(all).of(&app(1, "acme"));
        for code in [0, 101, 204, 304, 499, 599, 999] {
            others.answered(code);
        }
        let total: u64 = exported(&registry)
            .iter()
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum();
        assert_eq!(total, 7);
    }
}
