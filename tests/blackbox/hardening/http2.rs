//! HTTP/2: frames that a library would not send.

use std::time::Duration;

use super::{MEMORY_MAX, Siege, request};
use crate::support::eventually::eventually;
use crate::support::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, Outcome, PADDED,
    PING, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, fields, get, put,
    put_length,
};
use crate::support::gateway::HOST;

const WHOLE: u8 = END_HEADERS | END_STREAM;

/// How long a flood may go on before the connection ends.
const SOON: Duration = Duration::from_secs(6);

#[test]
fn a_connection_speaks_what_alpn_chose_and_nothing_else() {
    let siege = Siege::new();
    let mut connection = siege.stranger.try_connect_offering(HOST, &["h2"]).unwrap();
    connection.set_patience(SOON);
    connection.send(&request("GET", "/smuggled", "", ""));
    let mut bytes: Vec<u8> = Vec::new();
    let mut piece = [0_u8; 1024];
    while let Ok(read @ 1..) = connection.read(&mut piece) {
        bytes.extend(&piece[..read]);
    }
    assert!(
        !bytes.windows(5).any(|window| window == b"HTTP/"),
        "HTTP/1 on a connection for HTTP/2"
    );
    siege.honest("HTTP/1 for HTTP/2");

    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    put(&mut hello, SETTINGS, 0, 0, b"");
    put(&mut hello, HEADERS, WHOLE, 1, &block(&get("/smuggled")));
    for alpn in [&["http/1.1"][..], &[]] {
        let mut connection = siege.stranger.try_connect_offering(HOST, alpn).unwrap();
        connection.set_patience(SOON);
        connection.send(&hello);
        let status = connection.try_answer().map_or(0, |answer| answer.status);
        assert!(status == 0 || status == 400, "{status}");
        siege.honest("HTTP/2 for HTTP/1");
    }
    assert!(
        siege
            .gateway
            .access_log()
            .iter()
            .all(|line| line["path"] != "/smuggled")
    );
    let mut plain = siege.stranger.try_connect_offering(HOST, &[]).unwrap();
    assert_eq!(plain.get("/").status, 200, "without ALPN it is HTTP/1.1");
}

#[test]
fn the_tool_itself_is_understood() {
    let siege = Siege::new();
    for (path, expected) in [("/a", 200), ("/protected", 401), ("/public/../x", 400)] {
        let mut frames = Frames::open(&siege.stranger);
        frames.send(HEADERS, WHOLE, 1, &block(&get(path)));
        assert_eq!(frames.outcome(1), Outcome::Answered(expected), "{path}");
    }
}

