//! Who may finish a handshake, and what those who may not are told.

use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::client::ask_h2;
use crate::support::eventually::eventually;
use crate::support::gateway::{Gateway, HOST, config, config_with};
use crate::support::pki::{self, Stranger};
use crate::support::process::run;
use crate::support::upstream::Echo;

const MTLS: &str = "      - { match: { prefix: / }, require: mtls, upstream: api }";
const OPEN: &str = "      - { match: { prefix: / }, require: none, upstream: api }";

#[test]
fn a_registered_certificate_is_let_in_over_tls_1_3_and_1_2() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), MTLS));
    let acme = gateway.enrol("acme");
    assert_eq!(acme.partner.get("/v1").status, 200);
    let identity = Some((acme.certificate.as_path(), acme.key.as_path()));
    assert_eq!(
        acme.partner
            .over_tls12(&gateway.ca(), identity)
            .get("/v1")
            .status,
        200
    );
}

#[test]
fn no_certificate_is_401_and_says_how_to_mend_it() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), MTLS));
    let answer = gateway.stranger().get("/v1");
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (401, "cert_missing")
    );
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    assert!(
        answer.json()["request_id"]
            .as_str()
            .unwrap()
            .starts_with("req_")
    );
    assert!(answer.header("www-authenticate").is_some());
    assert_eq!(echo.requests(), 0);
}

#[test]
fn a_certificate_of_an_unknown_authority_gets_the_alert() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), MTLS));
    let acme = gateway.enrol("acme");
    let made = pki::request(gateway.dir(), "intruder");
    let stranger = Stranger::new(gateway.dir(), "elsewhere", "/CN=Elsewhere");
    let foreign = stranger.sign(&made, "extendedKeyUsage=clientAuth");
    let mut connection = gateway.partner(&foreign, &made.key).connect();
    let _ = connection.try_send(b"GET / HTTP/1.1\r\nHost: api.example.test\r\n\r\n");
    assert!(connection.try_answer().is_none());
    assert_eq!(echo.requests(), 0);
    eventually("the refusal is counted", || {
        let (_, metrics) = gateway.ops_get("/metrics");
        metrics
            .lines()
            .any(|line| {
                line.starts_with("countersign_tls_handshakes_total")
                    && line.contains("cert_untrusted")
                    && !line.ends_with(" 0")
            })
            .then_some(())
    });
    assert_eq!(acme.partner.get("/v1").status, 200);
}

#[test]
fn an_authority_with_our_name_and_another_key_is_unknown() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), MTLS));
    let issuing = gateway.dir().join("authority/issuing.pem");
    let args = [
        "x509",
        "-in",
        issuing.to_str().unwrap(),
        "-noout",
        "-subject",
        "-nameopt",
        "compat",
    ];
    let subject = run(gateway.dir(), "openssl", &args).ok();
    let subject = subject
        .trim()
        .trim_start_matches("subject=")
        .trim()
        .to_owned();
    let subject = if subject.starts_with('/') {
        subject
    } else {
        format!("/{}", subject.replace(", ", "/").replace(" = ", "="))
    };
    let twin = Stranger::new(gateway.dir(), "twin", &subject);
    let made = pki::request(gateway.dir(), "intruder");
    let forged = twin.sign(&made, "extendedKeyUsage=clientAuth");
    let mut connection = gateway.partner(&forged, &made.key).connect();
    let _ = connection.try_send(b"GET / HTTP/1.1\r\nHost: api.example.test\r\n\r\n");
    assert!(connection.try_answer().is_none());
    assert_eq!(echo.requests(), 0);
}

#[test]
fn required_refuses_at_the_handshake_who_shows_nothing() {
    let echo = Echo::start();
    let required = "tls: { client_auth: { mode: required } }";
    let gateway = Gateway::start(&config_with(&echo.url(), MTLS, required));
    let mut connection = gateway.stranger().connect();
    let _ = connection.try_send(b"GET / HTTP/1.1\r\nHost: api.example.test\r\n\r\n");
    assert!(connection.try_answer().is_none());
    let acme = gateway.enrol("acme");
    assert_eq!(acme.partner.get("/").status, 200);
}

#[test]
fn off_asks_nobody() {
    let echo = Echo::start();
    let off = "tls: { client_auth: { mode: off } }";
    let gateway = Gateway::start(&config_with(&echo.url(), OPEN, off));
    let acme = gateway.enrol("acme");
    let answer = acme.partner.get("/");
    assert_eq!(answer.status, 200);
    assert!(!answer.text().contains("x-countersign-app-id"));
}

