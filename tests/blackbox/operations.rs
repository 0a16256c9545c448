//! What operators do and see: reload, drain, metrics, logs, and a process that is killed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::eventually::eventually;
use crate::support::gateway::{Circumstances, Gateway, HOST, config, config_with};
use crate::support::process::{run, run_with_input};
use crate::support::upstream::{Echo, misbehaving};

const ROUTES: &str = "      - { match: { prefix: / }, require: mtls, upstream: api }";
const OPEN: &str = "      - { match: { prefix: /open }, require: none, upstream: api }";

/// The same configuration on the ports that the gateway has now.
fn again(gateway: &Gateway, text: &str) -> String {
    let mut parts = text.split("\"127.0.0.1:0\"");
    let mut fixed = parts.next().unwrap().to_owned();
    for (address, part) in [gateway.partners(), gateway.admin(), gateway.ops()]
        .iter()
        .zip(parts)
    {
        fixed = format!("{fixed}\"{address}\"{part}");
    }
    fixed
}

#[test]
fn a_reload_changes_routes_without_dropping_a_connection() {
    let echo = Echo::start();
    let text = config(&echo.url(), ROUTES);
    let gateway = Gateway::start(&text);
    let acme = gateway.enrol("acme");
    let mut kept = acme.partner.connect();
    assert_eq!(kept.get("/open").status, 200);
    assert_eq!(gateway.stranger().get("/open").status, 401);
    gateway.configure(&config(&echo.url(), &format!("{OPEN}\n{ROUTES}")));
    gateway.signal("HUP");
    eventually("the new route is there", || {
        (gateway.stranger().get("/open").status == 200).then_some(())
    });
    assert_eq!(kept.get("/x").status, 200, "the old connection goes on");
    assert_eq!(
        gateway.count("countersign_config_last_reload_successful"),
        1
    );
}