#[test]
fn malformed_heads_never_become_requests() {
    let siege = Siege::new();
    let with = |more: &[(&str, &str)]| [get("/a"), fields(more)].concat();
    let only = |list: &[(&str, &str)]| fields(list);
    let authority = (":authority", HOST);
    let long = "x".repeat(40_000);
    let hundreds: Vec<_> = (0..200).map(|n| (format!("x-{n}"), "1")).collect();
    let hundreds: Vec<_> = hundreds
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    for (what, head) in [
        (
            "no path",
            only(&[(":method", "GET"), (":scheme", "https"), authority]),
        ),
        (
            "no method",
            only(&[(":path", "/a"), (":scheme", "https"), authority]),
        ),
        (
            "no scheme",
            only(&[(":path", "/a"), (":method", "GET"), authority]),
        ),
        (
            "no authority",
            only(&[(":path", "/a"), (":method", "GET"), (":scheme", "https")]),
        ),
        ("two paths", with(&[(":path", "/b")])),
        ("two methods", with(&[(":method", "POST")])),
        ("two authorities", with(&[authority])),
        ("an unknown pseudo-header", with(&[(":forged", "1")])),
        ("a pseudo-header of answers", with(&[(":status", "200")])),
        (
            "a protocol without CONNECT",
            with(&[(":protocol", "websocket")]),
        ),
        (
            "a pseudo-header after fields",
            [fields(&[("a", "b")]), get("/a")].concat(),
        ),
        ("an empty path", get("")),
        ("a relative path", get("a")),
        ("a starred path", get("*")),
        ("an absolute path", get("https://api.example.test/a")),
        ("a blank in the path", get("/a HTTP/1.1")),
        (
            "a line break in the path",
            get("/a HTTP/1.1\r\nX: y\r\n\r\nGET /smuggled"),
        ),
        ("a NUL in the path", get("/a\0")),
        ("a tab in the path", get("/a\tb")),
        ("a dot segment", get("/public/../protected")),
        (
            "a request line as method",
            only(&[
                (":method", "GET /smuggled HTTP/1.1\r\nX:"),
                (":scheme", "https"),
                authority,
                (":path", "/a"),
            ]),
        ),
        (
            "an empty method",
            only(&[
                (":method", ""),
                (":scheme", "https"),
                authority,
                (":path", "/a"),
            ]),
        ),
        (
            "a plain CONNECT",
            only(&[(":method", "CONNECT"), (":authority", "elsewhere.test:22")]),
        ),
        (
            "a user in the authority",
            only(&[
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", "user@api.example.test"),
                (":path", "/a"),
            ]),
        ),
        (
            "a line break in the authority",
            only(&[
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", "api.example.test\r\nX: y"),
                (":path", "/a"),
            ]),
        ),
        (
            "an empty authority",
            only(&[
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", ""),
                (":path", "/a"),
            ]),
        ),
        ("another host", with(&[("host", "elsewhere.test")])),
        ("two hosts", with(&[("host", HOST), ("host", HOST)])),
        ("upper case", with(&[("X-Upper", "1")])),
        (
            "an upper-case framing field",
            with(&[("Transfer-Encoding", "chunked")]),
        ),
        ("an empty name", with(&[("", "1")])),
        ("a colon in a name", with(&[("x:y", "1")])),
        ("a blank in a name", with(&[("x y", "1")])),
        ("a line break in a name", with(&[("x\r\ny", "1")])),
        (
            "an underscore in a name that frames",
            with(&[("content_length", "5")]),
        ),
        ("a line break in a value", with(&[("x", "1\r\ny: 2")])),
        ("a bare LF in a value", with(&[("x", "1\ny: 2")])),
        ("a NUL in a value", with(&[("x", "1\0")])),
        ("connection", with(&[("connection", "close")])),
        ("keep-alive", with(&[("keep-alive", "1")])),
        ("proxy-connection", with(&[("proxy-connection", "close")])),
        (
            "transfer-encoding",
            with(&[("transfer-encoding", "chunked")]),
        ),
        ("upgrade", with(&[("upgrade", "websocket")])),
        ("te", with(&[("te", "gzip")])),
        ("a length without a body", with(&[("content-length", "5")])),
        (
            "two lengths",
            with(&[("content-length", "0"), ("content-length", "5")]),
        ),
        ("a length that is none", with(&[("content-length", "+0")])),
        ("a head that is too large", with(&[("x", &long)])),
        ("too many fields", with(&hundreds)),
    ] {
        let before = siege.echo.requests();
        let mut frames = Frames::open(&siege.stranger);
        let head = block(&head);
        let mut pieces = head.chunks(16_000);
        let first = pieces.next().unwrap_or_default();
        let last = if pieces.len() == 0 { END_HEADERS } else { 0 };
        frames.send(HEADERS, END_STREAM | last, 1, first);
        while let Some(piece) = pieces.next() {
            let last = if pieces.len() == 0 { END_HEADERS } else { 0 };
            frames.send(CONTINUATION, last, 1, piece);
        }
        let outcome = frames.outcome(1);
        assert!(outcome.refused(), "{what}: {outcome:?}");
        assert_eq!(siege.echo.requests(), before, "{what}");
        siege.honest(what);
    }
}

