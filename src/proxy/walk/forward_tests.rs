//! Forwarding, seen from both ends: real sockets, upstreams that follow a script.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::time::Duration;

use http::{HeaderName, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::*;
use crate::domain::identity::{Caller, Evidence};
use crate::domain::permit::{Destination, Permit};
use crate::domain::policy::{Policy, Requirement};
use crate::domain::route::{HostPattern, PathPattern, Route, Target};
use crate::domain::scope::ScopeSet;
use crate::domain::tcp::Tcp;
use crate::domain::upstream::{AnswerBounds, Endpoint, PoolBounds, Timeouts};
use crate::net::http::LocalExec;
use crate::proxy::codec::field_list::FieldList;
use crate::proxy::identity_headers::identity_fields::IdentityFields;
use crate::proxy::messages::error::Side;
use crate::proxy::upstream::connectors::ConnectorMap;
use crate::proxy::upstream::health::Healths;
use crate::proxy::upstream::keep_alive::SETTLE;
use http::{HeaderMap, HeaderValue, header};

/// Runs a test on a runtime like a worker's.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap();
    runtime.block_on(async { timeout(Duration::from_secs(20), test).await.unwrap() });
}

/// An upstream that runs a script for each connection and counts them.
struct Peer {
    endpoint: Endpoint,
    connections: Rc<Cell<usize>>,
}

impl Peer {
    async fn start<S, F>(script: S) -> Self
    where
        S: Fn(TcpStream, usize) -> F + 'static,
        F: Future<Output = ()> + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = endpoint(listener.local_addr().unwrap().port());
        let connections = Rc::new(Cell::new(0));
        let count = Rc::clone(&connections);
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = count.get();
                count.set(number + 1);
                tokio::task::spawn_local(script(stream, number));
            }
        });
        Self {
            endpoint,
            connections,
        }
    }

    /// Answers every request with the same bytes, on connections that stay open.
    async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Rc<[u8]> = answer.into().into();
        Self::start(move |mut stream, _| {
            let answer = Rc::clone(&answer);
            async move {
                while read_request(&mut stream).await.is_some() {
                    stream.write_all(&answer).await.unwrap();
                }
            }
        })
        .await
    }

    fn count(&self) -> usize {
        self.connections.get()
    }
}

fn endpoint(port: u16) -> Endpoint {
    Endpoint {
        tls: false,
        host: "127.0.0.1".into(),
        port,
    }
}

async fn refusing() -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    endpoint(listener.local_addr().unwrap().port())
}

/// A head, and the body if it has a length.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(text).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    Some(head + &String::from_utf8(body).unwrap())
}

/// Everything up to the first `end`.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        text.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(text).unwrap()
}

struct Client {
    upstream: Arc<Upstream>,
    upstreams: Rc<Upstreams>,
    healths: Healths,
}

impl Client {
    fn of(peers: &[&Peer]) -> Self {
        Self::to(
            peers.iter().map(|peer| peer.endpoint.clone()).collect(),
            |_| {},
        )
    }

    fn to(endpoints: Vec<Endpoint>, change: impl FnOnce(&mut Upstream)) -> Self {
        let mut upstream = Upstream {
            name: "orders".parse().unwrap(),
            endpoints,
            protocol: Protocol::Http1,
            timeouts: Timeouts {
                connect: Duration::from_secs(2),
                first_byte: Duration::from_secs(5),
                idle: Duration::from_secs(5),
            },
            pool: PoolBounds::default(),
            http: AnswerBounds::default(),
            tcp: Tcp::default(),
            server_name: None,
            tls_generation: 0,
        };
        change(&mut upstream);
        let healths = Healths::new().unwrap();
        Self {
            upstream: Arc::new(upstream),
            upstreams: Upstreams::new(Arc::new(ConnectorMap::default()), healths.clone()),
            healths,
        }
    }

    async fn send<B>(&self, outbound: Outbound<B>) -> Result<UpstreamAnswer, Error>
    where
        B: Body<Data = Bytes, Error = Error> + 'static,
    {
        send(permit(&self.upstream), &self.upstreams, outbound).await
    }

    async fn response<B>(&self, outbound: Outbound<B>) -> Result<http::Response<AnswerBody>, Error>
    where
        B: Body<Data = Bytes, Error = Error> + 'static,
    {
        match self.send(outbound).await? {
            UpstreamAnswer::Response(response) => Ok(response.into()),
            UpstreamAnswer::Tunnel(head, _) => panic!("a tunnel: {head:?}"),
        }
    }

    async fn text<B>(&self, outbound: Outbound<B>) -> Result<String, Error>
    where
        B: Body<Data = Bytes, Error = Error> + 'static,
    {
        let body = self.response(outbound).await?.into_body().collect().await?;
        Ok(String::from_utf8(body.to_bytes().to_vec()).unwrap())
    }

    async fn refusal<B>(&self, outbound: Outbound<B>) -> (Side, Reason)
    where
        B: Body<Data = Bytes, Error = Error> + 'static,
    {
        let error = self.text(outbound).await.unwrap_err();
        (error.side, error.reason)
    }
}

/// The permit of an open route to `upstream`.
fn permit(upstream: &Arc<Upstream>) -> ToUpstream {
    let route = Route {
        name: "orders".into(),
        host: HostPattern::Any,
        path: PathPattern::prefix("/").unwrap(),
        methods: Vec::new(),
        policy: Policy::new(Requirement::None, ScopeSet::default()),
        limits: Vec::new(),
        target: Target::Upstream(upstream.name.clone()),
        body_max: None,
        body_times: crate::domain::pace::BodyTimes::default(),
        ambiguous_paths: crate::domain::oddity::Oddities::NONE,
        keep_credential: false,
        identity_headers: Arc::default(),
        upgrades: ["websocket".parse().unwrap()].into_iter().collect(),
        header_names: crate::domain::header_names::HeaderNames::default(),
    };
    let caller = Caller {
        certificate: Evidence::Absent,
        bearer: Evidence::Absent,
    };
    let upstreams = std::iter::once((upstream.name.clone(), Arc::clone(upstream))).collect();
    let permit = Permit::decide(&caller, &Arc::new(route), &upstreams).unwrap();
    match permit.open() {
        (_, Destination::Upstream(permit)) => permit,
        (_, other) => panic!("{other:?}"),
    }
}

