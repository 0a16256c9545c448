//! What is shipped beside the gateway fits it: alert rules, the unit, the image, development certificates.
//!
//! That these files are well-formed is checked by their own tools in `tests/deployment`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::client::Partner;
use crate::support::eventually::eventually;
use crate::support::gateway::{Gateway, HOST, config, config_with};
use crate::support::pki::{self, Stranger};
use crate::support::process::run;
use crate::support::upstream::Echo;

const MTLS: &str = "      - { match: { prefix: / }, require: mtls, upstream: api }";

fn in_tree(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn text(file: &str) -> String {
    fs::read_to_string(in_tree(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The values of a setting in a unit or a container file, each on a line of its own.
fn values<'t>(text: &'t str, before: &str) -> Vec<&'t str> {
    let values = text.lines().filter_map(|line| line.strip_prefix(before));
    values.map(str::trim).collect()
}

/// The metrics in a rule's expression, each with its label matchers.
fn selectors(expression: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(at) = rest.find(|letter: char| letter.is_ascii_alphabetic()) {
        let end = rest[at..]
            .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
            .map_or(rest.len(), |length| at + length);
        let (name, after) = (&rest[at..end], &rest[end..]);
        let matchers = after
            .strip_prefix('{')
            .and_then(|after| after.split_once('}'))
            .map_or("", |(matchers, _)| matchers);
        if name.starts_with("countersign_") || name.starts_with("process_") {
            found.push((name.to_owned(), matchers.to_owned()));
        }
        rest = after
            .strip_prefix(&format!("{{{matchers}}}"))
            .unwrap_or(after);
    }
    found
}

/// The expressions of the alert rules, on one line each.
fn expressions() -> Vec<String> {
    let text = text("deploy/prometheus/alerts.yaml");
    let mut found: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        match line.trim_start().split_once("expr: ") {
            Some((_, "|")) => {
                found.push(String::new());
                goes_on = true;
            }
            Some((_, expression)) => found.push(expression.to_owned()),
            None if goes_on && line.starts_with("          ") => {
                let last = found.last_mut().unwrap();
                last.extend([" ", line.trim()]);
            }
            None => goes_on = false,
        }
    }
    found
}

#[test]
fn every_alert_is_about_something_that_is_exported() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), MTLS));
    let acme = gateway.enrol("acme");
    assert_eq!(acme.partner.get("/").status, 200);
    assert_eq!(gateway.stranger().get("/").status, 401);
    let made = pki::request(gateway.dir(), "intruder");
    let foreign = Stranger::new(gateway.dir(), "elsewhere", "/CN=Elsewhere");
    let foreign = foreign.sign(&made, "extendedKeyUsage=clientAuth");
    let _ = gateway.partner(&foreign, &made.key).try_connect(HOST);
    gateway.cli(&["cert", "revoke", &acme.id, "--yes"]).ok();
    assert_eq!(acme.partner.get("/").status, 403);
    eventually("the refused handshake is counted", || {
        (gateway.handshakes_refused("cert_untrusted") > 0).then_some(())
    });
    let (_, metrics) = gateway.ops_get("/metrics");
    let expressions = expressions();
    assert!(expressions.len() >= 15, "{expressions:?}");
    for (name, matchers) in expressions.iter().flat_map(|text| selectors(text)) {
        let series: Vec<&str> = metrics
            .lines()
            .filter(|line| {
                line.strip_prefix(&*name)
                    .is_some_and(|rest| rest.starts_with([' ', '{']))
            })
            .collect();
        assert!(!series.is_empty(), "{name} is not exported");
        for matcher in matchers.split(',').filter(|matcher| !matcher.is_empty()) {
            let (label, value) = matcher.split_once('=').unwrap();
            let wanted = match value.strip_prefix('~') {
                Some(_) => format!("{label}=\""),
                None => format!("{label}={value}"),
            };
            // Prometheus adds the job itself.
            let exported = label == "job" || series.iter().any(|line| line.contains(&wanted));
            assert!(exported, "{name} has no series with {matcher}: {series:?}");
        }
    }
}

/// Seconds of a time such as `45s`.
fn seconds(time: &str) -> u64 {
    time.strip_suffix('s').unwrap().parse().unwrap()
}

