//! Routes: which host, path and method lead where, and what they require.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use foldhash::{HashMap, HashSet};

use super::header_names::HeaderNames;
use super::identity_headers::IdentityHeaders;
use super::limit::Limit;
use super::local::LocalEndpoint;
use super::name::Name;
use super::oddity::{Oddities, Oddity};
use super::pace::BodyTimes;
use super::path::Path;
use super::path_survey::Readings;
use super::policy::Policy;
use super::request::RequestHead;
use super::upgrades::Upgrades;

/// A route: the treatment of requests to one host, path and set of methods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Unique in the table; names the route in logs and metrics.
    pub name: Arc<str>,
    pub host: HostPattern,
    pub path: PathPattern,
    /// Every method when empty.
    pub methods: Vec<http::Method>,
    pub policy: Policy,
    pub limits: Vec<Arc<Limit>>,
    pub target: Target,
    /// The most bytes of a request's body; no bound when absent, since bodies are streamed.
    pub body_max: Option<u64>,
    pub body_times: BodyTimes,
    /// The kinds of paths that are taken though upstreams may read them in another way.
    pub ambiguous_paths: Oddities,
    /// True if the caller's own key or token is forwarded to the upstream.
    pub keep_credential: bool,
    /// The optional identity headers for the upstream.
    pub identity_headers: Arc<IdentityHeaders>,
    /// The protocols that are tunnelled when `Upgrade` or an extended CONNECT asks for one.
    pub upgrades: Upgrades,
    /// The treatment of field names with odd characters.
    pub header_names: HeaderNames,
}

/// The target of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An endpoint that the gateway answers itself.
    Local(&'static LocalEndpoint),
    /// An upstream by its name; the catalogue that holds the route holds the upstream too.
    Upstream(Name),
}

/// One host name, all names one label below a domain, or any host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// `*`
    Any,
    /// `api.example.com`
    Exact(String),
    /// `*.example.com`, kept without `*.`
    Below(String),
}

/// A text that is not a pattern of hosts or paths.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    #[error("a host is a name like api.example.com, *.example.com, or * for any")]
    Host,
    #[error(
        "a path begins with '/' and has no query, no empty or dot segments and no percent-encoded letters"
    )]
    Path,
    #[error("a {{parameter}} fills a whole segment and is named by letters, digits and '_'")]
    Parameter,
}

impl std::str::FromStr for HostPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = |text: &str| match super::request::normal_host(text) {
            Some(host) if host == text && !text.contains(':') => Ok(text.to_owned()),
            _ => Err(InvalidPattern::Host),
        };
        match text.strip_prefix("*.") {
            Some(domain) => name(domain).map(Self::Below),
            None if text == "*" => Ok(Self::Any),
            None if text.starts_with('[') => match super::request::normal_host(text) {
                Some(host) if host == text => Ok(Self::Exact(text.to_owned())),
                _ => Err(InvalidPattern::Host),
            },
            None => name(text).map(Self::Exact),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(host) => f.write_str(host),
            Self::Below(domain) => write!(f, "*.{domain}"),
        }
    }
}

/// A whole path with `{parameter}` segments, or the beginning of one at a segment's end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern {
    segments: Vec<Segment>,
    prefix: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Segment {
    Literal(Box<str>),
    /// Any one segment that is not empty.
    Parameter(Box<str>),
}

impl PathPattern {
    /// Matches this path and no other; `{name}` stands for any one segment.
    pub fn exact(text: &str) -> Result<Self, InvalidPattern> {
        Self::read(text, false)
    }

    /// Matches this path and everything below it: `/v1` takes `/v1` and `/v1/x`, not `/v10`.
    pub fn prefix(text: &str) -> Result<Self, InvalidPattern> {
        Self::read(text, true)
    }

    /// The number of segments.
    fn depth(&self) -> i32 {
        i32::try_from(self.segments.len()).unwrap_or(i32::MAX)
    }

