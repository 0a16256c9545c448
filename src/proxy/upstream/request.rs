//! A request as the codecs of both protocols send it.

use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderValue, Method};
use http_body::Body;

use crate::proxy::codec::field_list::FieldList;
use crate::proxy::error::Error;
use crate::proxy::hints::Hints;
use crate::proxy::identity_fields::IdentityFields;
use crate::proxy::target::Target;

/// Everything of a request but its body.
#[derive(Debug)]
pub struct Head {
    pub method: Method,
    pub target: Target,
    /// The Host to send.
    pub host: HeaderValue,
    pub fields: FieldList,
    pub identity: Rc<IdentityFields>,
    /// The protocol that is asked for in place of HTTP, for example `websocket`.
    pub upgrade: Option<HeaderValue>,
    /// Where early hints go.
    pub hints: Option<Rc<Hints>>,
}

/// A body of either side, whatever it is made of.
pub type AnyBody = Pin<Box<dyn Body<Data = Bytes, Error = Error>>>;

/// What is left of a request's body after sending has failed: all of it, perhaps none because there was none,
/// or too little to send the request again.
pub type Reclaimed = Result<Option<AnyBody>, BodyGone>;

/// Part of the body has been taken, so the request cannot be sent again.
#[derive(Clone, Copy, Debug)]
pub struct BodyGone;
