//! Much of everything: random bytes, connections that say nothing, names without number.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use super::{Dice, MEMORY_MAX, Siege, request};
use crate::support::client::Partner;
use crate::support::frames::{self, Frames};
use crate::support::gateway::{Gateway, HOST, config};
use crate::support::upstream::Echo;

/// Random bytes on every socket, before and after TLS; nothing breaks, and nothing of it is a request.
#[test]
fn random_bytes_break_nothing() {
    let siege = Siege::new();
    let mut dice = Dice(0x5eed_0001);
    let admin = Partner::new(
        siege.gateway.admin(),
        "localhost",
        &siege.gateway.ca(),
        None,
    );
    let begun = Instant::now();
    for round in 0..60 {
        if begun.elapsed() > Duration::from_secs(4) {
            break;
        }
        let length = dice.below(3000) + 1;
        let mut bytes = dice.bytes(length);
        // Sometimes a beginning that is taken seriously.
        let beginning: &[u8] = match dice.below(6) {
            0 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            1 => b"GET / HTTP/1.1\r\nHost: ",
            2 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            3 => b"POST / HTTP/1.1\r\nHost: api.example.test\r\nTransfer-Encoding: chunked\r\n\r\n",
            4 => b"PROXY TCP4 ",
            _ => b"",
        };
        bytes.splice(..0, beginning.iter().copied());
        for address in [
            siege.gateway.partners(),
            siege.gateway.admin(),
            siege.gateway.ops(),
        ] {
            let mut stream = TcpStream::connect(address).unwrap();
            let _ = stream.write_all(&bytes);
            let _ = stream.shutdown(Shutdown::Write);
            drain(&mut stream);
        }
        let mut socket = UnixStream::connect(siege.gateway.socket()).unwrap();
        let _ = socket.write_all(&bytes);
        let _ = socket.shutdown(Shutdown::Write);
        socket
            .set_read_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        let _ = socket.read(&mut [0; 4096]);
        for partner in [&siege.stranger, &admin] {
            let mut connection = partner.connect();
            connection.set_patience(Duration::from_millis(50));
            let _ = connection.try_send(&bytes);
            let _ = connection.read(&mut [0; 4096]);
        }
        let mut h2 = Frames::open(&siege.stranger);
        h2.send_bytes(&bytes);
        let kind = u8::try_from(dice.below(11)).unwrap();
        let flags = u8::try_from(dice.below(64)).unwrap();
        h2.send(
            kind,
            flags,
            u32::try_from(dice.below(4)).unwrap(),
            &bytes[..length.min(1000)],
        );
        if round % 10 == 0 {
            siege.honest("random bytes");
        }
    }
    siege.honest("random bytes");
    assert_eq!(siege.gateway.cli(&["app", "list"]).code, 0);
    let log = siege.gateway.log();
    assert!(!log.contains("panicked"), "{log}");
}

fn drain(stream: &mut TcpStream) {
    stream
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let mut piece = [0; 4096];
    while matches!(stream.read(&mut piece), Ok(1..)) {}
}

/// An honest head or frame with a few bytes changed goes deeper than noise.
#[test]
fn bytes_that_are_almost_right_break_nothing() {
    let siege = Siege::new();
    let mut dice = Dice(0x5eed_0002);
    let head = request(
        "POST",
        "/a?b=c",
        "Cookie: a=b\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive, x\r\nX: y\r\n",
        "5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
    );
    let mut block = Vec::new();
    frames::put(
        &mut block,
        frames::HEADERS,
        5,
        1,
        &frames::block(&frames::get("/a")),
    );
    let begun = Instant::now();
    for _ in 0..150 {
        if begun.elapsed() > Duration::from_secs(4) {
            break;
        }
        let mut bytes = head.clone();
        for _ in 0..=dice.below(3) {
            let place = dice.below(bytes.len());
            match dice.below(3) {
                0 => bytes[place] = dice.bytes(1)[0],
                1 => {
                    bytes.remove(place);
                }
                _ => bytes.insert(place, b"\r\n\0: ;,"[dice.below(7)]),
            }
        }
        let mut connection = siege.stranger.connect();
        connection.set_patience(Duration::from_millis(20));
        let _ = connection.try_send(&bytes);
        if let Some(answer) = connection.try_answer() {
            assert!(
                answer.status < 500,
                "{answer:?} to {}",
                bytes.escape_ascii()
            );
        }
        let mut bytes = block.clone();
        let place = dice.below(bytes.len());
        bytes[place] = dice.bytes(1)[0];
        Frames::open(&siege.stranger).send_bytes(&bytes);
    }
    siege.honest("bytes that are almost right");
}