#[test]
fn a_connection_keeps_its_tls_policy_across_a_reload_that_adds_others() {
    let host = |name: &str, client_auth: &str| {
        format!("  {name}:\n    client_auth: {client_auth}\n    routes:\n{OPEN}\n")
    };
    let echo = Echo::start();
    let text = config(&echo.url(), OPEN);
    let soft = host("soft.example.test", "{ reject: alert }");
    let gateway = Gateway::start(&format!("{text}{soft}"));
    let ask = |host: &str| format!("GET /open HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let mut kept = gateway.stranger().connect_as("soft.example.test");
    kept.send(ask("soft.example.test").as_bytes());
    assert_eq!(kept.answer().status, 200);
    // Sorted before the other one, so that positions change.
    let hard = host("hard.example.test", "{ mode: required }");
    gateway.configure(&format!("{text}{soft}{hard}"));
    gateway.cli(&["reload"]).ok();
    kept.send(ask("soft.example.test").as_bytes());
    assert_eq!(kept.answer().status, 200);
    kept.send(ask("hard.example.test").as_bytes());
    assert_eq!(kept.answer().status, 421);
}

/// What the handshake asked of the client is not what the host asks now, so the connection serves nothing any more.
#[test]
fn a_connection_whose_host_has_another_tls_policy_now_is_told_to_come_again() {
    let echo = Echo::start();
    let text = config(&echo.url(), ROUTES);
    let gateway = Gateway::start(&text);
    let acme = gateway.enrol("acme");
    let mut proved = acme.partner.connect();
    assert_eq!(proved.get("/x").status, 200);
    let mut kept = gateway.stranger().connect();
    assert_eq!(kept.get("/x").status, 401);
    let required = "tls: { client_auth: { mode: required } }\n";
    gateway.configure(&config_with(&echo.url(), ROUTES, required));
    gateway.cli(&["reload"]).ok();
    // A client that has proved already what is required now goes on.
    assert_eq!(proved.get("/x").status, 200);
    let answer = kept.get("/x");
    assert_eq!(answer.status, 421);
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(kept.is_closed_within(Duration::from_secs(5)));
    assert_eq!(acme.partner.get("/x").status, 200);
}

#[test]
fn a_reload_names_what_only_a_restart_puts_in_force() {
    let echo = Echo::start();
    let text = config(&echo.url(), ROUTES);
    let gateway = Gateway::start(&text);
    let same = gateway.cli_json(&["reload"]);
    assert_eq!(same["restart_needed"], serde_json::json!([]), "{same}");
    let changed = text
        .replace("workers: 2", "workers: 1\ndrain: { timeout: 7s }")
        .replace("tokens: {", "tokens: { ttl: 5m,");
    gateway.configure(&changed);
    let answer = gateway.cli_json(&["reload"]);
    let needed = serde_json::json!(["drain", "tokens.ttl", "workers"]);
    assert_eq!(answer["restart_needed"], needed);
    let told = gateway.cli(&["reload"]).ok();
    assert!(told.contains("tokens.ttl"), "{told}");
    assert!(gateway.log().contains("tokens.ttl"));
    let listed = gateway.cli_json(&["audit", "list"]);
    assert!(listed.to_string().contains("tokens.ttl"), "{listed}");
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let echo = Echo::start();
    let text = config(&echo.url(), ROUTES);
    let gateway = Gateway::start(&text);
    let acme = gateway.enrol("acme");
    gateway.configure(&text.replace("upstream: api }", "upstream: apj }"));
    let refused = gateway.cli(&["reload"]);
    assert_eq!(refused.code, 6, "{refused:?}");
    assert!(refused.stderr.contains("apj"), "{refused:?}");
    assert_eq!(acme.partner.get("/").status, 200);
    assert_eq!(
        gateway.count("countersign_config_last_reload_successful"),
        0
    );
    gateway.configure("version: [");
    gateway.signal("HUP");
    eventually("the log says why", || {
        gateway.log().contains("reload").then_some(())
    });
    assert_eq!(acme.partner.get("/").status, 200);
    gateway.configure(&again(&gateway, &text));
    gateway.cli(&["reload"]).ok();
    assert_eq!(
        gateway.count("countersign_config_last_reload_successful"),
        1
    );
}

/// The root's own key makes a root of the same name, which counted long ago.
#[test]
fn a_root_that_has_expired_is_not_served_with() {
    let text = config("http://127.0.0.1:1", ROUTES);
    let dir = Gateway::start(&text).kill();
    let conf = "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.\n\
default_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n";
    let ext = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n";
    for (file, content) in [
        ("ca.cnf", conf),
        ("index.txt", ""),
        ("serial", "0A\n"),
        ("ext", ext),
    ] {
        fs::write(dir.path().join(file), content).unwrap();
    }
    #[rustfmt::skip]
    let request = [
        "x509", "-x509toreq", "-in", "authority/root.pem", "-signkey", "authority/root.key", "-out", "root.csr",
    ];
    #[rustfmt::skip]
    let sign = [
        "ca", "-batch", "-notext", "-preserveDN", "-config", "ca.cnf", "-selfsign",
        "-keyfile", "authority/root.key", "-in", "root.csr", "-extfile", "ext",
        "-startdate", "20200101000000Z", "-enddate", "20210101000000Z", "-out", "old.pem",
    ];
    for args in [&request[..], &sign] {
        run(dir.path(), "openssl", args).ok();
    }
    let root = dir.path().join("authority/root.pem");
    let good = fs::read_to_string(&root).unwrap();
    let old = fs::read_to_string(dir.path().join("old.pem")).unwrap();
    fs::write(&root, &old).unwrap();
    let (code, log, dir) = Gateway::try_start_in(dir, &text).expect_err("it was started");
    assert_eq!(code, Some(78), "{log}");
    assert!(
        log.contains("the root certificate is not valid now, only from 2020"),
        "{log}"
    );
    // Beside the one that counts, it is trusted by nobody.
    fs::write(&root, old + &good).unwrap();
    let gateway = Gateway::start_in(dir, &text);
    let ca = gateway
        .stranger()
        .get("/.well-known/countersign/ca.pem")
        .text();
    assert!(ca.contains(good.trim()));
    assert_eq!(ca.matches("BEGIN CERTIFICATE").count(), 2);
}

#[test]
fn two_certificates_of_one_name_show_the_end_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut pairs = Vec::new();
    for (name, key, days) in [("soon", "rsa:2048", "5"), ("later", "ed25519", "300")] {
        let (cert, key_file) = (format!("{name}.pem"), format!("{name}.key"));
        #[rustfmt::skip]
        let args = [
            "req", "-x509", "-nodes", "-newkey", key, "-subj", "/CN=server", "-days", days,
            "-addext", "subjectAltName=DNS:api.example.test",
            "-addext", "basicConstraints=critical,CA:FALSE",
            "-keyout", &key_file, "-out", &cert,
        ];
        run(dir.path(), "openssl", &args).ok();
        pairs.push(format!("{{ cert: {cert}, key: \"${{file:{key_file}}}\" }}"));
    }
    let tls = format!("tls: {{ certificates: [{}] }}", pairs.join(", "));
    let text = config_with("http://127.0.0.1:1", ROUTES, &tls);
    let gateway = Gateway::start_in(dir, &text);
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates end by the time of the machine"
    )]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let days = |count: u64| now.as_ref().unwrap().as_secs() + count * 86_400;
    let end = gateway.count("countersign_server_cert_not_after_timestamp_seconds");
    assert!((days(4)..=days(5)).contains(&end), "{end}");
}

