//! The admission of a request: read → identify → authorize → limit → prepare.
//!
//! It is decided by one snapshot and without a pause, so that a publication after that reading finds this connection in
//! the list of those that used a credential which it ends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;

use crate::crypto::dpop::algorithms::Algorithms;
use crate::domain::api_key::KeyUse;
use crate::domain::decision::{Decision, Denial, Question};
use crate::domain::header_names::HeaderNames;
use crate::domain::id::KeyId;
use crate::domain::identity::{Caller, CertificateProof, Evidence, Identity};
use crate::domain::local::LocalEndpoint;
use crate::domain::permit::{Destination, Held, Permit, ToUpstream};
use crate::domain::reason::Reason;
use crate::domain::request::RequestHead;
use crate::domain::route::Route;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;

use super::authorize;
use super::identify::{self, Presented};
use super::limit;
use super::pages::{self, Answered, Preflight};
use super::prepare::{self, Permitted};
use super::read;
use super::read::ReadHead;
use crate::proxy::bodies::body::BodyBounds;
use crate::proxy::codec::field_list::FieldList;
use crate::proxy::connections::expiry::Expiry;
use crate::proxy::connections::live::{Connection, Running};
use crate::proxy::counters::standing::Strictest;
use crate::proxy::fields::odd_names;
use crate::proxy::messages::message::{Request, Response};
use crate::proxy::messages::refusal::{DpopChallenge, Extra, Refusal};
use crate::proxy::report::closing::Closed;
use crate::proxy::report::record::Recording;
use crate::proxy::upstream::request::Head;
use crate::proxy::worker::Worker;

/// A request that may go to its target.
pub struct Admitted {
    pub to: To,
    pub body: BodyBounds,
    /// The route's time limit between two pieces of the answer.
    pub pause: Option<Duration>,
    /// The nearest of the route's limits.
    pub strictest: Option<Strictest>,
    /// The origin whose page may read the answer.
    pub reader: Option<HeaderValue>,
}

/// The target of an admitted request, with what it gets.
pub enum To {
    Upstream(ToUpstream, Box<Head>),
    /// A signed request, whose body has to be verified.
    Held(Box<Held>, Box<Head>),
    Local(Box<ToLocal>),
    /// A browser's question, which has its answer.
    Page(Box<Response<Bytes>>),
}

impl To {
    fn local(endpoint: &'static LocalEndpoint, snapshot: &Arc<Snapshot>, caller: Caller) -> Self {
        Self::Local(Box::new(ToLocal {
            endpoint,
            snapshot: Arc::clone(snapshot),
            caller,
        }))
    }
}

/// The inputs of a local endpoint, beside the request.
pub struct ToLocal {
    pub endpoint: &'static LocalEndpoint,
    pub snapshot: Arc<Snapshot>,
    pub caller: Caller,
}

/// The inputs of every step of one admission.
#[derive(Clone, Copy)]
pub struct Admission<'a> {
    pub worker: &'a Worker,
    pub connection: &'a Connection,
    pub running: &'a Running,
    pub now: Timestamp,
}