    fn read(text: &str, prefix: bool) -> Result<Self, InvalidPattern> {
        let literal = text.replace(['{', '}'], "_");
        let path = Path::read(&literal).ok().ok_or(InvalidPattern::Path)?;
        let one_reading = path
            .readings()
            .is_none_or(|readings| readings.oddities.is_empty());
        if path.as_str() != literal || !one_reading {
            return Err(InvalidPattern::Path);
        }
        let mut segments = split(text)
            .map(Segment::read)
            .collect::<Result<Vec<_>, _>>()?;
        let ends_open = matches!(segments.last(), Some(Segment::Literal(last)) if last.is_empty());
        if prefix && ends_open {
            segments.pop();
        }
        Ok(Self { segments, prefix })
    }
}

impl Segment {
    fn read(text: &str) -> Result<Self, InvalidPattern> {
        let name = text
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        match name {
            Some(name)
                if !name.is_empty()
                    && name
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') =>
            {
                Ok(Self::Parameter(name.into()))
            }
            None if !text.contains(['{', '}']) => Ok(Self::Literal(text.into())),
            _ => Err(InvalidPattern::Parameter),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Literal(text) => write!(f, "/{text}")?,
                Segment::Parameter(name) => write!(f, "/{{{name}}}")?,
            }
        }
        if self.prefix {
            f.write_str("/*")
        } else {
            Ok(())
        }
    }
}

/// The segments of a path that begins with `/`.
fn split(path: &str) -> std::str::Split<'_, char> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

/// The reason that no route was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// Nothing at this host and path.
    Unknown,
    /// Routes at this host and path take these methods only.
    Method(Vec<http::Method>),
    /// The path is of a kind that no route takes which fits; with its place in the path.
    Ambiguous(Oddity, Range<usize>),
    /// The route that fits takes paths like this one, but some upstreams read this one as another route's.
    Elsewhere,
}

/// All routes, found in a time that depends on the length of the path and not on their number.
///
/// The most specific path wins: an exact host before `*.domain` before `*`; then, segment by segment from
/// the left, a literal before a `{parameter}` before a prefix that ends there. Only then is the method looked at,
/// among the routes of that one path: what they do not take is taken by no less specific one, which may ask for less.
#[derive(Debug, Default)]
pub struct RouteTable {
    routes: Vec<Arc<Route>>,
    exact: HashMap<String, Node>,
    below: HashMap<String, Node>,
    any: Node,
    local: Node,
    /// The names of all limits of all routes.
    limits: HashSet<Name>,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, Self>,
    parameter: Option<Box<Self>>,
    /// Routes whose path ends here.
    ends: Vec<Arc<Route>>,
    /// Routes whose prefix ends here.
    prefixes: Vec<Arc<Route>>,
}

/// Two routes that no request can tell apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("routes {first} and {second} match the same requests")]
pub struct Ambiguity {
    pub first: Arc<str>,
    pub second: Arc<str>,
}

impl RouteTable {
    /// True if a route has a limit of this name.
    pub fn has_limit(&self, name: &Name) -> bool {
        self.limits.contains(name)
    }

    /// The limits of all routes; one that routes share comes for each of them.
    pub fn limits(&self) -> impl Iterator<Item = &Arc<Limit>> {
        self.routes.iter().flat_map(|route| &route.limits)
    }

    /// Builds the table; routes to [`Target::Local`] are found at every host, before all others.
    pub fn new(routes: Vec<Route>) -> Result<Self, Ambiguity> {
        let limits = routes.iter().flat_map(|route| &route.limits);
        let limits = limits.map(|limit| limit.name().clone()).collect();
        let mut table = Self {
            limits,
            routes: routes.into_iter().map(Arc::new).collect(),
            ..Self::default()
        };
        for route in table.routes.clone() {
            let host = match (&route.target, &route.host) {
                (Target::Local(_), _) => &mut table.local,
                (_, HostPattern::Any) => &mut table.any,
                (_, HostPattern::Exact(name)) => table.exact.entry(name.clone()).or_default(),
                (_, HostPattern::Below(domain)) => table.below.entry(domain.clone()).or_default(),
            };
            host.insert(route)?;
        }
        Ok(table)
    }

    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// Finds the route of a request.
    pub fn find(&self, head: &RequestHead<'_>) -> Result<&Arc<Route>, Miss> {
        let found = self.find_as(head.host, head.path.as_str(), head.method);
        match head.path.readings() {
            None => found,
            Some(readings) => self.sound(found, readings, head),
        }
    }