#[test]
fn a_fragment_does_not_reach_the_upstream() {
    let siege = Siege::new();
    for path in ["/open#/protected", "/open#?x", "/open?a#b"] {
        let mut frames = Frames::open(&siege.stranger);
        frames.send(HEADERS, WHOLE, 1, &block(&get(path)));
        let outcome = frames.outcome(1);
        assert!(
            outcome.refused() || outcome == Outcome::Answered(200),
            "{outcome:?}"
        );
    }
    siege.honest("fragments");
    eventually("all is logged", || {
        let log = siege.gateway.access_log();
        log.iter()
            .any(|line| line["path"] == "/honest")
            .then_some(())
    });
    for line in siege.gateway.access_log() {
        let path = line["path"].as_str().unwrap();
        assert!(
            path == "/open" || path == "/honest" || line["status"] == 400,
            "{line}"
        );
    }
}

#[test]
fn a_body_is_as_long_as_it_says() {
    let siege = Siege::new();
    for (length, pieces) in [
        ("5", &["abc"][..]),
        ("3", &["abcde"]),
        ("3", &["abc", "de"]),
        ("5", &["abc", ""]),
        ("0", &["GET /smuggled HTTP/1.1\r\n\r\n"]),
    ] {
        let mut frames = Frames::open(&siege.stranger);
        let mut head = get("/a");
        head[0].1 = b"POST".to_vec();
        head.extend(fields(&[("content-length", length)]));
        frames.send(HEADERS, END_HEADERS, 1, &block(&head));
        for (place, piece) in pieces.iter().enumerate() {
            let last = place + 1 == pieces.len();
            frames.send(DATA, u8::from(last), 1, piece.as_bytes());
        }
        let outcome = frames.outcome(1);
        assert!(outcome.refused(), "{length} {pieces:?}: {outcome:?}");
        siege.honest("a length that is wrong");
    }
    assert!(
        siege
            .gateway
            .access_log()
            .iter()
            .all(|line| line["path"] != "/smuggled")
    );
}

