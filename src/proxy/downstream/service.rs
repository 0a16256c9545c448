//! What a connection asks of whoever answers its requests, whatever version of HTTP it speaks.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;

use super::body::Incoming;
use super::date::DateText;
use crate::domain::reason::Reason;
use crate::proxy::body::ResponseBody;
use crate::proxy::message::{Request, Response};
use crate::proxy::upgrade::Upgrade;

/// An answer that is being found. Boxed, so that a pointer is moved about and not an exchange.
pub type BoxedAnswer = Pin<Box<dyn Future<Output = Response<ResponseBody>>>>;

/// Whoever answers the requests of one connection.
pub trait Answers {
    /// `upgrade` becomes the connection's stream when the answer switches protocols.
    fn answer(
        &self,
        request: Box<Request>,
        body: Incoming,
        upgrade: Option<Upgrade>,
    ) -> BoxedAnswer;

    /// The answer to bytes that are no request.
    fn refuse(&self, reason: Reason) -> Response<ResponseBody>;

    /// The client has broken the protocol's rules, and the connection ends for it.
    fn rules_broken(&self, error: &dyn Display);

    /// Whether the connection takes no more requests.
    fn is_ending(&self) -> bool;

    /// A head has begun to arrive, or has arrived, or was given up.
    fn heading(&self, begun: bool);

    /// The rest of an answered request is being discarded, or no longer is.
    fn discarding(&self, begun: bool);

    fn date(&self) -> DateText;
}