#[test]
fn many_connections_that_say_little_cost_little() {
    let siege = Siege::new();
    let memory = siege.gateway.resident();
    let silent: Vec<_> = (0..300)
        .map(|_| TcpStream::connect(siege.gateway.partners()).unwrap())
        .collect();
    siege.honest("silent connections");
    let hello = b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03"
        .iter()
        .copied()
        .chain([0; 12_000])
        .collect::<Vec<u8>>();
    let mut half = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(siege.gateway.partners()).unwrap();
        let _ = stream.write_all(&hello);
        half.push(stream);
    }
    siege.honest("half handshakes");
    let filler = "x".repeat(30_000);
    let started = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX: {filler}");
    let mut heads = Vec::new();
    for _ in 0..150 {
        heads.push(siege.raw(started.as_bytes()));
    }
    siege.honest("half heads");
    let grown = siege.gateway.resident().saturating_sub(memory);
    assert!(grown < MEMORY_MAX, "{grown} bytes for 650 connections");
    drop((silent, half, heads));
    siege.honest("everybody has left");
}

/// The upstream takes nothing, and so the gateway takes no more from the client than it may hold.
#[test]
fn a_body_that_nobody_reads_waits_with_its_sender() {
    let siege = Siege::new();
    let upstream = crate::support::upstream::misbehaving(|stream, _| {
        // Holds the connection and reads nothing, until the test is over.
        let _ = stream.peek(&mut [0; 1]);
        std::thread::park_timeout(Duration::from_secs(6));
    });
    let gateway = Gateway::start(&config(
        &upstream,
        "      - { match: { prefix: / }, require: none, upstream: api }",
    ));
    let memory = gateway.resident();
    let mut senders = Vec::new();
    for _ in 0..8 {
        let mut connection = gateway.stranger().connect();
        connection.set_patience(Duration::from_millis(200));
        connection.send(&request("POST", "/", "Content-Length: 1000000000\r\n", ""));
        let piece = vec![b'x'; 1 << 20];
        let mut taken = 0;
        while taken < 64 && connection.try_send(&piece).is_ok() {
            taken += 1;
        }
        assert!(taken < 64, "it takes without end");
        senders.push(connection);
    }
    let grown = gateway.resident().saturating_sub(memory);
    assert!(grown < MEMORY_MAX, "{grown} bytes");
    drop(senders);
    siege.honest("bodies that nobody reads");
}

#[test]
fn names_that_callers_make_up_are_no_labels() {
    let siege = Siege::new();
    let series = || siege.gateway.ops_get("/metrics").1.lines().count();
    assert_eq!(siege.stranger.get("/a").status, 200);
    let mut connection = siege.stranger.connect();
    connection.send(b"BREW /a HTTP/1.1\r\nHost: elsewhere.test\r\n\r\n");
    assert_eq!(connection.answer().status, 404);
    let before = series();
    for n in 0..100 {
        let mut connection = siege.stranger.connect();
        let text = format!(
            "METHOD{n} /path-{n} HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: agent-{n}\r\n\r\nGET / HTTP/1.1\r\nHost: host-{n}.test\r\n\r\n"
        );
        connection.send(text.as_bytes());
        connection.answer();
        connection.answer();
    }
    let after = series();
    assert!(after < before + 40, "{before} series became {after}");
    assert!(!siege.gateway.ops_get("/metrics").1.contains("path-7"));
    siege.honest("many names");
}