fn request<B>(method: Method, body: B) -> Outbound<B> {
    let app = HeaderName::from_static("x-countersign-app-id");
    Outbound {
        head: Box::new(Head {
            method,
            target: http::uri::PathAndQuery::from_static("/v1/orders?a=b").into(),
            host: HeaderValue::from_static("api.example.com"),
            fields: FieldList::new(),
            identity: Rc::new(IdentityFields::new(vec![(
                app,
                HeaderValue::from_static("app_1"),
            )])),
            upgrade: None,
            hints: None,
        }),
        body,
    }
}

type NoBody =
    http_body_util::combinators::MapErr<Empty<Bytes>, fn(std::convert::Infallible) -> Error>;

fn get() -> Outbound<NoBody> {
    request(Method::GET, Empty::new().map_err(|never| match never {}))
}

fn post(text: &'static str) -> Outbound<impl Body<Data = Bytes, Error = Error>> {
    request(
        Method::POST,
        Full::from(text).map_err(|never| match never {}),
    )
}

/// A body that a test feeds.
struct Fed(tokio::sync::mpsc::UnboundedReceiver<Result<Frame<Bytes>, Error>>);

impl Body for Fed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.get_mut().0.poll_recv(cx)
    }
}

fn fed() -> (
    tokio::sync::mpsc::UnboundedSender<Result<Frame<Bytes>, Error>>,
    Fed,
) {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    (sender, Fed(receiver))
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn a_connection_carries_one_exchange_after_another() {
    run(async {
        let peer = Peer::answering(OK).await;
        let client = Client::of(&[&peer]);
        for _ in 0..3 {
            // A second GET on it shows that it may carry a POST.
            assert_eq!(client.text(get()).await.unwrap(), "hello");
            assert_eq!(client.text(get()).await.unwrap(), "hello");
            assert_eq!(client.text(post("x")).await.unwrap(), "hello");
        }
        assert_eq!(peer.count(), 1);
    });
}

#[test]
fn a_chunked_answer_gives_its_connection_back_as_well() {
    run(async {
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nx-sum: 1\r\n\r\n";
        let peer = Peer::answering(answer).await;
        let client = Client::of(&[&peer]);
        for _ in 0..3 {
            let body = client.response(get()).await.unwrap().into_body();
            let body = body.collect().await.unwrap();
            assert_eq!(body.trailers().unwrap()["x-sum"], "1");
            assert_eq!(body.to_bytes(), "hello");
        }
        assert_eq!(peer.count(), 1);
    });
}

#[test]
fn a_large_answer_is_streamed_whole_and_its_connection_kept() {
    run(async {
        let text = "0123456789abcdef".repeat(60_000);
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        );
        let peer = Peer::answering(answer).await;
        let client = Client::of(&[&peer]);
        for _ in 0..2 {
            assert!(client.text(get()).await.unwrap() == text);
        }
        assert_eq!(peer.count(), 1);
    });
}

#[test]
fn the_request_arrives_as_it_was_meant() {
    run(async {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let log = Rc::clone(&seen);
        let peer = Peer::start(move |mut stream, _| {
            let log = Rc::clone(&log);
            async move {
                while let Some(request) = read_request(&mut stream).await {
                    log.borrow_mut().push(request);
                    stream.write_all(OK.as_bytes()).await.unwrap();
                }
            }
        })
        .await;
        let client = Client::of(&[&peer]);
        client.text(get()).await.unwrap();
        client.text(post("hello")).await.unwrap();
        client.text(post("")).await.unwrap();
        let head = |method: &str| {
            format!(
                "{method} /v1/orders?a=b HTTP/1.1\r\nhost: api.example.com\r\nx-countersign-app-id: app_1\r\n"
            )
        };
        let expected = [
            head("GET") + "\r\n",
            head("POST") + "content-length: 5\r\n\r\nhello",
            head("POST") + "content-length: 0\r\n\r\n",
        ];
        assert_eq!(*seen.borrow(), expected);
    });
}

#[test]
fn a_body_of_unknown_length_goes_in_chunks_with_its_trailers() {
    run(async {
        let peer = Peer::start(|mut stream, _| async move {
            let text = read_until(&mut stream, "0\r\nx-sum: 1\r\n\r\n").await;
            let body = text.split_once("\r\n\r\n").unwrap();
            assert!(body.0.ends_with("transfer-encoding: chunked"), "{text}");
            assert!(
                body.1.starts_with("3\r\nabc\r\n4e20\r\nxxx"),
                "{:.40}",
                body.1
            );
            assert!(body.1.ends_with("xxx\r\n0\r\nx-sum: 1\r\n\r\n"));
            stream.write_all(OK.as_bytes()).await.unwrap();
        })
        .await;
        let client = Client::of(&[&peer]);
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("1"));
        let (feed, body) = fed();
        for frame in [
            Frame::data("abc".into()),
            Frame::data("x".repeat(20_000).into()),
            Frame::trailers(trailers),
        ] {
            feed.send(Ok(frame)).unwrap();
        }
        assert_eq!(
            client.text(request(Method::PUT, body)).await.unwrap(),
            "hello"
        );
    });
}

