//! Refused configurations, as an operator sees them.

use std::path::Path;

use proptest::prelude::*;

use super::document::{Value as Node, parse};
use super::load::{Layers, load, load_text};
use super::problem::Problems;
use super::root::Config;
use crate::domain::local::{LocalEndpoint, SMALL_BODY};
use crate::domain::policy::Requirement;

const UPSTREAMS: &str = "upstreams: {orders: {endpoints: [\"http://127.0.0.1:9001\"]}}\n";

fn load_with(
    text: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Config, Problems> {
    let own = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    // What every configuration says, where the case is about something else.
    let always = [("version", "1"), ("hosts", "{z.test: {}}")];
    let says = |key: &str| {
        text.lines()
            .any(|line| line.starts_with(&format!("{key}:")))
    };
    let takes_keys =
        parse(text, 0).is_ok_and(|root| matches!(root.value, Node::Mapping(_) | Node::Null));
    let missing = always.iter().filter(|(key, _)| takes_keys && !says(key));
    let missing: Vec<_> = missing.copied().collect();
    let layers = Layers {
        environment: own(environment),
        flags: own(&[flags, &missing].concat()),
        endpoints: vec![&TOKEN],
    };
    load_text(text, Path::new("/nowhere/c.yaml"), &layers)
}

/// An endpoint of the gateway's own.
static TOKEN: LocalEndpoint = LocalEndpoint {
    name: "countersign.token",
    path: "/oauth2/token",
    methods: &[http::Method::POST],
    requirement: Requirement::None,
    limits: &[],
    body_max: SMALL_BODY,
    open_to_quarantined: false,
    checks_secrets: true,
    of_tokens: true,
};

/// Every problem as `line:column path: message [suggestion]`.
fn problems(text: &str) -> Vec<String> {
    let Err(problems) = load_with(text, &[], &[]) else {
        return Vec::new();
    };
    let line = |problem: &super::problem::Problem| {
        let suggestion = problem.suggestion.as_ref().map(|text| format!(" [{text}]"));
        format!(
            "{}:{} {}: {}{}",
            problem.line.unwrap_or(0),
            problem.column.unwrap_or(0),
            problem.path,
            problem.message,
            suggestion.unwrap_or_default()
        )
    };
    problems.0.iter().map(line).collect()
}

/// One problem, at this place and with these words in it.
fn check(text: &str, place: &str, words: &str) {
    let found = problems(text);
    let one =
        found.len() == 1 && found[0].starts_with(&format!("{place}: ")) && found[0].contains(words);
    assert!(one, "{text}\nwanted {place}: …{words}…\nfound {found:#?}");
}

/// A route of `a.test`, with the rest of the document behind it.
fn check_route(route: &str, rest: &str, place: &str, words: &str) {
    let text = format!("hosts: {{a.test: {{routes: [\n{{{route}}}\n]}}}}\n{UPSTREAMS}{rest}");
    check(&text, place, words);
}

#[test]
fn a_file_that_says_nothing_is_no_configuration() {
    let path = Path::new("/nowhere/c.yaml");
    for (text, missing) in [
        ("", &["version", "hosts"][..]),
        ("# nothing\n", &["version", "hosts"]),
        ("{}\n", &["version", "hosts"]),
        ("null\n", &["version", "hosts"]),
        ("hosts:\nupstreams:\nlog:\n", &["version", "hosts"]),
        ("version:\nhosts: {a.test: {}}\n", &["version"]),
        ("hosts: {a.test: {}}\n", &["version"]),
        ("version: 1\n", &["hosts"]),
        ("version: 1\nhosts: {}\n", &["hosts"]),
    ] {
        let refused = load_text(text, path, &Layers::default()).unwrap_err();
        let found: Vec<_> = refused.0.iter().map(|problem| &*problem.path).collect();
        assert!(
            missing.iter().all(|path| found.contains(path)),
            "{text}: {found:?}"
        );
        assert_eq!(found.len(), missing.len(), "{text}: {found:?}");
    }
    let text = "version: 1\nhosts: {a.test: {}}\nupstreams:\nlog:\n";
    let config = load_text(text, path, &Layers::default()).unwrap();
    assert_eq!(config.directory, Path::new("/nowhere"));
    let store = Path::new("/var/lib/countersign/countersign.db");
    assert_eq!(config.store_path(), store);
}

#[test]
fn paths_begin_at_the_files_directory() {
    let text = "data_directory: data\nauthority: {directory: ca}\nstore: {url: \"sqlite://x/c.db\"}\naccess_log: {path: a.log}\n";
    let config = load_with(text, &[], &[]).unwrap();
    assert_eq!(config.admin_socket(), Path::new("/nowhere/data/admin.sock"));
    assert_eq!(config.authority_directory(), Path::new("/nowhere/ca"));
    assert_eq!(config.store_path(), Path::new("/nowhere/x/c.db"));
    assert_eq!(
        config.token_signing_key(),
        Path::new("/nowhere/data/token-signing.pem")
    );
    assert_eq!(
        config.access_log_path().as_deref(),
        Some(Path::new("/nowhere/a.log"))
    );
}

#[test]
fn values_are_of_their_kind() {
    for (text, place, words) in [
        ("version: 2\n", "1:10 version", "the only version"),
        ("workers: 0\n", "1:10 workers", "whole number"),
        ("workers: [1]\n", "1:1 workers", "found a list"),
        ("workers: +1\n", "1:10 workers", "a whole number"),
        ("workers: 70000\n", "1:10 workers", "from 0 to 65535"),
        (
            "access_log: {enabled: yes}\n",
            "1:23 access_log.enabled",
            "true or false",
        ),
        (
            "access_log: {enabled: \"true\"}\n",
            "1:23 access_log.enabled",
            "true or false",
        ),
        (
            "access_log: true\n",
            "1:13 access_log",
            "expected keys and values, found a text",
        ),
        (
            "log: {level: inof}\n",
            "1:14 log.level",
            "[did you mean info?]",
        ),
        ("log: {level: }\n", "1:7 log.level", "found nothing"),
        ("drain: {timeout: 30}\n", "1:18 drain.timeout", "like 30s"),
        (
            "tls: {min_version: 1.1}\n",
            "1:20 tls.min_version",
            "one of 1.2, 1.3",
        ),
        (
            "tls: {certificates: x}\n",
            "1:21 tls.certificates",
            "expected a list",
        ),
        (
            "authority: {profile: {keys: [p256, p521]}}\n",
            "1:36 authority.profile.keys[1]",
            "p384",
        ),
        (
            "listeners: {partners: {address: nowhere}}\n",
            "1:33 listeners.partners.address",
            ":8443",
        ),
        (
            "listeners: {partners: {proxy_protocol: {trusted: [10.0.0.0/33]}}}\n",
            "1:51 listeners.partners.proxy_protocol.trusted[0]",
            "invalid",
        ),
        (
            "store: {url: \"postgres://x/y\"}\n",
            "1:14 store.url",
            "SQLite",
        ),
        ("[]\n", "1:1 ", "expected keys and values, found a list"),
        ("hello\n", "1:1 ", "expected keys and values, found a text"),
        (
            "upstreams: {Orders: {endpoints: [\"http://x\"]}}\n",
            "1:13 upstreams.Orders",
            "a name has",
        ),
        (
            "upstreams: {x: {}}\n",
            "1:13 upstreams.x",
            "endpoints is missing",
        ),
        (
            "upstreams: {x: {endpoints: [\"http://x/y\"]}}\n",
            "1:29 upstreams.x.endpoints[0]",
            "no user, path",
        ),
        (
            "hosts: {A.test: {}}\n",
            "1:9 hosts.A.test",
            "lower case, without port and trailing dot: a.test",
        ),
        (
            "hosts: {\"a b\": {}}\n",
            "1:9 hosts.a b",
            "a host is a name",
        ),
    ] {
        check(text, place, words);
    }
}

#[test]
fn unknown_keys_are_told_with_the_nearest_known_one() {
    for (text, place, words) in [
        (
            "listener: {}\n",
            "1:1 listener",
            "there is no such key [did you mean listeners?]",
        ),
        (
            "tls:\n  client_auth:\n    mod: off\n",
            "3:5 tls.client_auth.mod",
            "[did you mean mode?]",
        ),
        (
            "drain: {colour: red}\n",
            "1:9 drain.colour",
            "[known: delay, timeout]",
        ),
        (
            "<<: {log: {level: info}}\n",
            "1:1 <<",
            "there is no such key",
        ),
    ] {
        check(text, place, words);
    }
}

#[test]
fn every_problem_is_told_at_once_in_the_order_of_the_document() {
    let text = "\
version: 3
listner: {}
tls:
  min_version: 1.0
  client_auth: { mode: maybe }
hosts:
  a.test:
    routes:
      - match: { path: /x, methods: [get] }
        upstream: ordres
  b.test:
    require: everything
upstreams:
  orders:
    endpoints: [http://127.0.0.1:9001, ftp://x]
    timeouts: { connect: soon }
";
    let places: Vec<String> = problems(text)
        .iter()
        .map(|problem| problem.split(": ").next().unwrap().to_owned())
        .collect();
    assert_eq!(
        places,
        [
            "1:10 version",
            "2:1 listner",
            "4:16 tls.min_version",
            "5:24 tls.client_auth.mode",
            "9:38 hosts.a.test.routes[0].match.methods[0]",
            "10:19 hosts.a.test.routes[0].upstream",
            "12:14 hosts.b.test.require",
            "15:40 upstreams.orders.endpoints[1]",
            "16:26 upstreams.orders.timeouts.connect",
        ]
    );
}

#[test]
fn what_follows_from_a_told_problem_is_not_told_again() {
    for text in [
        "upstreams: {x: {endpoints: nothing}}\n",
        "hosts: {a.test: {require: key, routes: [{match: {path: /x}, upstream: x}]}}\nupstreams: {x: {endpoints: [x]}}\n",
        "hosts: {a.test: {require: token, routes: []}}\ntokens: {issuer: [x]}\n",
    ] {
        assert_eq!(problems(text).len(), 1, "{text}\n{:#?}", problems(text));
    }
}

#[test]
fn routes_that_would_not_do_what_they_say_are_refused() {
    let route = "match: {path: /x}, upstream: orders";
    for (more, rest, place, words) in [
        (
            "require: mtls",
            "tls: {client_auth: {mode: off}}\n",
            "2:48 hosts.a.test.routes[0].require",
            "the gateway never requests one",
        ),
        (
            "require: mtls_or_key",
            "tls: {client_auth: {mode: off}}\n",
            "2:48 hosts.a.test.routes[0].require",
            "client certificates",
        ),
        (
            "require: token",
            "",
            "2:48 hosts.a.test.routes[0].require",
            "set tokens.issuer",
        ),
        (
            "scopes: [a]",
            "",
            "2:39 hosts.a.test.routes[0].scopes",
            "every caller would be refused",
        ),
        (
            "scopes: [\"a b\"]",
            "",
            "2:48 hosts.a.test.routes[0].scopes[0]",
            "a scope has",
        ),
        (
            "limit: {per: key, rate: 1/s}",
            "",
            "2:52 hosts.a.test.routes[0].limit.per",
            "count per app",
        ),
        (
            "require: none, limit: {per: app, rate: 1/s}",
            "",
            "2:67 hosts.a.test.routes[0].limit.per",
            "count per address",
        ),
        (
            "limit: {per: app, rate: 1/s, burst: 0}",
            "",
            "2:75 hosts.a.test.routes[0].limit.burst",
            "the least is 1",
        ),
        (
            "limit: {per: app, rate: 1/s, quota: 9/d}",
            "",
            "2:75 hosts.a.test.routes[0].limit.quota",
            "not both",
        ),
        (
            "limit: {per: app, quota: 9/d, burst: 3}",
            "",
            "2:76 hosts.a.test.routes[0].limit.burst",
            "a quota has no burst",
        ),
        (
            "limit: {per: app, quota: 9/w}",
            "",
            "2:64 hosts.a.test.routes[0].limit.quota",
            "10000/d",
        ),
        (
            "limit: {per: user, rate: 1/s}",
            "",
            "2:52 hosts.a.test.routes[0].limit.per",
            "count per app",
        ),
        (
            "limit: {per: app}",
            "",
            "2:39 hosts.a.test.routes[0].limit",
            "a limit has a rate",
        ),
        (
            "limit: {per: app, rate: 1/s}, limits: [{per: route, rate: 1/s}]",
            "",
            "2:39 hosts.a.test.routes[0].limit",
            "not both",
        ),
        (
            "name: countersign.x",
            "",
            "2:45 hosts.a.test.routes[0].name",
            "the gateway's own",
        ),
    ] {
        check_route(&format!("{route}, {more}"), rest, place, words);
    }
    for (route, place, words) in [
        (
            "match: {}, upstream: orders",
            "2:2 hosts.a.test.routes[0].match",
            "prefix: / takes everything",
        ),
        (
            "match: {path: /x, prefix: /x}, upstream: orders",
            "2:28 hosts.a.test.routes[0].match.prefix",
            "not both",
        ),
        (
            "match: {path: x}, upstream: orders",
            "2:16 hosts.a.test.routes[0].match.path",
            "begins with '/'",
        ),
        (
            "match: {prefix: /a/../b}, upstream: orders",
            "2:18 hosts.a.test.routes[0].match.prefix",
            "dot segments",
        ),
        (
            "match: {path: /x}, upstream: ordres",
            "2:31 hosts.a.test.routes[0].upstream",
            "[did you mean orders?]",
        ),
        (
            "match: {path: /oauth2/token}, upstream: orders",
            "2:16 hosts.a.test.routes[0].match.path",
            "itself answers this path",
        ),
        (
            "match: {prefix: /.well-known/countersign/}, upstream: orders",
            "2:18 hosts.a.test.routes[0].match.prefix",
            "itself answers this path",
        ),
        (
            "match: {path: /x}",
            "2:1 hosts.a.test.routes[0]",
            "upstream is missing",
        ),
    ] {
        check_route(route, "", place, words);
    }
}

#[test]
fn what_upstreams_are_told_has_sense_or_is_refused() {
    let issued = "tokens: {issuer: \"https://a.test\"}\n";
    let common = |section: &str, place: &str, words: &str| {
        check(
            &format!("{issued}identity_headers:\n  {section}\n"),
            place,
            words,
        );
    };
    common(
        "presets: [nginx, envoy]",
        "3:20 identity_headers.presets[1]",
        "expected one of alb, kong, nginx, traefik, xfcc",
    );
    common(
        "presets: [traefic]",
        "3:13 identity_headers.presets[0]",
        "[did you mean traefik?]",
    );
    common(
        "presets: [kong, kong]",
        "3:3 identity_headers.presets",
        "this preset is listed twice",
    );
    common(
        "client_cert_chain: true",
        "3:22 identity_headers.client_cert_chain",
        "set client_cert too",
    );
    common(
        "client_cert_bytes_max: 100B",
        "3:26 identity_headers.client_cert_bytes_max",
        "from 1KiB to 64KiB",
    );
    common(
        "xfcc_by: \"spiffe://a;b\"",
        "3:12 identity_headers.xfcc_by",
        "a URI of visible ASCII",
    );
    for (assertion, key, words) in [
        ("{ttl: 61s}", "ttl", "from 10s to 1m"),
        ("{ttl: 9s}", "ttl", "from 10s to 1m"),
        ("{audience: \"a b\"}", "audience", "visible ASCII"),
        (
            "{audience: \"https://a.test\"}",
            "audience",
            "the audience of access tokens",
        ),
    ] {
        let text = format!("{issued}identity_headers:\n  assertion: {assertion}\n");
        let found = problems(&text);
        let path = format!("identity_headers.assertion.{key}: ");
        let one = found.len() == 1 && found[0].contains(&path) && found[0].contains(words);
        assert!(one, "{assertion}: {found:#?}");
    }
    check(
        "identity_headers: {assertion: {enabled: true}}\n",
        "1:41 identity_headers.assertion.enabled",
        "set tokens.issuer",
    );
}

#[test]
fn an_assertion_is_for_an_upstream_that_knows_its_name() {
    let rest =
        "tokens: {issuer: \"https://a.test\"}\nidentity_headers: {assertion: {enabled: true}}\n";
    check_route(
        "match: {path: /x}, upstream: orders",
        rest,
        "2:1 hosts.a.test.routes[0]",
        "give the route a name",
    );
    for route in [
        "name: x, match: {path: /x}, upstream: orders",
        "match: {path: /x}, upstream: orders, require: none",
        "match: {path: /x}, upstream: orders, identity_headers: {assertion: {audience: x}}",
        "match: {path: /x}, upstream: orders, identity_headers: {assertion: {enabled: false}}",
    ] {
        let text = format!("hosts: {{a.test: {{routes: [\n{{{route}}}\n]}}}}\n{UPSTREAMS}{rest}");
        assert_eq!(problems(&text), Vec::<String>::new(), "{route}");
    }
}

/// A route that requires nothing has anonymous callers: identity headers on it are refused as a mistake.
#[test]
fn a_route_that_requires_nothing_tells_nothing() {
    check_route(
        "match: {path: /x}, upstream: orders, require: none, identity_headers: {presets: [nginx]}",
        "",
        "2:54 hosts.a.test.routes[0].identity_headers",
        "this route requires nothing",
    );
    check(
        &format!(
            "hosts: {{a.test: {{require: none, identity_headers: {{client_cert: true}}, routes: [\n\
             {{match: {{path: /x}}, upstream: orders}}]}}}}\n{UPSTREAMS}"
        ),
        "1:33 hosts.a.test.identity_headers",
        "this host requires nothing",
    );
    // The common word, and a host's for its other routes, leave open routes out.
    let text = format!(
        "identity_headers: {{client_cert: true}}\nhosts: {{a.test: {{identity_headers: {{presets: [xfcc]}}, routes: [\n\
         {{match: {{path: /x}}, upstream: orders, require: none}},\n\
         {{match: {{path: /y}}, upstream: orders}}]}}}}\n{UPSTREAMS}"
    );
    let config = load_with(&text, &[], &[]).unwrap_or_else(|problems| panic!("{problems}"));
    let told: Vec<_> = config
        .replaceable()
        .routes()
        .into_iter()
        .filter(|route| route.name.starts_with("a.test"))
        .map(|route| route.identity_headers.need_certificate())
        .collect();
    assert_eq!(told, [false, true]);
    assert!(
        config
            .replaceable()
            .catalog(1)
            .unwrap()
            .tells_of_certificates()
    );
}

#[test]
fn routes_that_cannot_be_told_apart_are_refused() {
    let text = format!(
        "hosts:\n  a.test:\n    routes:\n{}{UPSTREAMS}",
        ["/x/{a}", "/x/{b}", "/y", "/y", "/x/{c}"]
            .map(|path| format!("      - {{match: {{path: \"{path}\"}}, upstream: orders}}\n"))
            .concat()
    );
    let found = problems(&text);
    assert_eq!(
        found,
        [
            "5:10 hosts.a.test.routes[1].match: this matches the same requests as hosts.a.test.routes[0]",
            "7:10 hosts.a.test.routes[3].match: this matches the same requests as hosts.a.test.routes[2]",
            "8:10 hosts.a.test.routes[4].match: this matches the same requests as hosts.a.test.routes[0]",
        ]
    );
}

#[test]
fn names_mean_one_thing() {
    let route =
        |path: &str, more: &str| format!("{{match: {{path: {path}}}, upstream: orders, {more}}}");
    let text = |one: &str, other: &str| {
        format!("hosts: {{a.test: {{routes: [{one},\n{other}]}}}}\n{UPSTREAMS}")
    };
    check(
        &text(&route("/x", "name: n"), &route("/y", "name: n")),
        "2:45 hosts.a.test.routes[1].name",
        "hosts.a.test.routes[0] has this name already",
    );
    let limit = |rate: &str| format!("limit: {{name: l, per: app, rate: {rate}}}");
    check(
        &text(&route("/x", &limit("1/s")), &route("/y", &limit("2/s"))),
        "2:39 hosts.a.test.routes[1].limit",
        "share the limit",
    );
    let same = text(&route("/x", &limit("1/s")), &route("/y", &limit("1/s")));
    assert_eq!(problems(&same), Vec::<String>::new());
}

#[test]
fn sections_that_contradict_each_other_are_refused() {
    for (text, place, words) in [
        (
            "hosts: {\"*.a.test\": {client_auth: {mode: required}}}\n",
            "1:22 hosts.*.a.test.client_auth",
            "whole host name",
        ),
        (
            "ops: {address: \"127.0.0.1:7443\"}\n",
            "1:16 ops.address",
            "admin.address listens here already",
        ),
        (
            "ops: {address: \":8443\"}\n",
            "1:16 ops.address",
            "listeners.partners.address listens here",
        ),
        (
            "listeners: {partners: {http: {headers_max: 0}}}\n",
            "1:44 listeners.partners.http.headers_max",
            "from 16",
        ),
        (
            "listeners: {partners: {http: {header_bytes_max: 1KiB}}}\n",
            "",
            "",
        ),
        (
            "authority: {profile: {lifetime: 500d}}\n",
            "1:33 authority.profile.lifetime",
            "lifetime_max",
        ),
        (
            "authority: {profile: {keys: []}}\n",
            "1:23 authority.profile.keys",
            "nothing can be signed",
        ),
        (
            "authority: {profile: {active_max: 0}}\n",
            "1:35 authority.profile.active_max",
            "rotation",
        ),
        ("tokens: {ttl: 25h}\n", "1:15 tokens.ttl", "24h"),
        (
            "tokens: {issuer: \"http://a.test\"}\n",
            "1:18 tokens.issuer",
            "https origin",
        ),
        (
            "tokens: {issuer: \"https://a.test/\"}\n",
            "1:18 tokens.issuer",
            "https origin",
        ),
        (
            "upstreams: {x: {endpoints: []}}\n",
            "1:17 upstreams.x.endpoints",
            "at least one",
        ),
        (
            "upstreams: {x: {endpoints: [\"http://x\", \"http://X:80\"]}}\n",
            "1:41 upstreams.x.endpoints[1]",
            "already",
        ),
        (
            "upstreams: {x: {endpoints: [\"http://x\", \"https://y\"]}}\n",
            "1:41 upstreams.x.endpoints[1]",
            "not be encrypted",
        ),
        (
            "upstreams: {x: {endpoints: [\"http://x\"], tls: {server_name: y}}}\n",
            "1:61 upstreams.x.tls.server_name",
            "the endpoints are http",
        ),
        (
            "upstreams: {x: {endpoints: [\"https://x\"], tls: {server_name: \"y z\"}}}\n",
            "1:62 upstreams.x.tls.server_name",
            "without port",
        ),
        (
            "upstreams: {x: {endpoints: [\"https://x\"], tls: {server_name: \"y:443\"}}}\n",
            "1:62 upstreams.x.tls.server_name",
            "without port",
        ),
        (
            "upstreams: {x: {endpoints: [\"https://x\"], tls: {server_name: \"*.y\"}}}\n",
            "1:62 upstreams.x.tls.server_name",
            "without port",
        ),
        (
            "upstreams: {x: {endpoints: [\"https://x\"], tls: {server_name: y..z}}}\n",
            "1:62 upstreams.x.tls.server_name",
            "without port",
        ),
        (
            "upstreams: {x: {endpoints: [\"http://x\"], pool: {connections_max: 0, idle_max: 0}}}\n",
            "1:66 upstreams.x.pool.connections_max",
            "no request",
        ),
        (
            "upstreams: {x: {endpoints: [\"http://x\"], tcp: {busy_poll: 1001}}}\n",
            "1:59 upstreams.x.tcp.busy_poll",
            "1000 microseconds",
        ),
        ("ops: {tcp: {busy_poll: 0}}\n", "1:24 ops.tcp.busy_poll", ""),
        (
            "admin: {tcp: {congestion: BBR}}\n",
            "1:27 admin.tcp.congestion",
            "1 to 15 characters",
        ),
        (
            "listeners: {partners: {tcp: {congestion: no-such}}}\n",
            "1:42 listeners.partners.tcp.congestion",
            "does not offer no-such",
        ),
        (
            "metrics: {apps: {label: listed}}\n",
            "1:11 metrics.apps.names",
            "at least one App",
        ),
        (
            "metrics: {apps: {names: [acme]}}\n",
            "1:18 metrics.apps.names",
            "listed",
        ),
        (
            "metrics: {apps: {label: first, max: 0}}\n",
            "1:37 metrics.apps.max",
            "from 1 to 1000",
        ),
        (
            "tls: {certificates: [{cert: none.pem, key: \"${file:none.key}\"}]}\n",
            "",
            "",
        ),
    ] {
        if place.is_empty() {
            assert_eq!(problems(text).len(), 2, "{text}\n{:#?}", problems(text));
        } else {
            check(text, place, words);
        }
    }
    let long = format!("admin: {{socket: \"/{}\"}}\n", "x".repeat(107));
    check(&long, "1:17 admin.socket", "107 bytes");
}

#[test]
fn secrets_are_given_by_reference_and_never_shown() {
    const SECRET: &str = "hunter2hunter2";
    for text in [
        "keys: {pepper: SECRET}\n",
        "keys:\n  pepper: |\n    SECRET\n    SECRET\n",
        "keys: {pepper: [SECRET]}\n",
        "keys: {pepper: {a: SECRET}}\n",
        "keys: {peper: SECRET}\n",
        "keys: {peper: x, pepper: SECRET, colour: red}\n",
        "keys: {pepper: \"SECRET\n",
        "password: SECRET\n",
        "tls: {certificates: [{key: SECRET, kye: 1}]}\n",
        "tls:\n  certificates:\n  - cert: x\n    key: |\n      -----BEGIN PRIVATE KEY-----\n      SECRET: : x\n     bad\n",
        "upstreams: {x: {endpoints: [x], tls: {client_key: SECRET}}}\n",
        "keys: {pepper: SECRET}\nkeys: {pepper: SECRET}\n",
        "keys: {pepper: &a SECRET}\nlog: {level: *a}\n",
    ] {
        let text = text.replace("SECRET", SECRET);
        let refused = load_with(&text, &[], &[]).unwrap_err();
        let json = serde_json::to_string(&refused).unwrap();
        for shown in [refused.to_string(), format!("{refused:?}"), json] {
            assert!(!shown.contains(SECRET), "{text}\n{shown}");
        }
    }
    let environment = [
        ("COUNTERSIGN_KEYS__PEPPER", SECRET),
        ("COUNTERSIGN_KEYS__SALT", SECRET),
    ];
    let refused = load_with("", &environment, &[]).unwrap_err();
    assert_eq!(refused.0.len(), 2);
    assert!(!refused.to_string().contains(SECRET));
}

#[test]
fn secrets_and_files_are_read_when_the_configuration_is() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    file("api.pem", "-----BEGIN CERTIFICATE-----\n");
    file("api.key", "-----BEGIN PRIVATE KEY-----\nx\n");
    file(
        "c.yaml",
        "version: 1\nhosts: {a.test: {}}\ntls: {certificates: [{cert: api.pem, key: \"${file:api.key}\"}]}\nkeys: {pepper: \"${env:PEPPER}\"}\n",
    );
    let pepper = "p".repeat(32);
    let with = |pepper: &str| Layers {
        environment: vec![("PEPPER".to_owned(), pepper.to_owned())],
        ..Layers::default()
    };
    let path = directory.path().join("c.yaml");
    let config = load(&path, &with(&pepper)).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(
        config.keys.pepper.as_ref().unwrap().secret().expose(),
        pepper
    );
    assert!(
        config.tls.certificates[0]
            .cert
            .text()
            .contains("CERTIFICATE")
    );
    assert!(!format!("{config:?}").contains(&pepper));
    assert!(!serde_yaml::to_string(&config).unwrap().contains(&pepper));

    let short = load(&path, &with("short")).unwrap_err();
    assert!(
        short.to_string().contains("at least 32 characters"),
        "{short}"
    );
    file("api.pem", "-----BEGIN PRIVATE KEY-----\n");
    let swapped = load(&path, &with(&pepper)).unwrap_err();
    assert_eq!(swapped.0.len(), 1, "{swapped}");
    file("api.pem", "");
    file("api.key", "");
    assert_eq!(load(&path, &with(&pepper)).unwrap_err().0.len(), 2);
}

#[test]
fn flags_are_stronger_than_the_environment_and_that_than_the_file() {
    let text = "log: {level: error, format: json}\ndrain: {timeout: 5s}\n";
    let environment = [
        ("COUNTERSIGN_LOG__LEVEL", "warn"),
        ("COUNTERSIGN_DRAIN__TIMEOUT", "6s"),
        ("COUNTERSIGN_LISTENERS__PARTNERS__ADDRESS", ":9443"),
        (
            "COUNTERSIGN_UPSTREAMS__ORDERS",
            "{endpoints: [\"http://127.0.0.1:1\"]}",
        ),
        ("COUNTERSIGN_CONFIG", "/etc/elsewhere"),
    ];
    let flags = [("drain.timeout", "7s")];
    let config =
        load_with(text, &environment, &flags).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.log.level.as_str(), "warn");
    assert_eq!(config.log.format, super::logs::LogFormat::Json);
    assert_eq!(config.drain.timeout.get().as_secs(), 7);
    assert_eq!(config.listeners.partners.address.to_string(), ":9443");
    assert_eq!(config.upstreams.len(), 1);
}

