//! The configuration as the domain's values: routes, upstreams, limits, TLS policies, the profile.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::host_name::HostName;
use super::hosts::{self, Host, Limit as WrittenLimit};
use super::identity_headers::IdentityHeaders as WrittenHeaders;
use super::issuers::foreign_issuers;
use super::parts::Replaceable;
use super::path::YamlPath;
use super::tls::{ClientAuth, ClientAuthMode};
use super::upstreams::{self, Protocol as WrittenProtocol};
use crate::domain::accepted::{AcceptedKinds, Environments};
use crate::domain::header_names::HeaderNames;
use crate::domain::identity_headers::IdentityHeaders;
use crate::domain::limit::{Limit, Measure};
use crate::domain::local::LocalEndpoint;
use crate::domain::name::{NAME_CHARS_MAX, Name};
use crate::domain::pace::BodyTimes;
use crate::domain::policy::{Policy, Requirement};
use crate::domain::quota::{Quota, Window};
use crate::domain::rate::Rate;
use crate::domain::route::{
    Ambiguity, HostPattern, InvalidPattern, PathPattern, Route, RouteTable, Target,
};
use crate::domain::scope::{InvalidScope, ScopeSet};
use crate::domain::secret::Secret;
use crate::domain::snapshot::{Catalog, HostPolicies};
use crate::domain::tcp::Tcp;
use crate::domain::tls_policy::TlsPolicy;
use crate::domain::token::{ClientAuthMethod, ClientAuthMethods};
use crate::domain::upgrades::Upgrades;
use crate::domain::upstream::{AnswerBounds, PoolBounds, Protocol, Timeouts, Upstream};
use foldhash::HashMap;

/// The policies for client certificates, and the hosts that have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPolicies {
    /// Each once.
    pub policies: BTreeSet<TlsPolicy>,
    pub hosts: HostPolicies,
}

impl Replaceable<'_> {
    /// The data plane's part of the configuration. A loaded configuration has no ambiguous routes.
    pub fn catalog(&self, generation: u64) -> Result<Catalog, Ambiguity> {
        let permitted = self.token_client_auth.iter().copied();
        let client_auth: Vec<ClientAuthMethod> = permitted
            .filter(|method| self.token_profile.permits(*method))
            .collect();
        Ok(Catalog {
            generation,
            routes: RouteTable::new(self.routes())?,
            upstreams: self.domain_upstreams(),
            tls_policies: self.tls_policies().hosts,
            issuer: self.issuer.unwrap_or_default().into(),
            legacy_limit_fields: self.legacy_limit_headers,
            client_auth: ClientAuthMethods::new(&client_auth),
            profile: self.token_profile,
            issuers: foreign_issuers(self.issuers),
        })
    }

    /// Every route, including the routes to the gateway's own endpoints.
    ///
    /// Without an issuer there are no tokens, so their endpoints are not found.
    pub fn routes(&self) -> Vec<Route> {
        let tokens = self.issuer.is_some();
        let local = self.endpoints.iter();
        let local = local.filter(|endpoint| tokens || !endpoint.of_tokens);
        let drafts = drafts(self).into_iter();
        local
            .map(|endpoint| local_route(endpoint))
            .chain(drafts.filter_map(|draft| draft.route.ok()))
            .collect()
    }

    /// The catalogue of scopes. A loaded configuration has no more than fit a set.
    pub fn known_scopes(&self) -> Option<ScopeSet> {
        self.scopes
            .and_then(|scopes| ScopeSet::new(scopes.iter().cloned()).ok())
    }

    pub fn domain_upstreams(&self) -> HashMap<Name, Arc<Upstream>> {
        let upstreams = self.upstreams.iter();
        upstreams
            .map(|(name, written)| (name.clone(), Arc::new(upstream(name, written))))
            .collect()
    }

    /// Names that a server certificate of our own has to have: exact hosts and wildcards.
    pub fn server_names(&self) -> Vec<String> {
        certified(self.hosts.keys())
    }

    /// Further names that it has to have, as the operator lists them.
    pub fn own_names(&self) -> Vec<String> {
        certified(self.tls.own_names.iter())
    }

    pub fn tls_policies(&self) -> TlsPolicies {
        let of = |asked: ClientAuth| asked.policy(self.tls.min_version);
        let general = of(self.tls.client_auth);
        let mut policies = BTreeSet::from([general]);
        let mut by_host = HashMap::default();
        for (name, host) in self.hosts {
            let HostPattern::Exact(name) = &name.0 else {
                continue;
            };
            let wanted = of(self.client_auth(host));
            if wanted != general {
                policies.insert(wanted);
                by_host.insert(name.clone(), wanted);
            }
        }
        TlsPolicies {
            policies,
            hosts: HostPolicies { general, by_host },
        }
    }

    /// The policy for client certificates of a host. `reject` has no effect when no certificate is requested.
    pub(super) fn client_auth(&self, host: &Host) -> ClientAuth {
        let common = self.tls.client_auth;
        let mode = host.client_auth.mode.unwrap_or(common.mode);
        let reject = host.client_auth.reject.unwrap_or(common.reject);
        if mode == ClientAuthMode::Off && common.mode == ClientAuthMode::Off {
            common
        } else {
            ClientAuth { mode, reject }
        }
    }
}