#[test]
fn explain_finishes_the_handshake_of_a_revoked_certificate_and_names_the_reason() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), MTLS));
    let acme = gateway.enrol("acme");
    gateway.cli(&["cert", "revoke", &acme.id, "--yes"]).ok();
    let answer = acme.partner.get("/v1");
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (403, "cert_revoked")
    );
    let problem = answer.json();
    assert_eq!(problem["serial"], acme.serial.as_str());
    for field in [
        "not_before",
        "not_after",
        "now",
        "request_id",
        "detail",
        "title",
    ] {
        assert!(problem[field].is_string(), "{field} in {problem}");
    }
    assert_eq!(echo.requests(), 0);
}

#[test]
fn alert_refuses_a_revoked_certificate_at_the_handshake() {
    let echo = Echo::start();
    let alert = "tls: { client_auth: { mode: optional, reject: alert } }";
    let gateway = Gateway::start(&config_with(&echo.url(), MTLS, alert));
    let acme = gateway.enrol("acme");
    assert_eq!(acme.partner.get("/v1").status, 200);
    gateway.cli(&["cert", "revoke", &acme.id, "--yes"]).ok();
    let fresh = gateway.partner(&acme.certificate, &acme.key);
    let mut connection = fresh.connect();
    let _ = connection.try_send(b"GET / HTTP/1.1\r\nHost: api.example.test\r\n\r\n");
    assert!(connection.try_answer().is_none());
}

#[test]
fn a_quarantined_caller_reaches_no_upstream_even_where_nothing_is_required() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), OPEN));
    let acme = gateway.enrol("acme");
    gateway.cli(&["cert", "revoke", &acme.id, "--yes"]).ok();
    assert_eq!(acme.partner.get("/v1").reason(), "cert_revoked");
    assert_eq!(echo.requests(), 0);
}

#[test]
fn a_certificate_that_was_signed_and_is_not_registered_does_not_count() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), MTLS));
    let made = pki::request(gateway.dir(), "side-door");
    let (ca, key) = ("authority/issuing.pem", "authority/issuing.key");
    let ext = gateway.dir().join("ext");
    std::fs::write(
        &ext,
        "extendedKeyUsage=clientAuth\nkeyUsage=digitalSignature",
    )
    .unwrap();
    let args = [
        "x509",
        "-req",
        "-in",
        made.csr.to_str().unwrap(),
        "-CA",
        ca,
        "-CAkey",
        key,
        "-set_serial",
        "7",
        "-days",
        "5",
        "-extfile",
        "ext",
        "-out",
        "side-door.pem",
    ];
    run(gateway.dir(), "openssl", &args).ok();
    let answer = gateway
        .partner(&gateway.dir().join("side-door.pem"), &made.key)
        .get("/");
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (403, "cert_unregistered")
    );
    assert_eq!(echo.requests(), 0);
}

#[test]
fn a_certificate_without_the_right_usage_is_refused() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), MTLS));
    for (name, extensions) in [
        ("server-only", "extendedKeyUsage=serverAuth"),
        ("no-usage", "basicConstraints=CA:FALSE"),
        (
            "encipherment",
            "extendedKeyUsage=clientAuth\nkeyUsage=keyEncipherment",
        ),
        (
            "signer",
            "extendedKeyUsage=clientAuth\nkeyUsage=keyCertSign",
        ),
        (
            "authority",
            "extendedKeyUsage=clientAuth\nbasicConstraints=CA:TRUE",
        ),
    ] {
        let made = pki::request(gateway.dir(), name);
        std::fs::write(gateway.dir().join("ext"), extensions).unwrap();
        let out = format!("{name}.pem");
        let args = [
            "x509",
            "-req",
            "-in",
            made.csr.to_str().unwrap(),
            "-CA",
            "authority/issuing.pem",
            "-CAkey",
            "authority/issuing.key",
            "-set_serial",
            "9",
            "-days",
            "5",
            "-extfile",
            "ext",
            "-out",
            &out,
        ];
        run(gateway.dir(), "openssl", &args).ok();
        let mut connection = gateway
            .partner(&gateway.dir().join(&out), &made.key)
            .connect();
        let _ = connection.try_send(b"GET / HTTP/1.1\r\nHost: api.example.test\r\n\r\n");
        assert!(connection.try_answer().is_none(), "{name}");
    }
    assert_eq!(echo.requests(), 0);
}

