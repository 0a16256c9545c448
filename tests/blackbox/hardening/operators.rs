//! The admin API and the monitors' listener, seen by somebody who should not be there.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use serde_json::json;

use super::{Siege, numbered};
use crate::support::client::{Answer, Partner};
use crate::support::pki;
use crate::support::process::run;

const JSON: (&str, &str) = ("Content-Type", "application/json");

struct Office {
    siege: Siege,
    admin: Partner,
    bearer: String,
}

impl Office {
    fn new() -> Self {
        let siege = Siege::new();
        let made = siege
            .gateway
            .cli_json(&["admin-token", "create", "tests", "--role", "admin"]);
        let bearer = format!("Bearer {}", made["secret"].as_str().unwrap());
        siege.gateway.cli_json(&["app", "create", "acme"]);
        let admin = Partner::new(
            siege.gateway.admin(),
            "localhost",
            &siege.gateway.ca(),
            None,
        );
        Self {
            siege,
            admin,
            bearer,
        }
    }

    fn call(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let fields = [("Authorization", &*self.bearer), JSON];
        self.admin.connect().request(method, path, &fields, body)
    }

    /// The operator is served in good time, and so is a partner.
    #[track_caller]
    fn honest(&self, after: &str) {
        let begun = Instant::now();
        assert_eq!(
            self.call("GET", "/api/v1/apps", b"").status,
            200,
            "after {after}"
        );
        assert!(begun.elapsed() < Duration::from_secs(2), "after {after}");
        self.siege.honest(after);
    }
}

#[test]
fn bodies_that_are_bombs_are_refused() {
    let office = Office::new();
    let deep = format!("{{\"name\":{}1{}}}", "[".repeat(60_000), "]".repeat(60_000));
    let objects = format!("{}1{}", "{\"a\":".repeat(20_000), "}".repeat(20_000));
    let keys = numbered(8000, |n| format!("\"k{n}\":1,"));
    let keys = format!("{{{keys}\"name\":\"x\"}}");
    let digits = format!("{{\"name\":{}}}", "9".repeat(100_000));
    let text = format!("{{\"name\":\"{}\"}}", "x".repeat(100_000));
    for body in [
        deep.as_bytes(),
        objects.as_bytes(),
        keys.as_bytes(),
        digits.as_bytes(),
        text.as_bytes(),
        b"{\"name\":\"a\\u0000b\"}",
        b"{\"name\":\"\\ud800\"}",
        b"{\"name\":NaN}",
        b"{\"name\":1e999999}",
        b"{'name':'a'}",
        b"{\"name\":\"a\",}",
        b"{\"name\":\"a\"}{\"name\":\"b\"}",
        b"\xef\xbb\xbf{\"name\":\"a\"}",
        b"{\"name\":\"\xff\"}",
        b"{\"__proto__\":{},\"name\":\"a\"}",
        b"{\"name\":\"../../a\"}",
        b"{\"name\":\"a'; DROP TABLE apps; --\"}",
        b"null",
        b"",
    ] {
        let answer = office.call("POST", "/api/v1/apps", body);
        assert!((400..=422).contains(&answer.status), "{answer:?}");
        office.honest("a strange body");
    }
    let apps = office.call("GET", "/api/v1/apps", b"").json();
    assert_eq!(apps["items"].as_array().unwrap().len(), 1, "{apps}");
}