#[test]
fn a_reader_of_the_access_log_that_has_stopped_does_not_hold_up_the_end() {
    let text = config("http://127.0.0.1:1", ROUTES).replace("path: access.log", "path: stdout");
    let unread = Circumstances {
        unread: true,
        ..Circumstances::default()
    };
    let mut gateway = Gateway::start_by(tempfile::tempdir().unwrap(), &text, unread);
    let mut connection = gateway.stranger().connect();
    let path = format!("/{}", "x".repeat(1000));
    // More than a pipe holds.
    for _ in 0..200 {
        assert_eq!(connection.get(&path).status, 401);
    }
    drop(connection);
    gateway.signal("TERM");
    assert_eq!(gateway.wait(Duration::from_secs(30)), Some(0));
    assert!(gateway.log().contains("the access log accepts no lines"));
}

/// `increase()` does not see the first event of a series that begins with it.
#[test]
fn counters_begin_at_zero_and_not_with_their_first_event() {
    let echo = Echo::start();
    let limited = "      - { match: { prefix: /limited }, require: none, upstream: api, limit: { per: address, rate: 1/h, burst: 1 } }";
    let gateway = Gateway::start(&config(&echo.url(), &format!("{ROUTES}\n{limited}")));
    let series = || -> BTreeSet<String> {
        let (_, metrics) = gateway.ops_get("/metrics");
        let names = metrics
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()));
        let by_reason = names.filter(|name| {
            let family = name.split('{').next().unwrap();
            family.ends_with("_total") && family != "countersign_http_requests_total"
        });
        by_reason.collect()
    };
    let before = series();
    let acme = gateway.enrol("acme");
    let (key, secret) = gateway.key("acme", &[]);
    gateway.cli(&["cert", "revoke", &acme.id, "--yes"]).ok();
    assert_eq!(acme.partner.get("/").reason(), "cert_revoked");
    let stranger = gateway.stranger();
    for _ in 0..2 {
        stranger.get("/limited");
    }
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    for body in [
        "grant_type=client_credentials".to_owned(),
        format!("grant_type=client_credentials&client_id={key}"),
        format!("grant_type=client_credentials&client_id={key}&client_secret=nonsense"),
        format!("grant_type=client_credentials&client_id={key}&client_secret={secret}&scope=more"),
    ] {
        assert_ne!(
            stranger
                .post("/oauth2/token", &form, body.as_bytes())
                .status,
            200
        );
    }
    let after = series();
    let new: Vec<&String> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:#?}");
    // What a reload brings is there before its first event too.
    let more = limited
        .replace("/limited", "/more")
        .replace("limit: {", "limit: { name: later,");
    let text = config(&echo.url(), &format!("{ROUTES}\n{more}"));
    gateway.configure(&again(&gateway, &text));
    gateway.cli(&["reload"]).ok();
    assert!(
        series().contains(
            "countersign_ratelimit_decisions_total{decision=\"refused\",limit=\"later\"}"
        )
    );
}

