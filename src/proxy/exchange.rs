//! The inner walk, once for each request: identify → route → authorize → limit → forward → respond → record.
//!
//! Everything up to the permit is decided by one snapshot and without a pause, so that a publication after that reading
//! finds this connection in the list of those that used a credential which it ends.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;

use crate::domain::identity::{Caller, CertificateProof, Claimed, Evidence};
use crate::domain::permit::Permit;
use crate::domain::policy::Requirement;
use crate::domain::reason::Reason;
use crate::domain::route::{LocalEndpoint, Route, Target};
use crate::domain::snapshot::{Catalog, Snapshot};
use crate::domain::time::Timestamp;
use crate::domain::upstream::Upstream;
use crate::net::log_limit::LogLimit;

use super::body::{BodyBounds, Content, RequestBody, ResponseBody};
use super::codec::field_list::FieldList;
use super::counters::standing::Strictest;
use super::deliver::{Answer, deliver};
use super::downstream::body::Incoming;
use super::error::Error;
use super::expiry::Expiry;
use super::forward::{self, Outbound};
use super::forwarding::{self, RequestName};
use super::host::Host;
use super::live::{Connection, Running};
use super::local::{self, LocalRequest, PeerFacts};
use super::message::{Request, Response};
use super::metrics::Closed;
use super::record::{Opening, Recording};
use super::refusal::{Extra, Refusal};
use super::route::Mismatch;
use super::upgrade::Upgrade;
use super::upstream::request::Head;
use super::worker::Worker;
use super::{authorize, grpc, identify, limit, panics, protocols, request, respond, route};

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

/// The decisions of the walk about a permitted request.
struct Decided {
    permit: Permit,
    destination: Destination,
    head: Box<Head>,
    strictest: Option<Strictest>,
    /// The time for which the request may run.
    expiry: Expiry,
}

enum Destination {
    Upstream(Arc<Upstream>),
    Local(Box<Here>),
}

