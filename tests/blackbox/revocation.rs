//! What is taken away is gone at once, on open connections too.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::support::client::WEBSOCKET;
use crate::support::gateway::{Gateway, config};
use crate::support::upstream::{Echo, misbehaving};

const ROUTES: &str = "      - { match: { prefix: /key }, require: key, upstream: api }
      - { match: { prefix: / }, require: mtls, upstream: api, upgrades: true }";

#[test]
fn revoking_a_certificate_ends_its_open_connections_within_a_second() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let acme = gateway.enrol("acme");
    let zenith = gateway.enrol("zenith");
    let mut open = acme.partner.connect();
    let mut other = zenith.partner.connect();
    assert_eq!((open.get("/").status, other.get("/").status), (200, 200));
    let revoked = gateway.cli_json(&["cert", "revoke", &acme.id, "--yes"]);
    assert_eq!(revoked["certificate"]["state"], "revoked");
    assert_eq!(revoked["receipt"]["connections_closed"], 1, "{revoked}");
    assert!(open.is_closed_within(Duration::from_secs(1)));
    assert_eq!(other.get("/").status, 200, "others are left alone");
}

#[test]
fn a_tunnel_is_cut_when_its_certificate_is_revoked() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let acme = gateway.enrol("acme");
    let mut tunnel = acme.partner.connect();
    let switched = tunnel.request("GET", "/ws", &WEBSOCKET, b"");
    assert_eq!(switched.status, 101);
    tunnel.send(b"ping");
    assert_eq!(tunnel.read_exact(4), b"ping");
    gateway.cli(&["cert", "revoke", &acme.id, "--yes"]).ok();
    assert!(tunnel.is_closed_within(Duration::from_secs(1)));
}

#[test]
fn a_tunnel_by_token_is_cut_when_the_certificate_that_it_is_bound_to_is_revoked() {
    let echo = Echo::start();
    let routes = "      - { match: { prefix: / }, require: token, upstream: api, upgrades: true }";
    let gateway = Gateway::start(&config(&echo.url(), routes));
    let acme = gateway.enrol("acme");
    let (id, secret) = gateway.key("acme", &[]);
    let basic = data_encoding::BASE64.encode(format!("{id}:{secret}").as_bytes());
    let minted = acme.partner.post(
        "/oauth2/token",
        &[
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Authorization", &format!("Basic {basic}")),
        ],
        b"grant_type=client_credentials",
    );
    let bearer = format!("Bearer {}", minted.json()["access_token"].as_str().unwrap());
    let mut tunnel = acme.partner.connect();
    let switched = tunnel.request(
        "GET",
        "/ws",
        &[&WEBSOCKET[..], &[("Authorization", &bearer)]].concat(),
        b"",
    );
    assert_eq!(switched.status, 101, "{switched:?}");
    gateway.cli(&["cert", "revoke", &acme.id, "--yes"]).ok();
    assert!(tunnel.is_closed_within(Duration::from_secs(1)));
}

#[test]
fn revoking_a_key_ends_its_open_connections_and_tunnels() {
    let echo = Echo::start();
    let routes = "      - { match: { prefix: /key }, require: key, upstream: api, upgrades: true }
      - { match: { prefix: /token }, require: token, upstream: api, upgrades: true }";
    let gateway = Gateway::start(&config(&echo.url(), routes));
    gateway.cli_json(&["app", "create", "acme"]);
    let (id, secret) = gateway.key("acme", &[]);
    let (_, other_secret) = gateway.key("acme", &[]);
    let stranger = gateway.stranger();
    let token = stranger.token(&id, &secret);
    let ask = |path: &str, credential: &str, more: &[(&str, &str)]| {
        let bearer = format!("Bearer {credential}");
        let fields = [&[("Authorization", &*bearer)], more].concat();
        let mut connection = stranger.connect();
        let answer = connection.request("GET", path, &fields, b"");
        (connection, answer.status)
    };
    let upgrade = WEBSOCKET;
    let mut open = [
        ask("/key", &secret, &[]),
        ask("/token", &token, &[]),
        ask("/key/ws", &secret, &upgrade),
        ask("/token/ws", &token, &upgrade),
    ];
    assert_eq!(
        open.each_ref().map(|(_, status)| *status),
        [200, 200, 101, 101]
    );
    let (mut other, status) = ask("/key", &other_secret, &[]);
    assert_eq!(status, 200);
    let revoked = gateway.cli_json(&["key", "revoke", &id, "--yes"]);
    assert_eq!(revoked["receipt"]["connections_closed"], 4, "{revoked}");
    let at = Instant::now();
    for (connection, _) in &mut open {
        assert!(connection.is_closed_within(Duration::from_secs(1)));
    }
    assert!(at.elapsed() < Duration::from_secs(1));
    let bearer = format!("Bearer {other_secret}");
    let fields = [("Authorization", &*bearer)];
    assert_eq!(other.request("GET", "/key", &fields, b"").status, 200);
    assert_eq!(stranger.get_by("/key", &secret).status, 401);
    assert_eq!(stranger.get_by("/token", &token).status, 401);
}

