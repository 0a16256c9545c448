//! Reloads of every kind beside callers with fresh and kept connections over HTTP/1.1 and HTTP/2: a reload takes effect
//! at one moment, and no caller meets a part of one configuration beside a part of another.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;

use crate::support::client::Partner;
use crate::support::gateway::{Enrolled, Gateway, HOST, config, config_with};
use crate::support::pki::{self, Stranger};
use crate::support::process::run;
use crate::support::upstream::{Echo, Secured};

const MTLS: &str = "      - { match: { prefix: / }, require: mtls, upstream: api }";

/// The number of reloads of each kind.
const TURNS: usize = 12;

/// Callers of `/x`, and what they met.
#[derive(Default)]
struct Callers {
    over: AtomicBool,
    calls: AtomicU64,
}

impl Callers {
    fn are_needed(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// Counts a call, and gives what was wrong with its answer.
    fn judge(&self, how: &str, status: u16, why: &str) -> Option<String> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        (status != 200).then(|| format!("{how}: {status} {why}"))
    }

    fn afresh(&self, partner: &Partner) -> Vec<String> {
        let mut bad = Vec::new();
        while self.are_needed() {
            let answer = partner.get("/x");
            bad.extend(self.judge("fresh, HTTP/1.1", answer.status, &answer.reason()));
            let answer = partner.get_h2("/x", &[]);
            bad.extend(self.judge("fresh, HTTP/2", answer.status, &answer.reason()));
        }
        bad
    }

    /// The connection is changed when the gateway closes it between two requests.
    fn again(&self, partner: &Partner) -> Vec<String> {
        let mut bad = Vec::new();
        let mut connection = partner.connect();
        while self.are_needed() {
            let answer = connection.get("/x");
            bad.extend(self.judge("kept, HTTP/1.1", answer.status, &answer.reason()));
            if answer.header("connection") == Some("close") {
                connection = partner.connect();
            }
        }
        bad
    }

    fn again_over_h2(&self, partner: &Partner) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut bad = Vec::new();
            let mut sender = partner.h2().await;
            while self.are_needed() {
                if sender.ready().await.is_err() {
                    sender = partner.h2().await;
                }
                match get_over(&mut sender).await {
                    Ok((status, why)) => bad.extend(self.judge("kept, HTTP/2", status, &why)),
                    // GOAWAY came before the request had left.
                    Err(error) if error.is_canceled() => {}
                    Err(error) => bad.push(format!("kept, HTTP/2: {error}")),
                }
            }
            bad
        })
    }
}

async fn get_over(sender: &mut SendRequest<Full<Bytes>>) -> hyper::Result<(u16, String)> {
    let uri = format!("https://{HOST}/x");
    let request = http::Request::get(uri).body(Full::default()).unwrap();
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// Does `change` [`TURNS`] times beside callers, none of which may get anything but 200.
#[track_caller]
fn beside_callers(what: &str, partner: &Partner, mut change: impl FnMut(usize)) {
    let callers = Callers::default();
    let bad: Vec<String> = thread::scope(|scope| {
        let all = [
            scope.spawn(|| callers.afresh(partner)),
            scope.spawn(|| callers.afresh(partner)),
            scope.spawn(|| callers.again(partner)),
            scope.spawn(|| callers.again_over_h2(partner)),
        ];
        let changed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..TURNS).for_each(&mut change);
        }));
        callers.over.store(true, Ordering::Relaxed);
        let bad = all.into_iter().flat_map(|caller| caller.join().unwrap());
        let bad = bad.collect();
        changed.unwrap();
        bad
    });
    assert_eq!(bad, [""; 0], "{what}");
    let calls = callers.calls.load(Ordering::Relaxed);
    assert!(calls > TURNS as u64, "{what}: {calls} calls");
}

fn reload(gateway: &Gateway, text: &str) {
    gateway.configure(text);
    gateway.cli(&["reload"]).ok();
}

fn start(text: &str) -> (Gateway, Enrolled) {
    let gateway = Gateway::start(text);
    let acme = gateway.enrol("acme");
    (gateway, acme)
}

