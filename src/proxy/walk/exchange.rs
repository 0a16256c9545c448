//! The inner walk, once for each request: admit → forward or answer here → respond → record.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;

use bytes::Bytes;

use crate::domain::api_key::KeyUse;
use crate::domain::local_call::{LocalAnswer, LocalCall};
use crate::domain::permit::{Held, ToUpstream};
use crate::domain::reason::Reason;
use crate::domain::time::Timestamp;
use crate::net::log_limit::LogLimit;

use super::admit::{Admission, Admitted, To, ToLocal};
use super::deliver::{Answer, deliver};
use super::forward::{self, Outbound};
use super::hold;
use super::respond;
use crate::proxy::bodies::body::{BodyBounds, Content, RequestBody, ResponseBody};
use crate::proxy::bodies::upgrade::Upgrade;
use crate::proxy::codec::field_list::FieldList;
use crate::proxy::connections::expiry::Expiry;
use crate::proxy::connections::live::{Connection, Running};
use crate::proxy::downstream::body::Incoming;
use crate::proxy::fields::cors;
use crate::proxy::fields::forwarding::{self, RequestName};
use crate::proxy::fields::grpc;
use crate::proxy::local;
use crate::proxy::messages::error::Error;
use crate::proxy::messages::message::{Request, Response};
use crate::proxy::messages::refusal::{Extra, Refusal};
use crate::proxy::panics;
use crate::proxy::report::record::{Opening, Recording};
use crate::proxy::upstream::request::Head;
use crate::proxy::worker::Worker;

/// Answers one request of `connection`, in every case.
pub async fn run(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    request: Box<Request>,
    body: Incoming,
    upgrade: Option<Upgrade>,
) -> Response<ResponseBody> {
    let running = Running::new(Rc::clone(&connection));
    connection.begin_request();
    let now = worker.clock.now();
    let origin = connection.peer.origin;
    let method = request.method.clone();
    let name = forwarding::name_request(&request.fields, origin.trusted_hop, now);
    let mut recording = Recording::open(
        &worker.book,
        &Opening {
            at: now,
            request_id: name.id,
            hop_request_id: origin
                .trusted_hop
                .then_some(&name)
                .and_then(RequestName::spelling),
            caller_request_id: forwarding::caller_name(&request.fields, origin.trusted_hop),
            client: origin.address,
            method: &method,
            path: request.path(),
            protocol: request.version,
        },
    );
    let exchange = Exchange {
        worker: &worker,
        connection: &connection,
        name: &name,
        now,
        running: &running,
        grpc: grpc::is_call(&request),
    };
    let walked = {
        let walking = Walking {
            recording: &mut recording,
            running: &running,
        };
        let recording = &mut *walking.recording;
        panics::caught(pin!(exchange.walk(request, body, upgrade, recording))).await
    };
    let answer = match walked {
        Ok(Ok(answer)) => answer,
        Ok(Err(refusal)) => exchange.refuse(&refusal, &mut recording),
        Err(panic) => {
            worker.metrics.all.panics.inc();
            let panic = panics::message(&*panic);
            if let Some(suppressed) = PANICKED.permit() {
                let request_id = name.id;
                tracing::error!(%request_id, panic, suppressed, "an exchange panicked");
            }
            exchange.refuse(&Reason::Internal.into(), &mut recording)
        }
    };
    deliver(answer, &method, recording, running, &worker, &connection)
}

/// A walk without an answer yet. Dropping it cuts it; its record then has the reason, if the cut was ours.
struct Walking<'w> {
    recording: &'w mut Recording,
    running: &'w Running,
}

impl Drop for Walking<'_> {
    fn drop(&mut self) {
        if let Some(reason) = self.running.cut() {
            self.recording.reason(reason);
        }
    }
}