#[test]
fn a_kept_connection_that_died_is_replaced_for_requests_that_may_be_repeated() {
    run(async {
        // Reads the second request before it closes, so that the death cannot be seen beforehand.
        let script = |mut stream: TcpStream, number| async move {
            if number == 0 {
                read_request(&mut stream).await.unwrap();
                stream.write_all(OK.as_bytes()).await.unwrap();
                read_request(&mut stream).await.unwrap();
                return;
            }
            while read_request(&mut stream).await.is_some() {
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        };
        let peer = Peer::start(script).await;
        let client = Client::of(&[&peer]);
        assert_eq!(client.text(get()).await.unwrap(), "hello");
        assert_eq!(client.text(get()).await.unwrap(), "hello");
        assert_eq!(peer.count(), 2);

        let peer = Peer::start(script).await;
        let client = Client::of(&[&peer]);
        assert_eq!(client.text(post("a")).await.unwrap(), "hello");
        // Long enough for a close that follows the answer.
        sleep(2 * SETTLE).await;
        assert_eq!(
            client.refusal(post("b")).await,
            (Side::Upstream, Reason::UpstreamFailed)
        );
        assert_eq!(peer.count(), 1, "a POST is never sent twice");
    });
}

#[test]
fn a_connection_that_the_upstream_has_closed_is_not_used_again() {
    run(async {
        let peer = Peer::start(|mut stream, _| async move {
            read_request(&mut stream).await.unwrap();
            stream.write_all(OK.as_bytes()).await.unwrap();
        })
        .await;
        let client = Client::of(&[&peer]);
        for count in 1..4 {
            assert_eq!(client.text(post("x")).await.unwrap(), "hello");
            sleep(Duration::from_millis(20)).await;
            assert_eq!(peer.count(), count);
        }
    });
}

#[test]
fn a_connection_with_bytes_that_nobody_asked_for_is_not_used_again() {
    run(async {
        for extra in [
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad".to_owned(),
            "x".to_owned(),
        ] {
            let peer = Peer::answering(format!("{OK}{extra}")).await;
            let client = Client::of(&[&peer]);
            assert_eq!(client.text(get()).await.unwrap(), "hello");
            assert_eq!(client.text(get()).await.unwrap(), "hello");
            assert_eq!(peer.count(), 2);
            // The same, but late.
            let peer = Peer::start(move |mut stream, _| {
                let extra = extra.clone();
                async move {
                    while read_request(&mut stream).await.is_some() {
                        stream.write_all(OK.as_bytes()).await.unwrap();
                        sleep(Duration::from_millis(20)).await;
                        let _ = stream.write_all(extra.as_bytes()).await;
                    }
                }
            })
            .await;
            let client = Client::of(&[&peer]);
            assert_eq!(client.text(get()).await.unwrap(), "hello");
            sleep(Duration::from_millis(60)).await;
            assert_eq!(client.text(get()).await.unwrap(), "hello");
            assert_eq!(peer.count(), 2);
        }
    });
}

#[test]
fn an_answer_that_is_not_read_to_its_end_closes_the_connection() {
    run(async {
        let long = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n{}",
            "x".repeat(500_000)
        );
        let peer = Peer::answering(long).await;
        let client = Client::of(&[&peer]);
        let mut response = client.response(get()).await.unwrap();
        response.body_mut().frame().await.unwrap().unwrap();
        drop(response);
        client.response(get()).await.unwrap();
        assert_eq!(peer.count(), 2);
    });
}

#[test]
fn answers_without_a_body_leave_the_connection_open() {
    run(async {
        for (method, answer) in [
            (
                Method::HEAD,
                "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
            ),
            (
                Method::HEAD,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            ),
            (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n"),
            (
                Method::GET,
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n",
            ),
            (Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            (
                Method::GET,
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            ),
        ] {
            let peer = Peer::answering(answer).await;
            let client = Client::of(&[&peer]);
            for _ in 0..2 {
                let mut outbound = get();
                outbound.head.method = method.clone();
                assert_eq!(client.text(outbound).await.unwrap(), "", "{answer}");
            }
            assert_eq!(peer.count(), 1, "{answer}");
        }
    });
}

#[test]
fn an_answer_that_the_close_delimits_is_read_to_its_end() {
    run(async {
        let peer = Peer::start(|mut stream, _| async move {
            read_request(&mut stream).await.unwrap();
            stream
                .write_all(b"HTTP/1.0 200 OK\r\n\r\nhello")
                .await
                .unwrap();
        })
        .await;
        let client = Client::of(&[&peer]);
        assert_eq!(client.text(get()).await.unwrap(), "hello");
        assert_eq!(client.text(get()).await.unwrap(), "hello");
    });
}

#[test]
fn nonsense_from_an_upstream_is_the_upstreams_failure() {
    run(async {
        let flood = "HTTP/1.1 100 Continue\r\n\r\n".repeat(20_000) + OK;
        for answer in [
            "nonsense",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx",
            &flood,
        ] {
            let peer = Peer::answering(format!("{answer}\r\n")).await;
            let refusal = Client::of(&[&peer]).refusal(get()).await;
            assert_eq!(
                refusal,
                (Side::Upstream, Reason::UpstreamFailed),
                "{answer}"
            );
        }
    });
}

#[test]
fn a_body_that_is_cut_short_is_an_error_and_not_an_end() {
    run(async {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\nContent-",
        ] {
            let peer = Peer::start(move |mut stream, _| async move {
                read_request(&mut stream).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            })
            .await;
            let refusal = Client::of(&[&peer]).refusal(get()).await;
            assert_eq!(
                refusal,
                (Side::Upstream, Reason::UpstreamFailed),
                "{answer}"
            );
            assert_eq!(peer.count(), 1, "{answer}");
        }
    });
}

#[test]
fn an_early_answer_is_passed_on_and_its_connection_closed() {
    run(async {
        let peer = Peer::start(|mut stream, _| async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let answer = "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig";
            stream.write_all(answer.as_bytes()).await.unwrap();
            sleep(Duration::from_secs(5)).await;
        })
        .await;
        let client = Client::of(&[&peer]);
        for count in 1..3 {
            let (feed, body) = fed();
            feed.send(Ok(Frame::data("begun".into()))).unwrap();
            let response = client.response(request(Method::POST, body)).await.unwrap();
            assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
            let text = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(text, "big");
            assert_eq!(peer.count(), count);
        }
    });
}

