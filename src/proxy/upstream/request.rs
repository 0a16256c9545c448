//! A request in the form that the codecs of both versions send.

use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderValue, Method};
use http_body::Body;

use crate::proxy::codec::field_list::FieldList;
use crate::proxy::identity_headers::identity_fields::IdentityFields;
use crate::proxy::messages::error::Error;
use crate::proxy::messages::hints::Hints;
use crate::proxy::messages::target::Target;

/// Everything of a request but its body.
#[derive(Debug)]
pub struct Head {
    pub method: Method,
    pub target: Target,
    /// The Host to send.
    pub host: HeaderValue,
    pub fields: FieldList,
    pub identity: Rc<IdentityFields>,
    /// The requested protocol in place of HTTP, for example `websocket`.
    pub upgrade: Option<HeaderValue>,
    /// The receiver of early hints.
    pub hints: Option<Rc<Hints>>,
}

/// A body of either side, of any type.
pub type AnyBody = Pin<Box<dyn Body<Data = Bytes, Error = Error>>>;

/// The rest of a request's body after a failure: all of it, perhaps none because there was none, or too little to send
/// the request again.
pub type Reclaimed = Result<Option<AnyBody>, BodyGone>;

/// The error for a request that cannot be sent again, because part of the body has been taken.
#[derive(Clone, Copy, Debug)]
pub struct BodyGone;