#[test]
fn reloads_to_and_fro_refuse_nobody() {
    let (one, other) = (Echo::start(), Echo::start());
    let with = |more: &str| config_with(&one.url(), MTLS, more);
    let routes = |routes: &str| config(&one.url(), &format!("{routes}\n{MTLS}"));
    let of_host = |setting: &str| {
        let host = format!("  {HOST}:\n");
        with("").replace(&host, &format!("{host}    {setting}\n"))
    };
    let upstream = |settings: &str| {
        let plain = format!("[\"{}\"] }}", one.url());
        with("").replace(&plain, &format!("[\"{}\"], {settings} }}", one.url()))
    };
    let limit = |rate: &str| {
        routes(
            &MTLS
                .replace(
                    "mtls,",
                    &format!("mtls, limit: {{ per: app, rate: {rate} }},"),
                )
                .replace("prefix: /", "path: /x"),
        )
    };
    let (gateway, acme) = start(&with(""));
    for (what, texts) in [
        (
            "the host asks for certificates in other ways",
            [
                of_host("client_auth: { mode: required, reject: alert }"),
                of_host("client_auth: { mode: optional }"),
            ],
        ),
        (
            "the oldest version of TLS",
            [
                with("tls: { min_version: \"1.3\" }"),
                with("tls: { min_version: \"1.2\" }"),
            ],
        ),
        (
            "identity headers that need the whole certificate",
            [with("identity_headers: { client_cert: true }"), with("")],
        ),
        (
            "a limit that nobody reaches",
            [limit("1000000/s"), limit("900000/s")],
        ),
        (
            "another route",
            [
                routes("      - { match: { path: /other }, require: none, upstream: api }"),
                with(""),
            ],
        ),
        (
            "another route for the same path",
            [
                routes("      - { match: { path: /x }, require: mtls, upstream: api }"),
                with(""),
            ],
        ),
        (
            "the upstream's address",
            [with(""), config(&other.url(), MTLS)],
        ),
        (
            "the upstream's protocol",
            [upstream("protocol: http2"), upstream("protocol: http1")],
        ),
        (
            "the upstream's bounds",
            [
                upstream("pool: { connections_max: 7 }, timeouts: { first_byte: 7s }"),
                with(""),
            ],
        ),
        (
            "an upstream's name",
            [
                with("")
                    .replace("api:", "api2:")
                    .replace("upstream: api", "upstream: api2"),
                with(""),
            ],
        ),
        (
            "HTTP/2 stays, and the issuer of tokens changes",
            [
                with("").replace("issuer: ", "client_auth: [tls_client_auth], issuer: "),
                with(""),
            ],
        ),
    ] {
        beside_callers(what, &acme.partner, |turn| {
            reload(&gateway, &texts[turn % 2]);
        });
    }
    assert_eq!(
        gateway.count_of("countersign_refusals_total", "host_mismatch"),
        0
    );
}

/// A route that comes and goes is there or not; nothing else is ever answered.
#[test]
fn a_route_that_comes_and_goes_is_there_or_is_unknown() {
    let echo = Echo::start();
    let kept = "      - { match: { path: /x }, require: mtls, upstream: api }";
    let more =
        format!("{kept}\n      - {{ match: {{ path: /more }}, require: none, upstream: api }}");
    let texts = [config(&echo.url(), &more), config(&echo.url(), kept)];
    let (gateway, acme) = start(&texts[1]);
    let over = AtomicBool::new(false);
    let stranger = gateway.stranger();
    thread::scope(|scope| {
        let seen = scope.spawn(|| {
            let mut seen = [0_usize; 2];
            while !over.load(Ordering::Relaxed) {
                let answer = stranger.get("/more");
                match answer.status {
                    200 => seen[0] += 1,
                    404 => seen[1] += 1,
                    _ => panic!("{answer:?}"),
                }
            }
            seen
        });
        beside_callers("a route", &acme.partner, |turn| {
            reload(&gateway, &texts[turn % 2]);
            let expected = if turn % 2 == 0 { 200 } else { 404 };
            assert_eq!(stranger.get("/more").status, expected, "after the receipt");
        });
        over.store(true, Ordering::Relaxed);
        let seen = seen.join().unwrap();
        assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    });
}

/// The address, and the authority that its certificate comes from, change at once. A connection that is opened to one
/// address and judged by the other's authority would be refused.
#[test]
fn an_upstreams_address_and_its_authority_change_together() {
    let dir = tempfile::tempdir().unwrap();
    let names = "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth";
    let texts = ["one", "other"].map(|name| {
        let authority = Stranger::new(dir.path(), name, &format!("/CN={name}"));
        let made = pki::request(dir.path(), &format!("{name}-api"));
        let server = Secured::start(&authority.sign(&made, names), &made.key);
        let plain = config(&server.url(), MTLS);
        let tls = format!(
            "\"], tls: {{ ca: \"{}\" }} }}",
            authority.certificate().display()
        );
        (plain.replace("\"] }", &tls), server)
    });
    let (gateway, acme) = start(&texts[0].0);
    beside_callers("address and authority", &acme.partner, |turn| {
        reload(&gateway, &texts[(turn + 1) % 2].0);
    });
    assert_eq!(
        gateway.count_of("countersign_refusals_total", "upstream_tls"),
        0
    );
}