/// What a caller sends is one line of the log and no escape of a terminal.
#[test]
fn what_is_logged_is_data() {
    let siege = Siege::new();
    for target in [
        "/a?x=%0d%0a{\"forged\":true}",
        "/a\"},{\"forged\":true",
        "/\u{1b}[2J\u{1b}[31mforged",
        "/\u{202e}forged",
        "/a%1b%5b2J",
    ] {
        let lines = "User-Agent: \u{1b}]0;forged\u{7}\"}\r\nReferer: {\"forged\":true}\r\nAuthorization: Bearer secret-in-field\r\n";
        let mut connection = siege.raw(&request("GET", target, lines, ""));
        let _ = connection.try_answer();
        siege.honest(target);
    }
    crate::support::eventually::eventually("the honest ones are logged", || {
        let count = siege
            .gateway
            .access_log()
            .iter()
            .filter(|line| line["path"] == "/honest")
            .count();
        (count >= 5).then_some(())
    });
    let text = std::fs::read_to_string(siege.gateway.dir().join("access.log")).unwrap();
    for line in text.lines() {
        let parsed: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(parsed.get("forged").is_none(), "{line}");
    }
    let all = format!("{text}{}", siege.gateway.log());
    assert!(
        !all.contains('\u{1b}') && !all.contains('\u{7}') && !all.contains("secret-in-field"),
        "{all}"
    );
}

/// Bytes beyond ASCII may stand in a field and in a query. They make no second line, and no terminal takes them for a
/// command: some read U+009B as an escape.
#[test]
fn bytes_beyond_ascii_are_data_too() {
    let siege = Siege::new();
    let hostile = [
        "\u{9b}31mforged",
        "\u{85}forged",
        "\u{2028}forged",
        "\u{202e}forged",
        "\u{7f}forged",
    ];
    for text in hostile {
        for target in [
            format!("/x?q={text}"),
            format!("/{text}"),
            format!("/a;{text}"),
            text.to_owned(),
        ] {
            let lines = format!(
                "User-Agent: {text}\r\nX-Request-Id: a{text}\r\nReferer: {text}\r\nX_Odd: {text}\r\n"
            );
            let mut connection = siege.raw(&request("GET", &target, &lines, ""));
            let _ = connection.try_answer();
            let mut connection = Frames::open(&siege.stranger);
            let mut head = frames::get(&target);
            head.extend(frames::fields(&[
                ("user-agent", text),
                ("x-request-id", text),
            ]));
            let flags = frames::END_HEADERS | frames::END_STREAM;
            connection.send(frames::HEADERS, flags, 1, &frames::block(&head));
            connection.outcome(1);
        }
    }
    for bytes in [
        &b"\xff\xfe"[..],
        b"\x80",
        b"a\xc0\xaf",
        b"\xed\xa0\x80",
        b"\x9b31m",
    ] {
        for name in ["User-Agent", "X-Request-Id", "X-Other", "Referer", "Cookie"] {
            let sent = [
                &b"GET /bytes HTTP/1.1\r\nHost: "[..],
                HOST.as_bytes(),
                b"\r\n",
                name.as_bytes(),
                b": ",
                bytes,
                b"\r\n\r\n",
            ];
            let mut connection = siege.raw(&sent.concat());
            let answer = connection.answer();
            assert!([200, 400].contains(&answer.status), "{name}: {answer:?}");
            assert!(answer.header("x-request-id").unwrap().starts_with("req_"));
        }
        // What names, routes or proves something is ASCII, or it is nothing.
        for name in [
            "Host",
            "Authorization",
            "X-Api-Key",
            "Content-Length",
            "Transfer-Encoding",
            "Connection",
            "Upgrade",
        ] {
            let host = if name == "Host" {
                String::new()
            } else {
                format!("Host: {HOST}\r\n")
            };
            let sent = [
                &b"GET /key HTTP/1.1\r\n"[..],
                host.as_bytes(),
                name.as_bytes(),
                b": ",
                bytes,
                b"\r\n\r\n",
            ];
            let mut connection = siege.raw(&sent.concat());
            let answer = connection.answer();
            assert!([400, 401].contains(&answer.status), "{name}: {answer:?}");
        }
    }
    let asked = siege.stranger.get("/last");
    siege
        .gateway
        .record_of(asked.header("x-request-id").unwrap());
    let text = std::fs::read(siege.gateway.dir().join("access.log")).unwrap();
    let text = String::from_utf8(text).unwrap();
    for line in text.lines() {
        let parsed: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(parsed["request_id"].is_string(), "{line}");
    }
    let escapes = |character: char| {
        (character.is_control() && character != '\n')
            || matches!(character, '\u{2028}' | '\u{202e}')
    };
    for text in [text, siege.gateway.log()] {
        let found: Vec<_> = text.lines().filter(|line| line.contains(escapes)).collect();
        assert!(found.is_empty(), "{found:?}");
    }
}

/// Guesses that one address has; the next waits for an hour.
const GUESSES: usize = 20;