#[test]
fn both_bodies_can_flow_at_once() {
    run(async {
        let peer = Peer::start(|mut stream, _| async move {
            read_until(&mut stream, "\r\n\r\n").await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await
                .unwrap();
            for _ in 0..3 {
                read_until(&mut stream, "4\r\nping\r\n").await;
                stream.write_all(b"4\r\npong\r\n").await.unwrap();
            }
            read_until(&mut stream, "0\r\n\r\n").await;
            stream.write_all(b"0\r\n\r\n").await.unwrap();
        })
        .await;
        let client = Client::of(&[&peer]);
        let (feed, body) = fed();
        let mut answer = client
            .response(request(Method::POST, body))
            .await
            .unwrap()
            .into_body();
        for _ in 0..3 {
            feed.send(Ok(Frame::data("ping".into()))).unwrap();
            let frame = answer.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), "pong");
        }
        drop(feed);
        assert!(answer.frame().await.is_none());
    });
}

#[test]
fn a_client_whose_body_fails_is_told_so_and_the_upstream_gets_no_end() {
    run(async {
        let complete = Rc::new(Cell::new(false));
        let seen = Rc::clone(&complete);
        let peer = Peer::start(move |mut stream, _| {
            let seen = Rc::clone(&seen);
            async move {
                let mut text = Vec::new();
                let _ = stream.read_to_end(&mut text).await;
                seen.set(String::from_utf8_lossy(&text).contains("0\r\n\r\n"));
            }
        })
        .await;
        let client = Client::of(&[&peer]);
        let (feed, body) = fed();
        feed.send(Ok(Frame::data("begun".into()))).unwrap();
        feed.send(Err(Error::downstream(Reason::BodyTooLarge)))
            .unwrap();
        let refusal = client.refusal(request(Method::POST, body)).await;
        assert_eq!(refusal, (Side::Downstream, Reason::BodyTooLarge));
        sleep(Duration::from_millis(30)).await;
        assert!(!complete.get());
    });
}

#[test]
fn each_kind_of_silence_has_its_reason() {
    run(async {
        let short = Duration::from_millis(60);
        let silent = Peer::start(|mut stream, _| async move {
            read_until(&mut stream, "\r\n\r\n").await;
            sleep(Duration::from_secs(10)).await;
        })
        .await;
        let client = Client::to(vec![silent.endpoint.clone()], |upstream| {
            upstream.timeouts.first_byte = short;
        });
        assert_eq!(
            client.refusal(get()).await,
            (Side::Upstream, Reason::UpstreamTimeout)
        );
        assert_eq!(
            client.refusal(post("x")).await,
            (Side::Upstream, Reason::UpstreamTimeout)
        );

        let client = Client::to(vec![silent.endpoint.clone()], |upstream| {
            upstream.timeouts.idle = short;
        });
        let (_feed, body) = fed();
        let refusal = client.refusal(request(Method::POST, body)).await;
        assert_eq!(refusal, (Side::Downstream, Reason::BodyTimeout));

        let refusal = client.refusal(request(Method::POST, Endless)).await;
        assert_eq!(
            refusal,
            (Side::Upstream, Reason::UpstreamTimeout),
            "it takes no more"
        );

        let stalling = Peer::start(|mut stream, _| async move {
            read_request(&mut stream).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
                .await
                .unwrap();
            sleep(Duration::from_secs(10)).await;
        })
        .await;
        let client = Client::to(vec![stalling.endpoint.clone()], |upstream| {
            upstream.timeouts.idle = short;
        });
        assert_eq!(
            client.refusal(get()).await,
            (Side::Upstream, Reason::UpstreamTimeout)
        );

        // A slow client is no fault of the upstream's.
        let late = Peer::start(|mut stream, _| async move {
            read_request(&mut stream).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
                .await
                .unwrap();
            sleep(Duration::from_millis(150)).await;
            stream.write_all(b"world").await.unwrap();
        })
        .await;
        let client = Client::to(vec![late.endpoint.clone()], |upstream| {
            upstream.timeouts.idle = short;
        });
        let mut body = client.response(get()).await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        sleep(Duration::from_millis(130)).await;
        assert_eq!(body.collect().await.unwrap().to_bytes(), "world");
    });
}

/// A client that never stops sending.
struct Endless;

impl Endless {
    const PIECE: Bytes = Bytes::from_static(&[b'x'; 16_384]);
}

impl Body for Endless {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Error>>> {
        std::task::Poll::Ready(Some(Ok(Frame::data(Self::PIECE))))
    }
}

#[test]
fn an_endpoint_that_refuses_is_passed_over() {
    run(async {
        let nobody = refusing().await;
        let client = Client::to(vec![nobody.clone()], |_| {});
        assert_eq!(
            client.refusal(get()).await,
            (Side::Upstream, Reason::UpstreamUnreachable)
        );
        let peer = Peer::answering(OK).await;
        let client = Client::to(vec![nobody, peer.endpoint.clone()], |_| {});
        for _ in 0..8 {
            assert_eq!(
                client.text(post("x")).await.unwrap(),
                "hello",
                "nothing was sent, so even POST moves on"
            );
        }
    });
}