    fn find_as(&self, host: &str, path: &str, method: &http::Method) -> Result<&Arc<Route>, Miss> {
        let segments = split(path);
        let hosts = [Some(&self.local), self.host(host)];
        let peers = hosts
            .into_iter()
            .flatten()
            .find_map(|node| node.find(segments.clone()));
        let peers = peers.ok_or(Miss::Unknown)?;
        let route = peers.iter().find(|route| takes(route, method));
        route.ok_or_else(|| Miss::Method(methods(peers)))
    }

    /// The route of a path that others may read in another way: it has to take such paths, and every reading has to
    /// lead to it or to nothing. Nothing is not enough where a `..` may lead out of the route.
    fn sound<'t>(
        &'t self,
        found: Result<&'t Arc<Route>, Miss>,
        readings: &Readings,
        head: &RequestHead<'_>,
    ) -> Result<&'t Arc<Route>, Miss> {
        let allowed = found
            .as_ref()
            .map_or(Oddities::NONE, |route| route.ambiguous_paths);
        if let Some((kind, place)) = readings.first_beyond(allowed) {
            return Err(Miss::Ambiguous(kind, place));
        }
        let route = found?;
        let goes_up = readings.oddities.contains(Oddity::DotSegments);
        let leads_here = |reading: &String| match self.find_as(head.host, reading, head.method) {
            Ok(other) => Arc::ptr_eq(other, route),
            Err(Miss::Unknown) => !goes_up,
            Err(_) => false,
        };
        if readings.floor < route.path.depth() || !readings.others.iter().all(leads_here) {
            return Err(Miss::Elsewhere);
        }
        Ok(route)
    }

    /// True if a route serves any host.
    pub fn serves_any_host(&self) -> bool {
        !self.any.is_empty()
    }

    fn host(&self, host: &str) -> Option<&Node> {
        let below = || {
            host.split_once('.')
                .and_then(|(_, domain)| self.below.get(domain))
        };
        self.exact.get(host).or_else(below).or(Some(&self.any))
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        self.ends.is_empty()
            && self.prefixes.is_empty()
            && self.literals.is_empty()
            && self.parameter.is_none()
    }

    fn insert(&mut self, route: Arc<Route>) -> Result<(), Ambiguity> {
        let mut node = self;
        for segment in &route.path.segments {
            node = match segment {
                Segment::Literal(text) => node.literals.entry(text.clone()).or_default(),
                Segment::Parameter(_) => node.parameter.get_or_insert_with(Box::default),
            };
        }
        let peers = if route.path.prefix {
            &mut node.prefixes
        } else {
            &mut node.ends
        };
        if let Some(twin) = peers
            .iter()
            .find(|peer| overlap(&peer.methods, &route.methods))
        {
            return Err(Ambiguity {
                first: Arc::clone(&twin.name),
                second: Arc::clone(&route.name),
            });
        }
        // Routes that name their methods come before one that takes every method.
        let place = if route.methods.is_empty() {
            peers.len()
        } else {
            0
        };
        peers.insert(place, route);
        Ok(())
    }

    /// The routes of the most specific path that fits; at least one.
    fn find(&self, mut rest: std::str::Split<'_, char>) -> Option<&[Arc<Route>]> {
        let Some(segment) = rest.next() else {
            return some(&self.ends).or_else(|| some(&self.prefixes));
        };
        let literal = self.literals.get(segment);
        let parameter = self.parameter.as_deref().filter(|_| !segment.is_empty());
        literal
            .and_then(|node| node.find(rest.clone()))
            .or_else(|| parameter.and_then(|node| node.find(rest)))
            .or_else(|| some(&self.prefixes))
    }
}

fn some(routes: &[Arc<Route>]) -> Option<&[Arc<Route>]> {
    (!routes.is_empty()).then_some(routes)
}

