//! Connections that are kept to an upstream: none is used when the upstream has closed it or is about to.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;

use crate::support::gateway::{Gateway, config};
use crate::support::pki::{self, Stranger};
use crate::support::upstream::{misbehaving, read_head};

const OPEN: &str = "      - { match: { prefix: / }, require: none, upstream: api }";

/// Reads a request's body, which says its length.
fn read_body(stream: &mut impl Read, head: &str) {
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.trim().parse().unwrap());
    let _ = stream.read_exact(&mut vec![0; length]);
}

/// Answers this many requests, one after the other, with these further fields.
fn serve(stream: &mut (impl Read + Write), mut head: String, answers: usize, fields: &str) {
    for number in 1..=answers {
        if head.is_empty() {
            return;
        }
        read_body(stream, &head);
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok");
        if stream.write_all(answer.as_bytes()).is_err() || stream.flush().is_err() {
            return;
        }
        if number < answers {
            head = read_head(stream);
        }
    }
}

/// An API that closes a connection when it was quiet for a second.
fn closing_after_a_second(fields: &'static str) -> String {
    misbehaving(move |mut stream, head| {
        stream
            .set_read_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        serve(&mut stream, head, usize::MAX, fields);
    })
}

fn gateway(upstream: &str) -> Gateway {
    Gateway::start(&config(upstream, OPEN).replace("workers: 2", "workers: 1"))
}

/// Has `callers` make `requests` POSTs each, with this pause between two, and counts those that fail.
fn failures(gateway: &Gateway, callers: usize, requests: usize, pause: Duration) -> usize {
    let calls = |_| {
        let partner = gateway.stranger();
        thread::spawn(move || {
            let mut connection = partner.connect();
            let mut failed = 0;
            for _ in 0..requests {
                let answer = connection.request("POST", "/orders", &[], b"{\"order\": 1}");
                failed += usize::from(answer.status != 200);
                #[expect(
                    clippy::disallowed_methods,
                    reason = "what is tried is what a pause of this length does"
                )]
                thread::sleep(pause);
            }
            failed
        })
    };
    #[expect(
        clippy::needless_collect,
        reason = "all callers begin before one is waited for"
    )]
    let threads: Vec<_> = (0..callers).map(calls).collect();
    threads.into_iter().map(|one| one.join().unwrap()).sum()
}

#[test]
fn an_announced_end_of_quiet_connections_costs_no_request() {
    for fields in [
        "Keep-Alive: timeout=1\r\n",
        "Connection: keep-alive\r\nKeep-Alive: timeout=1, max=1000\r\n",
        "keep-alive: max=7,TIMEOUT = 1\r\n",
    ] {
        let gateway = gateway(&closing_after_a_second(fields));
        let pause = Duration::from_secs(1);
        assert_eq!(failures(&gateway, 6, 4, pause), 0, "{fields:?}");
    }
}

#[test]
fn an_end_that_is_not_announced_is_learnt() {
    let gateway = gateway(&closing_after_a_second(""));
    // Something is quiet for longer once, so that its end is seen.
    assert_eq!(failures(&gateway, 6, 2, Duration::from_millis(1300)), 0);
    assert_eq!(failures(&gateway, 6, 4, Duration::from_secs(1)), 0);
}

#[test]
fn who_closes_after_some_answers_without_a_word_loses_no_request() {
    for answers in [1, 2, 7] {
        let upstream = misbehaving(move |mut stream, head| {
            serve(&mut stream, head, answers, "");
        });
        let gateway = gateway(&upstream);
        let failed = failures(&gateway, 2, 300, Duration::ZERO);
        // Once an endpoint has kept connections, its first silent close may meet a request.
        let allowed = if answers == 1 { 0 } else { 2 };
        assert!(failed <= allowed, "{failed} of 600, {answers} answers each");
    }
}

#[test]
fn who_closes_over_tls_without_a_word_loses_no_request() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Stranger::new(dir.path(), "api-ca", "/CN=the API's authority");
    let made = pki::request(dir.path(), "api");
    let certificate = authority.sign(&made, "subjectAltName=DNS:localhost");
    let chain = rustls::pki_types::CertificateDer::pem_file_iter(certificate).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_file(&made.key).unwrap();
    let server = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    let server = Arc::new(server);
    for says_goodbye in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!(
            "https://localhost:{}",
            listener.local_addr().unwrap().port()
        );
        let server = Arc::clone(&server);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let server = Arc::clone(&server);
                thread::spawn(move || answer_over_tls(stream, server, says_goodbye));
            }
        });
        let text = config(&url, OPEN).replace("workers: 2", "workers: 1");
        let ca = authority.certificate();
        let trusting = format!(
            "endpoints: [\"{url}\"], tls: {{ ca: \"{}\" }}",
            ca.display()
        );
        let gateway = Gateway::start(&text.replace(&format!("endpoints: [\"{url}\"]"), &trusting));
        let failed = failures(&gateway, 2, 60, Duration::ZERO);
        assert_eq!(failed, 0, "of 120, goodbye: {says_goodbye}");
    }
}

fn answer_over_tls(stream: TcpStream, config: Arc<rustls::ServerConfig>, says_goodbye: bool) {
    let session = rustls::ServerConnection::new(config).unwrap();
    let mut stream = rustls::StreamOwned::new(session, stream);
    let head = read_head(&mut stream);
    serve(&mut stream, head, 1, "");
    if says_goodbye {
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }
}