/// Hosts as certificates name them. Any host has no name.
fn certified<'h>(hosts: impl Iterator<Item = &'h HostName>) -> Vec<String> {
    hosts
        .filter(|host| host.0 != HostPattern::Any)
        .map(|host| host.to_string().trim_matches(['[', ']']).to_owned())
        .collect()
}

/// A route as it came out, and where it was written.
#[derive(Debug)]
pub(super) struct Draft<'c> {
    pub path: YamlPath,
    pub host: &'c Host,
    pub written: &'c hosts::Route,
    pub requirement: Requirement,
    pub route: Result<Route, RouteFault>,
}

/// The error of a route that is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RouteFault {
    #[error("a route matches either a path or a prefix, not both")]
    Both,
    #[error("a route matches a path or a prefix; prefix: / takes everything")]
    Neither,
    #[error(transparent)]
    Path(InvalidPattern),
    #[error(transparent)]
    Prefix(InvalidPattern),
    #[error(transparent)]
    Scopes(InvalidScope),
}

/// Every written route.
pub(super) fn drafts<'c>(config: &Replaceable<'c>) -> Vec<Draft<'c>> {
    let mut names = Names::of(config);
    let mut drafts = Vec::new();
    for (name, host) in config.hosts {
        let routes = YamlPath::root().key("hosts").key(name).key("routes");
        let common = config.identity_headers.with(&host.identity_headers);
        for (index, written) in host.routes.iter().enumerate() {
            let requirement = written.require.unwrap_or(host.require);
            let headers = common.with(&written.identity_headers);
            drafts.push(Draft {
                path: routes.index(index),
                host,
                written,
                requirement,
                route: route(
                    &name.0,
                    written,
                    requirement,
                    host.header_names,
                    &headers,
                    &mut names,
                ),
            });
        }
    }
    drafts
}

