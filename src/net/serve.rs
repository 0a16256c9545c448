//! An HTTP/1.1 server for operators and monitors: each connection is bounded in time and size.
//!
//! Partners' traffic has an engine of its own; this one is for the few connections of people and machines that run the
//! gateway, where plain beats fast.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::discard::{Discard, discard_rest};

/// Limits on one connection.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// From accept to a finished handshake.
    pub handshake: Duration,
    /// For the head of a request, and for the pause before it.
    pub head: Duration,
    /// For the whole connection; a running exchange is finished then, unless it takes as long again.
    pub lifetime: Duration,
    pub head_bytes_max: usize,
    pub headers_max: usize,
    pub discard: Discard,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(15),
            lifetime: Duration::from_mins(5),
            head_bytes_max: 32 * 1024,
            headers_max: 64,
            discard: Discard::default(),
        }
    }
}

/// The read buffer of one connection: a head, and a piece of the body behind it.
const BUFFER_MAX: usize = 64 * 1024;

/// Answers the requests of one connection until it ends, `closing` is done, or its lifetime is over.
///
/// The rest of a request is read after its answer, so that a client that is still sending gets the answer.
pub async fn connection<I, H, F, B>(
    io: I,
    bounds: &Bounds,
    handle: H,
    closing: impl Future<Output = ()>,
) -> Result<(), hyper::Error>
where
    I: AsyncRead + AsyncWrite + Unpin,
    H: Fn(http::Request<Incoming>) -> F + Unpin,
    F: Future<Output = http::Response<B>>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let had_body = AtomicBool::new(false);
    let service = service_fn(|request: http::Request<Incoming>| {
        had_body.store(!request.body().is_end_stream(), Ordering::Relaxed);
        let answering = handle(request);
        Box::pin(async { Ok::<_, Infallible>(answering.await) })
    });
    let mut serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .max_header_size(bounds.head_bytes_max)
        .max_buf_size(BUFFER_MAX)
        .max_headers(bounds.headers_max)
        .serve_connection(TokioIo::new(io), service);
    let ended = tokio::select! {
        ended = poll_fn(|cx| serving.poll_without_shutdown(cx)) => Some(ended),
        () = closing => None,
        () = sleep(bounds.lifetime) => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        Pin::new(&mut serving).graceful_shutdown();
        let finished = poll_fn(|cx| serving.poll_without_shutdown(cx));
        // An exchange that does not end is cut off here: no connection stays open permanently.
        match timeout(bounds.lifetime, finished).await {
            Ok(ended) => ended,
            Err(_late) => return Ok(()),
        }
    };
    let mut io = serving.into_parts().io.into_inner();
    let unread = match &ended {
        Ok(()) => had_body.load(Ordering::Relaxed),
        // A refused head may have a body behind it.
        Err(error) => error.is_parse(),
    };
    // A client that has left needs no orderly close.
    let _left = if unread {
        discard_rest(&mut io, &bounds.discard).await
    } else {
        let said = timeout(bounds.discard.pause, io.shutdown()).await;
        said.unwrap_or(Ok(()))
    };
    ended
}

/// A TLS server's configuration for tests of other rooms, which may not name the TLS library.
#[cfg(test)]
pub fn config_for_tests(
    chain_pem: &str,
    key_pem: &str,
) -> std::sync::Arc<super::tls::ServerConfig> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key);
    std::sync::Arc::new(config.unwrap())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::time::Instant;

    const HEAD: Duration = Duration::from_secs(15);

    /// Serves one end of a pipe, writes `sent` into the other, and returns the answer up to the end, and the time until
    /// then.
    async fn converse(sent: &str, closing: impl Future<Output = ()>) -> (String, Duration) {
        let (near, far) = tokio::io::duplex(1 << 20);
        let began = Instant::now();
        let handle = async |_| http::Response::new(Full::new(Bytes::from_static(b"hello")));
        let bounds = Bounds::default();
        let serving = connection(far, &bounds, handle, closing);
        let asking = ask(near, sent);
        let (_, answer) = tokio::join!(serving, asking);
        (answer, began.elapsed())
    }

    async fn ask(mut near: DuplexStream, sent: &str) -> String {
        near.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = String::new();
        near.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_holds_a_connection_by_being_slow() {
        let request = "GET / HTTP/1.1\r\nhost: a\r\n";
        let whole = format!("{request}\r\n");
        for (sent, answers) in [("", 0), ("GET /", 0), (request, 0), (&*whole, 1)] {
            let (answer, took) = converse(sent, std::future::pending()).await;
            let given = answer.matches("hello").count();
            assert_eq!(given, answers, "{sent:?}: {answer}");
            assert!(took < HEAD * 2, "{sent:?}: {took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_a_largest_size() {
        let long = format!(
            "GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
            "a".repeat(40_000)
        );
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(65));
        for sent in [long, many] {
            let (answer, _) = converse(&sent, std::future::pending()).await;
            assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn closing_ends_an_idle_connection_at_once() {
        let (_, took) = converse("", std::future::ready(())).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}
