//! TLS handshakes with a deadline: as a server that picks its configuration by SNI, and as a client.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use rustls::ProtocolVersion;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::server::StartHandshake;
use tokio_rustls::{FallibleAccept, LazyConfigAcceptor, TlsConnector};

use super::cork::Corked;
use super::discard::{Discard, discard_rest};
use super::greeting::Greeting;
use super::strides::Strided;

/// The TLS configuration of a listener; made by `crypto`, passed on by rooms that do not name rustls.
pub type ServerConfig = rustls::ServerConfig;
/// The TLS configuration for an upstream; made by `crypto`.
pub type ClientConfig = rustls::ClientConfig;
/// A connection that a client opened. Boxed: it is a kibibyte and more, and moves many times before it serves.
pub type ServerStream<S> = Strided<Box<tokio_rustls::server::TlsStream<Corked<S>>>>;
/// A connection that we opened.
pub type ClientStream<S> = Strided<tokio_rustls::client::TlsStream<Corked<S>>>;

/// The result of a finished handshake.
#[derive(Debug)]
pub struct Handshake<S, P> {
    pub stream: ServerStream<S>,
    /// The client's SNI, in lower case.
    pub sni: Option<String>,
    /// The policy that `pick` returned for it.
    pub policy: P,
    /// True if ALPN chose HTTP/2; HTTP/1.1 otherwise.
    pub alpn_h2: bool,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    pub resumed: bool,
    /// The client's own certificate in DER. On a resumed session it comes from the ticket, unverified today.
    pub peer_certificate: Option<Vec<u8>>,
}

/// The failure of a handshake with a client.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    #[error("the handshake took too long")]
    Timeout(#[source] tokio::time::error::Elapsed),
    #[error("the client spoke plain HTTP")]
    PlainHttp,
    /// The error of rustls, if there is one, is inside; the client got an alert.
    #[error("the handshake failed")]
    Failed(#[source] io::Error),
}

/// Performs a handshake with a client. `pick` chooses the configuration by SNI and returns its policy.
///
/// The deadline spans everything from the first byte to the last. A refused client gets its alert, or an answer if it
/// speaks plain HTTP, and its further bytes are read, so that the alert arrives. Session tickets leave with the first
/// write after the handshake, or at a flush.
pub async fn accept<S, P, F>(
    stream: S,
    pick: F,
    deadline: Instant,
) -> Result<Handshake<S, P>, AcceptError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: FnOnce(Option<&str>) -> (P, Arc<ServerConfig>),
{
    let shaken = timeout_at(deadline, shake_hands(stream, pick)).await;
    match shaken.map_err(AcceptError::Timeout)? {
        Ok(handshake) => Ok(handshake),
        Err(Refused { error, stream }) => {
            if let Some(mut stream) = stream {
                // An error means that the client has left.
                let _left = discard_rest(&mut stream, &Discard::STRANGER).await;
            }
            Err(error)
        }
    }
}

/// A failed handshake, and the stream on which the client got its alert.
struct Refused<S> {
    error: AcceptError,
    stream: Option<S>,
}

impl<S> Refused<S> {
    fn on(stream: S, error: io::Error) -> Self {
        Self {
            error: AcceptError::Failed(error),
            stream: Some(stream),
        }
    }
}

impl<S> From<io::Error> for Refused<S> {
    fn from(error: io::Error) -> Self {
        Self {
            error: AcceptError::Failed(error),
            stream: None,
        }
    }
}

async fn shake_hands<S, P, F>(stream: S, pick: F) -> Result<Handshake<S, P>, Refused<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: FnOnce(Option<&str>) -> (P, Arc<ServerConfig>),
{
    let Chosen {
        sni,
        policy,
        accepting,
    } = choose(hello(stream).await?, pick);
    let stream = finish(accepting).await?;
    let session = stream.inner().get_ref().1;
    Ok(Handshake {
        sni,
        policy,
        alpn_h2: session.alpn_protocol() == Some(b"h2"),
        version: session
            .protocol_version()
            .and_then(|version| version.as_str())
            .map_or("unknown", short_version),
        resumed: session.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        peer_certificate: session
            .peer_certificates()
            .and_then(|chain| chain.first())
            .map(|leaf| leaf.as_ref().to_vec()),
        stream,
    })
}

/// Waits for the `ClientHello`.
async fn hello<S>(stream: S) -> Result<StartHandshake<Greeting<S>>, Refused<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let greeting = Greeting::of(stream);
    let mut acceptor = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), greeting);
    let error = match (&mut acceptor).await {
        Ok(start) => return Ok(start),
        Err(error) => error,
    };
    let Some(mut greeting) = acceptor.take_io() else {
        return Err(error.into());
    };
    let plain = is_refusal(&error) && greeting.refuse().await?;
    let mut refused = Refused::on(greeting.into_inner(), error);
    if plain {
        refused.error = AcceptError::PlainHttp;
    }
    Err(refused)
}

