//! The step that holds: the body of a signed request is read whole, and compared with the digests that were signed, before
//! anything of the request is forwarded.

use std::rc::Rc;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;

use crate::crypto::content_digest::digest;
use crate::domain::permit::{Held, ToUpstream};
use crate::domain::reason::Reason;

use crate::proxy::bodies::held::{HeldBody, HeldBytes, Room};
use crate::proxy::messages::error::Error;

/// Reads a body of at most `bytes_max` bytes, which it bounds itself, and releases the permit if it is the signed one.
pub async fn verify<B>(
    held: Held,
    body: B,
    bytes_max: u64,
    bytes: &Rc<HeldBytes>,
) -> Result<(ToUpstream, HeldBody), Error>
where
    B: Body<Data = Bytes, Error = Error>,
{
    let most = body.size_hint().upper().unwrap_or(bytes_max);
    let room = Room::take(bytes, most.min(bytes_max));
    let room = room.ok_or_else(|| Error::downstream(Reason::Overloaded))?;
    let whole = body.collect().await?.to_bytes();
    let (permit, body) = held.release(whole, digest).map_err(Error::downstream)?;
    Ok((permit, HeldBody::new(body, room)))
}
