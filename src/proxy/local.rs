//! Local endpoints on the partners' port, which the gateway answers itself behind the same walk as everything else.

use std::fmt::Debug;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::crypto::x509::Leaf;
use crate::domain::id::RequestId;
use crate::domain::identity::{CertificateProof, Evidence};
use crate::domain::reason::Reason;
use crate::domain::route::LocalEndpoint;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;

use super::error::Error;

/// A token request is a few hundred bytes; nothing else that is answered here has a body.
const BODY_MAX: usize = 16 << 10;

/// The handler of the local endpoints.
pub trait LocalService: Send + Sync + Debug {
    fn call(&self, request: LocalRequest) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send>>;
}

/// A request to an endpoint of our own.
#[derive(Debug)]
pub struct LocalRequest {
    pub endpoint: LocalEndpoint,
    pub request: Request<Bytes>,
    pub snapshot: Arc<Snapshot>,
    pub peer: PeerFacts,
    pub request_id: RequestId,
    pub now: Timestamp,
}

/// The facts about the caller that an endpoint may use.
#[derive(Clone, Debug)]
pub struct PeerFacts {
    pub address: IpAddr,
    pub certificate: Evidence<CertificateProof>,
    /// The certificate that was shown, valid or not.
    pub leaf: Option<Arc<Leaf>>,
    pub tls_version: &'static str,
    pub sni: Option<Box<str>>,
}

/// Reads a request's small body whole, which has to arrive in the time `within`.
pub async fn read<B>(body: B, within: Duration) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes, Error = Error>,
{
    let collected = timeout(within, Limited::new(body, BODY_MAX).collect()).await;
    match collected.map_err(|late| Error::downstream(Reason::BodyTimeout).because(late))? {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Error::downstream(Reason::BodyTooLarge))
        }
        Err(error) => match error.downcast::<Error>() {
            Ok(error) => Err(*error),
            Err(error) => Err(Error::downstream(Reason::RequestMalformed).because(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    /// A body of which nothing comes.
    struct Never;

    impl Body for Never {
        type Data = Bytes;
        type Error = Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Error>>> {
            std::task::Poll::Pending
        }
    }

    const PATIENCE: Duration = Duration::from_secs(5);

    #[tokio::test(flavor = "current_thread")]
    async fn a_body_that_is_not_there_in_time_is_not_waited_for() {
        let body = Never;
        let error = read(body, Duration::from_millis(20)).await.unwrap_err();
        assert_eq!(error.reason, Reason::BodyTimeout);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_small_body_is_read_whole_and_a_large_one_refused() {
        let body = |length: usize| {
            Full::new(Bytes::from(vec![b'x'; length])).map_err(|never| match never {})
        };
        assert_eq!(
            read(body(BODY_MAX), PATIENCE).await.unwrap().len(),
            BODY_MAX
        );
        let error = read(body(BODY_MAX + 1), PATIENCE).await.unwrap_err();
        assert_eq!(error.reason, Reason::BodyTooLarge);
    }
}