#[test]
fn requests_for_certificates_that_are_bombs_are_refused() {
    let office = Office::new();
    let dir = office.siege.gateway.dir();
    let pem = |der: &[u8]| {
        let text = BASE64.encode(der);
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        format!(
            "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
            lines.join("\n")
        )
    };
    let mut nested = Vec::new();
    for _ in 0..8000 {
        let length = u16::try_from(nested.len()).unwrap().to_be_bytes();
        nested = [&[0x30, 0x82, length[0], length[1]], nested.as_slice()].concat();
    }
    let explicit = pki::request_with(
        dir,
        "explicit",
        &[
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-pkeyopt",
            "ec_param_enc:explicit",
        ],
    );
    let good = pki::request(dir, "good");
    let text = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    let good_pem = text(&good.csr);
    let der = dir.join("good.der");
    run(
        dir,
        "openssl",
        &[
            "req",
            "-in",
            good.csr.to_str().unwrap(),
            "-outform",
            "DER",
            "-out",
            der.to_str().unwrap(),
        ],
    )
    .ok();
    let der = std::fs::read(der).unwrap();
    let indefinite = [&[0x30, 0x80], &der[4..], &[0, 0]].concat();
    for (what, csr) in [
        ("nesting", pem(&nested)),
        (
            "a length of 4 GB",
            pem(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]),
        ),
        ("an indefinite length", pem(&indefinite)),
        (
            "something behind it",
            pem(&[der.as_slice(), b"behind"].concat()),
        ),
        ("a cut", pem(&der[..der.len() - 10])),
        ("explicit parameters", text(&explicit.csr)),
        ("a key instead", text(&good.key)),
        (
            "a certificate instead",
            text(&dir.join("authority/root.pem")),
        ),
        ("two requests", format!("{good_pem}{good_pem}")),
        ("a NUL", good_pem.replacen('\n', "\0", 3)),
        ("no end", good_pem.replace("-----END", "-----")),
        ("thousands", good_pem.repeat(150)),
        ("too much", good_pem.repeat(1000)),
    ] {
        for (path, body) in [
            (
                "/api/v1/certificates",
                json!({ "app": "acme", "name": "x", "csr": csr }),
            ),
            ("/api/v1/csr/inspect", json!({ "csr": csr })),
        ] {
            let begun = Instant::now();
            let answer = office.call("POST", path, body.to_string().as_bytes());
            // Inspecting says what is wrong, and signs nothing.
            let inspected = path.ends_with("inspect") && answer.status == 200;
            assert!(
                inspected || (400..=422).contains(&answer.status),
                "{what} {path}: {answer:?}"
            );
            assert!(begun.elapsed() < Duration::from_secs(1), "{what}");
            assert!(!answer.text().contains("PRIVATE KEY"), "{what}");
        }
        office.honest(what);
    }
    let listed = office.call("GET", "/api/v1/certificates", b"").json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 0, "{listed}");
    assert!(!office.siege.gateway.log().contains("PRIVATE KEY"));
    let body = json!({ "app": "acme", "name": "good", "csr": good_pem });
    let signed = office.call("POST", "/api/v1/certificates", body.to_string().as_bytes());
    assert_eq!(signed.status, 201, "{signed:?}");
}

#[test]
fn cursors_and_names_are_data_and_not_statements() {
    let office = Office::new();
    let cursors = [
        "%27%20OR%201=1%20--",
        "1%20UNION%20SELECT%20secret%20FROM%20keys",
        "app_00000000000000000000000000%00",
        "-1",
        "9999999999999999999999",
        "%ff%fe",
        "..%2f..%2f",
    ];
    for cursor in cursors {
        for list in ["apps", "certificates", "keys", "admin-tokens", "audit"] {
            let answer = office.call("GET", &format!("/api/v1/{list}?after={cursor}"), b"");
            assert!(
                (400..=422).contains(&answer.status),
                "{list} {cursor}: {answer:?}"
            );
        }
        let answer = office.call("GET", &format!("/api/v1/apps/{cursor}"), b"");
        assert!((400..=422).contains(&answer.status), "{cursor}: {answer:?}");
        office.honest(cursor);
    }
}