#[test]
fn draining_finishes_what_runs_and_then_ends() {
    let slow = misbehaving(|mut stream, _| {
        #[expect(clippy::disallowed_methods, reason = "an upstream that takes its time")]
        std::thread::sleep(Duration::from_secs(2));
        let _ = std::io::Write::write_all(
            &mut stream,
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone",
        );
    });
    let mut gateway = Gateway::start(&config(&slow, OPEN));
    let mut running = gateway.stranger().connect();
    let mut idle = gateway.stranger().connect();
    assert_eq!(idle.get("/nothing").status, 404);
    running.send(format!("GET /open HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes());
    eventually("the request is under way", || {
        (gateway.count("countersign_http_requests_in_flight") >= 1).then_some(())
    });
    gateway.signal("TERM");
    eventually("readiness goes first", || {
        (gateway.ops_get("/readyz").0 == 503).then_some(())
    });
    let answer = running.answer();
    assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
    assert!(idle.is_closed_within(Duration::from_secs(5)));
    assert_eq!(gateway.wait(Duration::from_secs(15)), Some(0));
}

/// A request that is being answered, and the gateway that answers it.
fn under_way(gateway: &Gateway) -> crate::support::client::Connection {
    let mut running = gateway.stranger().connect();
    running.send(format!("GET /open HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes());
    eventually("the request is under way", || {
        (gateway.count("countersign_http_requests_in_flight") >= 1).then_some(())
    });
    running
}

#[test]
fn drain_waits_for_the_end_where_it_is_asked_to() {
    let (finish, finished) = std::sync::mpsc::channel::<()>();
    let finished = std::sync::Mutex::new(finished);
    let slow = misbehaving(move |mut stream, _| {
        finished.lock().unwrap().recv().unwrap();
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";
        let _ = std::io::Write::write_all(&mut stream, answer);
    });
    let text = config(&slow, OPEN).replace("version: 1", "version: 1\ndrain: { delay: 1ms }");
    let mut gateway = Gateway::start(&text);
    let mut running = under_way(&gateway);
    let socket = gateway.socket();
    let mut waiting = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["drain", "--wait", "--output", "json", "--admin-socket"])
        .arg(&socket)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut progress = String::new();
    BufReader::new(waiting.stderr.take().unwrap())
        .read_line(&mut progress)
        .unwrap();
    assert!(progress.contains("1 request left"), "{progress}");
    assert_eq!(waiting.try_wait().unwrap(), None, "what runs is waited for");
    finish.send(()).unwrap();
    assert_eq!(running.answer().status, 200);
    let drained = waiting.wait_with_output().unwrap();
    assert_eq!(drained.status.code(), Some(0), "{drained:?}");
    let told: serde_json::Value = serde_json::from_slice(&drained.stdout).unwrap();
    assert_eq!(told["state"], "drained");
    assert_eq!(told["requests_cut"], 0);
    assert_eq!(gateway.wait(Duration::from_secs(5)), Some(0));
}

#[test]
fn drain_says_when_requests_were_cut() {
    let stuck = misbehaving(|_stream, _| std::thread::park());
    let text = config(&stuck, OPEN).replace(
        "version: 1",
        "version: 1\ndrain: { delay: 1ms, timeout: 1s }",
    );
    let mut gateway = Gateway::start(&text);
    let _running = under_way(&gateway);
    let drained = gateway.cli(&["drain", "--wait"]);
    assert_eq!(drained.code, 1, "{drained:?}");
    assert!(drained.stdout.contains("1 request cut."), "{drained:?}");
    assert!(drained.stderr.contains("drain.timeout"), "{drained:?}");
    assert!(gateway.wait(Duration::from_secs(5)).is_some());
    let unreachable = gateway.cli(&["drain", "--wait"]);
    assert_eq!(unreachable.code, 7, "{unreachable:?}");
}

#[test]
fn readiness_goes_before_the_listeners_do() {
    let echo = Echo::start();
    let text = config(&echo.url(), OPEN).replace("version: 1", "version: 1\ndrain: { delay: 2s }");
    let mut gateway = Gateway::start(&text);
    let mut kept = gateway.stranger().connect();
    assert_eq!(kept.get("/open").status, 200);
    gateway.signal("TERM");
    eventually("readiness goes first", || {
        (gateway.ops_get("/readyz").0 == 503).then_some(())
    });
    assert_eq!(gateway.stranger().get("/open").status, 200);
    assert_eq!(kept.get("/open").status, 200, "open ones are served too");
    assert!(kept.is_closed_within(Duration::from_secs(5)));
    assert_eq!(gateway.wait(Duration::from_secs(10)), Some(0));
}

#[test]
fn a_drain_that_takes_too_long_is_forced() {
    let stuck = misbehaving(|_stream, _| std::thread::park());
    let text = config(&stuck, OPEN).replace(
        "version: 1",
        "version: 1\ndrain: { delay: 1ms, timeout: 1s }",
    );
    let mut gateway = Gateway::start(&text);
    let mut running = gateway.stranger().connect();
    running.send(format!("GET /open HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes());
    eventually("the request is under way", || {
        (gateway.count("countersign_http_requests_in_flight") >= 1).then_some(())
    });
    gateway.signal("TERM");
    assert!(gateway.wait(Duration::from_secs(10)).is_some());
}

#[test]
fn every_reason_has_its_series_from_the_start_and_promtool_is_happy() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let (status, metrics) = gateway.ops_get("/metrics");
    assert_eq!(status, 200);
    for series in [
        "countersign_build_info",
        "countersign_tls_handshakes_total",
        "countersign_connections",
        "countersign_auth_decisions_total",
        "countersign_tokens_issued_total",
        "countersign_credentials",
        "countersign_credentials_expiring",
        "countersign_ca_not_after_timestamp_seconds",
        "countersign_job_failures_total{job=\"tickets\"} 0",
        "countersign_snapshot_version 1\n",
        "countersign_server_cert_not_after_timestamp_seconds",
        "countersign_config_last_reload_successful",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "reason=\"cert_revoked\"",
        "reason=\"scope_missing\"",
        "reason=\"rate_limited\"",
    ] {
        assert!(metrics.contains(series), "{series}");
    }
    let acme = gateway.enrol("acme");
    assert_eq!(acme.partner.get("/").status, 200);
    assert_eq!(acme.partner.get("/").status, 200);
    eventually("both requests are counted", || {
        (gateway.count("countersign_http_requests_total") == 2).then_some(())
    });
    let (_, metrics) = gateway.ops_get("/metrics");
    let counted = metrics
        .lines()
        .find(|line| line.starts_with("countersign_http_requests_total") && line.contains("200"));
    assert!(
        counted.is_some_and(|line| line.ends_with(" 2")),
        "{counted:?}"
    );
    let checked = run_with_input(
        gateway.dir(),
        "promtool",
        &["check", "metrics"],
        metrics.as_bytes(),
    );
    assert_eq!(checked.code, 0, "{checked:?}");
}

/// The names of metrics in a text, without what histograms add to theirs.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let plain = |character: char| character.is_ascii_lowercase() || character == '_';
    text.split(|character| !plain(character))
        .filter(|word| word.starts_with("countersign_") || word.starts_with("process_"))
        .map(|word| {
            ["_bucket", "_count", "_sum"]
                .iter()
                .find_map(|end| word.strip_suffix(end))
                .unwrap_or(word)
                .to_owned()
        })
        .collect()
}

#[test]
fn the_documents_name_the_metrics_that_there_are() {
    let echo = Echo::start();
    let routes = "      - { match: { prefix: / }, require: mtls, upstream: api, limit: { per: app, rate: 9/s } }";
    let text = config(&echo.url(), routes).replace(
        "version: 1",
        "version: 1\nmetrics: { apps: { label: first } }",
    );
    let gateway = Gateway::start(&text);
    assert_eq!(gateway.enrol("acme").partner.get("/").status, 200);
    eventually("the request is counted", || {
        (gateway.count("countersign_http_requests_total") > 0).then_some(())
    });
    let (_, exported) = gateway.ops_get("/metrics");
    let families: String = exported
        .lines()
        .filter(|line| line.starts_with("# TYPE "))
        .collect();
    let exported = metrics_in(&families);
    let read = |file: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        metrics_in(&fs::read_to_string(path).unwrap())
    };
    assert_eq!(read("docs/operate/metrics.md"), exported);
}

#[test]
fn requests_are_counted_by_app_where_the_operator_wants_that() {
    let echo = Echo::start();
    let labelled = |label: &str| {
        let more = format!("version: 1\nmetrics: {{ apps: {label} }}");
        let text = config(&echo.url(), ROUTES).replace("version: 1", &more);
        let gateway = Gateway::start(&text);
        for app in ["acme", "zenith"] {
            assert_eq!(gateway.enrol(app).partner.get("/").status, 200);
        }
        assert_eq!(gateway.stranger().get("/").status, 401);
        eventually("all three requests are counted", || {
            (gateway.count("countersign_http_requests_total") == 3).then_some(())
        });
        let (_, metrics) = gateway.ops_get("/metrics");
        let counted = metrics.lines().filter(|line| {
            line.starts_with("countersign_app_requests_total") && !line.ends_with(" 0")
        });
        counted.map(str::to_owned).collect::<Vec<_>>()
    };
    let series =
        |app: &str| format!("countersign_app_requests_total{{app=\"{app}\",code=\"2xx\"}} 1");
    assert_eq!(labelled("{ label: off }"), [""; 0]);
    let both = [series("acme"), series("zenith")];
    assert_eq!(labelled("{ label: first, max: 2 }"), both);
    let one = [series("_other"), series("zenith")];
    assert_eq!(labelled("{ label: listed, names: [zenith] }"), one);
}

#[test]
fn the_service_manager_is_told_when_it_is_ready_reloads_and_stops() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let told = || {
        let mut message = [0_u8; 512];
        let length = manager.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    let echo = Echo::start();
    let mut gateway = Gateway::start_with(&config(&echo.url(), OPEN), &[("NOTIFY_SOCKET", &path)]);
    assert_eq!(told().trim(), "READY=1");
    gateway.signal("HUP");
    let reloading = told();
    assert!(reloading.contains("RELOADING=1"), "{reloading}");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    assert_eq!(told().trim(), "READY=1");
    gateway.signal("TERM");
    assert_eq!(told().trim(), "STOPPING=1");
    assert_eq!(gateway.wait(Duration::from_secs(15)), Some(0));
}

#[test]
fn health_is_told_on_the_ops_port_only() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), OPEN));
    for path in ["/livez", "/readyz", "/startupz", "/readyz?verbose"] {
        assert_eq!(gateway.ops_get(path).0, 200, "{path}");
        assert_eq!(
            gateway.stranger().get(path).status,
            404,
            "not on the partners' port"
        );
    }
    assert_eq!(gateway.ops_get("/elsewhere").0, 404);
}

