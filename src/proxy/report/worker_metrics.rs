//! A worker's metrics: the series that its requests need are at hand, so that none is looked up by its labels.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashMapExt};
use http::Method;
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use super::app_metrics::{AppSeries, WorkerApps};
use super::metrics::{Metrics, Open};
use crate::domain::app::App;
use crate::domain::identity::AuthMethod;
use crate::domain::route::Route;

/// Methods that have a series of their own; every other one is `OTHER`.
const METHODS: [&str; 10] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "OTHER", "PATCH", "POST", "PUT", "TRACE",
];

/// A worker's series. Looking one up by its labels hashes texts and takes a lock; a worker does that once.
#[derive(Debug)]
pub struct WorkerMetrics {
    pub all: Metrics,
    allowed: [IntCounter; 6],
    routes: RefCell<Routes>,
    limits: RefCell<HashMap<Arc<str>, [IntCounter; 2]>>,
    /// Requests for which no route was found.
    pub unrouted: Rc<RouteMetrics>,
    apps: Option<WorkerApps>,
}

/// The series of the routes of one generation, by a route's address in memory; the route is held, so that no other can
/// have it.
#[derive(Debug, Default)]
struct Routes {
    generation: u64,
    series: HashMap<usize, (Arc<Route>, Rc<RouteMetrics>)>,
}

/// The series of one route.
#[derive(Debug)]
pub struct RouteMetrics {
    route: Arc<str>,
    requests: IntCounterVec,
    codes: RefCell<HashMap<(&'static str, u16), IntCounter>>,
    pub duration: Histogram,
    pub upstream_duration: Histogram,
    in_flight: IntGauge,
}

impl WorkerMetrics {
    pub fn new(all: Metrics) -> Self {
        let allowed = |method: &str| {
            all.decisions
                .with_label_values(&["allowed", method, "none"])
        };
        let [mtls, key, token, mtls_key, mtls_token] = AuthMethod::ALL.map(AuthMethod::as_str);
        Self {
            allowed: [mtls, key, token, mtls_key, mtls_token, "none"].map(allowed),
            routes: RefCell::default(),
            limits: RefCell::default(),
            unrouted: Rc::new(RouteMetrics::new(&all, "none".into())),
            apps: all.apps.clone().map(WorkerApps::new),
            all,
        }
    }

    /// The series of `route`, which is one of `generation`.
    pub fn route(&self, route: &Arc<Route>, generation: u64) -> Rc<RouteMetrics> {
        let mut routes = self.routes.borrow_mut();
        if routes.generation != generation {
            *routes = Routes {
                generation,
                series: HashMap::new(),
            };
        }
        let place = Arc::as_ptr(route).addr();
        let (_, series) = routes.series.entry(place).or_insert_with(|| {
            let series = RouteMetrics::new(&self.all, Arc::clone(&route.name));
            (Arc::clone(route), Rc::new(series))
        });
        Rc::clone(series)
    }

    /// The series for an App's requests, if operators want that.
    pub fn app(&self, app: &App) -> Option<Rc<AppSeries>> {
        self.apps.as_ref().map(|apps| apps.of(app))
    }

    pub fn auth_allowed(&self, method: Option<AuthMethod>) {
        let place = method.map_or(5, |method| method as usize);
        if let Some(counter) = self.allowed.get(place) {
            counter.inc();
        }
    }

    /// Counts a decision of a limit. Limits are named in the configuration, so there are as many series as the operator
    /// wrote limits.
    pub fn limited(&self, limit: &str, allowed: bool) {
        let mut limits = self.limits.borrow_mut();
        let [refused_counter, allowed_counter] = if let Some(found) = limits.get(limit) {
            found
        } else {
            let counters = ["refused", "allowed"]
                .map(|decision| self.all.limits.with_label_values(&[decision, limit]));
            limits.entry(limit.into()).or_insert(counters)
        };
        if allowed {
            allowed_counter.inc();
        } else {
            refused_counter.inc();
        }
    }
}

impl RouteMetrics {
    fn new(all: &Metrics, route: Arc<str>) -> Self {
        Self {
            requests: all.requests.clone(),
            codes: RefCell::default(),
            duration: all.duration.with_label_values(&[&*route]),
            upstream_duration: all.upstream_duration.with_label_values(&[&*route]),
            in_flight: all.in_flight.with_label_values(&[&*route]),
            route,
        }
    }

    /// Counts a request as running until the returned guard is dropped.
    pub fn running(&self) -> Open {
        Open::new(self.in_flight.clone())
    }

    /// Counts a request that was answered with `code`.
    pub fn answered(&self, method: &Method, code: u16, duration: Duration) {
        let method = label(method);
        let code = if (100..1000).contains(&code) {
            code
        } else {
            599
        };
        self.codes
            .borrow_mut()
            .entry((method, code))
            .or_insert_with(|| {
                self.requests
                    .with_label_values(&[code.to_string().as_str(), method, &self.route])
            })
            .inc();
        self.duration.observe(duration.as_secs_f64());
    }
}

fn label(method: &Method) -> &'static str {
    METHODS
        .into_iter()
        .find(|known| *known == method.as_str())
        .unwrap_or("OTHER")
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;
    use crate::proxy::settings::AppLabel;

    #[test]
    fn no_two_sets_of_labels_share_a_series() {
        let registry = Registry::new();
        let metrics = WorkerMetrics::new(Metrics::register(&registry, &AppLabel::Off).unwrap());
        for (name, method) in [("a", Method::GET), ("ta", Method::GET), ("a", Method::PUT)] {
            let route = RouteMetrics::new(&metrics.all, name.into());
            route.answered(&method, 200, Duration::ZERO);
        }
        let text = prometheus::TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
        let series = text
            .lines()
            .filter(|line| line.starts_with("countersign_http_requests_total{"));
        assert_eq!(series.filter(|line| line.ends_with(" 1")).count(), 3);
    }

    #[test]
    fn a_method_that_a_client_makes_up_makes_no_series() {
        assert_eq!(label(&Method::GET), "GET");
        assert_eq!(label(&Method::from_bytes(b"BREW").unwrap()), "OTHER");
    }
}
