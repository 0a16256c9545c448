//! The accept loops of the listeners that are not for partners: bounded, and drained before they end.

use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::net::log_limit::LogLimit;
use crate::net::serve::{self, Bounds};
use crate::net::tls::{self, ServerConfig};

/// The peer of a connection; every request of the connection carries it as an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process on this machine, by its user id, as the kernel knows it.
    Local {
        uid: u32,
    },
    Remote(IpAddr),
}

/// A listener's bounds and its end.
#[derive(Clone, Debug)]
pub struct Listening {
    pub connections_max: usize,
    pub bounds: Bounds,
    /// Cancelled when the listener is to close; what is being answered then is finished.
    pub closing: CancellationToken,
    pub tasks: TaskTracker,
}

impl Listening {
    pub fn new(closing: CancellationToken, tasks: TaskTracker) -> Self {
        Self {
            // More than people and monitors need, less than a mistake in a script can hurt with.
            connections_max: 128,
            bounds: Bounds::default(),
            closing,
            tasks,
        }
    }
}

/// The pause after a failed accept, whose usual cause is a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves a router on a TCP listener, inside TLS when there is a configuration for it.
pub async fn tcp(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    how: Listening,
) {
    let slots = Arc::new(Semaphore::new(how.connections_max));
    while let Some(slot) = slot(&slots, &how.closing).await {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = how.closing.cancelled() => return,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                pause(&error).await;
                continue;
            }
        };
        let (tls, router, how) = (tls.clone(), router.clone(), how.clone());
        how.tasks.clone().spawn(async move {
            let _slot = slot;
            let peer = Peer::Remote(address.ip().to_canonical());
            let Some(config) = tls else {
                return converse(stream, peer, router, &how).await;
            };
            let deadline = tokio::time::Instant::now() + how.bounds.handshake;
            match tls::accept(stream, |_| ((), config), deadline).await {
                Ok(session) => converse(session.stream, peer, router, &how).await,
                Err(error) => tracing::debug!(%error, %address, "a handshake failed"),
            }
        });
    }
}

/// A unix socket that only some users of this machine may speak to.
#[derive(Debug)]
pub struct LocalSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Beside this process's own user and root.
    users: Vec<u32>,
    own: u32,
}

impl LocalSocket {
    /// Binds the socket with mode 0600, or 0660 when there are other users to let in.
    ///
    /// A file that a stopped gateway has left is replaced; a socket in use, or another kind of file, is not.
    pub async fn bind(path: &Path, users: Vec<u32>) -> io::Result<Self> {
        remove_leftover(path).await?;
        let listener = UnixListener::bind(path)?;
        // Between these two lines anyone may connect; the check of the peer's user turns them away.
        let mode = if users.is_empty() { 0o600 } else { 0o660 };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        let own = UnixStream::pair()?.0.peer_cred()?.uid();
        Ok(Self {
            listener,
            path: path.to_owned(),
            users,
            own,
        })
    }

    fn admits(&self, uid: u32) -> bool {
        uid == 0 || uid == self.own || self.users.contains(&uid)
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "the socket's file was gone already");
        }
    }
}

async fn remove_leftover(path: &Path) -> io::Result<()> {
    let kind = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !kind.is_socket() || UnixStream::connect(path).await.is_ok() {
        return Err(io::Error::from(io::ErrorKind::AddrInUse));
    }
    std::fs::remove_file(path)
}