#[test]
fn a_download_is_cut_when_its_certificate_is_revoked() {
    let endless = misbehaving(|mut stream, _| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
        let mut sent = stream.write_all(head);
        while sent.is_ok() {
            #[expect(clippy::disallowed_methods, reason = "an upstream that takes its time")]
            std::thread::sleep(Duration::from_millis(20));
            sent = stream.write_all(b"x");
        }
    });
    let gateway = Gateway::start(&config(&endless, ROUTES));
    let acme = gateway.enrol("acme");
    let mut download = acme.partner.connect();
    download.send(b"GET / HTTP/1.1\r\nHost: api.example.test\r\n\r\n");
    download.read_exact(200);
    gateway.cli(&["cert", "revoke", &acme.id, "--yes"]).ok();
    let revoked = Instant::now();
    while !download.is_closed_within(Duration::from_millis(100)) {
        assert!(revoked.elapsed() < Duration::from_secs(1));
    }
}

#[test]
fn http2_requests_after_a_revocation_are_refused() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let acme = gateway.enrol("acme");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut sender = acme.partner.h2().await;
        let request = || {
            http::Request::get("https://api.example.test/")
                .body(http_body_util::Full::default())
                .unwrap()
        };
        assert_eq!(sender.send_request(request()).await.unwrap().status(), 200);
        gateway.cli(&["cert", "revoke", &acme.id, "--yes"]).ok();
        let begun = Instant::now();
        loop {
            match sender.send_request(request()).await {
                Ok(answer) if answer.status() == 200 => {
                    assert!(begun.elapsed() < Duration::from_secs(1));
                }
                Ok(answer) => break assert_eq!(answer.status(), 403),
                Err(_) => break,
            }
        }
    });
    assert!(echo.requests() >= 1);
}

#[test]
fn a_suspended_app_is_refused_and_a_resumed_one_let_in() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let acme = gateway.enrol("acme");
    let (_, secret) = gateway.key("acme", &[]);
    let bearer = format!("Bearer {secret}");
    gateway.cli(&["app", "suspend", "acme"]).ok();
    let refused = acme.partner.get("/");
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (403, "app_suspended")
    );
    let by_key = gateway
        .stranger()
        .get_with("/key", &[("Authorization", &bearer)]);
    assert_eq!(
        (by_key.status, by_key.reason().as_str()),
        (403, "app_suspended")
    );
    gateway.cli(&["app", "resume", "acme"]).ok();
    assert_eq!(acme.partner.get("/").status, 200);
    assert_eq!(
        gateway
            .stranger()
            .get_with("/key", &[("Authorization", &bearer)])
            .status,
        200
    );
}

#[test]
fn revoking_an_app_ends_everything_of_it_for_ever() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let acme = gateway.enrol("acme");
    gateway.cli(&["app", "revoke", "acme", "--yes"]).ok();
    assert_eq!(acme.partner.get("/").reason(), "app_revoked");
    let resumed = gateway.cli(&["app", "resume", "acme"]);
    assert_eq!(resumed.code, 5, "{resumed:?}");
}

#[test]
fn revoking_twice_is_a_conflict_and_revoking_nothing_not_found() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let acme = gateway.enrol("acme");
    gateway.cli(&["cert", "revoke", &acme.id, "--yes"]).ok();
    assert_eq!(gateway.cli(&["cert", "revoke", &acme.id, "--yes"]).code, 5);
    let absent = "crt_00000000000000000000000007";
    assert_eq!(gateway.cli(&["cert", "revoke", absent, "--yes"]).code, 3);
    assert_eq!(
        gateway.cli(&["cert", "revoke", &acme.id]).code,
        2,
        "asks first, and nobody is there to answer"
    );
}