/// The last bytes of the addresses of machines that guess, each over connections of its own.
const GUESSERS: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

/// The answers to one machine's guesses.
#[derive(Default)]
struct Guessed {
    listened_to: usize,
    held_up: usize,
}

/// Guesses secrets of a Key that exists, many on each connection, until it is held up for long.
fn guess(partner: &Partner, id: &str) -> Guessed {
    let mut guessed = Guessed::default();
    while guessed.held_up < 100 {
        let mut connection = partner.connect();
        for number in 0..25 {
            let secret = format!("sk_live_guess{number}");
            let form =
                format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
            let fields = [("Content-Type", "application/x-www-form-urlencoded")];
            let answer = connection.request("POST", "/oauth2/token", &fields, form.as_bytes());
            match answer.status {
                401 => guessed.listened_to += 1,
                429 => {
                    assert_eq!(answer.reason(), "auth_rate_limited");
                    guessed.held_up += 1;
                }
                _ => panic!("{answer:?}"),
            }
            if answer.header("connection") == Some("close") {
                break;
            }
        }
    }
    guessed
}

/// Work beside a flood, and its end.
#[derive(Default)]
struct Beside {
    over: AtomicBool,
    rounds: AtomicUsize,
}

impl Beside {
    /// Repeats it until the flood is over, once at least.
    fn repeat(&self, mut ask: impl FnMut()) {
        loop {
            ask();
            self.rounds.fetch_add(1, Ordering::SeqCst);
            if self.over.load(Ordering::SeqCst) {
                break;
            }
        }
    }
}

/// Wrong secrets at the token endpoint, from many machines: each is held up after its guesses, and partners, other
/// clients of the token endpoint and operators get their answers meanwhile.
#[test]
fn wrong_secrets_without_end_hold_up_those_alone_who_send_them() {
    let echo = Echo::start();
    let routes = "      - { match: { prefix: /token }, require: token, upstream: api }
      - { match: { prefix: / }, require: mtls, upstream: api }";
    let bounded = format!("\"127.0.0.1:0\", auth_failures: {{ rate: 1/h, burst: {GUESSES} }} }}");
    let text = config(&echo.url(), routes).replacen("\"127.0.0.1:0\" }", &bounded, 1);
    let gateway = Gateway::start(&text);
    let acme = gateway.enrol("acme");
    let (id, secret) = gateway.key("acme", &[]);
    let stranger = gateway.stranger();
    let bearer = format!("Bearer {}", stranger.token(&id, &secret));
    let from = |partner: &Partner, last: u8| partner.from([127, 0, 1, last].into());
    let (mut kept, mut proved) = (acme.partner.connect(), stranger.connect());
    let beside = Beside::default();
    let guessed = std::thread::scope(|scope| {
        scope.spawn(|| {
            beside.repeat(|| {
                assert_eq!(kept.get("/").status, 200);
                assert_eq!(acme.partner.get("/").status, 200, "on a new connection");
                let fields = [("Authorization", &*bearer)];
                assert_eq!(proved.request("GET", "/token", &fields, b"").status, 200);
            });
        });
        scope.spawn(|| beside.repeat(|| assert_eq!(stranger.exchange(&id, &secret).status, 200)));
        scope.spawn(|| {
            beside.repeat(|| {
                gateway.cli(&["key", "list"]).ok();
                gateway.cli(&["app", "get", "acme"]).ok();
            });
        });
        let guessers = GUESSERS.map(|last| {
            let (partner, id) = (from(&stranger, last), &id);
            scope.spawn(move || guess(&partner, id))
        });
        let ended = guessers.map(ScopedJoinHandle::join);
        beside.over.store(true, Ordering::SeqCst);
        ended
    });
    assert!(beside.rounds.load(Ordering::SeqCst) >= 3);
    for guessed in guessed {
        let listened_to = guessed.unwrap().listened_to;
        assert_eq!(listened_to, GUESSES);
    }
    let waiting = from(&stranger, 1).exchange(&id, &secret);
    assert_eq!(
        (waiting.status, &*waiting.reason()),
        (429, "auth_rate_limited")
    );
    assert!(waiting.header("retry-after").is_some());
    let machine = from(&acme.partner, 1);
    assert_eq!(machine.get("/").status, 200, "a certificate is no guess");
    assert_eq!(gateway.count("countersign_panics_total"), 0);
}