#[test]
fn a_wrong_variable_is_named() {
    let environment = [
        ("COUNTERSIGN_LOG__LEVL", "info"),
        ("COUNTERSIGN_LOG__LEVEL", "loud"),
        ("COUNTERSIGN_WORKERS__X", "1"),
    ];
    let refused = load_with("workers: 1\n", &environment, &[]).unwrap_err();
    let shown = refused.to_string();
    for words in [
        "COUNTERSIGN_LOG__LEVL: log.levl: there is no such key",
        "did you mean level?",
        "COUNTERSIGN_LOG__LEVEL: log.level: expected one of",
        "COUNTERSIGN_WORKERS__X: there are no keys below",
        "3 problems",
    ] {
        assert!(shown.contains(words), "{words}\n{shown}");
    }
}

#[test]
fn problems_are_json_too() {
    let refused = load_with("drain: {timeout: 1}\n", &[], &[]).unwrap_err();
    let json = serde_json::to_value(&refused).unwrap();
    assert_eq!(json[0]["path"], "drain.timeout");
    assert_eq!(
        (&json[0]["line"], &json[0]["column"]),
        (&1.into(), &18.into())
    );
    assert_eq!(json[0]["source"], "/nowhere/c.yaml");
    let shown = refused.to_string();
    assert!(
        shown.contains("     1 | drain: {timeout: 1}\n       |                  ^"),
        "{shown}"
    );
}