/// A certificate with these dates, signed with the gateway's own key behind its back.
fn signed_with_dates(gateway: &Gateway, name: &str, start: &str, end: &str) -> (PathBuf, PathBuf) {
    let made = pki::request(gateway.dir(), name);
    let write = |file: &str, text: &str| std::fs::write(gateway.dir().join(file), text).unwrap();
    write(
        "ext",
        "extendedKeyUsage=clientAuth\nkeyUsage=digitalSignature",
    );
    // Of OpenSSL's commands only `ca` sets both dates.
    write("index.txt", "");
    write(
        "ca.cnf",
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n",
    );
    write("serial", "0A\n");
    let out = gateway.dir().join(format!("{name}.pem"));
    let args = [
        "ca",
        "-batch",
        "-config",
        "ca.cnf",
        "-in",
        made.csr.to_str().unwrap(),
        "-cert",
        "authority/issuing.pem",
        "-keyfile",
        "authority/issuing.key",
        "-startdate",
        start,
        "-enddate",
        end,
        "-extfile",
        "ext",
        "-out",
        out.to_str().unwrap(),
        "-notext",
    ];
    run(gateway.dir(), "openssl", &args).ok();
    (out, made.key)
}

#[test]
fn an_expired_certificate_is_explained() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), MTLS));
    let (old, key) = signed_with_dates(&gateway, "old", "20260101000000Z", "20260102000000Z");
    let answer = gateway.partner(&old, &key).get("/");
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (403, "cert_expired")
    );
    assert_eq!(answer.json()["not_after"], "2026-01-02T00:00:00Z");
    assert_eq!(echo.requests(), 0);
}

#[test]
fn a_certificate_of_the_future_is_explained_or_gets_the_alert() {
    let echo = Echo::start();
    let hosts = format!(
        "{MTLS}\n  alert.example.test:\n    client_auth: {{ reject: alert }}\n    routes:\n{MTLS}"
    );
    let gateway = Gateway::start(&config(&echo.url(), &hosts));
    let date = |days: &str| {
        let words = format!("+{days} days");
        let said = run(
            gateway.dir(),
            "date",
            &["-u", "-d", &words, "+%Y%m%d%H%M%SZ"],
        );
        said.ok().trim().to_owned()
    };
    let (early, key) = signed_with_dates(&gateway, "early", &date("30"), &date("40"));
    let partner = gateway.partner(&early, &key);
    let answer = partner.get("/");
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (403, "cert_not_yet_valid")
    );
    let told = answer.json();
    assert!(told["not_before"].as_str() > told["now"].as_str(), "{told}");
    let before = gateway.handshakes_refused("cert_not_yet_valid");
    let mut connection = partner.connect_as("alert.example.test");
    let _ = connection.try_send(b"GET / HTTP/1.1\r\nHost: alert.example.test\r\n\r\n");
    assert!(connection.try_answer().is_none());
    eventually("the refusal is counted", || {
        (gateway.handshakes_refused("cert_not_yet_valid") == before + 1).then_some(())
    });
    assert_eq!(echo.requests(), 0);
}

#[test]
fn required_explains_too_what_is_wrong_with_a_certificate_of_ours() {
    let echo = Echo::start();
    let required = "tls: { client_auth: { mode: required, reject: explain } }";
    let gateway = Gateway::start(&config_with(&echo.url(), MTLS, required));
    let acme = gateway.enrol("acme");
    assert_eq!(acme.partner.get("/").status, 200);
    gateway.cli(&["cert", "revoke", &acme.id, "--yes"]).ok();
    let answer = acme.partner.get("/");
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (403, "cert_revoked")
    );
    assert_eq!(answer.json()["serial"], acme.serial.as_str());
    let mut nothing = gateway.stranger().connect();
    let _ = nothing.try_send(b"GET / HTTP/1.1\r\nHost: api.example.test\r\n\r\n");
    assert!(nothing.try_answer().is_none(), "nothing to explain");
    eventually("the refusal is counted", || {
        (gateway.handshakes_refused("cert_missing") == 1).then_some(())
    });
    assert_eq!(echo.requests(), 1);
}

#[test]
fn resumption_never_skips_the_registry() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), MTLS));
    let acme = gateway.enrol("acme");
    let resumed = eventually("a session is resumed", || {
        let mut connection = acme.partner.connect();
        assert_eq!(connection.get("/").status, 200);
        connection.resumed().then_some(connection)
    });
    drop(resumed);
    gateway.cli(&["cert", "revoke", &acme.id, "--yes"]).ok();
    let mut connection = acme.partner.connect();
    assert_eq!(connection.get("/").reason(), "cert_revoked");
}