/// Serves a router on a unix socket.
pub async fn unix(socket: LocalSocket, router: Router, how: Listening) {
    let slots = Arc::new(Semaphore::new(how.connections_max));
    while let Some(slot) = slot(&slots, &how.closing).await {
        let accepted = tokio::select! {
            accepted = socket.listener.accept() => accepted,
            () = how.closing.cancelled() => return,
        };
        let user = accepted.and_then(|(stream, _)| {
            let uid = stream.peer_cred()?.uid();
            Ok((stream, uid))
        });
        let (stream, uid) = match user {
            Ok(known) => known,
            Err(error) => {
                pause(&error).await;
                continue;
            }
        };
        if !socket.admits(uid) {
            static TURNED_AWAY: LogLimit = LogLimit::new();
            if let Some(suppressed) = TURNED_AWAY.permit() {
                tracing::warn!(
                    uid,
                    suppressed,
                    "a local user was refused at the admin socket"
                );
            }
            continue;
        }
        let (router, how) = (router.clone(), how.clone());
        how.tasks.clone().spawn(async move {
            let _slot = slot;
            converse(stream, Peer::Local { uid }, router, &how).await;
        });
    }
}

async fn slot(slots: &Arc<Semaphore>, closing: &CancellationToken) -> Option<OwnedSemaphorePermit> {
    tokio::select! {
        slot = Arc::clone(slots).acquire_owned() => slot.ok(),
        () = closing.cancelled() => None,
    }
}

async fn pause(error: &io::Error) {
    static NOT_ACCEPTED: LogLimit = LogLimit::new();
    if let Some(suppressed) = NOT_ACCEPTED.permit() {
        tracing::warn!(%error, suppressed, "a connection could not be accepted");
    }
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

async fn converse<I>(io: I, peer: Peer, router: Router, how: &Listening)
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let answer = |request: http::Request<_>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        let router = router.clone();
        async move { router.oneshot(request).await.into_response() }
    };
    let closing = how.closing.cancelled();
    if let Err(error) = serve::connection(io, &how.bounds, answer, closing).await {
        tracing::debug!(%error, ?peer, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::call;
    use axum::Extension;
    use axum::routing::get;
    use bytes::Bytes;
    use http_body_util::Full;

    fn router() -> Router {
        Router::new().route(
            "/",
            get(async |Extension(peer): Extension<Peer>| format!("{peer:?}")),
        )
    }

    fn request() -> http::Request<Full<Bytes>> {
        http::Request::builder()
            .uri("/")
            .header("host", "localhost")
            .body(Full::default())
            .unwrap()
    }

    fn how() -> Listening {
        Listening::new(CancellationToken::new(), TaskTracker::new())
    }

    #[tokio::test]
    async fn a_local_user_is_known_by_the_kernels_word() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let socket = LocalSocket::bind(&path, Vec::new()).await.unwrap();
        let (own, how) = (socket.own, how());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let serving = how.tasks.spawn(unix(socket, router(), how.clone()));
        let stream = UnixStream::connect(&path).await.unwrap();
        let answer = call::exchange(stream, request(), 1000).await.unwrap();
        assert_eq!(answer.body(), &format!("{:?}", Peer::Local { uid: own }));
        how.closing.cancel();
        serving.await.unwrap();
        assert!(!path.exists(), "the file goes with the listener");
    }

    #[tokio::test]
    async fn only_what_a_gateway_left_behind_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let in_use = LocalSocket::bind(&path, Vec::new()).await.unwrap();
        let refused = LocalSocket::bind(&path, Vec::new()).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        drop(in_use);
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(LocalSocket::bind(&path, vec![1]).await.is_ok());
        let file = folder.path().join("file");
        std::fs::write(&file, "precious").unwrap();
        assert!(LocalSocket::bind(&file, Vec::new()).await.is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_listener_holds_no_more_connections_than_it_may() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let how = Listening {
            connections_max: 1,
            ..how()
        };
        how.tasks.spawn(tcp(listener, None, router(), how.clone()));
        let idle = tokio::net::TcpStream::connect(address).await.unwrap();
        let second = tokio::net::TcpStream::connect(address).await.unwrap();
        let mut answer = Box::pin(call::exchange(second, request(), 1000));
        let waiting = tokio::time::timeout(Duration::from_millis(100), answer.as_mut()).await;
        assert!(waiting.is_err(), "it waits for the first to leave");
        drop(idle);
        assert_eq!(answer.await.unwrap().status(), 200);
    }
}