/// Answers malformed bytes that came over `connection`, and records that like any exchange.
pub fn refuse_unread(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    reason: Reason,
) -> Response<ResponseBody> {
    let running = Running::new(Rc::clone(connection));
    let now = worker.clock.now();
    let name = forwarding::name_request(&FieldList::new(), false, now);
    let method = http::Method::from_bytes(UNREAD.as_bytes()).unwrap_or_default();
    let mut recording = Recording::open(
        &worker.book,
        &Opening {
            at: now,
            request_id: name.id,
            hop_request_id: None,
            caller_request_id: None,
            client: connection.peer.origin.address,
            method: &method,
            path: UNREAD,
            protocol: http::Version::HTTP_11,
        },
    );
    let exchange = Exchange {
        worker,
        connection,
        name: &name,
        now,
        running: &running,
        grpc: false,
    };
    let answer = exchange.refuse(&reason.into(), &mut recording);
    deliver(answer, &method, recording, running, worker, connection)
}

/// The method and path in the record of a request that could not be parsed.
const UNREAD: &str = "-";

static PANICKED: LogLimit = LogLimit::new();

/// The inputs of every step of one exchange.
#[derive(Clone, Copy)]
struct Exchange<'a> {
    worker: &'a Rc<Worker>,
    connection: &'a Rc<Connection>,
    name: &'a RequestName,
    now: Timestamp,
    running: &'a Running,
    /// True for a call of gRPC.
    grpc: bool,
}