#[test]
fn the_access_log_tells_who_and_why_and_no_secret() {
    let echo = Echo::start();
    let routes = format!(
        "      - {{ match: {{ prefix: /key }}, require: mtls_and_key, upstream: api }}\n{ROUTES}"
    );
    let gateway = Gateway::start(&config(&echo.url(), &routes));
    let acme = gateway.enrol("acme");
    let (id, secret) = gateway.key("acme", &[]);
    let bearer = format!("Bearer {secret}");
    let answer = acme
        .partner
        .get_with("/key/x?token=hidden", &[("Authorization", &bearer)]);
    let line = gateway.record_of(answer.header("x-request-id").unwrap());
    assert_eq!(
        (
            line["status"].as_u64(),
            line["path"].as_str(),
            line["key"].as_str()
        ),
        (Some(200), Some("/key/x"), Some(&*id))
    );
    assert_eq!(line["certificate"], acme.serial.as_str());
    assert!(line["app"].as_str().unwrap().starts_with("app_"));
    let last = if bearer.ends_with('x') { "y" } else { "x" };
    let wrong = format!("{}{last}", &bearer[..bearer.len() - 1]);
    let refused = acme
        .partner
        .get_with("/key/x", &[("Authorization", &wrong)]);
    let line = gateway.record_of(refused.header("x-request-id").unwrap());
    assert_eq!(
        (line["status"].as_u64(), line["reason"].as_str()),
        (Some(401), Some("key_malformed"))
    );
    assert_eq!(
        refused.reason(),
        "credential_invalid",
        "the caller is not told which"
    );
    let everything = format!(
        "{}{}{}",
        gateway.log(),
        fs::read_to_string(gateway.dir().join("access.log")).unwrap(),
        gateway.ops_get("/metrics").1
    );
    for hidden in [secret.as_str(), "hidden", &secret[40..60]] {
        assert!(!everything.contains(hidden), "{hidden}");
    }
}

