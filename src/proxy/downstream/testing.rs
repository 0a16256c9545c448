//! A small service behind connections that are driven over a stream in memory.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::body::Incoming;
use super::date::DateText;
use super::service::{Answers, BoxedAnswer};
use crate::domain::reason::Reason;
use crate::proxy::bodies::body::{Content, ResponseBody};
use crate::proxy::bodies::upgrade::Upgrade;
use crate::proxy::connections::live::Running;
use crate::proxy::connections::live::tests::connection;
use crate::proxy::messages::message::{Request, Response};
use crate::proxy::report::record::tests::{book, recording};

/// Runs `future` with tasks of its own, on a clock that stands still during work.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

/// A length beyond the capacity of the stream in memory.
pub const LONG: usize = 200 << 10;

/// A service that answers with the request's target and body; `/drop` without reading it, `/let-go` at length while
/// another task lets go of it, `/hold` while it is read elsewhere, `/wait` never; `/switch` with a tunnel that echoes
/// four bytes.
#[derive(Clone, Default)]
pub struct Echo {
    pub asked: Rc<RefCell<Vec<String>>>,
    pub dropped: Rc<Cell<bool>>,
    pub ending: Rc<Cell<bool>>,
    /// True if a body that is read after its answer has ended whole.
    pub held: Rc<Cell<Option<bool>>>,
    /// True if a body is being discarded.
    pub discarding: Rc<Cell<bool>>,
}

struct Dropped(Rc<Cell<bool>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

fn response(status: StatusCode, text: String) -> Response<ResponseBody> {
    let content = Content::Whole(Bytes::from(text));
    let running = Running::new(connection());
    let body = ResponseBody::new(content, false, recording(&book()), running);
    Response::new(status, body)
}

impl Answers for Echo {
    fn answer(
        &self,
        request: Box<Request>,
        body: Incoming,
        upgrade: Option<Upgrade>,
    ) -> BoxedAnswer {
        let path = request.uri.path().to_owned();
        let method = request.method;
        self.asked.borrow_mut().push(path.clone());
        let dropped = Dropped(Rc::clone(&self.dropped));
        let held = Rc::clone(&self.held);
        Box::pin(async move {
            let _dropped = dropped;
            match path.as_str() {
                "/wait" => std::future::pending().await,
                "/hold" => {
                    tokio::task::spawn_local(async move {
                        let read = body.collect().await;
                        held.set(Some(read.is_ok()));
                    });
                    response(StatusCode::OK, "early".to_owned())
                }
                "/let-go" => {
                    tokio::task::spawn_local(async move { drop(body) });
                    response(StatusCode::OK, "x".repeat(LONG))
                }
                "/drop" => response(StatusCode::OK, "early".to_owned()),
                "/switch" => {
                    tokio::task::spawn_local(async move {
                        let mut stream = upgrade.unwrap().stream().await.unwrap();
                        let mut heard = [0; 4];
                        stream.read_exact(&mut heard).await.unwrap();
                        stream.write_all(&heard).await.unwrap();
                        stream.shutdown().await.unwrap();
                    });
                    let status = if method == Method::CONNECT {
                        StatusCode::OK
                    } else {
                        StatusCode::SWITCHING_PROTOCOLS
                    };
                    let mut response = Response::new(status, ResponseBody::none());
                    let upgrade = HeaderValue::from_static("upgrade");
                    response.fields.append(header::CONNECTION, upgrade);
                    response
                }
                _ => match body.collect().await {
                    Ok(body) => {
                        let body = String::from_utf8(body.to_bytes().to_vec()).unwrap();
                        response(StatusCode::OK, format!("{path}:{body}"))
                    }
                    Err(_) => response(StatusCode::BAD_REQUEST, "broken".to_owned()),
                },
            }
        })
    }

    fn refuse(&self, reason: Reason) -> Response<ResponseBody> {
        let status = StatusCode::from_u16(reason.status()).unwrap();
        response(status, reason.code().to_owned())
    }

    fn rules_broken(&self, _: &dyn std::fmt::Display) {}

    fn is_ending(&self) -> bool {
        self.ending.get()
    }

    fn heading(&self, _: bool) {}

    fn discarding(&self, begun: bool) {
        self.discarding.set(begun);
    }

    fn date(&self) -> DateText {
        *b"Thu, 01 Jan 1970 00:00:00 GMT"
    }
}
