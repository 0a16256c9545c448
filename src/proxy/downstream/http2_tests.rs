//! A connection driven over a stream in memory, with the library's own client at the other end.

use std::future::poll_fn;

use bytes::Bytes;
use h2::client::{self, ResponseFuture, SendRequest};
use h2::ext::Protocol;
use h2::{Reason as Code, SendStream};
use http::{HeaderMap, Request as Asked, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

use super::super::testing::{Echo, run};
use super::*;

const PATIENCE: Duration = Duration::from_hours(1);

fn serve(echo: &Echo) -> (DuplexStream, Http2<DuplexStream, Echo>) {
    let (client, ours) = tokio::io::duplex(64 << 10);
    let served = Http2::new(ours, echo.clone(), &ServerBounds::default());
    (client, served)
}

/// A client and its connection.
async fn connect(echo: &Echo) -> (SendRequest<Bytes>, JoinHandle<Closed>) {
    let (near, served) = serve(echo);
    let served = tokio::task::spawn_local(served);
    let (sender, connection) = client::handshake(near).await.unwrap();
    tokio::task::spawn_local(async { _ = connection.await });
    (sender.ready().await.unwrap(), served)
}

fn ask(sender: &mut SendRequest<Bytes>, path: &str, body: &[u8]) -> ResponseFuture {
    let request = Asked::post(format!("https://localhost{path}"));
    let request = request.body(()).unwrap();
    let (answer, mut sending) = sender.send_request(request, body.is_empty()).unwrap();
    if !body.is_empty() {
        let body = Bytes::copy_from_slice(body);
        sending.send_data(body, true).unwrap();
    }
    answer
}

async fn heard(answer: ResponseFuture) -> (StatusCode, HeaderMap, String) {
    let (parts, mut body) = answer.await.unwrap().into_parts();
    let mut text = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        text.extend_from_slice(&piece);
    }
    let text = String::from_utf8(text).unwrap();
    (parts.status, parts.headers, text)
}