#[test]
fn a_refusal_is_recorded_with_whom_it_refused() {
    let echo = Echo::start();
    let routes = format!(
        "      - {{ match: {{ prefix: /key }}, require: key, scopes: [orders:read], upstream: api }}\n{ROUTES}"
    );
    let gateway = Gateway::start(&config(&echo.url(), &routes));
    let acme = gateway.enrol("acme");
    let (id, secret) = gateway.key("acme", &[]);
    let bearer = format!("Bearer {secret}");
    let app = gateway.cli_json(&["app", "get", "acme"])["id"].clone();
    let recorded = |answer: &crate::support::client::Answer| {
        gateway.record_of(answer.header("x-request-id").unwrap())
    };
    let scope = gateway
        .stranger()
        .get_with("/key", &[("Authorization", &bearer)]);
    let line = recorded(&scope);
    assert_eq!(line["reason"], "scope_missing");
    assert_eq!((&line["key"], &line["app"]), (&id.as_str().into(), &app));
    let exchanged = |secret: &str| {
        let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
        let kind = ("Content-Type", "application/x-www-form-urlencoded");
        gateway
            .stranger()
            .post("/oauth2/token", &[kind], form.as_bytes())
    };
    let line = recorded(&exchanged(&secret));
    assert_eq!(line["status"], 200);
    assert_eq!((&line["key"], &line["app"]), (&id.as_str().into(), &app));
    let line = recorded(&exchanged("sk_live_nonsense"));
    assert_eq!(line["status"], 401);
    assert_eq!(line["key"], id.as_str());
    assert!(line["app"].is_null(), "who knows no secret has said no App");
    gateway.cli(&["key", "revoke", &id, "--yes"]).ok();
    let revoked = gateway
        .stranger()
        .get_with("/key", &[("Authorization", &bearer)]);
    let line = recorded(&revoked);
    assert_eq!(line["reason"], "key_revoked");
    assert_eq!((&line["key"], &line["app"]), (&id.as_str().into(), &app));
    gateway.cli(&["cert", "revoke", &acme.id, "--yes"]).ok();
    let refused = acme.partner.get("/x");
    let line = recorded(&refused);
    assert_eq!(line["reason"], "cert_revoked");
    assert_eq!(
        (&line["certificate"], &line["app"]),
        (&acme.serial.as_str().into(), &app)
    );
    let nobody = gateway.stranger().get("/x");
    let line = recorded(&nobody);
    assert_eq!(line["reason"], "cert_missing");
    assert!(line["app"].is_null() && line["key"].is_null() && line["certificate"].is_null());
}