impl Exchange<'_> {
    async fn walk(
        self,
        mut request: Box<Request>,
        body: Incoming,
        upgrade: Option<Upgrade>,
        recording: &mut Recording,
    ) -> Result<Answer, Refusal> {
        let has_body = !http_body::Body::is_end_stream(&body);
        let admission = Admission {
            worker: self.worker,
            connection: self.connection,
            running: self.running,
            now: self.now,
        };
        let Admitted {
            to,
            body: bounds,
            pause,
            strictest,
            reader,
        } = admission.admit(&mut request, has_body, recording)?;
        let (expiry, bytes_max) = (bounds.expiry, bounds.bytes_max);
        self.running.let_in(expiry, pause);
        let readable = |refusal: Refusal| refusal.readable_by(reader.clone());
        let bounded = self.bounded(body, bounds, recording);
        let body = bounded.map_err(readable)?;
        let mut answer = match to {
            To::Upstream(permit, head) => {
                let answered = self.forward(permit, head, body);
                drop(request);
                let answered = answered.await.map_err(Refusal::from).map_err(readable)?;
                recording.upstream_answered();
                agreed(answered, upgrade, expiry)?
            }
            // Boxed: few requests are signed.
            To::Held(permit, head) => {
                let forwarded = self.verify_and_forward(*permit, head, body, bytes_max);
                let answered = Box::pin(forwarded).await.map_err(readable)?;
                drop(request);
                recording.upstream_answered();
                agreed(answered, upgrade, expiry)?
            }
            // Boxed: few requests end here, and every exchange would be as large as it.
            To::Local(to) => Box::pin(self.answer_here(to, request, body, recording)).await?,
            To::Page(response) => (*response).into(),
        };
        let fields = match &mut answer {
            Answer::Response(response) => &mut response.fields,
            Answer::Tunnel(response, ..) => &mut response.fields,
        };
        respond::name(fields, self.name);
        if let Some(strictest) = &strictest {
            respond::allowance(fields, strictest);
        }
        if let Some(reader) = &reader {
            cors::allow(fields, reader);
        }
        Ok(answer)
    }

    /// The body within its bounds.
    fn bounded(
        self,
        body: Incoming,
        bounds: BodyBounds,
        recording: &Recording,
    ) -> Result<RequestBody<Incoming>, Refusal> {
        let least = http_body::Body::size_hint(&body).lower();
        if bounds.bytes_max.is_some_and(|max| least > max) {
            return Err(Reason::BodyTooLarge.into());
        }
        let metrics = Rc::clone(&self.worker.metrics);
        Ok(RequestBody::new(body, bounds, recording.arrival(), metrics))
    }

    /// Forwards a signed request, once its body is known to be the signed one.
    async fn verify_and_forward(
        self,
        permit: Held,
        head: Box<Head>,
        body: RequestBody<Incoming>,
        bytes_max: Option<u64>,
    ) -> Result<forward::UpstreamAnswer, Refusal> {
        let bytes_max = bytes_max.unwrap_or_default();
        let verified = hold::verify(permit, body, bytes_max, &self.worker.held_bytes).await;
        let (permit, body) = verified.inspect_err(|error| {
            if error.reason == Reason::ContentDigestMismatch {
                self.worker.metrics.all.auth_refused(error.reason);
            }
        })?;
        Ok(self.forward(permit, head, body).await?)
    }

    fn forward<B>(
        self,
        permit: ToUpstream,
        mut head: Box<Head>,
        body: B,
    ) -> impl Future<Output = Result<forward::UpstreamAnswer, Error>> + use<B>
    where
        B: http_body::Body<Data = Bytes, Error = Error> + 'static,
    {
        let name = self.name.value.clone();
        head.fields.append(forwarding::REQUEST_ID, name);
        let outbound = Outbound { head, body };
        forward::send(permit, &self.worker.upstreams, outbound)
    }

    async fn answer_here(
        self,
        to: Box<ToLocal>,
        request: Box<Request>,
        body: RequestBody<Incoming>,
        recording: &mut Recording,
    ) -> Result<Answer, Refusal> {
        let ToLocal {
            endpoint,
            snapshot,
            caller,
        } = *to;
        let within = self.worker.settings.timeouts.local_body;
        let body = local::read(body, endpoint.body_max, within).await?;
        let peer = &self.connection.peer;
        let call = self.worker.local.call(LocalCall {
            endpoint,
            request: request.into_http(body),
            snapshot,
            caller,
            peer: peer.to_local(),
            request_id: self.name.id,
            now: self.now,
        });
        let LocalAnswer {
            response,
            reason,
            claimed,
        } = call.await?;
        if let Some(reason) = reason {
            recording.reason(reason);
        }
        if let Some(claimed) = claimed {
            recording.claimed(claimed);
            if let (None, Some(key)) = (reason, claimed.key) {
                let used = KeyUse {
                    at: self.now,
                    from: peer.origin.address,
                    route: endpoint.name.into(),
                };
                self.worker.key_uses.note(key, used);
            }
        }
        if endpoint.checks_secrets && response.status() == http::StatusCode::UNAUTHORIZED {
            let failures = self.worker.verifier.failures();
            failures.count(peer.origin.address);
        }
        Ok(response.into())
    }

    fn refuse(self, refusal: &Refusal, recording: &mut Recording) -> Answer {
        // A connection that was cut looks like one that its client has left.
        recording.reason(self.running.cut().unwrap_or(refusal.reason));
        if let Extra::Offence(offence) = &refusal.extra {
            recording.cause(offence.to_string());
        }
        if let Some(cause) = &refusal.cause {
            recording.failed(cause);
            let source = std::error::Error::source(cause);
            tracing::debug!(request_id = %self.name.id, %cause, source, "exchange failed");
        }
        let about = respond::Circumstances {
            request: self.name,
            leaf: self.connection.peer.leaf.as_deref(),
            now: self.now,
            grpc: self.grpc,
        };
        let (status, answer) = respond::refuse(refusal, about);
        recording.refused_as(status.as_u16());
        answer.into()
    }
}

/// The answer of an upstream to a client that may have requested an upgrade.
fn agreed(
    answered: forward::UpstreamAnswer,
    client: Option<Upgrade>,
    expiry: Expiry,
) -> Result<Answer, Reason> {
    match (answered, client) {
        (forward::UpstreamAnswer::Response(response), _) => {
            Ok(Answer::Response(response.map(Content::Upstream)))
        }
        (forward::UpstreamAnswer::Tunnel(head, io), Some(client)) => {
            Ok(Answer::Tunnel(head, client, io, expiry))
        }
        (forward::UpstreamAnswer::Tunnel(..), None) => Err(Reason::UpgradeRefused),
    }
}
