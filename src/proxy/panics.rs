//! A fault of ours ends one exchange, not the connection or the worker.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// Runs `future`, and returns its panic if it has one.
///
/// Borrowed values may be half changed then. That is safe here, because exchanges share counters and caches, and each
/// of those is changed in one go. The future is pinned, since a move would store it twice.
pub async fn caught<F: Future>(mut future: Pin<&mut F>) -> Result<F::Output, Box<dyn Any + Send>> {
    std::future::poll_fn(move |cx| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
    .await
}

/// The message of a panic.
pub fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without words")
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_panic_is_caught_even_after_a_pause() {
        let panics = async {
            tokio::task::yield_now().await;
            panic!("on {}", "purpose");
        };
        let panic = caught(pin!(panics)).await.unwrap_err();
        assert_eq!(message(&*panic), "on purpose");
        assert_eq!(caught(pin!(async { 5 })).await.unwrap(), 5);
    }
}