/// A handshake whose configuration is chosen.
struct Chosen<S, P> {
    sni: Option<String>,
    policy: P,
    accepting: FallibleAccept<Corked<S>>,
}

/// Chooses the configuration by the `ClientHello`. It is not `async`: its arguments would be stored twice in the
/// handshake's future, which is moved for every connection.
fn choose<S, P, F>(start: StartHandshake<Greeting<S>>, pick: F) -> Chosen<S, P>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: FnOnce(Option<&str>) -> (P, Arc<ServerConfig>),
{
    let hello = start.client_hello();
    let sni = hello.server_name().map(str::to_ascii_lowercase);
    let (policy, config) = pick(sni.as_deref());
    let stream = Corked::keeping(start.io.into_inner());
    let start = StartHandshake::from_parts(start.accepted, stream);
    Chosen {
        sni,
        policy,
        accepting: start.into_stream(config).into_fallible(),
    }
}

async fn finish<S>(mut accepting: FallibleAccept<Corked<S>>) -> Result<ServerStream<S>, Refused<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match (&mut accepting).await {
        Ok(stream) => {
            let mut stream = Box::new(stream);
            stream.get_mut().0.uncork();
            // Before TLS 1.3 the client may wait for the server's last message.
            if stream.get_ref().1.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
                stream.flush().await?;
            }
            Ok(Strided::new(stream))
        }
        Err((error, mut corked)) => {
            // The kept bytes are the alert; a client that has left needs none.
            let _told = poll_fn(|cx| corked.poll_send(cx)).await;
            Err(Refused::on(corked.into_inner(), error))
        }
    }
}

fn short_version(name: &'static str) -> &'static str {
    match name {
        "TLSv1_3" => "TLSv1.3",
        "TLSv1_2" => "TLSv1.2",
        other => other,
    }
}

/// Performs a handshake with a server whose certificate must name `name`, a host name or an address.
pub async fn connect<S>(
    stream: S,
    config: Arc<ClientConfig>,
    name: &str,
) -> io::Result<ClientStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from(name.to_owned())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let stream = Corked::open(stream);
    let stream = TlsConnector::from(config).connect(name, stream).await?;
    Ok(Strided::new(stream))
}

/// True if TLS itself refused, and not the network below it.
pub fn is_refusal(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| {
        inner.is::<rustls::Error>() || inner.is::<rustls::pki_types::InvalidDnsNameError>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    fn never(_: Option<&str>) -> ((), Arc<ServerConfig>) {
        panic!("there is no hello to pick by")
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_silent_client_is_not_waited_for() {
        let (ours, _theirs) = duplex(64);
        let deadline = Instant::now() + Duration::from_millis(20);
        let result = accept(ours, never, deadline).await;
        assert!(matches!(result, Err(AcceptError::Timeout(_))));
    }

    #[test]
    fn a_handshakes_future_stays_small() {
        let (stream, _far) = duplex(1);
        let deadline = Instant::now();
        // It is moved twice for every connection, and is a part of what each task of a connection holds.
        assert!(size_of_val(&accept(stream, never, deadline)) <= 4 << 10);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_not_tls_is_refused_with_an_alert() {
        let (ours, mut theirs) = duplex(4096);
        theirs.write_all(b"hello, is this TLS?").await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        let listening = async {
            let mut alert = Vec::new();
            theirs.read_to_end(&mut alert).await.unwrap();
            drop(theirs);
            alert
        };
        let (result, alert) = tokio::join!(accept(ours, never, deadline), listening);
        let Err(AcceptError::Failed(error)) = result else {
            panic!("{result:?}");
        };
        assert!(is_refusal(&error));
        assert_eq!(alert.first(), Some(&21), "a record of type alert");
    }
}