#[test]
fn requests_are_answered_side_by_side() {
    run(async {
        let echo = Echo::default();
        let (mut sender, served) = connect(&echo).await;
        let waiting = ask(&mut sender, "/wait", b"");
        let (one, other) = (ask(&mut sender, "/a", b""), ask(&mut sender, "/b", b"abc"));
        let (status, fields, text) = heard(other).await;
        assert_eq!((status, text.as_str()), (StatusCode::OK, "/b:abc"));
        assert_eq!(fields["content-length"], "6");
        assert_eq!(fields["date"], "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(heard(one).await.2, "/a:");
        assert_eq!(echo.asked.borrow().len(), 3);
        drop((waiting, sender));
        assert_eq!(served.await.unwrap(), Closed::Finished);
    });
}

#[test]
fn a_large_body_comes_through_whole() {
    run(async {
        let (mut sender, _served) = connect(&Echo::default()).await;
        // More than a window holds, both ways.
        let body = "x".repeat(3 << 20);
        let (_, _, text) = heard(ask(&mut sender, "/", body.as_bytes())).await;
        assert_eq!(text.len(), body.len() + 2);
    });
}

#[test]
fn a_request_that_is_taken_back_goes_no_further() {
    run(async {
        let echo = Echo::default();
        let (mut sender, _served) = connect(&echo).await;
        let request = Asked::get("https://localhost/wait").body(()).unwrap();
        let (_answer, mut sending) = sender.send_request(request, false).unwrap();
        let taken_up = async {
            while echo.asked.borrow().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, taken_up).await.unwrap();
        assert!(!echo.dropped.get());
        sending.send_reset(Code::CANCEL);
        heard(ask(&mut sender, "/after", b"")).await;
        assert!(echo.dropped.get());
    });
}

fn upgrade(length: Option<&str>) -> Asked<()> {
    let mut request = Asked::connect("https://localhost/switch");
    if let Some(length) = length {
        request = request.header(header::CONTENT_LENGTH, length);
    }
    let mut request = request.body(()).unwrap();
    let protocol = Protocol::from_static("websocket");
    request.extensions_mut().insert(protocol);
    request
}

/// Waits until the server's settings enable extended CONNECT.
async fn settled(mut sender: SendRequest<Bytes>) -> SendRequest<Bytes> {
    heard(ask(&mut sender, "/", b"")).await;
    assert!(sender.is_extended_connect_protocol_enabled());
    sender
}

async fn read(answer: &mut RecvStream, sending: &mut SendStream<Bytes>) -> Vec<u8> {
    sending
        .send_data(Bytes::from_static(b"ping"), true)
        .unwrap();
    let mut all = Vec::new();
    while let Some(piece) = answer.data().await {
        all.extend_from_slice(&piece.unwrap());
    }
    all
}

#[test]
fn a_stream_becomes_a_tunnel() {
    run(async {
        let (sender, _served) = connect(&Echo::default()).await;
        let mut sender = settled(sender).await;
        let (answer, mut sending) = sender.send_request(upgrade(None), false).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(!answer.headers().contains_key(header::CONNECTION));
        assert_eq!(read(&mut answer.into_body(), &mut sending).await, b"ping");
    });
}

#[test]
fn a_tunnel_has_no_body() {
    run(async {
        let echo = Echo::default();
        let (sender, _served) = connect(&echo).await;
        let mut sender = settled(sender).await;
        let request = upgrade(Some("4"));
        let (answer, _sending) = sender.send_request(request, false).unwrap();
        let (status, _, text) = heard(answer).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(text, "request_malformed");
        assert_eq!(*echo.asked.borrow(), ["/"]);
    });
}

#[test]
fn whoever_is_silent_is_asked_and_whoever_does_not_answer_has_gone() {
    run(async {
        let (mut sender, served) = connect(&Echo::default()).await;
        tokio::time::sleep(PATIENCE).await;
        assert!(!served.is_finished(), "the client answers");
        heard(ask(&mut sender, "/", b"")).await;

        let (mut client, served) = serve(&Echo::default());
        let served = tokio::task::spawn_local(served);
        client
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .await
            .unwrap();
        let ServerBounds {
            ping_interval,
            ping_timeout,
            ..
        } = ServerBounds::default();
        // The client does not acknowledge the PING, but enlarges the connection's window again and again.
        tokio::time::sleep(ping_interval + ping_timeout / 2).await;
        for _ in 0..100 {
            let larger = b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01";
            client.write_all(larger).await.unwrap();
            tokio::time::sleep(ping_timeout / 2).await;
        }
        assert!(!served.is_finished(), "what says something is there");
        let silent = tokio::time::Instant::now();
        let why = tokio::time::timeout(PATIENCE, served).await.unwrap();
        assert_eq!(why.unwrap(), Closed::Idle);
        let after = silent.elapsed();
        assert!(after <= ping_timeout, "{after:?}");
    });
}

#[test]
fn what_runs_on_a_connection_that_is_cut_is_given_up() {
    run(async {
        let echo = Echo::default();
        let (mut sender, served) = connect(&echo).await;
        let waiting = ask(&mut sender, "/wait", b"");
        while echo.asked.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(!echo.dropped.get());
        served.abort();
        assert!(waiting.await.is_err());
        let given_up = async {
            while !echo.dropped.get() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, given_up).await.unwrap();
    });
}

#[test]
fn a_connection_that_is_to_finish_finishes_what_runs_and_takes_nothing_new() {
    run(async {
        let echo = Echo::default();
        let (near, mut served) = serve(&echo);
        let (mut sender, mut connection) = client::handshake(near).await.unwrap();
        let request = Asked::post("https://localhost/a").body(()).unwrap();
        let (answer, mut sending) = sender.send_request(request, false).unwrap();
        // Both sides, until the request has been taken up.
        let taken_up = poll_fn(|cx| {
            let (_served, _connection) = (
                Pin::new(&mut served).poll(cx),
                Pin::new(&mut connection).poll(cx),
            );
            if echo.asked.borrow().is_empty() {
                return Poll::Pending;
            }
            Poll::Ready(())
        });
        tokio::time::timeout(PATIENCE, taken_up).await.unwrap();
        served.finish();
        let client = tokio::task::spawn_local(connection);
        sending.send_data(Bytes::from_static(b"abc"), true).unwrap();
        let (answer, why) = tokio::join!(heard(answer), served);
        assert_eq!(answer.2, "/a:abc");
        assert_eq!(why, Closed::Finished);
        assert!(sender.ready().await.is_err());
        client.await.unwrap().unwrap();
    });
}

#[test]
fn a_connection_that_is_to_finish_before_it_has_begun_serves_nothing() {
    run(async {
        let echo = Echo::default();
        let (near, mut served) = serve(&echo);
        served.finish();
        let served = tokio::task::spawn_local(served);
        let (sender, connection) = client::handshake::<_>(near).await.unwrap();
        connection.await.unwrap();
        assert!(sender.ready().await.is_err());
        served.await.unwrap();
        assert!(echo.asked.borrow().is_empty());
    });
}

#[test]
fn bytes_that_are_not_http2_end_the_connection() {
    run(async {
        let (mut client, served) = serve(&Echo::default());
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        let (why, ()) = tokio::join!(served, async {
            let mut heard = Vec::new();
            _ = tokio::time::timeout(PATIENCE, client.read_to_end(&mut heard)).await;
        });
        assert_eq!(why, Closed::Failed);
    });
}