/// The server certificate changes under the same name of its file.
#[test]
fn a_server_certificate_changes_and_every_handshake_ends_well() {
    let echo = Echo::start();
    let dir = tempfile::tempdir().unwrap();
    let authority = Stranger::new(dir.path(), "public", "/CN=Public");
    let names = format!("subjectAltName=DNS:{HOST}\nextendedKeyUsage=serverAuth");
    let pairs = ["first", "second"].map(|name| {
        let made = pki::request(dir.path(), name);
        (authority.sign(&made, &names), made.key)
    });
    let serve = |dir: &Path, turn: usize| {
        let (certificate, key) = &pairs[turn % 2];
        fs::copy(
            dir.join(certificate.file_name().unwrap()),
            dir.join("server.pem"),
        )
        .unwrap();
        fs::copy(dir.join(key.file_name().unwrap()), dir.join("server.key")).unwrap();
    };
    serve(dir.path(), 0);
    let tls = "tls: { certificates: [{ cert: server.pem, key: \"${file:server.key}\" }] }";
    let text = config_with(&echo.url(), MTLS, tls);
    let gateway = Gateway::start_in(dir, &text);
    let acme = gateway.enrol("acme");
    let identity = Some((acme.certificate.as_path(), acme.key.as_path()));
    let partner = Partner::new(gateway.partners(), HOST, &authority.certificate(), identity);
    let mut shown = vec![partner.connect().shown()];
    beside_callers("the server certificate", &partner, |turn| {
        serve(gateway.dir(), turn + 1);
        gateway.cli(&["reload"]).ok();
        shown.push(partner.connect().shown());
    });
    assert!(shown.windows(2).all(|pair| pair[0] != pair[1]));
}

/// Makes another issuing certificate below the gateway's root, and lists the one that it replaces.
fn next_issuing(directory: &Path, turn: usize) {
    let usage = "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n\
        subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";
    fs::write(directory.join("next.ext"), usage).unwrap();
    let sign = format!(
        "x509 -req -in next.csr -CA root.pem -CAkey root.key -set_serial {} -days 1826 -extfile next.ext -out next.pem",
        turn + 7
    );
    let request = format!("req -new -key next.key -subj /CN=Next-{turn} -out next.csr");
    for line in [
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out next.key",
        &request,
        &sign,
    ] {
        let args: Vec<_> = line.split(' ').collect();
        run(directory, "openssl", &args).ok();
    }
    let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap_or_default();
    fs::write(
        directory.join("retired.pem"),
        read("issuing.pem") + &read("retired.pem"),
    )
    .unwrap();
    fs::rename(directory.join("next.key"), directory.join("issuing.key")).unwrap();
    fs::rename(directory.join("next.pem"), directory.join("issuing.pem")).unwrap();
}

/// The certificate alone, without its issuer's.
fn leaf_of(dir: &Path, chain: &Path) -> PathBuf {
    let leaf = chain.with_extension("leaf");
    let args = [
        "x509",
        "-in",
        chain.to_str().unwrap(),
        "-out",
        leaf.to_str().unwrap(),
    ];
    run(dir, "openssl", &args).ok();
    leaf
}

/// A certificate that the new authority has signed is accepted from the moment at which the operator has it.
#[test]
fn the_authority_changes_and_what_it_signs_is_trusted_at_once() {
    let echo = Echo::start();
    let many = "directory: authority, profile: { active_max: 100 } }";
    let text = config(&echo.url(), MTLS).replace("directory: authority }", many);
    let (gateway, acme) = start(&text);
    let made = pki::request(gateway.dir(), "signed");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let signed = scope.spawn(|| {
            let mut count = 0_usize;
            while !over.load(Ordering::Relaxed) && count < 90 {
                let signed = gateway.sign("acme", &format!("n{count}"), &made);
                let leaf = leaf_of(gateway.dir(), &signed.certificate);
                let partner = gateway.partner(&leaf, &made.key);
                let answer = partner.get("/x");
                assert_eq!(answer.status, 200, "certificate {count}: {answer:?}");
                count += 1;
            }
            count
        });
        beside_callers("the authority", &acme.partner, |turn| {
            // Trust in more than a few issuing certificates at once is not what an operator has.
            if turn < 5 {
                next_issuing(&gateway.dir().join("authority"), turn);
            }
            gateway.cli(&["reload"]).ok();
        });
        over.store(true, Ordering::Relaxed);
        assert!(signed.join().unwrap() > 0);
    });
    let audit = gateway.cli_json(&["audit", "list", "--action", "authority.replace"]);
    assert_eq!(audit.as_array().unwrap().len(), 5, "{audit}");
}

