//! The end of an exchange: its answer leaves, and the record goes with it.

use std::rc::Rc;

use bytes::Bytes;
use http::{Method, StatusCode, header};

use crate::net::stream::AnyStream;

use crate::proxy::bodies::body::{Content, ResponseBody};
use crate::proxy::bodies::upgrade::{self, Upgrade};
use crate::proxy::connections::expiry::Expiry;
use crate::proxy::connections::live::{Connection, Running};
use crate::proxy::messages::message::Response;
use crate::proxy::report::metrics::Open;
use crate::proxy::report::record::Recording;
use crate::proxy::worker::Worker;

/// The result of a request.
#[derive(Debug)]
pub enum Answer {
    Response(Response<Content>),
    /// An agreed upgrade. The other protocol may be spoken until a proof of the caller's ends.
    Tunnel(Response<()>, Upgrade, Box<dyn AnyStream>, Expiry),
}

impl From<Response<Bytes>> for Answer {
    fn from(response: Response<Bytes>) -> Self {
        Self::Response(response.map(Content::Whole))
    }
}

impl From<http::Response<Bytes>> for Answer {
    fn from(response: http::Response<Bytes>) -> Self {
        Response::from(response).into()
    }
}

/// Sends the answer to a request of `method`.
pub fn deliver(
    answer: Answer,
    method: &Method,
    mut recording: Recording,
    running: Running,
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
) -> Response<ResponseBody> {
    match answer {
        Answer::Response(response) => {
            let Response {
                status,
                mut fields,
                body: mut content,
            } = response;
            recording.status(status.as_u16());
            if let (&Method::HEAD, Content::Whole(bytes)) = (method, &mut content) {
                // The length is that of the answer to GET, whose bytes do not follow.
                fields.insert(header::CONTENT_LENGTH, bytes.len().into());
                bytes.clear();
            }
            let bodyless = method == Method::HEAD
                || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
            Response {
                status,
                fields,
                body: ResponseBody::new(content, bodyless, recording, running),
            }
        }
        Answer::Tunnel(mut response, client, upstream, until) => {
            if connection.peer.http2 {
                agree_as_http2(&mut response);
            }
            recording.status(response.status.as_u16());
            let tunnel = Tunnel {
                client,
                upstream,
                until,
                recording,
                running,
                connection: Rc::clone(connection),
                open: Open::new(worker.metrics.all.tunnels.clone()),
            };
            let idle = worker.settings.timeouts.tunnel_idle;
            worker.tasks.spawn_local(tunnel.run(idle));
            response.map(|()| ResponseBody::none())
        }
    }
}

/// Converts the answer to an extended CONNECT: 200, and no fields of HTTP/1.1's handshake (RFC 8441, 5).
fn agree_as_http2(response: &mut Response<()>) {
    response.status = StatusCode::OK;
    for name in [
        header::CONNECTION,
        header::UPGRADE,
        header::SEC_WEBSOCKET_ACCEPT,
    ] {
        response.fields.remove(&name);
    }
}

/// An upgraded connection, or stream of one. It is a part of the open connections until it ends.
struct Tunnel {
    client: Upgrade,
    upstream: Box<dyn AnyStream>,
    until: Expiry,
    recording: Recording,
    running: Running,
    connection: Rc<Connection>,
    open: Open,
}

impl Tunnel {
    async fn run(self, idle: std::time::Duration) {
        let Self {
            client,
            upstream,
            until,
            mut recording,
            running,
            connection,
            open,
        } = self;
        let mut carried = None;
        let copied = upgrade::tunnel(client, upstream, idle, |bytes_in, bytes_out| {
            carried = Some((bytes_in, bytes_out));
        });
        let over = tokio::select! {
            biased;
            why = connection.tunnel_over() => Some(why.reason()),
            reason = until.passed() => Some(reason),
            () = copied => None,
        };
        if let Some((bytes_in, bytes_out)) = carried {
            recording.carried(bytes_in, bytes_out);
        }
        match over {
            Some(reason) => recording.reason(reason),
            None => recording.complete(),
        }
        drop((recording, running, open));
    }
}
