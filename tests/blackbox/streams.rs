//! HTTP/2 streams that flow both ways: calls like gRPC's, and WebSocket over an extended CONNECT (RFC 8441).

use std::io::{Read, Write};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response};

use crate::support::client::Partner;
use crate::support::eventually::eventually;
use crate::support::gateway::{Gateway, HOST, config};
use crate::support::upstream::{Echo, misbehaving};

const OPEN: &str = "      - { match: { prefix: /closed }, require: none, upstream: api }
      - { match: { prefix: /mtls }, require: mtls, upstream: api, upgrades: true }
      - { match: { prefix: / }, require: none, upstream: api, upgrades: true }";

/// Longer than any of this takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// More than a frame holds.
static LARGE: [u8; 40_000] = [7; 40_000];

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await.unwrap() })
}

fn speaking_http2(echo: &Echo) -> Gateway {
    let http2 = "], protocol: http2 }\nhosts";
    Gateway::start(&config(&echo.url(), OPEN).replace("] }\nhosts", http2))
}

/// Reads until so many bytes have come.
async fn bytes(body: &mut RecvStream, count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < count {
        let piece = body.data().await.unwrap().unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        all.extend_from_slice(&piece);
    }
    all
}

fn call(path: &str) -> Request<()> {
    Request::builder()
        .method(Method::POST)
        .uri(format!("https://{HOST}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap()
}

#[test]
fn a_call_like_grpcs_flows_both_ways_and_keeps_its_trailers() {
    let echo = Echo::start();
    let gateway = speaking_http2(&echo);
    run(async {
        let mut sender = gateway.stranger().streams().await;
        let (answer, mut sending) = sender.send_request(call("/stream"), false).unwrap();
        sending
            .send_data(Bytes::from_static(b"one"), false)
            .unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut body = answer.into_body();
        // Each piece comes back before the next is sent.
        assert_eq!(bytes(&mut body, 3).await, b"one");
        for message in [&b"two"[..], b"three", &LARGE] {
            sending
                .send_data(Bytes::from_static(message), false)
                .unwrap();
            assert_eq!(bytes(&mut body, message.len()).await, message);
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        trailers.insert("x-countersign-app-id", "forged".parse().unwrap());
        sending.send_trailers(trailers).unwrap();
        assert!(body.data().await.is_none());
        let trailers = body.trailers().await.unwrap().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
        assert!(!trailers.contains_key("x-countersign-app-id"));
    });
}

#[test]
fn a_client_that_resets_its_call_harms_no_other() {
    let echo = Echo::start();
    let gateway = speaking_http2(&echo);
    run(async {
        let mut sender = gateway.stranger().streams().await;
        let (_answer, mut left) = sender.send_request(call("/stream"), false).unwrap();
        left.send_data(Bytes::from_static(b"one"), false).unwrap();
        left.send_reset(h2::Reason::CANCEL);
        let (answer, mut sending) = sender.send_request(call("/stream"), false).unwrap();
        sending.send_data(Bytes::from_static(b"two"), true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        assert_eq!(bytes(&mut body, 3).await, b"two");
    });
}

/// An upstream that speaks HTTP/2, begins an answer, and takes it back when it is told to.
fn taking_back(reason: h2::Reason) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let serving = async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut connection) = h2::server::handshake(stream).await else {
                continue;
            };
            // One call on one connection is all that it is asked for.
            let Some(Ok((request, mut reply))) = connection.accept().await else {
                continue;
            };
            let mut answer = reply.send_response(Response::new(()), false).unwrap();
            let take_back = async {
                bytes(&mut request.into_body(), 2).await;
                answer.send_reset(reason);
            };
            tokio::join!(take_back, async {
                while connection.accept().await.is_some() {}
            });
        }
    };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(serving)
    });
    format!("http://{address}")
}

#[test]
fn an_answer_that_the_upstream_takes_back_is_taken_back_for_the_same_reason() {
    for reason in [h2::Reason::CANCEL, h2::Reason::ENHANCE_YOUR_CALM] {
        let text = config(&taking_back(reason), OPEN);
        let gateway = Gateway::start(&text.replace("] }\nhosts", "], protocol: http2 }\nhosts"));
        run(async {
            let mut sender = gateway.stranger().streams().await;
            let (answer, mut sending) = sender.send_request(call("/x"), false).unwrap();
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), 200);
            sending.send_data(Bytes::from_static(b"go"), false).unwrap();
            let broken = answer.into_body().data().await.unwrap().unwrap_err();
            assert_eq!(broken.reason(), Some(reason));
        });
    }
}

