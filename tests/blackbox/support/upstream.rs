//! APIs behind the gateway: one that tells what it was sent, and ones that misbehave.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll};
use std::thread;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;

/// An API that answers with what it was sent, as JSON; it speaks HTTP/1.1 and, by prior knowledge, HTTP/2.
#[derive(Debug)]
pub struct Echo {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
}

impl Echo {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicU64::new(0));
        let connections = Arc::new(AtomicU64::new(0));
        let counters = (Arc::clone(&requests), Arc::clone(&connections));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(serve(listener, counters.0, counters.1));
        });
        Self {
            address,
            requests,
            connections,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests have reached it.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(listener: TcpListener, requests: Arc<AtomicU64>, connections: Arc<AtomicU64>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.fetch_add(1, Ordering::SeqCst);
        let requests = Arc::clone(&requests);
        let service = hyper::service::service_fn(move |request| {
            requests.fetch_add(1, Ordering::SeqCst);
            async move { Ok::<_, Infallible>(answer(request).await) }
        });
        #[expect(
            clippy::disallowed_methods,
            reason = "the upstream's life is the test's"
        )]
        tokio::spawn(async move {
            let mut first = [0_u8; 3];
            let h2 = stream
                .peek(&mut first)
                .await
                .is_ok_and(|read| read == 3 && &first == b"PRI");
            let io = TokioIo::new(stream);
            if h2 {
                let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .enable_connect_protocol()
                    .serve_connection(io, service)
                    .await;
            } else {
                let _ = hyper::server::conn::http1::Builder::new()
                    .half_close(true)
                    .serve_connection(io, service)
                    .with_upgrades()
                    .await;
            }
        });
    }
}

type Answer = Response<BoxBody<Bytes, hyper::Error>>;

async fn answer(mut request: Request<Incoming>) -> Answer {
    if request.headers().contains_key("upgrade") || request.method() == http::Method::CONNECT {
        return upgraded(&mut request);
    }
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    if path.ends_with("/stream") {
        // Straight back, so that both directions flow at once.
        return Response::new(body.boxed());
    }
    let collected = body.collect().await;
    let trailers = collected
        .as_ref()
        .ok()
        .and_then(|body| body.trailers().cloned());
    let body = collected
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    if path.ends_with("/trailers") {
        let mut fields = http::HeaderMap::new();
        fields.insert("grpc-status", "0".parse().unwrap());
        let frames = VecDeque::from([
            Frame::data(Bytes::from_static(b"body")),
            Frame::trailers(fields),
        ]);
        return Response::builder()
            .header("trailer", "grpc-status")
            .body(Frames(frames).boxed())
            .unwrap();
    }
    if let Some(bytes) = path
        .rsplit_once("/bytes/")
        .and_then(|(_, count)| count.parse().ok())
    {
        return whole(Bytes::from(vec![b'x'; bytes]));
    }
    let pairs = |map: &http::HeaderMap| {
        map.iter()
            .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
            .collect::<Vec<_>>()
    };
    let seen = json!({
        "method": parts.method.as_str(),
        "target": parts.uri.to_string(),
        "version": format!("{:?}", parts.version),
        "headers": pairs(&parts.headers),
        "trailers": trailers.as_ref().map(pairs),
        "body_bytes": body.len(),
        "body": String::from_utf8_lossy(body.get(..body.len().min(1000)).unwrap_or_default()),
    });
    let mut response = whole(Bytes::from(seen.to_string()));
    response
        .headers_mut()
        .insert("content-type", "application/json".parse().unwrap());
    // What an upstream may try to say in the gateway's name.
    response
        .headers_mut()
        .insert("x-countersign-app-id", "forged".parse().unwrap());
    if path.ends_with("/hop") {
        response
            .headers_mut()
            .insert("connection", "x-private".parse().unwrap());
        response
            .headers_mut()
            .insert("x-private", "for one hop".parse().unwrap());
    }
    response
}