#[test]
fn requests_queue_up_to_the_bound_and_for_a_while() {
    run(async {
        let peer = Peer::start(|mut stream, _| async move {
            while read_request(&mut stream).await.is_some() {
                sleep(Duration::from_millis(80)).await;
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        })
        .await;
        let client = Client::to(vec![peer.endpoint.clone()], |upstream| {
            upstream.pool.connections_max = 1;
            upstream.pool.queue_max = 1;
        });
        let busy = (Side::Ours, Reason::UpstreamBusy);
        let (one, two, three) = tokio::join!(
            client.text(get()),
            client.text(get()),
            client.refusal(get())
        );
        assert_eq!(
            (one.unwrap().as_str(), two.unwrap().as_str()),
            ("hello", "hello")
        );
        assert_eq!(three, busy);
        assert_eq!(peer.count(), 1);
        let client = Client::to(vec![peer.endpoint.clone()], |upstream| {
            upstream.pool.connections_max = 1;
            upstream.pool.queue_timeout = Duration::from_millis(20);
        });
        let (one, two) = tokio::join!(client.text(get()), client.refusal(get()));
        assert_eq!((one.unwrap().as_str(), two), ("hello", busy));
    });
}

#[test]
fn kept_connections_are_few_and_end_with_their_time() {
    run(async {
        let closed = Rc::new(Cell::new(0));
        let ends = Rc::clone(&closed);
        let peer = Peer::start(move |mut stream, _| {
            let ends = Rc::clone(&ends);
            async move {
                while read_request(&mut stream).await.is_some() {
                    sleep(Duration::from_millis(20)).await;
                    stream.write_all(OK.as_bytes()).await.unwrap();
                }
                ends.set(ends.get() + 1);
            }
        })
        .await;
        let client = Client::to(vec![peer.endpoint.clone()], |upstream| {
            upstream.pool.idle_max = 2;
            upstream.pool.idle_timeout = Duration::from_millis(100);
        });
        let texts = tokio::join!(client.text(get()), client.text(get()), client.text(get()));
        assert!(texts.0.is_ok() && texts.1.is_ok() && texts.2.is_ok());
        sleep(Duration::from_millis(20)).await;
        assert_eq!((peer.count(), closed.get()), (3, 1));
        sleep(Duration::from_millis(300)).await;
        assert_eq!(closed.get(), 3);
    });
}

#[test]
fn a_reload_that_changes_an_upstream_begins_with_new_connections() {
    run(async {
        let peer = Peer::answering(OK).await;
        let mut client = Client::of(&[&peer]);
        client.text(get()).await.unwrap();
        client.upstream = Arc::new(Upstream::clone(&client.upstream));
        client.text(get()).await.unwrap();
        assert_eq!(peer.count(), 1, "the same in another place");
        let mut changed = Upstream::clone(&client.upstream);
        changed.tls_generation += 1;
        client.upstream = Arc::new(changed);
        client.text(get()).await.unwrap();
        assert_eq!(peer.count(), 2);
    });
}

fn upgrading(method: Method) -> Outbound<NoBody> {
    let mut outbound = get();
    outbound.head.method = method;
    outbound.head.upgrade = Some(HeaderValue::from_static("websocket"));
    outbound
}

async fn websocket_peer() -> Peer {
    Peer::start(|mut stream, _| async move {
        let request = read_request(&mut stream).await.unwrap();
        assert!(request.starts_with("GET /v1/orders?a=b HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("connection: upgrade\r\nupgrade: websocket\r\n"), "{request}");
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Accept: x\r\n\r\nearly ";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let heard = read_until(&mut stream, "ping").await;
        assert_eq!(heard, "ping");
        stream.write_all(b"pong").await.unwrap();
    })
    .await
}

#[test]
fn an_upgrade_becomes_a_tunnel() {
    run(async {
        for (method, status) in [
            (Method::GET, StatusCode::SWITCHING_PROTOCOLS),
            (Method::CONNECT, StatusCode::OK),
        ] {
            let peer = websocket_peer().await;
            let client = Client::of(&[&peer]);
            let UpstreamAnswer::Tunnel(agreed, mut stream) =
                client.send(upgrading(method.clone())).await.unwrap()
            else {
                panic!("no tunnel");
            };
            assert_eq!(agreed.status, status);
            assert_eq!(
                agreed.fields.contains(&header::UPGRADE),
                method == Method::GET
            );
            stream.write_all(b"ping").await.unwrap();
            let mut heard = String::new();
            stream.read_to_string(&mut heard).await.unwrap();
            assert_eq!(heard, "early pong");
        }
    });
}

#[test]
fn an_upgrade_that_is_declined_is_an_answer_unless_it_would_look_like_a_tunnel() {
    run(async {
        let peer = Peer::answering(OK).await;
        let client = Client::of(&[&peer]);
        assert_eq!(client.text(upgrading(Method::GET)).await.unwrap(), "hello");
        let refusal = client.refusal(upgrading(Method::CONNECT)).await;
        assert_eq!(refusal, (Side::Upstream, Reason::UpstreamFailed));
        let mut plain = get();
        plain.head.method = Method::CONNECT;
        assert_eq!(
            client.refusal(plain).await,
            (Side::Downstream, Reason::UpgradeRefused)
        );
    });
}

/// An HTTP/2 upstream that echoes bodies, trailers and tunnels.
async fn http2_peer() -> Peer {
    Peer::start(|stream, _| async move {
        let service = hyper::service::service_fn(
            |mut request: http::Request<hyper::body::Incoming>| async move {
                assert_eq!(request.uri().path_and_query().unwrap(), "/v1/orders?a=b");
                assert_eq!(request.uri().authority().unwrap(), "api.example.com");
                assert_eq!(request.headers()["x-countersign-app-id"], "app_1");
                let mut response = http::Response::builder()
                    .header("x-countersign-app-id", "forged")
                    .header("x-public", "1");
                if request.extensions().get::<hyper::ext::Protocol>().is_some() {
                    let upgrade = hyper::upgrade::on(&mut request);
                    tokio::task::spawn_local(async move {
                        let mut stream = TokioIo::new(upgrade.await.unwrap());
                        let mut heard = [0; 4];
                        stream.read_exact(&mut heard).await.unwrap();
                        stream.write_all(&heard).await.unwrap();
                        stream.shutdown().await.unwrap();
                    });
                    let body = http_body_util::Either::Left(Empty::<Bytes>::new());
                    return response.body(body);
                }
                if request.method() == Method::PUT {
                    response = response.status(500);
                }
                response.body(http_body_util::Either::Right(request.into_body()))
            },
        );
        let mut builder = hyper::server::conn::http2::Builder::new(LocalExec);
        let _ = builder
            .enable_connect_protocol()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    })
    .await
}

fn http2_client(peer: &Peer) -> Client {
    Client::to(vec![peer.endpoint.clone()], |upstream| {
        upstream.protocol = Protocol::Http2;
    })
}

#[test]
fn http_2_is_spoken_with_prior_knowledge_and_one_connection_shared() {
    run(async {
        let peer = http2_peer().await;
        let client = http2_client(&peer);
        let texts = tokio::join!(
            client.text(post("a")),
            client.text(post("b")),
            client.text(get())
        );
        let texts = [texts.0, texts.1, texts.2].map(Result::unwrap);
        assert_eq!(texts, ["a", "b", ""]);
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        trailers.insert("x-countersign-app-id", HeaderValue::from_static("forged"));
        let (feed, body) = fed();
        feed.send(Ok(Frame::data("abc".into()))).unwrap();
        feed.send(Ok(Frame::trailers(trailers))).unwrap();
        let response = client.response(request(Method::POST, body)).await.unwrap();
        assert_eq!(response.headers()["x-public"], "1");
        assert!(!response.headers().contains_key("x-countersign-app-id"));
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap().len(), 1);
        assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(body.to_bytes(), "abc");
        assert_eq!(peer.count(), 1);
    });
}

#[test]
fn an_upgrade_is_an_extended_connect_over_http_2() {
    run(async {
        for (method, status) in [
            (Method::GET, StatusCode::SWITCHING_PROTOCOLS),
            (Method::CONNECT, StatusCode::OK),
        ] {
            let peer = http2_peer().await;
            let client = http2_client(&peer);
            // The upstream's settings have to arrive before it can be asked.
            client.text(get()).await.unwrap();
            let mut outbound = upgrading(method);
            outbound.head.fields.insert(
                header::SEC_WEBSOCKET_KEY,
                HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="),
            );
            let UpstreamAnswer::Tunnel(agreed, mut stream) = client.send(outbound).await.unwrap()
            else {
                panic!("no tunnel");
            };
            assert_eq!(agreed.status, status);
            let accepted = agreed.fields.get(&header::SEC_WEBSOCKET_ACCEPT);
            assert_eq!(
                accepted.is_some(),
                status == StatusCode::SWITCHING_PROTOCOLS
            );
            stream.write_all(b"ping").await.unwrap();
            let mut heard = String::new();
            stream.read_to_string(&mut heard).await.unwrap();
            assert_eq!(heard, "ping");
        }
    });
}

#[test]
fn a_dead_http_2_connection_is_replaced_where_asking_twice_is_harmless() {
    /// A GOAWAY after the first stream: no error, no later stream was processed.
    const GOAWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];

    run(async {
        for goes_away in [false, true] {
            let peer = Peer::start(move |stream, number| async move {
                let stream = stream.into_std().unwrap();
                let beside = Rc::new(stream.try_clone().unwrap());
                let stream = TcpStream::from_std(stream).unwrap();
                let asked = Cell::new(0);
                let service =
                    hyper::service::service_fn(move |_: http::Request<hyper::body::Incoming>| {
                        let dies = number == 0 && asked.replace(asked.get() + 1) > 0;
                        let beside = Rc::clone(&beside);
                        async move {
                            if dies && goes_away {
                                std::io::Write::write_all(&mut &*beside, GOAWAY).unwrap();
                                std::future::pending::<()>().await;
                            } else if dies {
                                beside.shutdown(std::net::Shutdown::Both).unwrap();
                                std::future::pending::<()>().await;
                            }
                            Ok::<_, std::convert::Infallible>(http::Response::new(
                                Empty::<Bytes>::new(),
                            ))
                        }
                    });
                let _ = hyper::server::conn::http2::Builder::new(LocalExec)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            })
            .await;
            for (method, expected) in [
                (Method::GET, None),
                // A request that the upstream reports as not processed is sent again in any case.
                (
                    Method::POST,
                    (!goes_away).then_some((Side::Upstream, Reason::UpstreamFailed)),
                ),
            ] {
                peer.connections.set(0);
                let client = Client::to(vec![peer.endpoint.clone()], |upstream| {
                    upstream.protocol = Protocol::Http2;
                    upstream.pool.connections_max = 1;
                });
                client.text(get()).await.unwrap();
                let again = client
                    .send(request(method, Empty::new().map_err(|e| match e {})))
                    .await;
                let failed = again.err().map(|error| (error.side, error.reason));
                assert_eq!(failed, expected, "GOAWAY: {goes_away}");
                assert_eq!(peer.count(), if expected.is_none() { 2 } else { 1 });
                assert!(client.text(get()).await.is_ok(), "the dead one is not kept");
            }
        }
    });
}

/// An upstream that speaks HTTP/2 and refuses each request but the last of `refused + 1`, when it has its body.
async fn refusing_http2_peer(refused: usize) -> Peer {
    let asked = Rc::new(Cell::new(0));
    Peer::start(move |stream, _| {
        let asked = Rc::clone(&asked);
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut reply))) = connection.accept().await {
                let asked = Rc::clone(&asked);
                tokio::task::spawn_local(async move {
                    let mut body = request.into_body();
                    let mut heard = Vec::new();
                    while let Some(Ok(data)) = body.data().await {
                        let _ended = body.flow_control().release_capacity(data.len());
                        heard.extend_from_slice(&data);
                    }
                    if asked.replace(asked.get() + 1) < refused {
                        reply.send_reset(h2::Reason::REFUSED_STREAM);
                        return;
                    }
                    let mut body = reply
                        .send_response(http::Response::new(()), heard.is_empty())
                        .unwrap();
                    if !heard.is_empty() {
                        body.send_data(heard.into(), true).unwrap();
                    }
                });
            }
        }
    })
    .await
}