#[test]
fn frames_that_break_the_rules_end_the_connection() {
    let siege = Siege::new();
    let head = block(&get("/a"));
    for (what, frames) in [
        ("data without a stream", vec![(DATA, 0, 0, b"x".to_vec())]),
        ("data before a head", vec![(DATA, 0, 1, b"x".to_vec())]),
        (
            "a head without a stream",
            vec![(HEADERS, WHOLE, 0, head.clone())],
        ),
        ("an even stream", vec![(HEADERS, WHOLE, 2, head.clone())]),
        (
            "a frame that is too large",
            vec![(DATA, 0, 1, vec![0; 20_000])],
        ),
        (
            "more padding than frame",
            vec![(HEADERS, WHOLE | PADDED, 1, vec![200, 0])],
        ),
        (
            "a promise from a client",
            vec![(PUSH_PROMISE, END_HEADERS, 1, vec![0, 0, 0, 2])],
        ),
        ("settings of a stream", vec![(SETTINGS, 0, 1, vec![])]),
        ("half a setting", vec![(SETTINGS, 0, 0, vec![0; 5])]),
        (
            "an acknowledgement with content",
            vec![(SETTINGS, ACK, 0, vec![0; 6])],
        ),
        (
            "a window of 2^31",
            vec![(SETTINGS, 0, 0, vec![0, 4, 0x80, 0, 0, 0])],
        ),
        (
            "frames of no bytes",
            vec![(SETTINGS, 0, 0, vec![0, 5, 0, 0, 0, 0])],
        ),
        (
            "a push that is neither",
            vec![(SETTINGS, 0, 0, vec![0, 2, 0, 0, 0, 2])],
        ),
        ("a short ping", vec![(PING, 0, 0, vec![0; 7])]),
        ("a ping of a stream", vec![(PING, 0, 1, vec![0; 8])]),
        ("no more window", vec![(WINDOW_UPDATE, 0, 0, vec![0; 4])]),
        (
            "too much window",
            vec![(WINDOW_UPDATE, 0, 0, vec![0x7f, 0xff, 0xff, 0xff])],
        ),
        ("a reset of nothing", vec![(RST_STREAM, 0, 1, vec![0; 4])]),
        (
            "a continuation of nothing",
            vec![(CONTINUATION, END_HEADERS, 1, head.clone())],
        ),
        (
            "a ping amid a head",
            vec![(HEADERS, 0, 1, head.clone()), (PING, 0, 0, vec![0; 8])],
        ),
        (
            "another stream amid a head",
            vec![
                (HEADERS, 0, 1, head.clone()),
                (CONTINUATION, END_HEADERS, 3, vec![]),
            ],
        ),
        ("an index of 0", vec![(HEADERS, WHOLE, 1, vec![0x80])]),
        (
            "an index of nothing",
            vec![(HEADERS, WHOLE, 1, vec![0xff, 0xff, 0x03])],
        ),
        (
            "a number without end",
            vec![(HEADERS, WHOLE, 1, vec![0xff; 30])],
        ),
        (
            "a table that is too large",
            vec![(
                HEADERS,
                WHOLE,
                1,
                [&[0x3f, 0xff, 0xff, 0x03], head.as_slice()].concat(),
            )],
        ),
        (
            "a string without end",
            vec![(HEADERS, WHOLE, 1, vec![0x00, 0x7f, 0xff, 0x00, b'x'])],
        ),
        (
            "a code that is none",
            vec![(
                HEADERS,
                WHOLE,
                1,
                vec![0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0x01, b'x'],
            )],
        ),
        ("nonsense", vec![(HEADERS, WHOLE, 1, vec![0xfe; 300])]),
    ] {
        let before = siege.echo.requests();
        let mut connection = Frames::open(&siege.stranger);
        for (kind, flags, stream, payload) in frames {
            connection.send(kind, flags, stream, &payload);
        }
        let outcome = connection.outcome(1);
        assert!(outcome.refused(), "{what}: {outcome:?}");
        assert_eq!(siege.echo.requests(), before, "{what}");
        siege.honest(what);
    }
}

#[test]
fn heads_without_end_are_cut_short() {
    let siege = Siege::new();
    let memory = siege.gateway.resident();
    for (what, piece) in [
        (
            "large",
            block(&fields(&[("x-filler", &"x".repeat(16_000))])),
        ),
        ("small", block(&fields(&[("a", "b")]))),
        ("empty", Vec::new()),
        ("nameless", vec![0, 0, 0]),
    ] {
        let mut frames = Frames::open(&siege.stranger);
        frames.send(HEADERS, END_STREAM, 1, &block(&get("/a")));
        let mut bytes = Vec::new();
        for _ in 0..1000 {
            put(&mut bytes, CONTINUATION, 0, 1, &piece);
        }
        frames.connection.set_patience(SOON);
        let sent = frames.flood(&bytes, 200);
        assert!(sent < 200 || frames.ends_within(SOON), "{what}: {sent}");
        siege.honest(what);
    }
    assert_eq!(siege.echo.requests(), 4, "the honest ones");
    assert!(siege.gateway.resident() < memory + MEMORY_MAX);
}