/// A body of just these frames.
struct Frames(VecDeque<Frame<Bytes>>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

fn whole(bytes: Bytes) -> Answer {
    Response::new(Full::new(bytes).map_err(|never| match never {}).boxed())
}

/// Switches protocols and sends back whatever comes.
fn upgraded(request: &mut Request<Incoming>) -> Answer {
    let protocol = request.headers().get("upgrade").cloned();
    let upgrade = hyper::upgrade::on(request);
    #[expect(
        clippy::disallowed_methods,
        reason = "the upstream's life is the test's"
    )]
    tokio::spawn(async move {
        let Ok(io) = upgrade.await else { return };
        let (mut read, mut write) = tokio::io::split(TokioIo::new(io));
        let _ = tokio::io::copy(&mut read, &mut write).await;
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut write).await;
    });
    let mut response = whole(Bytes::new());
    let Some(protocol) = protocol else {
        // An extended CONNECT is agreed to with success (RFC 8441).
        return response;
    };
    *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert("upgrade", protocol);
    response
        .headers_mut()
        .insert("connection", "upgrade".parse().unwrap());
    response
}

/// An address that takes no connection. It is bound for as long as this lives, so that nobody else comes to listen there.
#[derive(Debug)]
pub struct Away(socket2::Socket);

impl Away {
    pub fn start() -> Self {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).unwrap();
        Self(socket)
    }

    pub fn url(&self) -> String {
        let address = self.0.local_addr().unwrap().as_socket().unwrap();
        format!("http://{address}")
    }
}

/// An API that does what `script` says with each connection, after the request's head has come.
pub fn misbehaving(script: impl Fn(TcpStream, String) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let script = Arc::new(script);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let script = Arc::clone(&script);
            thread::spawn(move || {
                let head = read_head(&mut stream);
                script(stream, head);
            });
        }
    });
    url
}

/// An API that answers each request when it is told to, and tells how many have come.
#[derive(Debug)]
pub struct Held {
    url: String,
    arrived: Arc<AtomicU64>,
    let_go: Arc<(Mutex<bool>, Condvar)>,
}

impl Held {
    pub fn start() -> Self {
        let arrived = Arc::new(AtomicU64::new(0));
        let let_go = Arc::new((Mutex::new(false), Condvar::new()));
        let (count, gate) = (Arc::clone(&arrived), Arc::clone(&let_go));
        let url = misbehaving(move |mut stream, _| {
            count.fetch_add(1, Ordering::SeqCst);
            let (open, bell) = &*gate;
            drop(bell.wait_while(open.lock().unwrap(), |open| !*open));
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
        });
        Self {
            url,
            arrived,
            let_go,
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// How many requests have come.
    pub fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::SeqCst)
    }

    /// Waits until so many requests have come.
    pub fn wait_for(&self, requests: u64) {
        super::eventually::eventually("the request is at the upstream", || {
            (self.arrived() >= requests).then_some(())
        });
    }

    /// Answers what has come, and what comes from now on.
    pub fn answer(&self) {
        let (open, bell) = &*self.let_go;
        *open.lock().unwrap() = true;
        bell.notify_all();
    }
}

/// An API behind TLS: OpenSSL's server, until it is dropped.
#[derive(Debug)]
pub struct Secured {
    process: std::process::Child,
    port: u16,
}

impl Secured {
    /// Answers every request with a page about the connection.
    pub fn start(certificate: &Path, key: &Path) -> Self {
        Self::run(certificate, key, "-www", Path::new("."))
    }

    /// Answers with the files of a directory.
    pub fn serving(dir: &Path, certificate: &Path, key: &Path) -> Self {
        Self::run(certificate, key, "-WWW", dir)
    }

    fn run(certificate: &Path, key: &Path, mode: &str, dir: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let process = std::process::Command::new("openssl")
            .current_dir(dir)
            .args(["s_server", "-quiet", mode, "-accept", &port.to_string()])
            .args(["-cert", certificate.to_str().unwrap()])
            .args(["-key", key.to_str().unwrap()])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        super::eventually::eventually("the upstream listens", || {
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Self { process, port }
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An API that sends these bytes as its answer to each request and closes.
pub fn saying(answer: &'static [u8]) -> String {
    misbehaving(move |mut stream, _| {
        let _ = stream.write_all(answer);
    })
}

/// Reads up to the empty line that ends a head.
pub fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0_u8; 1];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}
