//! The interface between a connection of either version of HTTP and the handler of its requests.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;

use super::body::Incoming;
use super::date::DateText;
use crate::domain::reason::Reason;
use crate::proxy::bodies::body::ResponseBody;
use crate::proxy::bodies::upgrade::Upgrade;
use crate::proxy::messages::message::{Request, Response};

/// An answer in the making. Boxed, so that moves copy a pointer and not an exchange.
pub type BoxedAnswer = Pin<Box<dyn Future<Output = Response<ResponseBody>>>>;

/// The handler of one connection's requests.
pub trait Answers {
    /// The answer to a request. `upgrade` becomes the connection's stream when the answer switches protocols.
    fn answer(
        &self,
        request: Box<Request>,
        body: Incoming,
        upgrade: Option<Upgrade>,
    ) -> BoxedAnswer;

    /// The answer to malformed bytes.
    fn refuse(&self, reason: Reason) -> Response<ResponseBody>;

    /// Reports a client that has broken the protocol's rules, which ends the connection.
    fn rules_broken(&self, error: &dyn Display);

    /// True if the connection takes no more requests.
    fn is_ending(&self) -> bool;

    /// Reports a head: true when it has begun to arrive, false when it has arrived or was given up.
    fn heading(&self, begun: bool);

    /// Reports the discarding of an answered request's rest: true when it begins, false when it ends.
    fn discarding(&self, begun: bool);

    fn date(&self) -> DateText;
}
