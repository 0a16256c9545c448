//! Serving HTTP/1.1 to operators and monitors: one connection at a time, bounded in time and size.
//!
//! Partners' traffic has an engine of its own; this one is for the few connections of people and machines
//! that run the gateway, where plain beats fast.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How a listener speaks TLS.
pub type TlsConfig = Arc<rustls::ServerConfig>;

/// What one connection may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// From being accepted to a finished handshake.
    pub handshake: Duration,
    /// For the head of a request, and for the pause before it.
    pub head: Duration,
    /// For the whole connection; an exchange that is under way then is finished, unless it takes as long again.
    pub lifetime: Duration,
    pub head_bytes_max: usize,
    pub headers_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(15),
            lifetime: Duration::from_mins(5),
            head_bytes_max: 32 * 1024,
            headers_max: 64,
        }
    }
}

/// Shakes hands as a TLS server.
pub async fn handshake<I>(io: I, config: &TlsConfig, bounds: &Bounds) -> io::Result<TlsStream<I>>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let accepting = TlsAcceptor::from(Arc::clone(config)).accept(io);
    tokio::time::timeout(bounds.handshake, accepting).await?
}

/// Answers the requests of one connection until it ends, `closing` is done, or its lifetime is over.
pub async fn connection<I, H, F, B>(
    io: I,
    bounds: &Bounds,
    handle: H,
    closing: impl Future<Output = ()>,
) -> Result<(), hyper::Error>
where
    I: AsyncRead + AsyncWrite + Unpin,
    H: Fn(http::Request<Incoming>) -> F,
    F: Future<Output = http::Response<B>>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let service = service_fn(|request| {
        let answering = handle(request);
        async { Ok::<_, Infallible>(answering.await) }
    });
    let mut serving = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(bounds.head)
            .max_buf_size(bounds.head_bytes_max)
            .max_headers(bounds.headers_max)
            .serve_connection(TokioIo::new(io), service)
    );
    let mut over = pin!(tokio::time::sleep(bounds.lifetime));
    tokio::select! {
        ended = serving.as_mut() => return ended,
        () = closing => {}
        () = over.as_mut() => {}
    }
    serving.as_mut().graceful_shutdown();
    // An exchange that does not end is cut off here: nobody holds a connection for ever.
    tokio::time::timeout(bounds.lifetime, serving)
        .await
        .unwrap_or(Ok(()))
}

/// How a server speaks TLS in tests of other rooms, which may not name the TLS library.
#[cfg(test)]
pub fn config_for_tests(chain_pem: &str, key_pem: &str) -> TlsConfig {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key);
    Arc::new(config.unwrap())
}