/// A serial number or a fingerprint is whole, or it names no certificate: a part of one must revoke nobody.
#[test]
fn a_part_of_a_number_names_no_certificate() {
    let siege = Siege::new();
    let acme = siege.gateway.enrol("acme");
    siege.gateway.enrol("other");
    let args = [
        "x509",
        "-in",
        acme.certificate.to_str().unwrap(),
        "-noout",
        "-fingerprint",
    ];
    let fingerprint = |kind: &str| {
        let said = run(
            siege.gateway.dir(),
            "openssl",
            &[&args[..], &[kind]].concat(),
        )
        .ok();
        said.trim().split_once('=').unwrap().1.to_owned()
    };
    let (sha1, sha256) = (fingerprint("-sha1"), fingerprint("-sha256"));
    let serial = &acme.serial;
    for part in [
        &serial[..serial.len() - 1],
        &serial[1..],
        &format!("{serial}0"),
        &format!("{serial}' OR '1'='1"),
        &format!("{serial}%"),
        &format!("{serial}/../.."),
        &sha256[..sha256.len() - 3],
        &sha256[3..],
        &format!("{sha256}:00"),
        &sha1,
        &acme.id[..acme.id.len() - 1],
        "%",
        "_",
        "*",
        "0",
        ":",
    ] {
        for verb in [
            &["cert", "revoke", part, "--yes"][..],
            &["cert", "get", part],
        ] {
            let refused = siege.gateway.cli(verb);
            assert!([3, 6].contains(&refused.code), "{verb:?}: {refused:?}");
        }
    }
    assert_eq!(acme.partner.get("/protected").status, 200);
    let listed = siege.gateway.cli_json(&["cert", "list"]);
    let active = |one: &serde_json::Value| one["state"] == "active";
    assert!(listed.as_array().unwrap().iter().all(active), "{listed}");
}

#[test]
fn no_spelling_of_a_path_goes_around_the_token() {
    let targets = [
        "/api/v1/apps/",
        "//api/v1/apps",
        "/api/v1//apps",
        "/api/v1/./apps",
        "/api/v1/openapi.json/../apps",
        "/api/v1/openapi.json/..%2fapps",
        "/api/v1/openapi.json%2f..%2fapps",
        "/api/v1/openapi.json;/apps",
        "/API/V1/apps",
        "/api/v1/%61pps",
        "/api/v1/apps%00",
        "/api/v1/apps?x=/api/v1/openapi.json",
        "/api/v1/apps#/api/v1/openapi.json",
        "https://localhost/api/v1/apps",
        "*",
    ];
    let fields = [
        "X-Original-URL: /api/v1/openapi.json\r\n",
        "X-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\nForwarded: for=127.0.0.1\r\n",
        "X-Countersign-App-Id: app_1\r\n",
    ];
    let plain = targets.iter().map(|target| (*target, ""));
    let dressed = fields.iter().map(|fields| ("/api/v1/apps", *fields));
    let all: Vec<_> = plain.chain(dressed).collect();
    // Ten failures an address are listened to, so a gateway is asked fewer.
    for some in all.chunks(8) {
        let office = Office::new();
        for (target, fields) in some {
            let mut connection = office.admin.connect();
            connection.set_patience(Duration::from_secs(5));
            let sent = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
            let _ = connection.try_send(sent.as_bytes());
            let answer = connection.try_answer();
            let status = answer.as_ref().map_or(0, |answer| answer.status);
            assert!(
                [0, 400, 401, 404].contains(&status),
                "{target} {fields:?}: {answer:?}"
            );
            let told = answer.map(|answer| answer.text()).unwrap_or_default();
            assert!(!told.contains("acme"), "{target}: {told}");
        }
        office.honest("paths");
    }
}

/// Whoever guesses admin tokens is slowed down; an operator at the same address is not, nor is the socket of this
/// machine's own users. Who shows no token guesses nothing.
#[test]
fn guesses_are_slowed_down() {
    let office = Office::new();
    for _ in 0..20 {
        let refused = office.admin.get("/api/v1/apps");
        assert_eq!(refused.reason(), "admin_unauthenticated", "{refused:?}");
    }
    let statuses: Vec<u16> = (0..15)
        .map(|n| {
            let guess = format!("Bearer cs_admin_guess{n}");
            office
                .admin
                .get_with("/api/v1/apps", &[("Authorization", &guess)])
                .status
        })
        .collect();
    assert!(
        statuses[..5].iter().all(|status| *status == 401),
        "{statuses:?}"
    );
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    let operator = [("Authorization", &*office.bearer)];
    assert_eq!(office.admin.get_with("/api/v1/apps", &operator).status, 200);
    office.siege.gateway.cli(&["app", "list"]).ok();
    office.siege.honest("guesses");
}