#[test]
fn bytes_that_are_no_request_are_answered_and_recorded() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), OPEN));
    for (sent, status, reason) in [
        (&b"nonsense\r\n\r\n"[..], 400, "request_malformed"),
        (b"GET / HTTP/1.1\nHost: api.example.test\n\n", 400, "request_malformed"),
        (b"POST /open HTTP/1.1\r\nHost: api.example.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "request_malformed"),
    ] {
        let mut connection = gateway.stranger().connect();
        connection.send(sent);
        let answer = connection.answer();
        assert_eq!((answer.status, answer.reason().as_str()), (status, reason));
        assert_eq!(answer.header("connection"), Some("close"));
        let line = gateway.record_of(answer.header("x-request-id").unwrap());
        assert_eq!((&line["method"], &line["path"]), (&"-".into(), &"-".into()));
        assert_eq!(line["reason"], reason);
        assert!(connection.is_closed_within(Duration::from_secs(5)));
    }
    assert_eq!(echo.requests(), 0);
}

#[test]
fn the_access_log_is_reopened_on_usr1() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), OPEN));
    gateway.stranger().get("/open");
    eventually("the first line", || {
        (!gateway.access_log().is_empty()).then_some(())
    });
    fs::rename(
        gateway.dir().join("access.log"),
        gateway.dir().join("access.log.1"),
    )
    .unwrap();
    gateway.signal("USR1");
    eventually("a new file", || {
        gateway.dir().join("access.log").exists().then_some(())
    });
    gateway.stranger().get("/open/again");
    eventually("the second line", || {
        gateway
            .access_log()
            .iter()
            .any(|line| line["path"] == "/open/again")
            .then_some(())
    });
}

#[test]
fn killing_it_in_the_middle_of_writes_loses_no_acknowledged_change() {
    let echo = Echo::start();
    let text = config(&echo.url(), ROUTES);
    let mut dir = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..4 {
        let gateway = Gateway::start_in(dir, &text);
        let socket = gateway.socket();
        let writer = std::thread::spawn({
            let at = gateway.dir().to_owned();
            move || {
                let mut done = Vec::new();
                for n in 0..200 {
                    let name = format!("app-{round}-{n}");
                    let args = [
                        "app",
                        "create",
                        &name,
                        "--admin-socket",
                        socket.to_str().unwrap(),
                    ];
                    if crate::support::process::countersign(&at, &args).code != 0 {
                        break;
                    }
                    done.push(name);
                }
                done
            }
        });
        eventually("some writes are done", || {
            (gateway.cli_json(&["app", "list"]).as_array()?.len() >= acknowledged.len() + 3)
                .then_some(())
        });
        dir = gateway.kill();
        let done = writer.join().unwrap();
        assert!(!done.is_empty() && done.len() < 200, "killed in the middle");
        acknowledged.extend(done);
    }
    let gateway = Gateway::start_in(dir, &text);
    let listed = gateway.cli_json(&["app", "list"]);
    let names: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|app| app["name"].as_str().unwrap())
        .collect();
    for name in &acknowledged {
        assert!(names.contains(&name.as_str()), "{name} is lost");
    }
    let audited = gateway.cli_json(&["audit", "list", "--limit", "1000"]);
    let events = audited
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["action"] == "app.create")
        .count();
    assert_eq!(events, names.len(), "one audit event for each change");
}

