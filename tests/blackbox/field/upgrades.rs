//! Only protocols that a route names are tunnelled, and only after a whole handshake; other offers are passed over.

use super::{seen, sent_as};
use crate::support::gateway::{Gateway, HOST, config};
use crate::support::upstream::Echo;

const ROUTES: &str =
    "      - { match: { prefix: /ws }, require: none, upgrades: true, upstream: api }
      - { match: { prefix: /listed }, require: none, upgrades: [websocket, mine/2], upstream: api }
      - { match: { prefix: /protected }, require: mtls, upstream: api }
      - { match: { prefix: / }, require: none, upstream: api }";

const KEY: (&str, &str) = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
const VERSION: (&str, &str) = ("Sec-WebSocket-Version", "13");
const CONNECTION: (&str, &str) = ("Connection", "Upgrade");

/// What `HttpClient` of the JDK sends first to a server that it has not met.
const JDK: [(&str, &str); 3] = [
    ("Connection", "Upgrade, HTTP2-Settings"),
    ("Upgrade", "h2c"),
    (
        "HTTP2-Settings",
        "AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA",
    ),
];

#[test]
fn an_upgrade_that_nobody_understands_is_stripped_and_the_request_served() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let offers: [&[(&str, &str)]; 7] = [
        &JDK,
        &[CONNECTION, ("Upgrade", "h2c")],
        &[("Upgrade", "h2c")],
        &[CONNECTION, ("Upgrade", "TLS/1.0")],
        &[CONNECTION, ("Upgrade", "foo/1")],
        &[CONNECTION, ("Upgrade", "websocket, h2c"), KEY, VERSION],
        &[
            CONNECTION,
            ("Upgrade", "h2c"),
            ("Upgrade", "websocket"),
            KEY,
            VERSION,
        ],
    ];
    for path in ["/plain", "/ws", "/listed"] {
        for offer in offers {
            let mut connection = gateway.stranger().connect();
            for body in [&b""[..], b"hello"] {
                let answer = connection.request("POST", path, offer, body);
                assert_eq!(answer.status, 200, "{path} {offer:?}: {answer:?}");
                let told = answer.json();
                assert_eq!(told["body"], &*String::from_utf8_lossy(body));
                for name in ["upgrade", "http2-settings"] {
                    assert_eq!(seen(&answer, name), [""; 0], "{offer:?}");
                }
            }
        }
    }
    let refused = gateway.stranger().get_with("/protected", &JDK);
    assert_eq!(refused.reason(), "cert_missing", "an offer opens nothing");
}

/// The offer never becomes a tunnel, whatever the upstream says to a request that it did not come with.
#[test]
fn h2c_smuggles_nothing() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let mut connection = gateway.stranger().connect();
    let answer = connection.request("GET", "/ws", &JDK, b"");
    assert_eq!(answer.status, 200);
    let before = echo.requests();
    // With a tunnel, an HTTP/2 preface and a request for a protected path would follow.
    connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(connection.answer().status, 400);
    assert_eq!(echo.requests(), before);
    let log = gateway.access_log();
    assert!(log.iter().all(|line| line["status"] != 101), "{log:?}");
}

#[test]
fn a_websocket_needs_a_whole_handshake() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let socket = ("Upgrade", "websocket");
    let refused = |method: &str, fields: &[(&str, &str)], body: &[u8], cause: &str| {
        let mut connection = gateway.stranger().connect();
        let answer = connection.request(method, "/ws", fields, body);
        let told = (answer.status, answer.reason());
        assert_eq!(
            told,
            (400, "upgrade_refused".to_owned()),
            "{method} {fields:?}"
        );
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(cause), "{detail}");
    };
    refused("POST", &[CONNECTION, socket, KEY, VERSION], b"", "GET");
    refused(
        "GET",
        &[CONNECTION, socket, VERSION],
        b"",
        "Sec-WebSocket-Key",
    );
    refused(
        "GET",
        &[
            CONNECTION,
            socket,
            ("Sec-WebSocket-Key", "c2hvcnQ="),
            VERSION,
        ],
        b"",
        "16 bytes",
    );
    refused(
        "GET",
        &[CONNECTION, socket, ("Sec-WebSocket-Key", "x"), VERSION],
        b"",
        "16 bytes",
    );
    refused(
        "GET",
        &[CONNECTION, socket, KEY, KEY, VERSION],
        b"",
        "one Sec-WebSocket-Key",
    );
    refused("GET", &[CONNECTION, socket, KEY], b"", "Version: 13");
    refused(
        "GET",
        &[CONNECTION, socket, KEY, ("Sec-WebSocket-Version", "12")],
        b"",
        "Version: 13",
    );
    refused("GET", &[CONNECTION, socket, KEY, VERSION], b"hello", "body");
    assert_eq!(echo.requests(), 0);
    for path in ["/ws", "/listed"] {
        let mut tunnel = gateway.stranger().connect();
        let answer = tunnel.request("GET", path, &[CONNECTION, socket, KEY, VERSION], b"");
        assert_eq!(answer.status, 101, "{path}");
        tunnel.send(b"hello");
        assert_eq!(tunnel.read_exact(5), b"hello");
    }
}

#[test]
fn another_protocol_is_tunnelled_by_its_name_only() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let mine = [CONNECTION, ("Upgrade", "mine/2")];
    let mut tunnel = gateway.stranger().connect();
    assert_eq!(tunnel.request("GET", "/listed", &mine, b"").status, 101);
    tunnel.send(b"hello");
    assert_eq!(tunnel.read_exact(5), b"hello");
    for (path, protocol) in [
        ("/ws", "mine/2"),
        ("/listed", "mine/1"),
        ("/listed", "mine"),
    ] {
        let fields = [CONNECTION, ("Upgrade", protocol)];
        let answer = gateway.stranger().get_with(path, &fields);
        assert_eq!(answer.status, 200, "{path} {protocol}");
    }
    let socket = format!(
        "GET /plain HTTP/1.1\r\nHost: {HOST}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n{}: {}\r\n{}: {}\r\n\r\n",
        KEY.0, KEY.1, VERSION.0, VERSION.1
    );
    let refused = sent_as(&gateway, &socket);
    assert_eq!(
        refused.reason(),
        "upgrade_refused",
        "where no WebSocket is opened"
    );
}

#[test]
fn protocols_that_are_never_tunnelled_are_problems_of_the_configuration() {
    let echo = Echo::start();
    for protocol in ["h2c", "HTTP/1.1", "TLS/1.2", "\"a b\""] {
        let routes = format!(
            "      - {{ match: {{ prefix: / }}, require: none, upgrades: [{protocol}], upstream: api }}"
        );
        let dir = tempfile::tempdir().unwrap();
        let Err((code, log, _)) = Gateway::try_start_in(dir, &config(&echo.url(), &routes)) else {
            panic!("{protocol} is taken");
        };
        assert_eq!(code, Some(78), "{protocol}: {log}");
        assert!(log.contains("upgrades"), "{log}");
    }
}
