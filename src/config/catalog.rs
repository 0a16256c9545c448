//! From what was written to the domain's routes, limits and upstreams.

use std::collections::HashMap;
use std::sync::Arc;

use super::hosts::{Host, HostName, Limit as WrittenLimit, Route as WrittenRoute};
use super::root::Config;
use super::upstreams::{Protocol as WrittenProtocol, Upstream as WrittenUpstream};
use crate::domain::certificate::Profile;
use crate::domain::limit::Limit;
use crate::domain::name::Name;
use crate::domain::policy::{Policy, Requirement};
use crate::domain::route::{
    HostPattern, InvalidPattern, LocalEndpoint, PathPattern, Route, Target,
};
use crate::domain::scope::ScopeSet;
use crate::domain::upstream::{PoolBounds, Protocol, Timeouts, Upstream};

impl Config {
    /// Every route of the file, and the endpoints that the gateway answers itself.
    pub fn routes(&self) -> Vec<Route> {
        let mut shared = HashMap::new();
        let mut routes: Vec<Route> = LocalEndpoint::ALL.into_iter().filter_map(local).collect();
        for (HostName(host), settings) in &self.hosts {
            for route in &settings.routes {
                routes.extend(self::route(host, settings, route, &mut shared));
            }
        }
        routes
    }

    pub fn upstreams(&self, generation: u64) -> Vec<Upstream> {
        self.upstreams
            .iter()
            .map(|(name, written)| upstream(name, written, generation))
            .collect()
    }

    pub fn profile(&self) -> Profile {
        Profile::from(&self.authority.profile)
    }
}

fn local(endpoint: LocalEndpoint) -> Option<Route> {
    Some(Route {
        name: endpoint.name().into(),
        host: HostPattern::Any,
        path: PathPattern::exact(endpoint.path()).ok()?,
        methods: endpoint.methods(),
        policy: Policy {
            requirement: Requirement::None,
            scopes: ScopeSet::default(),
        },
        limits: Vec::new(),
        target: Target::Local(endpoint),
        body_max: None,
        ambiguous_paths: false,
        keep_credential: true,
        upgrades: false,
    })
}

fn pattern(route: &WrittenRoute) -> Result<PathPattern, InvalidPattern> {
    match (&route.matches.path, &route.matches.prefix) {
        (Some(path), _) => PathPattern::exact(path),
        (None, prefix) => PathPattern::prefix(prefix.as_deref().unwrap_or("/")),
    }
}

/// `None` for a pattern or set of scopes that checking has refused already.
fn route(
    host: &HostPattern,
    settings: &Host,
    route: &WrittenRoute,
    shared: &mut HashMap<Name, Arc<Limit>>,
) -> Option<Route> {
    let path = pattern(route).ok()?;
    let name: Arc<str> = match &route.name {
        Some(name) => name.as_str().into(),
        None => default_name(host, route, &path).into(),
    };
    let limits = route.limit.iter().chain(&route.limits).enumerate();
    Some(Route {
        limits: limits
            .map(|(place, written)| limit(&name, place, written, shared))
            .collect(),
        name,
        host: host.clone(),
        path,
        methods: route
            .matches
            .methods
            .iter()
            .map(|method| method.0.clone())
            .collect(),
        policy: Policy {
            requirement: route.require.unwrap_or(settings.require),
            scopes: ScopeSet::new(route.scopes.iter().cloned()).ok()?,
        },
        target: Target::Upstream(route.upstream.clone()),
        body_max: route.body_max.map(super::size::Size::get),
        ambiguous_paths: route.ambiguous_paths,
        keep_credential: route.keep_credential,
        upgrades: route.upgrades,
    })
}

fn default_name(host: &HostPattern, route: &WrittenRoute, path: &PathPattern) -> String {
    let methods: Vec<&str> = route
        .matches
        .methods
        .iter()
        .map(|method| method.0.as_str())
        .collect();
    if methods.is_empty() {
        format!("{host}{path}")
    } else {
        format!("{host}{path} {}", methods.join(","))
    }
}

fn limit(
    route: &str,
    place: usize,
    written: &WrittenLimit,
    shared: &mut HashMap<Name, Arc<Limit>>,
) -> Arc<Limit> {
    let make = |name: Name| {
        Arc::new(Limit {
            name,
            per: written.per.into(),
            count: written.rate.count,
            period: written.rate.period.get(),
            burst: written.burst.unwrap_or(written.rate.count),
        })
    };
    match &written.name {
        Some(name) => Arc::clone(
            shared
                .entry(name.clone())
                .or_insert_with(|| make(name.clone())),
        ),
        None => make(default_limit_name(route, place)),
    }
}

/// Unnamed limits are told apart by a digest of their route's name, since names are short.
fn default_limit_name(route: &str, place: usize) -> Name {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    route.hash(&mut hasher);
    let text = format!("limit-{:08x}-{place}", hasher.finish() & 0xffff_ffff);
    text.parse().expect("it has at most 30 plain characters")
}

fn upstream(name: &Name, written: &WrittenUpstream, generation: u64) -> Upstream {
    Upstream {
        name: name.clone(),
        endpoints: written
            .endpoints
            .iter()
            .map(|endpoint| endpoint.0.clone())
            .collect(),
        protocol: match written.protocol {
            WrittenProtocol::Http1 => Protocol::Http1,
            WrittenProtocol::Http2 => Protocol::Http2,
        },
        timeouts: Timeouts {
            connect: written.timeouts.connect.get(),
            first_byte: written.timeouts.first_byte.get(),
            idle: written.timeouts.idle.get(),
        },
        pool: PoolBounds {
            connections_max: written.pool.connections_max as usize,
            queue_max: written.pool.queue_max as usize,
            queue_timeout: written.pool.queue_timeout.get(),
            idle_max: written.pool.idle_max as usize,
            idle_timeout: written.pool.idle_timeout.get(),
            age_max: written.pool.age_max.get(),
        },
        tls_generation: generation,
    }
}