#[test]
fn what_an_http_2_upstream_has_not_processed_is_sent_again_whole() {
    run(async {
        for method in [Method::GET, Method::POST, Method::PATCH] {
            let client = http2_client(&refusing_http2_peer(1).await);
            for text in ["first", ""] {
                let body = Full::new(Bytes::from(text)).map_err(|never| match never {});
                let answered = client.text(request(method.clone(), body)).await;
                assert_eq!(answered.unwrap(), text, "{method}");
            }
        }
        // A body of unknown length, of which a part has left.
        let client = http2_client(&refusing_http2_peer(1).await);
        let (feed, body) = fed();
        for text in ["ab", "cd"] {
            feed.send(Ok(Frame::data(text.into()))).unwrap();
        }
        drop(feed);
        let answered = client.text(request(Method::POST, body)).await;
        assert_eq!(answered.unwrap(), "abcd");
    });
}

#[test]
fn an_http_2_upstream_that_refuses_again_has_the_last_word() {
    run(async {
        let peer = refusing_http2_peer(2).await;
        let client = http2_client(&peer);
        let failed = (Side::Upstream, Reason::UpstreamFailed);
        assert_eq!(client.refusal(post("a")).await, failed);
        assert_eq!(client.text(post("b")).await.unwrap(), "b");
        // A body that is too large to be held cannot be sent again.
        let client = http2_client(&refusing_http2_peer(1).await);
        let large = Full::new(Bytes::from(vec![0; 100 << 10])).map_err(|never| match never {});
        assert_eq!(client.refusal(request(Method::POST, large)).await, failed);
    });
}

