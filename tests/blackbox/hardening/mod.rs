//! Attacks that other gateways have fallen to, each refused, and an honest client served after it.

use std::time::{Duration, Instant};

use crate::support::client::{Connection, Partner};
use crate::support::gateway::{Gateway, HOST, config_with};
use crate::support::upstream::Echo;

mod http1;
mod http2;
mod answers;
mod tls;
mod credentials;
mod operators;
mod floods;
mod requests;
mod token_requests;

const ROUTES: &str = "      - { match: { prefix: /protected }, require: mtls, upstream: api }
      - { match: { prefix: /key }, require: key, upstream: api }
      - { match: { prefix: /token }, require: token, upstream: api }
      - { match: { prefix: /ws }, require: none, upgrades: true, upstream: api }
      - { match: { prefix: / }, require: none, upstream: api }";

/// Short patience, so that whoever waits for it does not wait long.
const LISTENER: &str = "\"127.0.0.1:0\", timeouts: { handshake: 2s, first_request: 2s, header: 2s, keep_alive: 2s, body: 1s, tunnel: 2s }, auth_failures: { rate: 100000/m, burst: 100000 } }";

/// So much may a flood cost.
const MEMORY_MAX: u64 = 100 << 20;

/// A gateway under attack, and the API that it protects.
struct Siege {
    echo: Echo,
    gateway: Gateway,
    stranger: Partner,
}

impl Siege {
    fn new() -> Self {
        Self::with("")
    }

    /// With further top-level sections.
    fn with(more: &str) -> Self {
        let echo = Echo::start();
        let text = config_with(&echo.url(), ROUTES, more);
        let gateway = Gateway::start(&text.replacen("\"127.0.0.1:0\" }", LISTENER, 1));
        let stranger = gateway.stranger();
        Self {
            echo,
            gateway,
            stranger,
        }
    }

    /// A connection on which these bytes have been sent.
    fn raw(&self, bytes: &[u8]) -> Connection {
        let mut connection = self.stranger.connect();
        connection.set_patience(Duration::from_secs(8));
        let _ = connection.try_send(bytes);
        connection
    }

    /// Somebody who means well is served in good time, and nothing has broken inside.
    #[track_caller]
    fn honest(&self, after: &str) {
        let begun = Instant::now();
        assert_eq!(self.stranger.get("/honest").status, 200, "after {after}");
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?} after {after}",
            begun.elapsed()
        );
        assert_eq!(self.gateway.count("countersign_panics_total"), 0, "{after}");
    }
}

/// What of bytes a person can read.
fn shown(bytes: &[u8]) -> String {
    bytes
        .iter()
        .take(200)
        .flat_map(|byte| byte.escape_ascii())
        .map(char::from)
        .collect()
}

/// A request for `path` with these lines, each ended by CRLF, and this body.
fn request(method: &str, path: &str, lines: &str, body: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n{body}").into_bytes()
}

/// Many texts in a row, each with its number.
fn numbered(count: usize, text: impl Fn(usize) -> String) -> String {
    (0..count).map(text).collect()
}

/// Numbers that look random and are the same on each run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}
