//! The step that forwards: a permit and a request in, the upstream's answer out.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http_body::Body;

use crate::domain::cause::Cause;
use crate::domain::permit::ToUpstream;
use crate::domain::reason::Reason;
use crate::domain::upstream::{Protocol, Upstream};
use crate::net::http::TokioIo;
use crate::net::stream::{AnyStream, Guarded};
use crate::proxy::messages::error::Error;
use crate::proxy::messages::message::Response;
use crate::proxy::upstream::answer_head::Expected;
use crate::proxy::upstream::body::AnswerBody;
use crate::proxy::upstream::http1;
use crate::proxy::upstream::http2::exchange as http2;
use crate::proxy::upstream::http2_body::Http2Body;
use crate::proxy::upstream::idle::Choice;
use crate::proxy::upstream::pool::{Lease, Pool, Slot};
use crate::proxy::upstream::request::{AnyBody, BodyGone, Head, Reclaimed};
use crate::proxy::upstream::sender::Sender;
use crate::proxy::upstream::upstreams::Upstreams;
use crate::proxy::upstream::websocket;

/// A request on its way to the upstream.
#[derive(Debug)]
pub struct Outbound<B> {
    /// Clean already: nothing reserved, nothing hop-by-hop. Boxed, because it is passed on several times.
    pub head: Box<Head>,
    pub body: B,
}

/// The upstream's answer.
#[derive(Debug)]
pub enum UpstreamAnswer {
    Response(Response<AnswerBody>),
    /// The upstream agreed to the upgrade. The head is for the client: 101 after an HTTP/1.1 upgrade, 200 after an
    /// extended CONNECT.
    Tunnel(Response<()>, Box<dyn AnyStream>),
}

/// Forwards a request to the upstream that its permit opens, over a connection of this worker.
///
/// When a kept connection turns out to be dead before any answer, the request is sent once more on a new one: if none
/// of its body is gone, and if either none of it was sent or its method is idempotent. A request that the upstream
/// itself reports as not processed is sent again too (RFC 9113, 8.7).
///
/// The result holds no more than it needs: it is a part of every exchange that waits.
pub fn send<B>(
    permit: ToUpstream,
    upstreams: &Rc<Upstreams>,
    outbound: Outbound<B>,
) -> impl Future<Output = Result<UpstreamAnswer, Error>> + use<B>
where
    B: Body<Data = Bytes, Error = Error> + 'static,
{
    let ready = split(outbound).map(|(head, body)| {
        let upstream = permit.spend();
        let exchange = Exchange {
            pool: upstreams.pool(&upstream),
            upstream,
            head,
        };
        (exchange, body)
    });
    async move {
        let (exchange, body) = ready?;
        exchange.answer(body).await
    }
}

fn split<B>(outbound: Outbound<B>) -> Result<(Box<Head>, Option<AnyBody>), Error>
where
    B: Body<Data = Bytes, Error = Error> + 'static,
{
    let Outbound { head, body } = outbound;
    let connect = head.method == Method::CONNECT;
    if connect && head.upgrade.is_none() {
        // The gateway is no forward proxy.
        return Err(Error::downstream(Reason::UpgradeRefused));
    }
    // Bytes behind an extended CONNECT belong to the tunnel and are no body.
    let body = Some(body).filter(|body| !connect && !body.is_end_stream());
    Ok((head, body.map(|body| Box::pin(body) as AnyBody)))
}

/// The parts of a request that stay the same when it is sent again.
struct Exchange {
    head: Box<Head>,
    upstream: Arc<Upstream>,
    pool: Rc<Pool>,
}

struct Failed {
    error: Error,
    /// The body to send again, if none of it is gone.
    body: Reclaimed,
    /// True if any of it may have reached the upstream.
    sent: bool,
    /// True if another connection may succeed: this one was kept, or the upstream has refused the request on it unread.
    elsewhere: bool,
    /// True if operators have been informed already.
    reported: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self {
            error,
            body: Err(BodyGone),
            sent: false,
            elsewhere: false,
            reported: true,
        }
    }
}

impl Exchange {
    async fn answer(&self, body: Option<AnyBody>) -> Result<UpstreamAnswer, Error> {
        let head = &*self.head;
        let answer = match self.run(body, false).await {
            Err(Failed {
                error,
                body: Ok(body),
                sent,
                elsewhere: true,
                ..
            }) if error.retry && (!sent || head.method.is_idempotent()) => {
                let upstream = &self.upstream.name;
                tracing::debug!(%upstream, "trying a new connection");
                // Boxed: few are sent twice, and every exchange would be as large as two.
                Box::pin(self.run(body, true)).await
            }
            other => other,
        };
        match answer.map_err(|failed| self.tell(failed))? {
            // To an HTTP/2 client, success would mean that there is a tunnel.
            UpstreamAnswer::Response(response)
                if head.method == Method::CONNECT && response.status.is_success() =>
            {
                let error = Error::upstream(Reason::UpstreamFailed);
                let error = error.by(Cause::AnswerUpgradeIgnored);
                let error = error.because("the upstream ignored the upgrade");
                self.pool.health().failures.note(&error);
                Err(error)
            }
            UpstreamAnswer::Tunnel(mut answer, stream) => {
                websocket::agree(&mut answer, head);
                Ok(UpstreamAnswer::Tunnel(answer, stream))
            }
            answer @ UpstreamAnswer::Response(_) => Ok(answer),
        }
    }

