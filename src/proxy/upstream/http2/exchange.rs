//! One exchange over HTTP/2: sends the request, and waits for the head of its answer.

use std::future::Future;
use std::rc::Rc;
use std::task::{Poll, ready};

use http::{HeaderValue, Method, Request, Response, Uri, Version, header};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use super::connection::Http2;
use super::sending::{Sending, SentBody, has_died, is_refused};
use crate::domain::cause::Cause;
use crate::domain::reason::Reason;
use crate::domain::upstream::Timeouts;
use crate::proxy::codec::field_list::FieldList;
use crate::proxy::codec::fields;
use crate::proxy::messages::error::{Error, Side};
use crate::proxy::upstream::deadline::Deadline;
use crate::proxy::upstream::request::{AnyBody, BodyGone, Head, Reclaimed};

/// An answer, or a stream that the upstream agreed to make a tunnel.
pub enum Outcome {
    Answer(Response<Incoming>, Rc<Sending>),
    Tunnel(Response<()>, hyper::upgrade::Upgraded),
}

/// The failure of an exchange without an answer.
pub struct Unanswered {
    pub error: Error,
    /// The body, if the request may be sent again: the upstream has not processed it, or the connection died and a
    /// second request is harmless.
    pub body: Reclaimed,
    /// True if the upstream itself has reported that it has not processed the request.
    pub refused: bool,
}

impl From<Error> for Unanswered {
    fn from(error: Error) -> Self {
        Self {
            error,
            body: Err(BodyGone),
            refused: false,
        }
    }
}

/// Sends the request and waits for the head of its answer.
pub async fn exchange(
    connection: &Http2,
    head: &Head,
    body: Option<AnyBody>,
    timeouts: &Timeouts,
) -> Result<Outcome, Unanswered> {
    let request = request(head, connection.tls)?;
    let sending = Rc::new(Sending::default());
    let harmless = body.is_none() && head.upgrade.is_none() && head.method.is_idempotent();
    let body = SentBody::new(body, Rc::clone(&sending));
    let mut answer = std::pin::pin!(
        connection
            .sender
            .clone()
            .try_send_request(request.map(|()| body))
    );
    let mut deadline = Deadline::after(timeouts.first_byte);
    let mut watched = None;
    let answered = std::future::poll_fn(|cx| {
        if let Poll::Ready(answered) = answer.as_mut().poll(cx) {
            return Poll::Ready(Some(answered));
        }
        loop {
            let situation = Some((sending.done.get(), sending.progress.get()));
            if watched != situation {
                watched = situation;
                deadline.set(if sending.done.get() {
                    timeouts.first_byte
                } else {
                    timeouts.idle
                });
            }
            ready!(deadline.poll(cx));
            if watched == Some((sending.done.get(), sending.progress.get())) {
                return Poll::Ready(None);
            }
        }
    })
    .await;
    let response = match answered {
        Some(Ok(response)) => response,
        Some(Err(refused)) => return Err(unanswered(connection, &sending, refused, harmless)),
        None => return Err(late(&sending).into()),
    };
    sending.answered();
    if head.upgrade.is_some() && response.status().is_success() {
        let mut response = response;
        let upgraded = hyper::upgrade::on(&mut response)
            .await
            .map_err(|error| sending.failure(error, Cause::ClosedBeforeAnswer))?;
        return Ok(Outcome::Tunnel(response.map(|_| ()), upgraded));
    }
    Ok(Outcome::Answer(response, sending))
}

/// The failure of a request without an answer.
fn unanswered(
    connection: &Http2,
    sending: &Sending,
    mut refused: TrySendError<Request<SentBody>>,
    harmless: bool,
) -> Unanswered {
    let message = refused.take_message();
    let error = refused.into_error();
    let (died, refused) = (has_died(&error), is_refused(&error));
    if died {
        connection.dead.set(true);
    }
    let error = sending.failure(error, Cause::ClosedBeforeAnswer);
    let body = if error.side != Side::Upstream {
        Err(BodyGone)
    } else if message.is_some() || refused {
        // A request that hyper returns has not been sent.
        sending.reclaim()
    } else if died && harmless {
        Ok(None)
    } else {
        Err(BodyGone)
    };
    let error = if body.is_ok() {
        error.worth_a_retry()
    } else {
        error
    };
    Unanswered {
        error,
        body,
        refused,
    }
}

/// The error of a timeout, by the side that was waited for.
fn late(sending: &Sending) -> Error {
    if sending.wants.get() {
        return Error::downstream(Reason::BodyTimeout);
    }
    Error::upstream(Reason::UpstreamTimeout).by(if sending.done.get() {
        Cause::AnswerTimeout
    } else {
        Cause::RequestStalled
    })
}

fn request(head: &Head, tls: bool) -> Result<Request<()>, Error> {
    // HTTP/1.0 may name no host, and the library sends no request without one.
    let authority = match head.host.as_bytes() {
        b"" => b"localhost",
        host => host,
    };
    let target = head.target.encoded();
    let target =
        target.map_err(|error| Error::downstream(Reason::RequestMalformed).because(error))?;
    let uri = Uri::builder()
        .scheme(if tls { "https" } else { "http" })
        .authority(authority)
        .path_and_query(target)
        .build()
        .map_err(|error| Error::downstream(Reason::HostInvalid).because(error))?;
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    *request.method_mut() = head.method.clone();
    if let Some(protocol) = &head.upgrade {
        *request.method_mut() = Method::CONNECT;
        let protocol = protocol
            .to_str()
            .map_err(|error| Error::downstream(Reason::UpgradeRefused).because(error))?;
        request
            .extensions_mut()
            .insert(hyper::ext::Protocol::from(protocol));
    }
    let headers = request.headers_mut();
    headers.reserve(head.fields.len() + head.identity.fields.len() + 1);
    for (name, value) in head.fields.iter() {
        let ours = matches!(
            name.as_str(),
            "host" | "content-length" | "sec-websocket-key"
        );
        if !ours && !fields::is_hop_by_hop(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    for (name, value) in &head.identity.fields {
        headers.append(name.clone(), value.clone());
    }
    // gRPC servers require it, and the gateway does take trailers.
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    Ok(request)
}

/// Removes hop-by-hop fields, as for HTTP/1.1.
pub fn clean(given: &mut FieldList) {
    given.retain(|name, _| !fields::is_hop_by_hop(name) && !fields::is_reserved(name));
}