/// The inputs of a local endpoint.
struct Here {
    endpoint: LocalEndpoint,
    snapshot: Arc<Snapshot>,
    certificate: Evidence<CertificateProof>,
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
        let Decided {
            permit,
            destination,
            head,
            strictest,
            expiry,
        } = self.decide(&mut request, has_body, recording)?;
        self.running.let_in(expiry, permit.route().body_times.pause);
        let body = self.bounded(body, &permit, expiry, recording)?;
        let mut answer = match destination {
            Destination::Upstream(upstream) => {
                let answered = self.forward(&permit, &upstream, head, body);
                drop((permit, upstream, request));
                let answered = answered.await?;
                recording.upstream_answered();
                agreed(answered, upgrade, expiry)?
            }
            Destination::Local(here) => {
                request.fields = head.fields;
                request.fields.append(http::header::HOST, head.host);
                // Boxed: few requests end here, and every exchange would be as large as it.
                Box::pin(self.answer_here(here, request, body, recording)).await?
            }
        };
        let fields = match &mut answer {
            Answer::Response(response) => &mut response.fields,
            Answer::Tunnel(response, ..) => &mut response.fields,
        };
        respond::name(fields, self.name);
        if let Some(strictest) = &strictest {
            respond::allowance(fields, strictest);
        }
        Ok(answer)
    }

    /// The walk up to the permit, in its order. Nothing here waits.
    fn decide(
        self,
        request: &mut Request,
        has_body: bool,
        recording: &mut Recording,
    ) -> Result<Decided, Refusal> {
        let (worker, peer, now) = (self.worker, &self.connection.peer, self.now);
        let (metrics, address) = (&worker.metrics, peer.origin.address);
        let snapshot = worker.snapshot.load();
        let request::Asked {
            host,
            path,
            method,
            odd_names,
        } = request::read(
            request,
            &self.connection.host,
            snapshot.catalog.routes.serves_any_host(),
            &worker.settings.http,
        )?;
        recording.host(&host.name);

        let certificate = identify::certificate(&snapshot, peer, now);
        let found = route::find(&snapshot, &host.name, &path, &method);
        if let Ok(route) = &found {
            recording.route(route, metrics.route(route, snapshot.catalog.generation));
        }
        self.quarantine(&certificate, found.as_ref().ok().copied())
            .inspect_err(|_| {
                let caller = Caller::shown(certificate.clone());
                recording.claimed(identify::claimed(&caller, &request.fields, peer, &snapshot));
            })?;
        let route = found?;
        let requirement = route.policy.requirement;
        self.same_tls_policy(&snapshot.catalog, &host.name, requirement)?;
        let upgrade = protocols::upgrade(request, &route.upgrades, has_body)?;
        if odd_names {
            let caller_id = worker.settings.caller_request_id.as_ref();
            let fields = &mut request.fields;
            let first = request::settle_names(fields, route, caller_id, &metrics.all)?;
            recording.dropped_field(first);
        }

        let verifier = &worker.verifier;
        let bearer = identify::bearer(
            requirement,
            &request.fields,
            &certificate,
            self.connection,
            verifier,
            &snapshot,
            now,
        );
        let caller = Caller {
            certificate,
            bearer,
        };
        let permit = self.authorize(&caller, route, recording).inspect_err(|_| {
            recording.claimed(identify::claimed(&caller, &request.fields, peer, &snapshot));
        })?;
        let strictest = self.limit(&permit, address)?;

        let expiry = Expiry::until(snapshot.proved_until(&caller), now);
        let destination = match &route.target {
            Target::Local(endpoint) => Destination::Local(Box::new(Here {
                endpoint: *endpoint,
                snapshot: Arc::clone(&snapshot),
                certificate: caller.certificate,
            })),
            Target::Upstream(name) => {
                let upstream = snapshot.catalog.upstreams.get(name);
                Destination::Upstream(Arc::clone(upstream.ok_or(Reason::Internal)?))
            }
        };
        let identity =
            request::constant_fields(worker, self.connection, &permit, &host, snapshot.version);
        let target = request::target(request)?;
        let method = request.method.clone();
        let given = std::mem::take(&mut request.fields);
        let mut fields = self.cleaned(given, route, &host, &snapshot.catalog.issuer)?;
        request::assure(&mut fields, worker, &permit, &snapshot, now);
        Ok(Decided {
            permit,
            destination,
            head: Box::new(Head {
                method,
                target,
                host: host.value,
                fields,
                identity,
                upgrade,
                hints: request.hints.take(),
            }),
            strictest,
            expiry,
        })
    }

    /// The fields of a request that may be forwarded, with the caller's own name for it if the upstream wants that.
    fn cleaned(
        self,
        mut fields: FieldList,
        route: &Route,
        host: &Host,
        issuer: &str,
    ) -> Result<FieldList, Refusal> {
        let trusted_hop = self.connection.peer.origin.trusted_hop;
        let caller_id = self.worker.settings.caller_request_id.as_ref().map(|name| {
            let given = forwarding::caller_name(&fields, trusted_hop);
            let given = given.and_then(|given| HeaderValue::from_str(given).ok());
            (name, given)
        });
        let credentials = request::credentials(route, issuer);
        let metrics = &self.worker.metrics.all;
        request::clean(&mut fields, self.connection, host, credentials, metrics)?;
        if let Some((name, given)) = caller_id {
            fields.remove(name);
            fields.extend(given.map(|value| (name.clone(), value)));
        }
        Ok(fields)
    }

    /// A connection serves hosts of the TLS policy that it was opened under. When its own host demands more by now,
    /// the connection ends, and its client opens one that serves.
    fn same_tls_policy(
        self,
        catalog: &Catalog,
        host: &str,
        requirement: Requirement,
    ) -> Result<(), Refusal> {
        let peer = &self.connection.peer;
        let needs_certificate = requirement.needs_certificate();
        let judged = route::tls_policy(catalog, host, peer, needs_certificate);
        let Err(mismatch) = judged else {
            return Ok(());
        };
        let outdated = mismatch == Mismatch::Outdated;
        if outdated {
            self.connection.end(Closed::Finished);
        }
        let extra = if outdated || self.connection.was_used() {
            Extra::Misdirected
        } else {
            Extra::Nothing
        };
        Err(Refusal::with(Reason::HostMismatch, extra))
    }

    /// Answers explanations to a caller whose certificate was refused, nothing else, and a limited number of them.
    fn quarantine(
        self,
        certificate: &Evidence<CertificateProof>,
        route: Option<&Arc<Route>>,
    ) -> Result<(), Refusal> {
        if let Evidence::Refused(reason) = certificate {
            let count = self.connection.count_quarantined();
            let max = self.worker.settings.quarantine_requests;
            if count >= max {
                self.connection.end(Closed::Quarantine);
            }
            if count > max {
                return Err((*reason).into());
            }
        }
        let metrics = &self.worker.metrics.all;
        authorize::quarantine(certificate, route)
            .inspect_err(|reason| metrics.auth_refused(*reason))?;
        Ok(())
    }

    fn authorize(
        self,
        caller: &Caller,
        route: &Arc<Route>,
        recording: &mut Recording,
    ) -> Result<Permit, Refusal> {
        let metrics = &self.worker.metrics;
        let failures = self.worker.verifier.failures();
        let address = self.connection.peer.origin.address;
        let wait = |reason| match failures.check(address) {
            Err(wait) => Refusal::with(reason, Extra::RetryAfter(wait)),
            Ok(()) => reason.into(),
        };
        let decision = match &route.target {
            // The endpoint checks secrets itself, so guessing there is slowed down here.
            Target::Local(LocalEndpoint::Token) if failures.check(address).is_err() => {
                Err(Reason::AuthRateLimited.into())
            }
            _ => authorize::check(caller, route),
        };
        let permit = decision.map_err(|refusal| {
            metrics.all.auth_refused(refusal.reason);
            match refusal.reason {
                Reason::AuthRateLimited => wait(refusal.reason),
                _ => refusal,
            }
        })?;
        self.connection
            .remember(caller)
            .inspect_err(|reason| metrics.all.auth_refused(*reason))?;
        let identity = permit.identity();
        if let Some(identity) = identity {
            recording.identity(identity);
        }
        metrics.auth_allowed(identity.map(crate::domain::identity::Identity::method));
        Ok(permit)
    }

    fn limit(
        self,
        permit: &Permit,
        address: std::net::IpAddr,
    ) -> Result<Option<Strictest>, Refusal> {
        let metrics = &self.worker.metrics;
        match limit::spend(permit, address, &self.worker.counters) {
            Ok(strictest) => {
                if let Some(strictest) = &strictest {
                    metrics.limited(strictest.limit.name().as_str(), true);
                }
                Ok(strictest)
            }
            Err(strictest) => {
                metrics.limited(strictest.limit.name().as_str(), false);
                Err(Refusal::with(
                    Reason::RateLimited,
                    Extra::Limited(strictest),
                ))
            }
        }
    }

    /// The body within its route's bounds.
    fn bounded(
        self,
        body: Incoming,
        permit: &Permit,
        expiry: Expiry,
        recording: &Recording,
    ) -> Result<RequestBody<Incoming>, Refusal> {
        let timeouts = &self.worker.settings.timeouts;
        let route = permit.route();
        let bounds = BodyBounds {
            bytes_max: route.body_max,
            stall: route.body_times.pause.unwrap_or(timeouts.body_stall),
            pace: route.body_times.pace.unwrap_or(timeouts.body_pace),
            expiry,
        };
        let least = http_body::Body::size_hint(&body).lower();
        if bounds.bytes_max.is_some_and(|max| least > max) {
            return Err(Reason::BodyTooLarge.into());
        }
        let metrics = Rc::clone(&self.worker.metrics);
        Ok(RequestBody::new(body, bounds, recording.arrival(), metrics))
    }

    fn forward(
        self,
        permit: &Permit,
        upstream: &Arc<Upstream>,
        mut head: Box<Head>,
        body: RequestBody<Incoming>,
    ) -> impl Future<Output = Result<forward::Answer, Error>> + use<> {
        let name = self.name.value.clone();
        head.fields.append(forwarding::REQUEST_ID, name);
        let outbound = Outbound { head, body };
        forward::send(permit, upstream, &self.worker.upstreams, outbound)
    }

    async fn answer_here(
        self,
        here: Box<Here>,
        request: Box<Request>,
        body: RequestBody<Incoming>,
        recording: &mut Recording,
    ) -> Result<Answer, Refusal> {
        let Here {
            endpoint,
            snapshot,
            certificate,
        } = *here;
        let within = self.worker.settings.timeouts.local_body;
        let body = local::read(body, within).await?;
        let peer = &self.connection.peer;
        let call = self.worker.local.call(LocalRequest {
            endpoint,
            request: request.into_http(body),
            snapshot,
            peer: PeerFacts {
                address: peer.origin.address,
                certificate,
                leaf: peer.leaf.clone(),
                tls_version: peer.tls_version,
                sni: peer.sni.clone(),
            },
            request_id: self.name.id,
            now: self.now,
        });
        let response = call.await;
        if let Some(reason) = response.extensions().get::<Reason>() {
            recording.reason(*reason);
        }
        if let Some(claimed) = response.extensions().get::<Claimed>() {
            recording.claimed(*claimed);
        }
        if endpoint == LocalEndpoint::Token && response.status() == http::StatusCode::UNAUTHORIZED {
            let failures = self.worker.verifier.failures();
            failures.count(peer.origin.address);
        }
        Ok(response.into())
    }

    fn refuse(self, refusal: &Refusal, recording: &mut Recording) -> Answer {
        recording.reason(refusal.reason);
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
    answered: forward::Answer,
    client: Option<Upgrade>,
    expiry: Expiry,
) -> Result<Answer, Reason> {
    match (answered, client) {
        (forward::Answer::Response(response), _) => {
            Ok(Answer::Response(response.map(Content::Upstream)))
        }
        (forward::Answer::Tunnel(head, io), Some(client)) => {
            Ok(Answer::Tunnel(head, client, io, expiry))
        }
        (forward::Answer::Tunnel(..), None) => Err(Reason::UpgradeRefused),
    }
}