/// Asks for a WebSocket over HTTP/2.
async fn websocket(partner: &Partner, path: &str) -> (Response<RecvStream>, SendStream<Bytes>) {
    let mut sender = partner.streams().await;
    while !sender.is_extended_connect_protocol_enabled() {
        // The server's settings are on their way.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("https://{HOST}{path}"))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
        .body(())
        .unwrap();
    request
        .extensions_mut()
        .insert(Protocol::from_static("websocket"));
    let (answer, sending) = sender.send_request(request, false).unwrap();
    (answer.await.unwrap(), sending)
}

/// Says a few things, hears them again, and hangs up.
async fn converse(body: &mut RecvStream, sending: &mut SendStream<Bytes>) {
    for message in [&b"hello"[..], b"again", &LARGE] {
        sending
            .send_data(Bytes::from_static(message), false)
            .unwrap();
        assert_eq!(bytes(body, message.len()).await, message);
    }
    sending.send_data(Bytes::new(), true).unwrap();
    while let Some(piece) = body.data().await {
        assert!(piece.unwrap().is_empty(), "the other side hangs up too");
    }
}

#[test]
fn websocket_over_http2_reaches_an_upstream_of_either_protocol() {
    let echo = Echo::start();
    for gateway in [
        Gateway::start(&config(&echo.url(), OPEN)),
        speaking_http2(&echo),
    ] {
        run(async {
            let (answer, mut sending) = websocket(&gateway.stranger(), "/chat").await;
            assert_eq!(answer.status(), 200);
            for hop in ["connection", "upgrade", "sec-websocket-accept"] {
                assert!(!answer.headers().contains_key(hop), "{hop}");
            }
            converse(&mut answer.into_body(), &mut sending).await;
        });
    }
}

#[test]
fn an_http1_upstream_is_asked_for_a_websocket_in_its_own_words() {
    let (told, asked) = mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let upstream = misbehaving(move |mut stream, head| {
        told.lock().unwrap().send(head).unwrap();
        let agreed = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: chat\r\n\r\nwelcome";
        stream.write_all(agreed).unwrap();
        let mut said = [0_u8; 5];
        stream.read_exact(&mut said).unwrap();
        stream.write_all(&said).unwrap();
    });
    let gateway = Gateway::start(&config(&upstream, OPEN));
    run(async {
        let (answer, mut sending) = websocket(&gateway.stranger(), "/chat?room=1").await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
        let mut body = answer.into_body();
        assert_eq!(bytes(&mut body, 7).await, b"welcome");
        sending
            .send_data(Bytes::from_static(b"hello"), false)
            .unwrap();
        assert_eq!(bytes(&mut body, 5).await, b"hello");
    });
    let head = asked.recv_timeout(PATIENCE).unwrap().to_ascii_lowercase();
    for line in [
        "get /chat?room=1 http/1.1\r\n",
        "upgrade: websocket\r\n",
        "connection: upgrade\r\n",
        "sec-websocket-version: 13\r\n",
        "sec-websocket-protocol: chat\r\n",
        "sec-websocket-key: ",
    ] {
        assert!(head.contains(line), "{line:?} in {head}");
    }
    assert!(!head.contains(":protocol"), "{head}");
}

#[test]
fn websocket_over_http2_is_refused_like_any_other_request() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), OPEN));
    let refused = |path: &str, expected: u16, reason: &str| {
        run(async {
            let (answer, _sending) = websocket(&gateway.stranger(), path).await;
            assert_eq!(answer.status(), expected, "{path}");
            let mut body = answer.into_body();
            let mut text = Vec::new();
            while let Some(piece) = body.data().await {
                text.extend_from_slice(&piece.unwrap());
            }
            let problem: serde_json::Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(problem["reason"], reason, "{path}");
        });
    };
    refused("/closed/chat", 400, "upgrade_refused");
    refused("/mtls/chat", 401, "cert_missing");
    assert_eq!(echo.requests(), 0);
    let acme = gateway.enrol("acme");
    run(async {
        let (answer, mut sending) = websocket(&acme.partner, "/mtls/chat").await;
        assert_eq!(answer.status(), 200);
        converse(&mut answer.into_body(), &mut sending).await;
    });
    eventually("the tunnel has ended", || {
        (gateway.count("countersign_tunnels") == 0).then_some(())
    });
}

#[test]
fn an_upstream_that_does_not_agree_gives_its_answer() {
    let gateway = Gateway::start(&config(
        &crate::support::upstream::saying(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"),
        OPEN,
    ));
    run(async {
        let (answer, _sending) = websocket(&gateway.stranger(), "/chat").await;
        assert_eq!(answer.status(), 403);
        assert_eq!(bytes(&mut answer.into_body(), 2).await, b"no");
    });
}