#[test]
fn a_request_that_must_not_be_repeated_avoids_who_closes_without_a_word() {
    run(async {
        for answers in [1, 2, 3] {
            let peer = Peer::start(move |mut stream, _| async move {
                for _ in 0..answers {
                    if read_request(&mut stream).await.is_none() {
                        return;
                    }
                    stream.write_all(OK.as_bytes()).await.unwrap();
                }
            })
            .await;
            let client = Client::of(&[&peer]);
            for _ in 0..50 {
                assert_eq!(client.text(post("x")).await.unwrap(), "hello");
            }
            assert!(peer.count() >= 50 / answers, "{answers}");
        }
    });
}

#[test]
fn a_connection_is_not_used_beyond_the_time_that_its_upstream_has_announced() {
    run(async {
        for (said, uses) in [
            ("timeout=1", 2),
            ("timeout=60", 1),
            ("timeout=0", 3),
            ("max=0", 3),
        ] {
            let answer = OK.replace("\r\n\r\n", &format!("\r\nKeep-Alive: {said}\r\n\r\n"));
            let peer = Peer::answering(answer).await;
            let client = Client::of(&[&peer]);
            client.text(get()).await.unwrap();
            client.text(get()).await.unwrap();
            assert_eq!(peer.count(), if uses == 3 { 2 } else { 1 }, "{said}");
            sleep(Duration::from_millis(800)).await;
            client.text(get()).await.unwrap();
            assert_eq!(peer.count(), uses, "{said}");
        }
    });
}

#[test]
fn whether_an_upstream_takes_connections_is_exported() {
    run(async {
        let registry = prometheus::Registry::new();
        let peer = Peer::answering(OK).await;
        let dead = refusing().await;
        for (endpoints, healthy) in [
            (vec![peer.endpoint.clone()], 1),
            (vec![dead.clone()], 0),
            (vec![peer.endpoint.clone(), dead.clone()], 1),
        ] {
            let client = Client::to(endpoints, |_| {});
            registry.register(Box::new(client.healths.clone())).unwrap();
            let _answered = client.text(get()).await;
            let text = prometheus::TextEncoder::new()
                .encode_to_string(&registry.gather())
                .unwrap();
            let line = format!("countersign_upstream_healthy{{upstream=\"orders\"}} {healthy}\n");
            assert!(text.contains(&line), "{text}");
            if healthy == 0 {
                let line = "countersign_upstream_ejections_total{upstream=\"orders\"} 1\n";
                assert!(text.contains(line), "{text}");
                sleep(Duration::from_millis(300)).await;
                assert!(
                    client
                        .healths
                        .of(&client.upstream)
                        .is_healthy(tokio::time::Instant::now())
                );
            }
            registry
                .unregister(Box::new(client.healths.clone()))
                .unwrap();
        }
    });
}

#[test]
fn http_2_failures_have_the_same_reasons() {
    run(async {
        let silent = Peer::start(|mut stream, _| async move {
            let mut sink = Vec::new();
            let _ = stream.read_to_end(&mut sink).await;
        })
        .await;
        let client = Client::to(vec![silent.endpoint.clone()], |upstream| {
            upstream.protocol = Protocol::Http2;
            upstream.timeouts.first_byte = Duration::from_millis(60);
        });
        assert_eq!(
            client.refusal(get()).await,
            (Side::Upstream, Reason::UpstreamTimeout)
        );
        let client = Client::to(vec![refusing().await], |upstream| {
            upstream.protocol = Protocol::Http2;
        });
        assert_eq!(
            client.refusal(get()).await,
            (Side::Upstream, Reason::UpstreamUnreachable)
        );
        let peer = http2_peer().await;
        let client = http2_client(&peer);
        let (feed, body) = fed();
        feed.send(Err(Error::downstream(Reason::BodyTooLarge)))
            .unwrap();
        let refusal = client.refusal(request(Method::POST, body)).await;
        assert_eq!(refusal, (Side::Downstream, Reason::BodyTooLarge));
    });
}