    /// Reports the failure that ends the exchange to operators, once.
    fn tell(&self, failed: Failed) -> Error {
        if !failed.reported {
            self.pool.health().failures.note(&failed.error);
        }
        failed.error
    }

    async fn run(&self, body: Option<AnyBody>, fresh: bool) -> Result<UpstreamAnswer, Failed> {
        let slot = self.pool.admit().await?;
        self.pool.health().asked(fresh);
        match self.upstream.protocol {
            Protocol::Http1 => {
                let choice = match self.may_be_repeated(body.as_ref()) {
                    _ if fresh => Choice::New,
                    true => Choice::Kept,
                    false => Choice::Safe,
                };
                let lease = self.pool.lease(slot, choice).await?;
                let checks = choice == Choice::Safe && lease.rested.is_some();
                self.over_http1(lease, body, checks).await
            }
            // Boxed: it is larger, and allocates in any case.
            Protocol::Http2 => Box::pin(self.over_http2(slot, body, fresh)).await,
        }
    }

    /// True if the request can be sent again when its outcome is unknown.
    fn may_be_repeated(&self, body: Option<&AnyBody>) -> bool {
        body.is_none() && self.head.method.is_idempotent()
    }

    async fn over_http1(
        &self,
        mut lease: Lease,
        body: Option<AnyBody>,
        checks: bool,
    ) -> Result<UpstreamAnswer, Failed> {
        let asked = Expected {
            head_only: self.head.method == Method::HEAD,
            upgrade: self.head.upgrade.as_ref(),
            bounds: self.upstream.http,
        };
        let (timeouts, hints) = (&self.upstream.timeouts, self.head.hints.as_deref());
        let connection = lease.connection();
        let mut sender = Sender::begin(connection, &self.head, body, checks);
        let answer = match http1::exchange(connection, &mut sender, asked, timeouts, hints).await {
            Ok(answer) => answer,
            Err(error) => {
                if error.retry {
                    lease.learn(false);
                }
                return Err(Failed {
                    error: lease.blame(error),
                    reported: false,
                    sent: sender.has_begun(),
                    body: sender.reclaim(),
                    elsewhere: lease.rested.is_some(),
                });
            }
        };
        lease.learn(true);
        if answer.switched {
            let (connection, guard) = lease.into_connection();
            let stream = Guarded::new(connection.into_stream(), guard);
            return Ok(UpstreamAnswer::Tunnel(answer.head, Box::new(stream)));
        }
        let idle = self.upstream.timeouts.idle;
        let body = AnswerBody::from(http1::body(lease, &answer, sender, idle));
        Ok(UpstreamAnswer::Response(answer.head.map(|()| body)))
    }

    async fn over_http2(
        &self,
        slot: Slot,
        body: Option<AnyBody>,
        fresh: bool,
    ) -> Result<UpstreamAnswer, Failed> {
        let lease = self.pool.lease_shared(slot, fresh).await?;
        let timeouts = &self.upstream.timeouts;
        let outcome = match http2::exchange(&lease.connection, &self.head, body, timeouts).await {
            Ok(outcome) => outcome,
            Err(http2::Unanswered {
                error,
                body,
                refused,
            }) => {
                return Err(Failed {
                    sent: body.is_err(),
                    error: lease.blame(error),
                    reported: false,
                    body,
                    elsewhere: lease.reused || refused,
                });
            }
        };
        match outcome {
            http2::Outcome::Answer(response, sending) => {
                let mut answer = Response::from(response);
                http2::clean(&mut answer.fields);
                let idle = timeouts.idle;
                Ok(UpstreamAnswer::Response(answer.map(|incoming| {
                    Http2Body::new(incoming, sending, lease, idle).into()
                })))
            }
            http2::Outcome::Tunnel(head, upgraded) => {
                let mut answer = Response::from(head);
                http2::clean(&mut answer.fields);
                let stream = Guarded::new(TokioIo::new(upgraded), lease);
                Ok(UpstreamAnswer::Tunnel(answer, Box::new(stream)))
            }
        }
    }
}

#[cfg(test)]
#[path = "forward_tests.rs"]
mod tests;