#[test]
fn what_it_cannot_trust_it_does_not_serve() {
    let echo = Echo::start();
    let text = config(&echo.url(), ROUTES);
    let gateway = Gateway::start(&text);
    let acme = gateway.enrol("acme");
    assert_eq!(acme.partner.get("/").status, 200);
    let mut dir = gateway.kill();
    for (file, damage) in [
        ("authority/issuing.pem", &b""[..]),
        ("authority/issuing.key", b"not a key"),
        ("authority/root.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("token.key", b"\0\0\0"),
        ("store.db", b"this is no database, and long enough to be read as one; this is no database, and long enough to be read as one"),
    ] {
        let path = dir.path().join(file);
        let good = fs::read(&path).unwrap();
        fs::write(&path, damage).unwrap();
        let (code, log, back) = Gateway::try_start_in(dir, &text).expect_err(file);
        assert!(matches!(code, Some(1 | 78)), "{file}: {code:?} {log}");
        dir = back;
        fs::write(&path, &good).unwrap();
        if file.starts_with("authority/") {
            let moved = path.with_extension("away");
            fs::rename(&path, &moved).unwrap();
            let (_, log, back) = Gateway::try_start_in(dir, &text).expect_err(file);
            assert!(log.contains("issuing") || log.contains("root"), "{log}");
            dir = back;
            fs::rename(dir.path().join(file).with_extension("away"), dir.path().join(file)).unwrap();
        }
    }
    // Gone altogether, beside the store or beside the mark that there was one.
    for gone in ["authority", "token.key"] {
        let (path, away) = (dir.path().join(gone), dir.path().join("away"));
        fs::rename(&path, &away).unwrap();
        let (code, log, back) = Gateway::try_start_in(dir, &text).expect_err(gone);
        assert!(matches!(code, Some(1 | 78)), "{gone}: {code:?} {log}");
        assert!(log.contains(gone) && log.contains("backup"), "{log}");
        let (store, store_away) = (back.path().join("store.db"), back.path().join("store.away"));
        fs::rename(&store, &store_away).unwrap();
        let (_, log, back) = Gateway::try_start_in(back, &text).expect_err(gone);
        assert!(log.contains("backup"), "{log}");
        assert!(!path.exists() && !store.exists(), "{gone} is not made anew");
        fs::rename(&store_away, &store).unwrap();
        fs::rename(&away, &path).unwrap();
        dir = back;
    }
    let gateway = Gateway::start_in(dir, &text);
    let partner = gateway.partner(&gateway.dir().join("acme-prod.pem"), &acme.key);
    drop(partner);
    assert_eq!(
        gateway.cli_json(&["app", "list"]).as_array().unwrap().len(),
        1
    );
}

#[test]
fn what_the_gateway_does_of_itself_is_in_the_audit_trail() {
    let echo = Echo::start();
    let text = config(&echo.url(), ROUTES);
    let mut gateway = Gateway::start(&text);
    let actions = |gateway: &Gateway| -> Vec<String> {
        let listed = gateway.cli_json(&["audit", "list"]);
        let events = listed.as_array().unwrap().iter();
        events
            .filter(|event| event["actor"] == "gateway")
            .map(|event| event["action"].as_str().unwrap().to_owned())
            .collect()
    };
    let mut first = actions(&gateway);
    first.sort();
    assert_eq!(first, ["authority.create", "token_key.create"]);
    gateway.signal("HUP");
    eventually("the reload is written down", || {
        actions(&gateway)
            .contains(&"gateway.reload".to_owned())
            .then_some(())
    });
    gateway.signal("TERM");
    assert_eq!(gateway.wait(Duration::from_secs(15)), Some(0));
    let gateway = Gateway::start_in(gateway.kill(), &text);
    let mut all = actions(&gateway);
    all.sort();
    let drained = "gateway.drain";
    assert_eq!(
        all,
        [
            "authority.create",
            drained,
            "gateway.reload",
            "token_key.create"
        ]
    );
}

#[test]
fn keys_on_disk_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    for file in [
        "authority/issuing.key",
        "authority/root.key",
        "token.key",
        "store.db",
    ] {
        let mode = fs::metadata(gateway.dir().join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{file}: {mode:o}");
    }
}

#[test]
fn traffic_flows_while_the_store_is_away() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let acme = gateway.enrol("acme");
    // A writer that never ends keeps every other one out.
    let lock = rusqlite::Connection::open(gateway.dir().join("store.db")).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = gateway.cli(&["app", "create", "zenith"]);
    assert_ne!(refused.code, 0);
    assert_eq!(acme.partner.get("/").status, 200);
    lock.execute_batch("ROLLBACK").unwrap();
    gateway.cli(&["app", "create", "zenith"]).ok();
}

#[test]
fn the_demo_takes_its_own_tour() {
    let dir = tempfile::tempdir().unwrap();
    let tour = crate::support::process::countersign(
        dir.path(),
        &["demo", "--once", "--dir", "demo", "--listen", "127.0.0.1:0"],
    );
    assert_eq!(tour.code, 0, "{tour:?}");
    for step in [
        "cert_missing",
        "whoami",
        "token",
        "cert_revoked",
        "countersign_",
    ] {
        assert!(tour.stdout.contains(step), "{step}: {}", tour.stdout);
    }
    let again = crate::support::process::countersign(
        dir.path(),
        &["demo", "--once", "--dir", "demo", "--listen", "127.0.0.1:0"],
    );
    assert_eq!(again.code, 0, "the directory is used again: {again:?}");
    let leaked = run(
        dir.path(),
        "grep",
        &[
            "-rlE",
            "BEGIN .*PRIVATE KEY|sk_live_[0-9A-Za-z]{8}",
            "demo/log",
        ],
    );
    assert_eq!(leaked.stdout, "");
}