impl Admission<'_> {
    /// Admits a request, or refuses it.
    pub fn admit(
        self,
        request: &mut Request,
        has_body: bool,
        recording: &mut Recording,
    ) -> Result<Admitted, Refusal> {
        let snapshot = self.worker.snapshot.load();
        let asked = self.read(request, &snapshot)?;
        recording.host(&asked.host.name);
        if let Some(answered) = self.preflight(request, &asked, &snapshot) {
            return answered;
        }
        let mut presented = self.presented(request, has_body, &asked, &snapshot);
        let decision = snapshot.decide(&self.question(&asked), &mut presented);
        let upgrade = presented.upgrade;
        let (host, odd_names) = (asked.host, asked.odd_names);
        if let Some(route) = decision.route {
            let series = self
                .worker
                .metrics
                .route(route, snapshot.catalog.generation);
            recording.route(route, series);
            if odd_names {
                self.remove_odd_names(&mut request.fields, route, recording);
            }
        }
        let reader = pages::reader(&decision, &request.fields, &snapshot);
        let readable = |refusal: Refusal| refusal.readable_by(reader.clone());
        let concluded = self.conclude(decision, request, &snapshot, recording);
        let (permit, caller) = concluded.map_err(readable)?;
        let strictest = self.limit(&permit, &snapshot).map_err(readable)?;

        let expiry = Expiry::until(snapshot.proved_until(&caller), self.now);
        let (grant, destination) = permit.open();
        let about = Permitted {
            worker: self.worker,
            connection: self.connection,
            grant: &grant,
            snapshot: &snapshot,
            now: self.now,
        };
        let to = match destination {
            Destination::Upstream(upstream) => {
                let head = prepare::for_upstream(about, request, host, upgrade)?;
                To::Upstream(upstream, head)
            }
            Destination::Held(permit) => {
                let head = prepare::for_upstream(about, request, host, upgrade)?;
                To::Held(Box::new(permit), head)
            }
            Destination::Local(endpoint) => {
                prepare::for_us(about, request, host)?;
                To::local(endpoint, &snapshot, caller)
            }
        };
        let mut body = self.body_bounds(Some(grant.route()), expiry);
        body.told = snapshot.catalog.issuers.told().cloned();
        if matches!(to, To::Held(..)) {
            let max = self.worker.settings.signed_body_max;
            body.bytes_max = Some(body.bytes_max.map_or(max, |own| own.min(max)));
        }
        Ok(Admitted {
            to,
            body,
            pause: grant.route().body_times.pause,
            strictest,
            reader,
        })
    }

    /// The answer to a browser's question about a route that takes requests of pages. It needs no permit: nothing is
    /// forwarded, and nobody is known. A connection whose certificate is refused gets no answer of the kind.
    fn preflight(
        self,
        request: &Request,
        asked: &ReadHead<'_>,
        snapshot: &Snapshot,
    ) -> Option<Result<Admitted, Refusal>> {
        let preflight = Preflight::of(request)?;
        let question = self.question(asked);
        let certificate = snapshot.evidence(question.certificate, self.now);
        if matches!(certificate, Evidence::Refused(_)) {
            return None;
        }
        Some(match preflight.answer(&question.head, snapshot)? {
            Answered::Refused => Err(Reason::OriginRefused.into()),
            Answered::Granted(response) => Ok(Admitted {
                to: To::Page(Box::new(response)),
                body: BodyBounds {
                    bytes_max: Some(0),
                    ..self.body_bounds(None, Expiry::until(None, self.now))
                },
                pause: None,
                strictest: None,
                reader: None,
            }),
        })
    }

    fn read<'r>(self, request: &'r Request, snapshot: &Snapshot) -> Result<ReadHead<'r>, Refusal> {
        let any_host = snapshot.catalog.routes.serves_any_host();
        let bounds = &self.worker.settings.http;
        read::read(request, &self.connection.host, any_host, bounds)
    }

    fn question<'q>(&'q self, asked: &'q ReadHead<'_>) -> Question<'q> {
        let peer = &self.connection.peer;
        Question {
            head: RequestHead {
                host: &asked.host.name,
                path: &asked.path,
                method: &asked.method,
            },
            certificate: peer.certificate(),
            handshake: peer.handshake(),
            now: self.now,
        }
    }

    fn presented<'p>(
        &'p self,
        request: &'p Request,
        has_body: bool,
        asked: &'p ReadHead<'_>,
        snapshot: &'p Snapshot,
    ) -> Presented<'p> {
        Presented {
            request,
            host: &asked.host,
            has_body,
            odd_names: asked.odd_names,
            connection: self.connection,
            verifier: &self.worker.verifier,
            signatures: &self.worker.signatures,
            snapshot,
            now: self.now,
            upgrade: None,
        }
    }

    /// Counts and records a decision, and gives out its permit.
    fn conclude(
        self,
        decision: Decision<'_, Refusal>,
        request: &Request,
        snapshot: &Snapshot,
        recording: &mut Recording,
    ) -> Result<(Permit, Caller), Refusal> {
        let metrics = &self.worker.metrics;
        let (caller, route) = (decision.caller, decision.route);
        let permit = match self.over_quarantine(&caller.certificate) {
            Some(reason) => Err((reason.into(), true)),
            None => decision.outcome.map_err(|denial| {
                let of_credentials = denial.is_of_credentials();
                let refusal = self.refusal(denial, request, route, snapshot);
                if of_credentials {
                    metrics.all.auth_refused(refusal.reason);
                }
                (refusal, of_credentials)
            }),
        };
        let permit = permit.and_then(|permit| {
            let remembered = self.connection.remember(&caller);
            self.running.hold(caller.bearer.proved());
            remembered.map(|()| permit).map_err(|reason| {
                metrics.all.auth_refused(reason);
                (reason.into(), true)
            })
        });
        match permit {
            Ok(permit) => {
                let identity = permit.identity();
                if let Some(identity) = identity {
                    recording.identity(identity);
                    if let Some(key) = identity.key() {
                        self.note_use(key, &permit.route().name);
                    }
                }
                metrics.auth_allowed(identity.map(Identity::method));
                Ok((permit, caller))
            }
            Err((refusal, of_credentials)) => {
                if of_credentials {
                    let (fields, peer) = (&request.fields, &self.connection.peer);
                    let claimed = identify::claimed(&caller, route, fields, peer, snapshot);
                    recording.claimed(claimed);
                }
                Err(refusal)
            }
        }
    }

    fn note_use(self, key: KeyId, route: &Arc<str>) {
        if self.connection.notes(key, self.now) {
            let used = KeyUse {
                at: self.now,
                from: self.connection.peer.origin.address,
                route: Arc::clone(route),
            };
            self.worker.key_uses.note(key, used);
        }
    }

    fn refusal(
        self,
        denial: Denial<Refusal>,
        request: &Request,
        route: Option<&Arc<Route>>,
        snapshot: &Snapshot,
    ) -> Refusal {
        let verifier = &self.worker.verifier;
        let (path, failures) = (request.path(), verifier.failures());
        let refusal = authorize::refusal(denial, path, route, self.connection, failures);
        let reason = refusal.reason;
        if !reason.is_of_dpop() && !identify::is_by_proof(&request.fields) {
            return refusal;
        }
        let proofs = verifier.proofs();
        refusal.challenged_by(DpopChallenge {
            algorithms: Algorithms::of(snapshot.catalog.profile).text,
            nonce: (reason == Reason::DpopNonceWanted).then(|| proofs.nonce(self.now)),
        })
    }

    /// Counts a request over a connection whose certificate was refused: it gets explanations, and a limited number of
    /// them. Returns the reason when it has had them all.
    fn over_quarantine(self, certificate: &Evidence<CertificateProof>) -> Option<Reason> {
        let Evidence::Refused(reason) = certificate else {
            return None;
        };
        let count = self.connection.count_quarantined();
        let max = self.worker.settings.quarantine_requests;
        if count >= max {
            self.connection.end(Closed::Quarantine);
        }
        (count > max).then_some(*reason)
    }

    /// Removes the fields whose names do not pass by the host's rule, counts them, and records the first.
    fn remove_odd_names(self, fields: &mut FieldList, route: &Route, recording: &mut Recording) {
        let rule = route.header_names;
        if rule == HeaderNames::Refuse {
            return;
        }
        let caller_id = self.worker.settings.caller_request_id.as_ref();
        let removed = odd_names::remove(fields, rule, caller_id);
        let metrics = &self.worker.metrics.all;
        metrics.spoofed(&removed.imitated);
        metrics.names_dropped.inc_by(removed.dropped);
        recording.dropped_field(removed.first);
    }

    fn limit(self, permit: &Permit, snapshot: &Snapshot) -> Result<Option<Strictest>, Refusal> {
        let metrics = &self.worker.metrics;
        let address = self.connection.peer.origin.address;
        let spent = limit::spend(
            permit,
            &snapshot.catalog.routes,
            address,
            &self.worker.counters,
            self.now,
        );
        let legacy = snapshot.catalog.legacy_limit_fields;
        let dated = |strictest: Strictest| {
            if legacy {
                strictest.with_reset(self.now)
            } else {
                strictest
            }
        };
        let spent = spent.map(|found| found.map(dated)).map_err(dated);
        let (strictest, allowed) = match &spent {
            Ok(strictest) => (strictest.as_ref(), true),
            Err(strictest) => (Some(strictest), false),
        };
        if let Some(strictest) = strictest {
            metrics.limited(limit::label(permit, &strictest.limit), allowed);
        }
        spent.map_err(|strictest| {
            Refusal::with(Reason::RateLimited, Extra::Limited(Box::new(strictest)))
        })
    }

    /// The bounds of a request's body: its route's, or else the listener's.
    fn body_bounds(self, route: Option<&Arc<Route>>, expiry: Expiry) -> BodyBounds {
        let timeouts = &self.worker.settings.timeouts;
        let times = route.map(|route| &route.body_times);
        BodyBounds {
            bytes_max: route.and_then(|route| route.body_max),
            stall: times
                .and_then(|times| times.pause)
                .unwrap_or(timeouts.body_stall),
            pace: times
                .and_then(|times| times.pace)
                .unwrap_or(timeouts.body_pace),
            expiry,
            told: None,
        }
    }
}
