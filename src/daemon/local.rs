//! The partner endpoints for the data plane: `proxy` must not depend on `api`, so they are connected here.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::api::partner::service::PartnerService;
use crate::api::partner::table::{self, Answer, Waiting};
use crate::domain::local_call::LocalCall;
use crate::domain::reason::Reason;
use crate::proxy::local::{Answering, LocalService};

/// Calls that wait at once, all workers together. Each holds a body of at most 16 KiB and an answer; more would only
/// wait longer for the same store and the same cores.
const WAITING_MAX: usize = 256;

/// The time after which the caller of a waiting endpoint is refused. The call itself runs to its end, so that a change
/// is never half made, and keeps its place until then.
const WAITING_TIME_MAX: Duration = Duration::from_secs(10);

/// The partner endpoints, called at the end of an exchange. Those that wait run on the control plane's runtime: a slow
/// one delays no forwarded request.
#[derive(Debug)]
pub struct Local {
    service: Arc<PartnerService>,
    control: Handle,
    places: Arc<Semaphore>,
}

impl Local {
    /// Endpoints that wait on the runtime `control`.
    pub fn new(service: PartnerService, control: Handle) -> Self {
        Self {
            service: Arc::new(service),
            control,
            places: Arc::new(Semaphore::new(WAITING_MAX)),
        }
    }
}

impl LocalService for Local {
    fn call(&self, call: LocalCall) -> Answering {
        match table::answer(&self.service, call) {
            Some(Answer::Ready(answer)) => Box::pin(ready(Ok(*answer))),
            Some(Answer::Waits(answer)) => wait(answer, &self.control, &self.places),
            None => Box::pin(ready(Err(Reason::Internal))),
        }
    }
}

fn wait(answer: Waiting, control: &Handle, places: &Arc<Semaphore>) -> Answering {
    let Ok(place) = Arc::clone(places).try_acquire_owned() else {
        return Box::pin(ready(Err(Reason::Overloaded)));
    };
    let answer = control.spawn(async move {
        let answer = answer.await;
        drop(place);
        answer
    });
    Box::pin(async move {
        match timeout(WAITING_TIME_MAX, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(panic)) => {
                tracing::error!(%panic, "a partner endpoint panicked");
                Err(Reason::Internal)
            }
            Err(_) => Err(Reason::Overloaded),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use bytes::Bytes;
    use http::Response;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calls_that_hang_are_bounded_in_number_and_in_time() {
        let places = Arc::new(Semaphore::new(2));
        let start = |answer: Waiting| wait(answer, &Handle::current(), &places);
        let answered = || -> Waiting { Box::pin(async { Response::new(Bytes::new()).into() }) };
        let reason = |ended: Result<_, Reason>| ended.map(|_| ()).unwrap_err();

        let hanging = [start(Box::pin(pending())), start(Box::pin(pending()))];
        assert_eq!(reason(start(answered()).await), Reason::Overloaded);
        for call in hanging {
            assert_eq!(reason(call.await), Reason::Overloaded, "after its time");
        }
        assert_eq!(
            reason(start(answered()).await),
            Reason::Overloaded,
            "both run on"
        );
    }

    #[tokio::test]
    async fn a_call_that_has_ended_or_panicked_gives_its_place_back() {
        let places = Arc::new(Semaphore::new(1));
        for _ in 0..3 {
            let panicking: Waiting = Box::pin(async { panic!("planted") });
            let ended = wait(panicking, &Handle::current(), &places).await;
            assert_eq!(ended.map(|_| ()).unwrap_err(), Reason::Internal);
            let good: Waiting = Box::pin(async { Response::new(Bytes::new()).into() });
            let ended = wait(good, &Handle::current(), &places).await;
            assert_eq!(ended.unwrap().response.status(), 200);
        }
    }

    #[tokio::test]
    async fn a_caller_that_leaves_stops_no_change() {
        let places = Arc::new(Semaphore::new(1));
        let (finish, finished) = tokio::sync::oneshot::channel();
        let (resume, resumed) = tokio::sync::oneshot::channel::<()>();
        let changing: Waiting = Box::pin(async move {
            resumed.await.unwrap();
            finish.send(()).unwrap();
            Response::new(Bytes::new()).into()
        });
        drop(wait(changing, &Handle::current(), &places));
        resume.send(()).unwrap();
        finished.await.unwrap();
    }
}