#[test]
fn files_that_cannot_be_read_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("c.yaml");
    let refused = || load(&path, &Layers::default()).unwrap_err().to_string();
    assert!(refused().contains("cannot read it"));
    std::fs::write(&path, b"log: \xff\xfe").unwrap();
    assert!(refused().contains("cannot read it"));
    std::fs::write(&path, "#".repeat(2 << 20)).unwrap();
    assert!(refused().contains("at most 1 MiB"));
}

#[test]
fn no_more_problems_are_told_than_anybody_reads() {
    let lines: Vec<String> = (0..1000).map(|number| format!("key{number}: 1")).collect();
    let text = lines.join("\n");
    assert_eq!(problems(&text).len(), super::decode::FINDINGS_MAX);
}

/// Text that begins like a configuration and goes wrong somewhere.
fn broken() -> impl Strategy<Value = String> {
    let pieces = vec![
        "hosts:",
        "upstreams:",
        "tls:",
        "a.test:",
        "routes:",
        "match:",
        "path:",
        "- ",
        "\n",
        "\n  ",
        "\n    ",
        "\n      ",
        "{",
        "}",
        "[",
        "]",
        ",",
        ": ",
        "/x",
        "key",
        "orders",
        "${env:X}",
        "&a ",
        "*a",
        "\"",
        "'",
        "|",
        "endpoints:",
        "http://x",
        "limit:",
        "rate:",
        "1/s",
        "per:",
        "upstream:",
        "require:",
        "mtls",
        "version: 1",
        "0",
        "ä",
    ];
    proptest::collection::vec(proptest::sample::select(pieces), 0..40)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn garbage_never_panics(text in "\\PC{0,200}") {
        let _ = load_with(&text, &[], &[]).map_err(|problems| problems.to_string());
    }

    #[test]
    fn broken_configurations_never_panic(text in broken()) {
        if let Err(problems) = load_with(&text, &[("COUNTERSIGN_LOG__LEVEL", "info")], &[]) {
            prop_assert!(!problems.0.is_empty());
            prop_assert!(problems.to_string().ends_with("problem") || problems.to_string().ends_with("problems"));
        }
    }

    #[test]
    fn any_variable_is_laid_or_refused(name in "[A-Z_0-9]{0,30}", value in "\\PC{0,40}") {
        let _ = load_with("hosts: {a.test: {}}\n", &[(&format!("COUNTERSIGN_{name}"), &value)], &[]);
    }
}