/// An upstream that speaks TLS as `name` when asked for `localhost`, and the authority that signed its certificate.
async fn tls_peer(name: &str, http2: bool) -> (Peer, Arc<crate::crypto::authority::Authority>) {
    tls_peer_asked_for("localhost", name, http2).await
}

async fn tls_peer_asked_for(
    sni: &'static str,
    name: &str,
    http2: bool,
) -> (Peer, Arc<crate::crypto::authority::Authority>) {
    use crate::crypto::authority::Authority;
    use crate::crypto::tls::{ServerCertificate, ServerCertificates, server_config};
    use crate::domain::tls_policy::TlsVersion;

    let made = Authority::generate("test", now()).unwrap();
    let authority = Authority::load(
        &made.issuing_cert_pem,
        &made.issuing_key_pem,
        &made.root_cert_pem,
        now(),
    );
    let authority = Arc::new(authority.unwrap());
    let (cert_pem, key_pem) = authority.issue_server(&[name.to_owned()], now()).unwrap();
    let certificates = ServerCertificates::new(vec![ServerCertificate { cert_pem, key_pem }]);
    let certificates = Arc::new(certificates.unwrap());
    let config = server_config(certificates, None, TlsVersion::V1_3, http2).unwrap();
    let mut peer = Peer::start(move |stream, _| {
        let config = Arc::clone(&config);
        async move {
            let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
            let pick = |name: Option<&str>| {
                assert_eq!(name, Some(sni));
                (0, config)
            };
            let Ok(mut handshake) = crate::net::tls::accept(stream, pick, deadline).await else {
                return;
            };
            assert_eq!(handshake.version, "TLSv1.3");
            assert_eq!(handshake.alpn_h2, http2);
            if http2 {
                let service = hyper::service::service_fn(|_| async {
                    let body = Full::<Bytes>::from("hello");
                    Ok::<_, std::convert::Infallible>(http::Response::new(body))
                });
                let stream = TokioIo::new(handshake.stream);
                let server = hyper::server::conn::http2::Builder::new(LocalExec);
                let _ = server.serve_connection(stream, service).await;
                return;
            }
            let mut request = Vec::new();
            while let Ok(byte) = handshake.stream.read_u8().await {
                request.push(byte);
                if request.ends_with(b"\r\n\r\n") {
                    handshake.stream.write_all(OK.as_bytes()).await.unwrap();
                    handshake.stream.flush().await.unwrap();
                }
            }
        }
    })
    .await;
    peer.endpoint.tls = true;
    peer.endpoint.host = "localhost".into();
    (peer, authority)
}

#[expect(
    clippy::disallowed_methods,
    reason = "rustls asks the real clock, so its certificates must fit it"
)]
fn now() -> crate::domain::time::Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seconds = since.unwrap().as_secs();
    crate::domain::time::Timestamp::from_unix_seconds(i64::try_from(seconds).unwrap())
}

impl Client {
    /// The same with a configured `server_name`.
    fn proving(mut self, name: &str) -> Self {
        Arc::make_mut(&mut self.upstream).server_name = Some(name.to_owned());
        self
    }
}

fn trusting(peer: &Peer, ca_pem: &str, http2: bool) -> Client {
    use crate::crypto::tls::{Roots, UpstreamTls, upstream_config};

    let client = Client::to(vec![peer.endpoint.clone()], |upstream| {
        if http2 {
            upstream.protocol = Protocol::Http2;
        }
    });
    let config = upstream_config(UpstreamTls {
        roots: Roots::Pem(ca_pem.to_owned()),
        identity: None,
        http2,
    });
    let mut connectors = ConnectorMap::default();
    connectors.insert(&client.upstream, config.unwrap());
    Client {
        upstreams: Upstreams::new(Arc::new(connectors), client.healths.clone()),
        ..client
    }
}

#[test]
fn an_upstream_is_believed_over_tls_only_by_the_right_name_and_authority() {
    run(async {
        for http2 in [false, true] {
            let (peer, authority) = tls_peer("localhost", http2).await;
            let client = trusting(&peer, authority.ca_pem(), http2);
            for _ in 0..3 {
                assert_eq!(client.text(get()).await.unwrap(), "hello");
            }
            assert_eq!(peer.count(), 1);

            let refused = (Side::Upstream, Reason::UpstreamTls);
            let (other, other_authority) = tls_peer("other.example", http2).await;
            let client = trusting(&other, other_authority.ca_pem(), http2);
            assert_eq!(client.refusal(get()).await, refused, "another name");
            let client = trusting(&peer, other_authority.ca_pem(), http2);
            assert_eq!(client.refusal(get()).await, refused, "another authority");
        }
    });
}

#[test]
fn a_server_name_is_asked_for_and_checked_instead_of_the_host() {
    run(async {
        let inside = "orders.inside.example";
        for http2 in [false, true] {
            let (peer, authority) = tls_peer_asked_for(inside, inside, http2).await;
            let client = trusting(&peer, authority.ca_pem(), http2).proving(inside);
            assert_eq!(client.text(get()).await.unwrap(), "hello");

            // A certificate for the host is no longer valid once another name is configured.
            let (peer, authority) = tls_peer_asked_for(inside, "localhost", http2).await;
            let client = trusting(&peer, authority.ca_pem(), http2).proving(inside);
            let refused = (Side::Upstream, Reason::UpstreamTls);
            assert_eq!(client.refusal(get()).await, refused);
        }
    });
}

#[test]
fn an_upstream_without_tls_settings_is_our_own_fault() {
    run(async {
        let (peer, _authority) = tls_peer("localhost", false).await;
        let refusal = Client::of(&[&peer]).refusal(get()).await;
        assert_eq!(refusal, (Side::Ours, Reason::Internal));
    });
}