/// The value of `Allow` for the path of these routes.
fn methods(routes: &[Arc<Route>]) -> Vec<http::Method> {
    let named = routes.iter().flat_map(|route| match &route.methods[..] {
        [] => &USUAL[..],
        named => named,
    });
    let mut methods: Vec<_> = named.cloned().collect();
    methods.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    methods.dedup();
    methods
}

/// A route that names no methods takes every one but TRACE, whose answer repeats the request: behind a gateway, the
/// caller would read the fields that were added for the upstream alone.
fn takes(route: &Route, method: &http::Method) -> bool {
    route.methods.contains(method) || (route.methods.is_empty() && *method != http::Method::TRACE)
}

/// The value of `Allow` for a route that takes every method.
const USUAL: [http::Method; 7] = [
    http::Method::DELETE,
    http::Method::GET,
    http::Method::HEAD,
    http::Method::OPTIONS,
    http::Method::PATCH,
    http::Method::POST,
    http::Method::PUT,
];

/// Sets of methods clash when they share one, or when both are open to all. A set and "every method" do not:
/// the set is the more specific.
fn overlap(one: &[http::Method], other: &[http::Method]) -> bool {
    if one.is_empty() || other.is_empty() {
        return one.is_empty() && other.is_empty();
    }
    one.iter().any(|method| other.contains(method))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::{Policy, Requirement};
    use crate::domain::scope::ScopeSet;

    fn route(name: &str, host: &str, path: PathPattern, methods: &[http::Method]) -> Route {
        Route {
            name: name.into(),
            host: host.parse().unwrap(),
            path,
            methods: methods.to_vec(),
            policy: Policy::new(Requirement::Mtls, ScopeSet::default()),
            limits: Vec::new(),
            target: Target::Upstream("up".parse().unwrap()),
            body_max: None,
            body_times: BodyTimes::default(),
            ambiguous_paths: if name.starts_with("open") {
                Oddities::ALL
            } else {
                Oddities::NONE
            },
            keep_credential: false,
            identity_headers: Arc::default(),
            upgrades: Upgrades::default(),
            header_names: HeaderNames::default(),
        }
    }

    fn exact(name: &str, host: &str, path: &str) -> Route {
        route(name, host, PathPattern::exact(path).unwrap(), &[])
    }

    fn prefix(name: &str, host: &str, path: &str) -> Route {
        route(name, host, PathPattern::prefix(path).unwrap(), &[])
    }

    #[test]
    fn trace_is_for_routes_that_name_it() {
        let path = || PathPattern::exact("/x").unwrap();
        let table = RouteTable::new(vec![
            exact("any", "a.test", "/x"),
            route("named", "b.test", path(), &[http::Method::TRACE]),
        ])
        .unwrap();
        let find = |host, method: &http::Method| {
            let path = Path::read("/x").unwrap();
            let head = RequestHead {
                host,
                path: &path,
                method,
            };
            table.find(&head).map(|route| route.name.to_string())
        };
        let trace = http::Method::TRACE;
        assert_eq!(find("a.test", &trace), Err(Miss::Method(USUAL.to_vec())));
        assert_eq!(find("b.test", &trace).as_deref(), Ok("named"));
        let made_up = http::Method::from_bytes(b"BREW").unwrap();
        assert_eq!(find("a.test", &made_up).as_deref(), Ok("any"));
    }

    fn table() -> RouteTable {
        RouteTable::new(vec![
            prefix("root", "a.test", "/"),
            prefix("v1", "a.test", "/v1/"),
            exact("orders", "a.test", "/v1/orders"),
            exact("order", "a.test", "/v1/orders/{id}"),
            exact("mine", "a.test", "/v1/orders/mine"),
            exact("items", "a.test", "/v1/orders/{id}/items"),
            exact("mine-log", "a.test", "/v1/orders/mine/log"),
            route(
                "read",
                "b.test",
                PathPattern::exact("/x").unwrap(),
                &[http::Method::GET],
            ),
            route(
                "write",
                "b.test",
                PathPattern::exact("/x").unwrap(),
                &[http::Method::PUT, http::Method::POST],
            ),
            prefix("below", "*.c.test", "/"),
            prefix("open", "d.test", "/files"),
            exact("any", "*", "/any"),
        ])
        .unwrap()
    }

    fn check(
        table: &RouteTable,
        method: &str,
        host: &str,
        path: &str,
        expected: &Result<&str, Miss>,
    ) {
        let method: http::Method = method.parse().unwrap();
        let read = Path::read(path).unwrap();
        let head = RequestHead {
            host,
            path: &read,
            method: &method,
        };
        let found = table.find(&head).map(|route| &*route.name);
        assert_eq!(&found, expected, "{method} {host} {path}");
    }

    #[test]
    fn the_most_specific_route_wins() {
        let table = table();
        for (host, path, expected) in [
            ("a.test", "/", "root"),
            ("a.test", "/v10", "root"),
            ("a.test", "/v1", "v1"),
            ("a.test", "/v1/", "v1"),
            ("a.test", "/v1/other/thing", "v1"),
            ("a.test", "/v1/orders", "orders"),
            ("a.test", "/v1/orders/7", "order"),
            ("a.test", "/v1/orders/mine", "mine"),
            ("a.test", "/v1/orders/mine/items", "items"),
            ("a.test", "/v1/orders/mine/log", "mine-log"),
            ("a.test", "/v1/orders/", "v1"),
            ("a.test", "/v1/orders/7/nothing", "v1"),
            ("x.c.test", "/deep/er", "below"),
            ("elsewhere.test", "/any", "any"),
            ("d.test", "/files/a//b", "open"),
        ] {
            check(&table, "GET", host, path, &Ok(expected));
        }
    }

    #[test]
    fn a_miss_says_why() {
        let table = table();
        let empty = Miss::Ambiguous(Oddity::EmptySegments, 2..3);
        check(&table, "GET", "a.test", "/a//b", &Err(empty));
        check(&table, "GET", "b.test", "/y", &Err(Miss::Unknown));
        check(&table, "GET", "nowhere.test", "/y", &Err(Miss::Unknown));
        check(&table, "GET", "c.test", "/", &Err(Miss::Unknown));
        check(&table, "GET", "y.x.c.test", "/", &Err(Miss::Unknown));
        let allowed = vec![http::Method::GET, http::Method::POST, http::Method::PUT];
        check(
            &table,
            "DELETE",
            "b.test",
            "/x",
            &Err(Miss::Method(allowed)),
        );
        check(&table, "PUT", "b.test", "/x", &Ok("write"));
    }

    static TOKEN: LocalEndpoint = LocalEndpoint {
        name: "token",
        path: "/oauth2/token",
        methods: &[http::Method::POST],
        requirement: Requirement::None,
        limits: &[],
        body_max: 0,
        open_to_quarantined: false,
        checks_secrets: true,
        of_tokens: true,
    };

    #[test]
    fn a_method_that_a_path_does_not_name_falls_through_to_no_other_route() {
        use http::Method;
        let path = |text| PathPattern::exact(text).unwrap();
        let token = Route {
            target: Target::Local(&TOKEN),
            ..route("token", "*", path("/oauth2/token"), &[Method::POST])
        };
        let table = RouteTable::new(vec![
            token,
            prefix("root", "a.test", "/"),
            route("get", "a.test", path("/v1/orders"), &[Method::GET]),
            route("mine", "a.test", path("/v1/orders/mine"), &[Method::GET]),
            route(
                "delete",
                "a.test",
                path("/v1/orders/{id}"),
                &[Method::DELETE],
            ),
            route("put", "a.test", path("/v1/orders/{id}"), &[Method::PUT]),
            route("post", "a.test", path("/v1/both"), &[Method::POST]),
            exact("rest", "a.test", "/v1/both"),
        ])
        .unwrap();
        let only = |methods: &[Method]| Err(Miss::Method(methods.to_vec()));
        for (method, path, expected) in [
            ("GET", "/v1/orders", Ok("get")),
            ("POST", "/v1/orders", only(&[Method::GET])),
            ("HEAD", "/v1/orders", only(&[Method::GET])),
            ("DELETE", "/v1/orders/mine", only(&[Method::GET])),
            ("DELETE", "/v1/orders/7", Ok("delete")),
            ("GET", "/v1/orders/7", only(&[Method::DELETE, Method::PUT])),
            ("GET", "/oauth2/token", only(&[Method::POST])),
            ("POST", "/v1/both", Ok("post")),
            ("PATCH", "/v1/both", Ok("rest")),
            ("POST", "/v1/orders/7/more", Ok("root")),
        ] {
            check(&table, method, "a.test", path, &expected);
        }
        // What cannot be read in one way only is refused as that, whatever its method.
        check(
            &table,
            "POST",
            "a.test",
            "/v1//orders",
            &Err(Miss::Ambiguous(Oddity::EmptySegments, 3..4)),
        );
    }

    #[test]
    fn a_path_is_taken_only_where_every_reading_of_it_leads() {
        let table = RouteTable::new(vec![
            prefix("open", "a.test", "/files"),
            exact("open-item", "a.test", "/items/{id}"),
            prefix("open-rest", "a.test", "/"),
            prefix("admin", "a.test", "/admin"),
            prefix("plain", "a.test", "/plain"),
        ])
        .unwrap();
        for (path, name) in [
            ("/files/a;v=1", "open"),
            ("/files/a%2Fb", "open"),
            ("/files/a/../b", "open"),
            ("/files/a//b/./c;d\\e", "open"),
            ("/files/a%25b%FF", "open"),
            ("/items/7;v=1", "open-item"),
            ("/plain/what%3F", "plain"),
            ("/plain/a%23b/c", "plain"),
            ("/what%3F", "open-rest"),
        ] {
            check(&table, "GET", "a.test", path, &Ok(name));
        }
        for path in [
            "/files/../admin",
            "/files/..%2fadmin",
            "/files/a/../../admin",
            "/files/x%2f../../admin",
            "/files//../admin",
            "/files/..;/admin",
            "/files/..",
            "/files/../files/a",
            "/..",
            "/admin;x=1",
            "/admin%3bx/secret",
            "/%2fadmin",
            "/;/admin",
            "//admin",
            "/admin%2fx",
            "/admin\\x",
            "/admin%23",
            "/admin%3fx/y",
            "/admin%20",
            "/admin%c2%a0/x",
            "/%252561dmin",
            "/items/a%2Fb",
        ] {
            check(&table, "GET", "a.test", path, &Err(Miss::Elsewhere));
        }
        let slashes = Err(Miss::Ambiguous(Oddity::EncodedSlashes, 8..11));
        check(&table, "GET", "a.test", "/plain/a%2Fb", &slashes);
    }

    /// Without another route, the operator can allow an encoded slash, but not a way up.
    #[test]
    fn a_reading_that_leads_nowhere_is_no_other_route() {
        let table = RouteTable::new(vec![exact("open", "a.test", "/items/{id}")]).unwrap();
        check(&table, "GET", "a.test", "/items/a%2Fb", &Ok("open"));
        for path in ["/items/..", "/items/..%2f..%2fb"] {
            check(&table, "GET", "a.test", path, &Err(Miss::Elsewhere));
        }
    }

    #[test]
    fn routes_that_cannot_be_told_apart_are_refused() {
        let twins = vec![
            exact("one", "a.test", "/x/{a}"),
            exact("two", "a.test", "/x/{b}"),
        ];
        let ambiguity = RouteTable::new(twins).unwrap_err();
        assert_eq!(
            ambiguity.to_string(),
            "routes one and two match the same requests"
        );
    }

    #[test]
    fn patterns_are_checked_as_they_are_read() {
        for bad in [
            "", "x", "/a//b", "/a/../b", "/%61", "/a?b", "/a b", "/{a", "/a{b}", "/{}", "/{a-b}",
        ] {
            assert!(PathPattern::exact(bad).is_err(), "{bad}");
        }
        for bad in [
            "",
            "a b",
            "*.",
            "*.*.test",
            "a.test:80",
            "A.test",
            "a/b",
            "**",
        ] {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad}");
        }
        for good in ["*", "a.test", "*.a.test", "localhost", "127.0.0.1", "[::1]"] {
            assert_eq!(good.parse::<HostPattern>().unwrap().to_string(), good);
        }
    }
}