/// A browser that an operator has open elsewhere carries nothing of his here: no cookie counts, and no origin is allowed.
#[test]
fn a_browser_is_no_way_in() {
    let office = Office::new();
    let cookie = office.bearer.replace("Bearer ", "token=");
    for (method, path) in [
        ("GET", "/api/v1/apps"),
        ("POST", "/api/v1/apps"),
        ("OPTIONS", "/api/v1/apps"),
    ] {
        let fields = [
            ("Origin", "https://evil.test"),
            ("Cookie", cookie.as_str()),
            ("Access-Control-Request-Method", "POST"),
            ("Content-Type", "text/plain"),
        ];
        let answer = office.admin.connect().request(method, path, &fields, b"");
        assert!((400..500).contains(&answer.status), "{method}: {answer:?}");
        assert_eq!(
            answer.header("access-control-allow-origin"),
            None,
            "{method}"
        );
    }
    let listed = office.call("GET", "/api/v1/apps", b"");
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(listed.header(name), Some(value));
    }
    assert_eq!(listed.header("access-control-allow-origin"), None);
    office.honest("a browser");
}

#[test]
fn strange_requests_of_monitors_are_refused() {
    let office = Office::new();
    let address = office.siege.gateway.ops();
    let long = "x".repeat(100_000);
    let many = "X: 1\r\n".repeat(500);
    for (target, lines, expected) in [
        (&*format!("/{long}"), "", &["431", "414"][..]),
        ("/metrics", &*format!("X: {long}\r\n"), &["431"]),
        ("/metrics", &many, &["431"]),
        ("/metrics", "Transfer-Encoding: identity\r\n", &["400"]),
        ("/../metrics", "", &["404"]),
        ("/api/v1/apps", "", &["404"]),
    ] {
        let sent = format!("GET {target} HTTP/1.1\r\nHost: x\r\n{lines}Connection: close\r\n\r\n");
        let answer = monitored(address, sent.as_bytes());
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(expected.contains(&status), "{target:.40}: {answer}");
        office.honest("a strange request of a monitor");
    }
    let posted = b"POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(monitored(address, posted).starts_with("HTTP/1.1 405"));
}

/// What the monitors' listener answers to these bytes.
fn monitored(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let patience = Some(Duration::from_secs(5));
    stream.set_read_timeout(patience).unwrap();
    let _ = stream.write_all(bytes);
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// One more connection than are served at a time waits for its turn, and a head that never ends is given up.
#[test]
fn operators_connections_are_bounded_in_time_and_number() {
    let office = Office::new();
    let address = office.siege.gateway.ops();
    std::thread::scope(|scope| {
        let dripping = TcpStream::connect(address).unwrap();
        let dripping = scope.spawn(move || drip(dripping));
        // With the dripping one these are all that there is room for.
        let mut held: Vec<TcpStream> = (0..127)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        let mut late = TcpStream::connect(address).unwrap();
        late.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .unwrap();
        let moment = Some(Duration::from_millis(300));
        late.set_read_timeout(moment).unwrap();
        let mut answer = [0; 12];
        assert!(late.read_exact(&mut answer).is_err(), "there is no room");
        // Neither partners nor operators at the other listener notice.
        assert_eq!(office.siege.stranger.get("/honest").status, 200);
        assert_eq!(office.call("GET", "/api/v1/apps", b"").status, 200);
        held.truncate(126);
        let patience = Some(Duration::from_secs(10));
        late.set_read_timeout(patience).unwrap();
        late.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        drop((held, late));
        let took = dripping.join().unwrap();
        assert!(took < Duration::from_secs(20), "{took:?}");
    });
    office.honest("a crowd of monitors");
}

/// Sends a head byte by byte; gives how long that was borne.
fn drip(mut stream: TcpStream) -> Duration {
    let moment = Some(Duration::from_millis(100));
    stream.set_read_timeout(moment).unwrap();
    let begun = Instant::now();
    let mut next = b"GET /metrics HTTP/1.1\r\nHost: x\r\n".to_vec();
    while begun.elapsed() < Duration::from_secs(30) {
        let over = match stream.read(&mut [0; 512]) {
            Ok(_) => true,
            Err(error) => !matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            ),
        };
        if over || stream.write_all(&next).is_err() {
            break;
        }
        next = b"x".to_vec();
    }
    begun.elapsed()
}
