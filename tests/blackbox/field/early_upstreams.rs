//! Upstreams that have heard enough: they answer before the request has ended, and close with the rest unread.

use std::io::{Read, Write};

use bytes::Bytes;

use crate::support::gateway::{Gateway, config};
use crate::support::upstream::misbehaving;

const OPEN: &str =
    "      - { match: { prefix: / }, require: none, upstream: api, body_max: 100MiB }";

/// A gateway before an upstream that reads this much of a body, refuses it in 50 KB and closes.
fn gateway(read: usize) -> Gateway {
    let upstream = misbehaving(move |mut stream, _| {
        let _ = stream.read_exact(&mut vec![0; read]);
        let body = "x".repeat(50_000);
        let head = "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 50000";
        let _ = stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes());
    });
    Gateway::start(&config(&upstream, OPEN))
}

#[test]
fn the_answer_to_an_upload_that_is_too_large_reaches_callers_whole() {
    for (read, sent, times) in [
        (2 << 20, 50 << 20, 6),
        (0, 3 << 20, 40),
        (100 << 10, 4 << 20, 40),
    ] {
        let gateway = gateway(read);
        let partner = gateway.stranger();
        let body = vec![b'u'; sent];
        for time in 0..times {
            let got = partner.post("/upload", &[], &body);
            assert_eq!(
                (got.status, got.body.len()),
                (413, 50_000),
                "{time}: {sent} bytes"
            );
        }
        let post = |builder: http::request::Builder| builder.method("POST");
        for time in 0..times {
            let request = vec![("/upload".to_owned(), Bytes::from(body.clone()))];
            let got = partner.over_h2(request, &[], post).remove(0);
            assert_eq!(
                (got.status, got.body.len()),
                (413, 50_000),
                "h2 {time}: {sent} bytes"
            );
        }
    }
}