#[test]
fn the_unit_gives_the_gateway_what_it_needs() {
    let unit = text("deploy/countersign.service");
    let one = |name: &str| {
        let found = values(&unit, &format!("{name}="));
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        found[0]
    };
    // The arguments are those of this version's command line.
    let arguments: Vec<&str> = one("ExecStart").split(' ').skip(1).collect();
    let dir = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_countersign");
    let started = run(dir.path(), program, &arguments);
    assert_eq!(
        started.code.to_string(),
        one("RestartPreventExitStatus"),
        "no configuration: {started:?}"
    );
    // A reload asks the gateway itself, at the place where it listens when nobody says otherwise.
    let mut reload: Vec<&str> = one("ExecReload").split(' ').skip(1).collect();
    let socket = format!("/var/lib/{}/admin.sock", one("StateDirectory"));
    assert_eq!(reload.last(), Some(&&*socket));
    reload.push("--help");
    assert_eq!(run(dir.path(), program, &reload).code, 0);
    let defaults = text("config/countersign.yaml");
    let (_, drain) = defaults.split_once("\ndrain:\n").unwrap();
    let default = |name: &str| {
        let values = values(drain, &format!("  {name}: "));
        seconds(values[0])
    };
    let needed = default("delay") + default("timeout");
    assert!(seconds(one("TimeoutStopSec")) > needed, "{needed}");
    let state = format!("data_directory: /var/lib/{}\n", one("StateDirectory"));
    assert!(defaults.contains(&state), "{state}");
    // Each connection in flight has two files, and listeners.partners.connections_max is their bound.
    let connections = values(&defaults, "    connections_max: ")[0];
    let connections: u64 = connections.parse().unwrap();
    let files: u64 = one("LimitNOFILE").parse().unwrap();
    assert!(files > 2 * connections, "{files} files");
}

#[test]
fn the_image_is_built_from_what_the_build_needs_and_runs_as_nobody() {
    let dockerfile = text("deploy/Dockerfile");
    let manifest = text("Cargo.toml");
    let rust = values(&manifest, "rust-version = ")[0].trim_matches('"');
    let images = values(&dockerfile, "FROM ");
    assert!(
        images[0].starts_with(&format!("rust:{rust}-")),
        "{images:?}"
    );
    assert!(images.iter().all(|image| !image.contains(":latest")));
    let user = values(&dockerfile, "USER ")[0];
    let (user, group) = user.split_once(':').unwrap();
    for id in [user, group] {
        assert!(id.parse::<u32>().is_ok_and(|id| id > 0), "{id}");
    }
    assert!(dockerfile.contains(" deploy/build "));
    let script = text("deploy/build");
    let mut builds = script.lines().filter(|line| line.contains("cargo build"));
    assert!(builds.all(|line| line.contains(" --locked ")));
    assert_eq!(values(&dockerfile, "STOPSIGNAL "), ["SIGTERM"]);
    let program = "/usr/bin/countersign";
    assert_eq!(
        values(&dockerfile, "ENTRYPOINT "),
        [format!("[\"{program}\"]")]
    );
    assert!(dockerfile.contains(&format!("/out{program}")));
    // The defaults of the listeners are the ports that are named.
    let defaults = text("config/countersign.yaml");
    let ports = values(&dockerfile, "EXPOSE ")[0];
    for port in ports.split(' ') {
        assert!(defaults.contains(&format!(":{port}\"")), "{port}");
    }
    // The context is a list of what comes along; no key does, and everything that is compiled.
    let ignore = text("deploy/Dockerfile.dockerignore");
    let kept = values(&ignore, "!");
    assert!(ignore.lines().any(|line| line == "*"), "nothing by default");
    for needed in [
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "README.md",
        "deploy/build",
    ] {
        assert!(kept.contains(&needed), "{needed}");
    }
    for file in &kept {
        assert!(in_tree(file).exists(), "{file} is not there any more");
    }
    for secret in ["**/*.key", "**/*.pem"] {
        let (after, before) = (ignore.rfind(secret).unwrap(), ignore.rfind('!').unwrap());
        assert!(
            after > before,
            "{secret} is taken out after all that comes in"
        );
    }
    assert!(
        !kept
            .iter()
            .any(|file| ["target", ".git", "certs"].contains(file))
    );
}

#[test]
fn development_certificates_serve_and_their_request_is_signed() {
    let dir = tempfile::tempdir().unwrap();
    let script = in_tree("certs/make-dev-certs.sh");
    let made = dir.path().join("dev");
    let args = [
        "--dir",
        made.to_str().unwrap(),
        "--host",
        HOST,
        "--client",
        "acme",
    ];
    let said = run(dir.path(), script.to_str().unwrap(), &args).ok();
    let tls = said
        .lines()
        .find(|line| line.trim_start().starts_with("tls:"))
        .unwrap();
    let echo = Echo::start();
    let gateway = Gateway::start_in(dir, &config_with(&echo.url(), MTLS, tls.trim()));
    gateway.cli_json(&["app", "create", "acme"]);
    let sign = said
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("countersign cert sign "))
        .unwrap();
    let sign: Vec<&str> = ["cert", "sign"]
        .into_iter()
        .chain(sign.split(' '))
        .collect();
    gateway.cli(&sign).ok();
    let (certificate, key) = (made.join("acme.pem"), made.join("acme.key"));
    for host in [HOST, "localhost"] {
        let partner = Partner::new(
            gateway.partners(),
            host,
            &made.join("ca.pem"),
            Some((&certificate, &key)),
        );
        let mut connection = partner.connect();
        connection.send(format!("GET /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes());
        assert_eq!(connection.answer().status, 200, "{host}");
    }
}
