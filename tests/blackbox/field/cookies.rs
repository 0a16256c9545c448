//! Cookies that an HTTP/2 client sends one by one are one field.

use super::seen;
use crate::support::frames::{
    END_HEADERS, END_STREAM, Frames, HEADERS, Outcome, block, fields, get,
};
use crate::support::gateway::{Gateway, config};
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: / }, require: none, upstream: api }";

#[test]
fn crumbs_of_a_cookie_are_one_field_and_joined() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    for count in [2, 101, 300] {
        let crumbs: Vec<String> = (0..count).map(|n| format!("c{n}=v")).collect();
        let fields: Vec<_> = crumbs
            .iter()
            .map(|crumb| ("cookie", crumb.as_str()))
            .collect();
        let answer = gateway.stranger().get_h2("/", &fields);
        assert_eq!(answer.status, 200, "{count}: {answer:?}");
        assert_eq!(seen(&answer, "cookie"), [crumbs.join("; ")]);
    }
}

#[test]
fn other_fields_and_bytes_are_counted_as_before() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let crumb = "c=".to_owned() + &"v".repeat(400);
    let outcome = |more: &[(&str, &str)]| {
        let mut frames = Frames::open(&gateway.stranger());
        let head = block(&[get("/"), fields(more)].concat());
        let mut pieces = head.chunks(16_000).peekable();
        let mut kind = HEADERS;
        while let Some(piece) = pieces.next() {
            let last = if pieces.peek().is_none() {
                END_HEADERS
            } else {
                0
            };
            let stream = if kind == HEADERS { END_STREAM } else { 0 };
            frames.send(kind, last | stream, 1, piece);
            kind = crate::support::frames::CONTINUATION;
        }
        frames.outcome(1)
    };
    // 40 KB in crumbs, and 101 fields of other names beside two crumbs.
    assert!(outcome(&vec![("cookie", crumb.as_str()); 100]).refused());
    let names: Vec<String> = (0..101).map(|n| format!("x-{n}")).collect();
    let mut many: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    many.extend([("cookie", "a=b"), ("cookie", "c=d")]);
    assert_eq!(outcome(&many), Outcome::Answered(431));
    assert_eq!(echo.requests(), 0);
    let twice = [("Cookie", "a=b"); 101];
    assert_eq!(
        gateway.stranger().get_with("/", &twice).status,
        431,
        "HTTP/1.1 has one"
    );
}

/// What is joined is a value and no line: a crumb brings no other field along, and none that is not valid.
#[test]
fn a_crumb_smuggles_nothing() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let crumbs = |list: &[(&str, &[u8])]| {
        let mut head = get("/");
        head.extend(
            list.iter()
                .map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())),
        );
        let mut frames = Frames::open(&gateway.stranger());
        frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&head));
        frames.outcome(1)
    };
    for hostile in [
        &b"a=b\r\nX-Countersign-App-Id: forged"[..],
        b"a=b\nX-Countersign-App-Id: forged",
        b"a=b\rc=d",
        b"a=b\r\n\r\nGET /smuggled HTTP/1.1",
        b"a=b\0",
        b"\x01",
        b"a=\x7f",
    ] {
        for list in [
            &[("cookie", hostile)][..],
            &[("cookie", b"x=y"), ("cookie", hostile)],
            &[("cookie", hostile), ("cookie", b"x=y")],
            &[("cookie", b"x=y"), ("x-other", b"1"), ("cookie", hostile)],
        ] {
            let outcome = crumbs(list);
            assert!(outcome.refused(), "{outcome:?}: {list:?}");
        }
    }
    assert!(crumbs(&[("Cookie", b"a=b")]).refused(), "capitals");
    assert_eq!(echo.requests(), 0);
    for (list, joined) in [
        (&["a=b", "", "c=d"][..], "a=b; ; c=d"),
        (
            &["a=b; session=1", "session=2"],
            "a=b; session=1; session=2",
        ),
        (&["a=\"b", "c=\"d"], "a=\"b; c=\"d"),
        (&["a=b,", "c=d"], "a=b,; c=d"),
    ] {
        let mut fields: Vec<_> = list.iter().map(|crumb| ("cookie", *crumb)).collect();
        fields.push(("cookie_", "e=forged"));
        fields.push(("x_cookie", "e=forged"));
        let answer = gateway.stranger().get_h2("/", &fields);
        assert_eq!(answer.status, 200, "{list:?}");
        assert_eq!(seen(&answer, "cookie"), [joined], "one field, in order");
        assert!(!answer.text().contains("forged"), "{}", answer.text());
    }
    // A cookie in a trailer joins none.
    let answer = super::sent_as(
        &gateway,
        &format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nCookie: a=b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nCookie: e=forged\r\n\r\n",
            crate::support::gateway::HOST
        ),
    );
    assert_eq!(seen(&answer, "cookie"), ["a=b"]);
    assert!(!answer.text().contains("forged"), "{}", answer.text());
}