#[test]
fn streams_that_are_opened_and_reset_end_the_connection() {
    let siege = Siege::new();
    for (what, ending) in [
        (
            "reset by the client",
            &[(RST_STREAM, &[0, 0, 0, 8][..])][..],
        ),
        (
            "made to be reset, by an empty window",
            &[(WINDOW_UPDATE, &[0; 4])],
        ),
        (
            "made to be reset, by a window that overflows",
            &[(WINDOW_UPDATE, &[0x7f, 0xff, 0xff, 0xff])],
        ),
        ("made to be reset, by data after the end", &[(DATA, b"x")]),
        (
            "made to be reset, by a dependency on itself",
            &[(PRIORITY, &[])],
        ),
    ] {
        let before = siege.echo.requests();
        let mut frames = Frames::open(&siege.stranger);
        frames.connection.set_patience(SOON);
        let head = block(&get("/reset"));
        let mut ended = false;
        'flood: for round in 0..100_u32 {
            let mut bytes = Vec::new();
            for n in 0..100 {
                let stream = (round * 100 + n) * 2 + 1;
                put(&mut bytes, HEADERS, WHOLE, stream, &head);
                for (kind, payload) in ending {
                    let mut payload = payload.to_vec();
                    if *kind == PRIORITY {
                        payload = [&stream.to_be_bytes()[..], &[0]].concat();
                    }
                    put(&mut bytes, *kind, 0, stream, &payload);
                }
            }
            if !frames.send_bytes(&bytes) {
                ended = true;
                break 'flood;
            }
        }
        assert!(ended || frames.ends_within(SOON), "{what}");
        let reached = siege.echo.requests() - before;
        assert!(
            reached < 3000,
            "{what}: {reached} requests reached the upstream"
        );
        siege.honest(what);
    }
}

#[test]
fn cheap_frames_end_the_connection_or_cost_nothing() {
    let siege = Siege::new();
    let memory = siege.gateway.resident();
    let mut post = get("/a");
    post[0].1 = b"POST".to_vec();
    let post = block(&post);
    for (what, kind, flags, stream, payload, must_end) in [
        ("data of no bytes", DATA, 0, 1, &b""[..], true),
        ("data of padding", DATA, PADDED, 1, &[0; 1], false),
        ("settings", SETTINGS, 0, 0, &[], false),
        (
            "settings with content",
            SETTINGS,
            0,
            0,
            &[0, 4, 0, 0, 0xff, 0xff],
            false,
        ),
        ("pings", PING, 0, 0, &[0; 8], false),
        ("answers to pings", PING, ACK, 0, &[0; 8], false),
        ("priorities", PRIORITY, 0, 1, &[0, 0, 0, 0, 7], false),
        ("windows", WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1], false),
        ("farewells", GOAWAY, 0, 0, &[0; 8], false),
        ("frames of an unknown kind", 0xee, 0, 0, &[0; 8], false),
    ] {
        let mut frames = Frames::open(&siege.stranger);
        frames.connection.set_patience(Duration::from_millis(500));
        frames.send(HEADERS, END_HEADERS, 1, &post);
        let mut bytes = Vec::new();
        for _ in 0..2000 {
            put(&mut bytes, kind, flags, stream, payload);
        }
        // Nothing of what comes back is read, so that answers pile up, if they do.
        let sent = frames.flood(&bytes, 50);
        siege.honest(what);
        if must_end {
            assert!(sent < 50 || frames.ends_within(SOON), "{what}");
        }
        let grown = siege.gateway.resident().saturating_sub(memory);
        assert!(grown < MEMORY_MAX, "{what}: {grown} bytes");
    }
}

#[test]
fn a_small_block_does_not_become_a_large_head() {
    let siege = Siege::new();
    let memory = siege.gateway.resident();
    for _ in 0..20 {
        let mut frames = Frames::open(&siege.stranger);
        // One field of 3,900 bytes goes into the table, and one byte brings it back.
        let mut head = block(&get("/bomb"));
        head.extend([0x40, 1, b'x']);
        put_length(&mut head, 3900);
        head.extend(vec![b'y'; 3900]);
        head.extend(vec![0xbe; 10_000]);
        frames.send(HEADERS, WHOLE, 1, &head);
        let outcome = frames.outcome(1);
        assert!(outcome.refused(), "{outcome:?}");
    }
    siege.honest("bombs");
    let grown = siege.gateway.resident().saturating_sub(memory);
    assert!(grown < MEMORY_MAX, "{grown} bytes");
    assert_eq!(siege.echo.requests(), 1, "the honest one");
}