fn route(
    host: &HostPattern,
    written: &hosts::Route,
    requirement: Requirement,
    header_names: hosts::HeaderNames,
    headers: &WrittenHeaders,
    names: &mut Names,
) -> Result<Route, RouteFault> {
    let path = match (&written.matches.path, &written.matches.prefix) {
        (Some(path), None) => PathPattern::exact(path).map_err(RouteFault::Path)?,
        (None, Some(prefix)) => PathPattern::prefix(prefix).map_err(RouteFault::Prefix)?,
        (Some(_), Some(_)) => return Err(RouteFault::Both),
        (None, None) => return Err(RouteFault::Neither),
    };
    let scopes = ScopeSet::new(written.scopes.iter().cloned()).map_err(RouteFault::Scopes)?;
    let methods = written.matches.methods.iter();
    let methods: Vec<http::Method> = methods.map(|method| method.0.clone()).collect();
    let name = names.route(written.name.as_ref(), host, &path, &methods);
    let limits = written.limit.iter().chain(&written.limits);
    let limits = limits.map(|limit| names.limit(limit, &name)).collect();
    // Whoever requires nothing knows nobody.
    let headers = match requirement {
        Requirement::None => IdentityHeaders::default(),
        _ => headers.plan(&name),
    };
    Ok(Route {
        name,
        host: host.clone(),
        path,
        methods,
        policy: Policy {
            accept: written.accepted(),
            issuers: written.issuers(),
            environments: written.taken_environments(),
            ..Policy::new(requirement, scopes)
        },
        limits,
        target: Target::Upstream(written.upstream.clone()),
        body_max: written.body_max.map(super::size::Size::get),
        body_times: written.timeouts.get(),
        ambiguous_paths: written.ambiguous_paths.0,
        keep_credential: written.keep_credential,
        identity_headers: names.headers(headers),
        upgrades: written.upgrades.0.clone(),
        header_names: header_names.into(),
    })
}

fn local_route(endpoint: &'static LocalEndpoint) -> Route {
    let limits = endpoint.limits.iter().map(|limit| {
        let name = limit.name.parse().expect("our own limits have names");
        Arc::new(Limit::new(name, limit.per, limit.rate))
    });
    Route {
        name: endpoint.name.into(),
        host: HostPattern::Any,
        path: PathPattern::exact(endpoint.path).expect("our own paths are patterns"),
        methods: endpoint.methods.to_vec(),
        // Our own endpoints are for every caller that proves what they require.
        policy: Policy {
            accept: AcceptedKinds::ALL,
            environments: Environments::ALL,
            ..Policy::new(endpoint.requirement, ScopeSet::default())
        },
        limits: limits.collect(),
        target: Target::Local(endpoint),
        body_max: Some(endpoint.body_max),
        body_times: BodyTimes::default(),
        ambiguous_paths: crate::domain::oddity::Oddities::NONE,
        keep_credential: false,
        identity_headers: Arc::default(),
        upgrades: Upgrades::default(),
        header_names: HeaderNames::default(),
    }
}

/// Names in use, so that no two routes have the same name and limits with one name are one limit.
struct Names {
    routes: HashSet<Arc<str>>,
    limits: HashMap<Name, Arc<Limit>>,
    /// Names that the operator gave to limits; generated names differ from them.
    given: HashSet<Name>,
    /// The next number for each generated name, so that many similar names cost no more than few.
    numbers: HashMap<String, u32>,
    /// The sets of identity headers, each shared by all routes that have it: a connection keeps its formatted headers
    /// when it calls another of these routes.
    headers: HashSet<Arc<IdentityHeaders>>,
}

impl Names {
    fn of(config: &Replaceable<'_>) -> Self {
        let routes = config.hosts.values().flat_map(|host| &host.routes);
        let limits = routes.flat_map(|route| route.limit.iter().chain(&route.limits));
        Self {
            routes: HashSet::new(),
            limits: HashMap::default(),
            numbers: HashMap::default(),
            headers: HashSet::new(),
            given: limits.filter_map(|limit| limit.name.clone()).collect(),
        }
    }

