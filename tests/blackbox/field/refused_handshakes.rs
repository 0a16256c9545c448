//! Connections that do not come to a handshake: each is told why in words that its client can hear.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::eventually::eventually;
use crate::support::gateway::{Gateway, HOST, config};
use crate::support::upstream::Echo;
use crate::support::{pki, process};

const ROUTES: &str = "      - { match: { prefix: / }, require: none, upstream: api }";

fn start() -> (Echo, Gateway) {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    (echo, gateway)
}

/// Sends bytes as they are, and gives back all that is answered.
fn said(address: SocketAddr, pieces: &[&[u8]]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in pieces {
        stream.write_all(piece).unwrap();
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let _ = stream.shutdown(Shutdown::Both);
    answer
}

#[test]
fn plain_http_is_answered_in_words_whatever_it_asks_for() {
    let (echo, gateway) = start();
    let body = [
        b"POST / HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n".as_slice(),
        &vec![b'x'; 3_000_000],
    ];
    let requests: [&[&[u8]]; 6] = [
        &[b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"],
        &[b"PROPFIND /x HTTP/1.0\r\n\r\n"],
        &[b"OPTIONS * HTTP/1.1\r\n\r\n"],
        &[b"CONNECT a.test:443 HTTP/1.1\r\n\r\n"],
        &[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
        &body,
    ];
    for address in [gateway.partners(), gateway.admin()] {
        for request in requests {
            let answer = String::from_utf8(said(address, request)).unwrap();
            assert!(
                answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
                "{answer:?}"
            );
            assert!(answer.contains("HTTPS"), "{answer}");
        }
    }
    let label = "result=\"plain_http\"";
    let counted = requests.len() as u64;
    eventually("each is counted", || {
        let handshakes = gateway.count_of("countersign_tls_handshakes_total", label);
        (handshakes == counted).then_some(())
    });
    assert_eq!(gateway.handshakes_refused("plain_http"), counted);
    assert_eq!(echo.requests(), 0);
}

#[test]
fn bytes_that_are_neither_get_the_alert() {
    let (_echo, gateway) = start();
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.6\r\n"[..],
        b"\x05\x01\x00\x00\x00",
        b"\r\n\r\nGET / HTTP/1.1\r\n",
    ] {
        let answer = said(gateway.partners(), &[bytes]);
        assert_eq!(answer.first(), Some(&21), "{bytes:?}: {answer:?}");
    }
    eventually("each is counted", || {
        (gateway.handshakes_refused("handshake_failed") == 3).then_some(())
    });
    assert_eq!(gateway.handshakes_refused("plain_http"), 0);
}

/// A certificate that signs itself and says that it is an authority, as `openssl req -x509` makes it.
fn self_signed(dir: &Path) -> (PathBuf, PathBuf) {
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let mut args = vec!["req", "-x509", "-nodes", "-subj", "/CN=self-signed"];
    args.extend(curve);
    args.extend(["-days", "30", "-keyout", "self.key", "-out", "self.pem"]);
    process::run(dir, "openssl", &args).ok();
    let text = ["x509", "-in", "self.pem", "-noout", "-text"];
    let text = process::run(dir, "openssl", &text).ok();
    assert!(text.contains("CA:TRUE"), "{text}");
    (dir.join("self.pem"), dir.join("self.key"))
}

/// The alert tells a partner's engineers what is wrong; a reset tells them nothing.
#[test]
fn curl_shows_the_alert_to_a_certificate_of_strangers_over_either_version() {
    let (_echo, gateway) = start();
    let dir = gateway.dir();
    let made = pki::request(dir, "strange");
    let strange = pki::Stranger::new(dir, "strangers", "/CN=nobody we know").sign(
        &made,
        "extendedKeyUsage=clientAuth\nkeyUsage=digitalSignature\n",
    );
    let (own, own_key) = self_signed(dir);
    std::fs::write(dir.join("body"), vec![b'x'; 3 << 20]).unwrap();
    let port = gateway.partners().port();
    let (resolve, url) = (
        format!("{HOST}:{port}:127.0.0.1"),
        format!("https://{HOST}:{port}/"),
    );
    let ca = gateway.ca();
    for (certificate, key) in [(&strange, &made.key), (&own, &own_key)] {
        for version in ["--http1.1", "--http2"] {
            for data in [&[][..], &["--data-binary", "@body"]] {
                let mut args = vec![
                    "-sS",
                    version,
                    "--resolve",
                    &resolve,
                    "--cacert",
                    ca.to_str().unwrap(),
                ];
                args.extend([
                    "--cert",
                    certificate.to_str().unwrap(),
                    "--key",
                    key.to_str().unwrap(),
                ]);
                args.extend(data);
                args.push(&url);
                for _ in 0..5 {
                    let said = process::run(dir, "curl", &args);
                    let words = said.stderr.to_ascii_lowercase();
                    assert!(
                        words.contains("alert") && words.contains("unknown ca"),
                        "{certificate:?} {version} {data:?}: {said:?}"
                    );
                }
            }
        }
    }
    assert_eq!(gateway.handshakes_refused("cert_usage"), 0);
}

/// `curl --http1.0` offers `http/1.0` and nothing else.
#[test]
fn a_client_of_http_1_0_agrees_on_it() {
    let (_echo, gateway) = start();
    let partner = gateway.stranger();
    for offered in [&["http/1.0"][..], &["http/1.0", "http/1.1"], &[]] {
        let mut connection = partner.try_connect_offering(HOST, offered).unwrap();
        connection.send(format!("GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n").as_bytes());
        assert_eq!(connection.answer().status, 200, "{offered:?}");
    }
    for offered in [&["h3"][..], &["spdy/3", "http/0.9"]] {
        let refused = partner.try_connect_offering(HOST, offered).unwrap_err();
        assert!(
            refused.to_string().contains("NoApplicationProtocol"),
            "{refused}"
        );
    }
    let (port, ca) = (gateway.partners().port(), gateway.ca());
    let (resolve, url) = (
        format!("{HOST}:{port}:127.0.0.1"),
        format!("https://{HOST}:{port}/"),
    );
    let args = [
        "-sS",
        "-0",
        "--resolve",
        &resolve,
        "--cacert",
        ca.to_str().unwrap(),
        &url,
    ];
    let told = process::run(gateway.dir(), "curl", &args).ok();
    assert!(told.contains("\"target\":\"/\""), "{told}");
}