#[test]
fn a_setting_that_needs_a_restart_changes_nothing_and_is_named() {
    let echo = Echo::start();
    let texts = [
        config_with(&echo.url(), MTLS, "log: { level: debug }"),
        config(&echo.url(), MTLS),
    ];
    let (gateway, acme) = start(&texts[1]);
    beside_callers("the log's level", &acme.partner, |turn| {
        gateway.configure(&texts[turn % 2]);
        let answer = gateway.cli_json(&["reload"]);
        let expected: &[&str] = if turn % 2 == 0 { &["log"] } else { &[] };
        assert_eq!(answer["restart_needed"], serde_json::json!(expected));
    });
    assert!(!gateway.log().contains("DEBUG"));
}

/// The state of a gateway that no refused configuration may change.
fn state(gateway: &Gateway) -> (u64, String, serde_json::Value) {
    let (_, metrics) = gateway.ops_get("/metrics");
    let digest = metrics
        .lines()
        .find(|line| line.starts_with("countersign_config_revision_info{"));
    let mut status = gateway.cli_json(&["status"]);
    status["revision"].take();
    (
        gateway.count("countersign_snapshot_version"),
        digest.unwrap().to_owned(),
        status,
    )
}

#[test]
fn a_refused_configuration_leaves_all_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let echo = Echo::start();
    let text = config(&echo.url(), MTLS);
    let gateway = Gateway::start_in(dir, &text);
    let acme = gateway.enrol("acme");
    let authority = gateway.dir().join("authority/issuing.key");
    let key = fs::read(&authority).unwrap();
    let tls = |more: &str| config_with(&echo.url(), MTLS, more);
    let refused = [
        // Each changes something that would be visible as well.
        "version: [".to_owned(),
        tls(
            "tls: { min_version: \"1.3\", certificates: [{ cert: none.pem, key: \"${file:none.key}\" }] }",
        ),
        text.replace(
            "require: mtls, upstream: api",
            "require: none, upstream: gone",
        ),
        text.replace("mtls,", "none,").replace("[\"http", "[\"ftp"),
        text.replace("[\"http://", "[\"https://")
            .replace("\"] }", "\"], tls: { ca: none.pem } }"),
        tls("drain: { delay: soon }").replace("mtls,", "none,"),
        config(&echo.url(), "").replace("routes:", "routes: []"),
    ];
    let mut kept = acme.partner.connect();
    assert_eq!(kept.get("/x").status, 200);
    let first = acme.partner.connect().shown();
    gateway.cli(&["reload"]).ok();
    let shown = acme.partner.connect().shown();
    assert_ne!(
        first, shown,
        "a certificate of our own is new after a reload"
    );
    // The gauges follow within seconds.
    let before = crate::support::eventually::eventually("the metrics are at rest", || {
        let before = state(&gateway);
        (before.0 == before.2["snapshot_version"].as_u64()?).then_some(before)
    });
    beside_callers("refused", &acme.partner, |turn| {
        let last = turn % (refused.len() + 1);
        if let Some(text) = refused.get(last) {
            gateway.configure(text);
        } else {
            gateway.configure(&text.replace("mtls,", "none,"));
            fs::write(&authority, "nonsense").unwrap();
        }
        let answer = gateway.cli(&["reload"]);
        assert_eq!(answer.code, 6, "{last}: {answer:?}");
        fs::write(&authority, &key).unwrap();
        assert_eq!(gateway.stranger().get("/x").status, 401, "{last}");
        assert_eq!(acme.partner.connect().shown(), shown, "{last}");
    });
    assert_eq!(kept.get("/x").status, 200);
    assert_eq!(state(&gateway), before);
    assert_eq!(
        gateway.count("countersign_config_last_reload_successful"),
        0
    );
}