    /// A generated name: `api.example.com/v1/orders`, with the methods before it if that alone is in use. Names that
    /// operators give have no slash.
    fn route(
        &mut self,
        given: Option<&Name>,
        host: &HostPattern,
        path: &PathPattern,
        methods: &[http::Method],
    ) -> Arc<str> {
        let plain = given.map_or_else(|| format!("{host}{path}"), Name::to_string);
        let methods: Vec<&str> = methods.iter().map(http::Method::as_str).collect();
        let full = format!("{} {host}{path}", methods.join(","));
        let free = |name: &String| !self.routes.contains(name.as_str());
        let found = [plain.clone(), full].into_iter().find(free);
        let name = found.unwrap_or_else(|| {
            let number = self.numbers.entry(plain.clone()).or_insert(1);
            *number += 1;
            format!("{plain}#{number}")
        });
        let name: Arc<str> = name.into();
        self.routes.insert(Arc::clone(&name));
        name
    }

    fn headers(&mut self, headers: IdentityHeaders) -> Arc<IdentityHeaders> {
        if let Some(known) = self.headers.get(&headers) {
            return Arc::clone(known);
        }
        let headers = Arc::new(headers);
        self.headers.insert(Arc::clone(&headers));
        headers
    }

    /// The limit, shared by all routes that name it; an unnamed one belongs to its route.
    fn limit(&mut self, written: &WrittenLimit, route: &str) -> Arc<Limit> {
        let name = match &written.name {
            Some(name) => name.clone(),
            None => self.limit_name(route, hosts::Per::as_str(written.per)),
        };
        let limit = self
            .limits
            .entry(name.clone())
            .or_insert_with(|| Arc::new(Limit::new(name, written.per.into(), measure(written))));
        Arc::clone(limit)
    }

    /// A generated name: `api.example.com-v1-orders-app`, cut at the front, where routes differ least.
    fn limit_name(&mut self, route: &str, per: &str) -> Name {
        let plain = |character: char| match character {
            'a'..='z' | '0'..='9' | '.' | '_' => character,
            'A'..='Z' => character.to_ascii_lowercase(),
            _ => '-',
        };
        let slug: Vec<char> = route.chars().map(plain).collect();
        let tail: String = slug.iter().rev().take(NAME_CHARS_MAX).collect();
        let first = self.numbers.entry(format!("{tail} {per}")).or_insert(1);
        let numbered = |number: u32| {
            let end = match number {
                1 => format!("-{per}"),
                number => format!("-{per}-{number}"),
            };
            let room = NAME_CHARS_MAX.saturating_sub(end.len());
            let kept: String = slug.iter().skip(slug.len().saturating_sub(room)).collect();
            let kept = kept.trim_matches(['-', '.', '_']);
            let name = format!("{kept}{end}").trim_start_matches('-').parse();
            name.ok().map(|name: Name| (number, name))
        };
        let (number, name) = (*first..=u32::MAX)
            .filter_map(numbered)
            .find(|(_, name)| !self.limits.contains_key(name) && !self.given.contains(name))
            .expect("some number is free");
        *first = number;
        name
    }
}

/// The measure of a limit. A loaded configuration has one; without any, nothing is allowed.
fn measure(written: &WrittenLimit) -> Measure {
    match (&written.rate, &written.quota) {
        (Some(rate), _) => Measure::Rate(Rate {
            count: rate.count,
            period: rate.period.get(),
            burst: written.burst.unwrap_or(rate.count),
        }),
        (None, Some(quota)) => Measure::Quota(quota.0),
        (None, None) => Measure::Quota(Quota {
            count: 0,
            window: Window::Day,
        }),
    }
}

fn upstream(name: &Name, written: &upstreams::Upstream) -> Upstream {
    let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    let pool = &written.pool;
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
            connections_max: count(pool.connections_max),
            queue_max: count(pool.queue_max),
            queue_timeout: pool.queue_timeout.get(),
            idle_max: count(pool.idle_max),
            idle_timeout: pool.idle_timeout.get(),
            age_max: pool.age_max.get(),
        },
        http: AnswerBounds {
            header_bytes_max: usize::try_from(written.http.header_bytes_max.get())
                .unwrap_or(usize::MAX),
            headers_max: usize::from(written.http.headers_max),
        },
        tcp: Tcp::from(&written.tcp),
        server_name: written.tls.server_name.clone(),
        tls_generation: tls_generation(&written.tls),
    }
}