#[test]
fn so_many_streams_at_a_time_and_no_more() {
    let siege = Siege::new();
    let mut frames = Frames::open(&siege.stranger);
    let mut head = get("/a");
    head[0].1 = b"POST".to_vec();
    let head = block(&head);
    for n in 0..129 {
        frames.send(HEADERS, END_HEADERS, n * 2 + 1, &head);
    }
    let refused = frames.outcome(128 * 2 + 1);
    assert_eq!(refused, Outcome::Reset(7), "REFUSED_STREAM");
    siege.honest("many streams");
    assert!(siege.echo.requests() <= 129, "128 and the honest one");
}

#[test]
fn http2_clients_that_keep_us_waiting_are_let_go() {
    let siege = Siege::new();
    let mut post = get("/a");
    post[0].1 = b"POST".to_vec();
    let mut stalled = Frames::open(&siege.stranger);
    stalled.send(HEADERS, END_HEADERS, 1, &block(&post));
    assert_eq!(
        stalled.outcome(1),
        Outcome::Answered(408),
        "a body that does not come"
    );

    let mut half = Frames::open(&siege.stranger);
    half.send(HEADERS, END_STREAM, 1, &block(&get("/a")));
    assert!(half.ends_within(SOON), "a head that does not end");

    let mut used = Frames::open(&siege.stranger);
    used.send(HEADERS, WHOLE, 1, &block(&get("/a")));
    assert_eq!(used.outcome(1), Outcome::Answered(200));
    used.send(HEADERS, END_STREAM, 3, &block(&get("/a")));
    assert!(used.ends_within(SOON), "a later head that does not end");

    let mut pinging = Frames::open(&siege.stranger);
    let begun = std::time::Instant::now();
    while begun.elapsed() < SOON
        && pinging.send(PING, 0, 0, &[0; 8])
        && !pinging.ends_within(Duration::from_millis(200))
    {}
    assert!(begun.elapsed() < SOON, "pings instead of a request");
    siege.honest("slow clients");
}

fn head_only(path: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut head = get(path);
    head[0].1 = b"HEAD".to_vec();
    head
}

/// The window is the client's to give: an answer without one is held for a while, and not for ever.
#[test]
fn an_http2_answer_that_nobody_takes_is_given_up() {
    let siege = Siege::new();
    let memory = siege.gateway.resident();
    let mut closed = Frames::open_with(&siege.stranger, &[(4, 0)]);
    closed.send(HEADERS, WHOLE, 1, &block(&get("/bytes/3000000")));
    assert_eq!(closed.outcome(1), Outcome::Answered(200));
    assert_eq!(closed.outcome(1), Outcome::Reset(8), "CANCEL");

    // What moves on another stream does not excuse the one that is held, which alone is given up.
    let mut busy = Frames::open_with(&siege.stranger, &[(4, 0)]);
    busy.send(HEADERS, WHOLE, 1, &block(&get("/bytes/3000000")));
    let begun = std::time::Instant::now();
    let (mut stream, mut given_up) = (3, false);
    while !given_up {
        busy.send(HEADERS, WHOLE, stream, &block(&head_only("/a")));
        loop {
            let frame = busy.receive().expect("the connection goes on");
            given_up |= frame.kind == RST_STREAM && frame.stream == 1;
            if frame.kind == HEADERS && frame.stream == stream {
                break;
            }
        }
        stream += 2;
        assert!(
            begun.elapsed() < Duration::from_secs(8),
            "a busy connection"
        );
    }

    // A window for everything, and nobody who reads.
    let mut deaf = Frames::open_with(&siege.stranger, &[(4, 0x7fff_ffff)]);
    deaf.send(WINDOW_UPDATE, 0, 0, &[0x7f, 0, 0, 0]);
    let head = block(&get("/bytes/400000"));
    for n in 0..128 {
        deaf.send(HEADERS, WHOLE, n * 2 + 1, &head);
    }
    for _ in 0..10 {
        siege.honest("a deaf client");
        let grown = siege.gateway.resident().saturating_sub(memory);
        assert!(grown < MEMORY_MAX, "{grown} bytes");
    }
}