#[test]
fn a_host_with_another_tls_policy_needs_a_connection_of_its_own() {
    let echo = Echo::start();
    let routes = format!(
        "{OPEN}\n  strict.example.test:\n    client_auth: {{ mode: required }}\n    routes:\n      - {{ match: {{ prefix: / }}, require: mtls, upstream: api }}"
    );
    let gateway = Gateway::start(&config(&echo.url(), &routes));
    let acme = gateway.enrol("acme");
    let strict = b"GET / HTTP/1.1\r\nHost: strict.example.test\r\n\r\n";
    let mut fresh = acme.partner.connect();
    fresh.send(strict);
    let answer = fresh.answer();
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (403, "host_mismatch")
    );
    let mut reused = acme.partner.connect();
    assert_eq!(reused.get("/").status, 200);
    reused.send(strict);
    assert_eq!(reused.answer().status, 421);
    let mut own = acme.partner.connect_as("strict.example.test");
    own.send(strict);
    assert_eq!(own.answer().status, 200);
    let open = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let mut wrong_way = acme.partner.connect_as("strict.example.test");
    wrong_way.send(open.as_bytes());
    assert_eq!(wrong_way.answer().status, 403);
    assert!(
        gateway
            .stranger()
            .connect_as("strict.example.test")
            .try_answer()
            .is_none()
    );
}

#[test]
fn over_http2_too_a_host_with_another_tls_policy_needs_a_connection_of_its_own() {
    let echo = Echo::start();
    let routes = format!(
        "{OPEN}\n  strict.example.test:\n    client_auth: {{ mode: required }}\n    routes:\n{MTLS}"
    );
    let gateway = Gateway::start(&config(&echo.url(), &routes));
    let acme = gateway.enrol("acme");
    let (open, strict) = (format!("https://{HOST}/"), "https://strict.example.test/");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut fresh = acme.partner.h2().await;
        let refused = ask_h2(&mut fresh, strict).await;
        assert_eq!(refused, (403, "host_mismatch".to_owned()));
        let mut kept = acme.partner.h2().await;
        assert_eq!(ask_h2(&mut kept, &open).await.0, 200);
        let misdirected = ask_h2(&mut kept, strict).await;
        assert_eq!(misdirected, (421, "host_mismatch".to_owned()));
        assert_eq!(ask_h2(&mut kept, &open).await.0, 200, "it goes on");
    });
    assert_eq!(echo.requests(), 2);
}

#[test]
fn silence_and_nonsense_end_the_connection_and_harm_nobody() {
    let echo = Echo::start();
    let text = config(&echo.url(), MTLS).replacen(
        "\"127.0.0.1:0\" }",
        "\"127.0.0.1:0\", timeouts: { handshake: 1s } }",
        1,
    );
    let gateway = Gateway::start(&text);
    let acme = gateway.enrol("acme");
    let silent = TcpStream::connect(gateway.partners()).unwrap();
    for nonsense in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x40\x00\x01",
        &[0; 4096],
        b"\x16\x03\x03\x00\x00",
    ] {
        let mut stream = TcpStream::connect(gateway.partners()).unwrap();
        stream.write_all(nonsense).unwrap();
        assert!(ends(&stream), "{nonsense:?}");
    }
    assert!(ends(&silent), "a silent client");
    assert_eq!(acme.partner.get("/").status, 200);
}

fn ends(stream: &TcpStream) -> bool {
    use std::io::Read;
    let mut stream = stream;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut bytes = [0_u8; 64];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                return !matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                );
            }
        }
    }
}

#[test]
fn server_certificates_are_chosen_by_name() {
    let echo = Echo::start();
    let dir = tempfile::tempdir().unwrap();
    for name in ["one.example.test", "two.example.test"] {
        let args = [
            "req",
            "-x509",
            "-nodes",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-subj",
            "/CN=x",
            "-days",
            "9",
            "-addext",
            &format!("subjectAltName=DNS:{name}"),
            "-keyout",
            &format!("{name}.key"),
            "-out",
            &format!("{name}.pem"),
        ]
        .map(str::to_owned);
        run(dir.path(), "openssl", &args.each_ref().map(String::as_str)).ok();
    }
    let tls = "tls:
  certificates:
    - { cert: one.example.test.pem, key: \"${file:one.example.test.key}\" }
    - { cert: two.example.test.pem, key: \"${file:two.example.test.key}\" }
";
    let gateway = Gateway::start_in(dir, &config_with(&echo.url(), OPEN, tls));
    for (sni, expected) in [
        ("two.example.test", "two"),
        ("one.example.test", "one"),
        ("other.example.test", "one"),
    ] {
        let at = gateway.partners().to_string();
        let shown = run(
            gateway.dir(),
            "openssl",
            &[
                "s_client",
                "-connect",
                &at,
                "-servername",
                sni,
                "-showcerts",
            ],
        );
        std::fs::write(gateway.dir().join("shown"), &shown.stdout).unwrap();
        let names = run(
            gateway.dir(),
            "openssl",
            &["x509", "-in", "shown", "-noout", "-ext", "subjectAltName"],
        )
        .ok();
        assert!(
            names.contains(&format!("DNS:{expected}.example.test")),
            "{sni}: {names}"
        );
    }
}