/// A digest of everything that TLS to an upstream depends on; it guards no secret, it only has to change.
fn tls_generation(tls: &upstreams::UpstreamTls) -> u64 {
    let mut hasher = DefaultHasher::new();
    tls.ca
        .as_ref()
        .and_then(|file| file.fetched())
        .hash(&mut hasher);
    tls.client_cert
        .as_ref()
        .and_then(|file| file.fetched())
        .hash(&mut hasher);
    let key = tls.client_key.as_ref().and_then(|key| key.fetched());
    key.map(Secret::expose).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::{Layers, load_text};
    use crate::config::root::Config;
    use crate::domain::limit::Per;
    use crate::domain::local::LocalLimit;
    use std::path::Path;

    static OPEN: LocalEndpoint = LocalEndpoint {
        name: "gate.open",
        path: "/.well-known/open",
        methods: &[http::Method::GET],
        requirement: Requirement::None,
        limits: &[],
        body_max: 0,
        open_to_quarantined: true,
        checks_secrets: false,
        of_tokens: false,
    };

    static OF_TOKENS: LocalEndpoint = LocalEndpoint {
        name: "gate.token",
        path: "/token",
        methods: &[http::Method::POST],
        requirement: Requirement::Mtls,
        limits: &[LocalLimit {
            name: "gate.token",
            per: Per::Address,
            rate: Rate {
                count: 1,
                period: std::time::Duration::from_secs(1),
                burst: 1,
            },
        }],
        body_max: 7,
        open_to_quarantined: false,
        checks_secrets: true,
        of_tokens: true,
    };

    fn config(hosts: &str) -> Config {
        let text = format!(
            "version: 1\nhosts:\n{hosts}upstreams: {{up: {{endpoints: [\"http://127.0.0.1:1\"]}}}}\ntokens: {{issuer: \"https://a.test\"}}\n"
        );
        let layers = Layers {
            endpoints: vec![&OPEN, &OF_TOKENS],
            ..Layers::default()
        };
        load_text(&text, Path::new("c.yaml"), &layers)
            .unwrap_or_else(|problems| panic!("{problems}"))
    }

    #[test]
    fn routes_take_what_the_host_says_and_get_names() {
        let config = config(concat!(
            "  a.test:\n    require: key\n    routes:\n",
            "    - {match: {path: /x, methods: [GET]}, upstream: up}\n",
            "    - {match: {path: /x, methods: [PUT, POST]}, upstream: up, require: mtls_and_token, scopes: [x:w]}\n",
            "    - {name: rest, match: {prefix: /}, upstream: up, body_max: 1KiB, upgrades: true}\n",
        ));
        let routes = config.replaceable().routes();
        let ours: Vec<_> = routes
            .iter()
            .filter(|route| matches!(route.target, Target::Upstream(_)))
            .map(|route| (&*route.name, route.policy.requirement, route.body_max))
            .collect();
        assert_eq!(
            ours,
            [
                ("a.test/x", Requirement::Key, None),
                ("PUT,POST a.test/x", Requirement::MtlsAndToken, None),
                ("rest", Requirement::Key, Some(1024)),
            ]
        );
        let catalog = config.replaceable().catalog(7).unwrap();
        assert_eq!(
            (catalog.generation, &*catalog.issuer),
            (7, "https://a.test")
        );
        assert_eq!(catalog.routes.routes().len(), 3 + 2);
        let mut local = catalog.routes.routes().iter();
        let local = local.find(|route| &*route.name == "gate.token").unwrap();
        assert_eq!(local.policy.requirement, Requirement::Mtls);
        assert_eq!(
            (local.body_max, &*local.methods),
            (Some(7), OF_TOKENS.methods)
        );
        assert_eq!(local.limits[0].name().as_str(), "gate.token");
    }

    #[test]
    fn without_an_issuer_nothing_is_said_of_tokens() {
        let config = Config {
            endpoints: vec![&OPEN, &OF_TOKENS],
            ..Config::default()
        };
        let names: Vec<_> = config
            .replaceable()
            .routes()
            .iter()
            .map(|route| route.name.to_string())
            .collect();
        assert_eq!(names, ["gate.open"]);
    }

    #[test]
    fn limits_are_named_and_shared_by_name() {
        let config = config(concat!(
            "  a.test:\n    require: key\n    routes:\n",
            "    - {match: {path: /x}, upstream: up, limit: {per: app, rate: 10/s}}\n",
            "    - {match: {path: /y}, upstream: up, limits: [{per: app, rate: 9/s, burst: 3}, {per: app, rate: 1/m}]}\n",
            "    - {match: {path: /z}, upstream: up, limit: {name: all, per: key, rate: 1/s}}\n",
            "    - {match: {path: /0}, upstream: up, limit: {name: all, per: key, rate: 1/s}}\n",
            "    - {match: {path: /a-very-long-path-to-something-else}, upstream: up, limit: {per: address, rate: 1/s}}\n",
        ));
        let routes = config.replaceable().routes();
        let ours = routes
            .iter()
            .filter(|route| matches!(route.target, Target::Upstream(_)));
        let limits: Vec<_> = ours.flat_map(|route| &route.limits).collect();
        let named: Vec<_> = limits
            .iter()
            .map(|limit| {
                let crate::domain::limit::Meter::Rate(allowance) = *limit.meter() else {
                    panic!("{limit:?}")
                };
                let burst = allowance.window / allowance.interval;
                (limit.name().as_str(), burst)
            })
            .collect();
        assert_eq!(
            named,
            [
                ("a.test-x-app", 10),
                ("a.test-y-app", 3),
                ("a.test-y-app-2", 1),
                ("all", 1),
                ("all", 1),
                ("path-to-something-else-address", 1),
            ]
        );
        assert!(Arc::ptr_eq(limits[3], limits[4]));
    }

    #[test]
    fn hosts_that_ask_differently_have_tls_policies_of_their_own() {
        let config = config(concat!(
            "  a.test: {client_auth: {mode: required}}\n",
            "  b.test: {client_auth: {mode: optional}}\n",
            "  c.test: {client_auth: {mode: required}}\n",
            "  \"[::1]\": {client_auth: {reject: alert}}\n",
            "  \"*.d.test\": {}\n  \"*\": {}\n",
        ));
        let TlsPolicies { policies, hosts } = config.replaceable().tls_policies();
        assert_eq!(policies.len(), 3);
        let policy = |host: &str| hosts.by_host.get(host).copied();
        assert_eq!(policy("a.test"), policy("c.test"));
        assert_eq!(policy("b.test"), None);
        assert_eq!(
            policy("a.test").unwrap().mode(),
            crate::domain::tls_policy::ClientAuthMode::Required
        );
        assert_eq!(
            config.replaceable().server_names(),
            ["::1", "a.test", "b.test", "c.test", "*.d.test"]
        );
    }

    #[test]
    fn a_tls_policy_is_the_same_whatever_stands_beside_it() {
        let alone = config("  b.test: {client_auth: {mode: required}}\n");
        let alone = alone.replaceable().tls_policies();
        let beside = config(concat!(
            "  a.test: {client_auth: {reject: alert}}\n",
            "  b.test: {client_auth: {mode: required}}\n",
        ));
        let beside = beside.replaceable().tls_policies();
        assert_eq!(alone.hosts.of("b.test"), beside.hosts.of("b.test"));
        assert_eq!(alone.hosts.of("c.test"), beside.hosts.of("c.test"));
        let distinct: HashSet<_> = ["a.test", "b.test", "c.test"]
            .map(|host| beside.hosts.of(host))
            .into();
        assert_eq!(distinct.len(), 3);
    }
}
