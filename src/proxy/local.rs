//! Local endpoints on the partners' port, which the gateway answers itself behind the same walk as everything else.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::domain::local_call::{LocalAnswer, LocalCall};
use crate::domain::reason::Reason;

use super::messages::error::Error;

/// An answer that may take time; an error is a refusal that the walk answers.
pub type Answering = Pin<Box<dyn Future<Output = Result<LocalAnswer, Reason>> + Send>>;

/// The handler of the local endpoints. It does not block: an answer that waits for something is a future that waits.
pub trait LocalService: Send + Sync + Debug {
    fn call(&self, call: LocalCall) -> Answering;
}

/// Reads a request's small body of at most `bytes_max` whole, which has to arrive in the time `within`.
pub async fn read<B>(body: B, bytes_max: u64, within: Duration) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes, Error = Error>,
{
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let collected = timeout(within, Limited::new(body, bytes_max).collect()).await;
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

    const BODY_MAX: u64 = 1000;
    const PATIENCE: Duration = Duration::from_secs(5);

    #[tokio::test(flavor = "current_thread")]
    async fn a_body_that_is_not_there_in_time_is_not_waited_for() {
        let body = Never;
        let error = read(body, BODY_MAX, Duration::from_millis(20))
            .await
            .unwrap_err();
        assert_eq!(error.reason, Reason::BodyTimeout);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_small_body_is_read_whole_and_a_large_one_refused() {
        let body = |length: usize| {
            Full::new(Bytes::from(vec![b'x'; length])).map_err(|never| match never {})
        };
        let whole = read(body(1000), BODY_MAX, PATIENCE).await.unwrap();
        assert_eq!(whole.len(), 1000);
        let error = read(body(1001), BODY_MAX, PATIENCE).await.unwrap_err();
        assert_eq!(error.reason, Reason::BodyTooLarge);
    }
}
