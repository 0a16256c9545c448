//! The step that reads: a head becomes the parts that decide its route. Everything that two readers might read in two
//! ways is refused here, before any decision by it.

use http::{Method, Version, header};

use crate::domain::path::Path;
use crate::domain::path_fault::PathFault;
use crate::domain::reason::Reason;

use crate::proxy::codec::field_list::FieldList;
use crate::proxy::fields::headers;
use crate::proxy::fields::odd_names;
use crate::proxy::fields::protocols;
use crate::proxy::messages::host::{Host, LastHost};
use crate::proxy::messages::message::Request;
use crate::proxy::messages::offence::Offence;
use crate::proxy::messages::refusal::Refusal;
use crate::proxy::settings::HttpBounds;

/// The parts of a valid request's head that decide its route.
#[derive(Debug)]
pub struct ReadHead<'a> {
    pub host: Host,
    pub path: Path<'a>,
    /// The method for routing.
    pub method: Method,
    /// True if some field's name has other characters than letters, digits and hyphens.
    pub odd_names: bool,
}

/// Parses a head.
pub fn read<'a>(
    request: &'a Request,
    last_host: &LastHost,
    any_host: bool,
    bounds: &HttpBounds,
) -> Result<ReadHead<'a>, Refusal> {
    headers::sound_framing(&request.fields)?;
    if request.target_bytes() > bounds.target_bytes_max {
        return Err(Reason::UriTooLong.into());
    }
    if count(request) > bounds.headers_max
        || field_bytes(&request.fields) > bounds.headers_bytes_max
    {
        return Err(Reason::HeadersTooLarge.into());
    }
    let odd_names = odd_names::look(&request.fields).map_err(invalid)?;
    Ok(ReadHead {
        host: last_host.of(request, any_host)?,
        odd_names,
        method: protocols::routed_method(request)?,
        path: path(request)?,
    })
}

fn path(request: &Request) -> Result<Path<'_>, Refusal> {
    let text = request.path();
    let refused = |why| {
        let offence = Offence::of_path(text.as_bytes(), why);
        Refusal::naming(Reason::PathInvalid, offence)
    };
    let path = Path::read(text).map_err(refused)?;
    match &request.odd_target {
        Some(target) => query(target.as_str()).map(|()| path),
        None => Ok(path),
    }
}

/// Refuses a query that breaks the request line, or has a fragment: an upstream may cut that off, or take it for a part
/// of the query.
fn query(target: &str) -> Result<(), Refusal> {
    let breaks = |byte: u8| byte <= b' ' || byte == 0x7f || byte == b'#';
    let Some((at, byte)) = target.bytes().enumerate().find(|(_, byte)| breaks(*byte)) else {
        return Ok(());
    };
    let (rule, says) = match byte {
        b'#' => (PathFault::Fragment.as_str(), PathFault::Fragment.says()),
        _ => ("control", "The query holds a blank or a control character"),
    };
    let offence = Offence::new(rule, says, Some(at), &[byte]);
    Err(Refusal::naming(Reason::PathInvalid, offence))
}

/// The number of fields. HTTP/2 clients split `Cookie` for compression (RFC 9113, 8.2.3), so it is one field there.
fn count(request: &Request) -> usize {
    let fields = &request.fields;
    if request.version != Version::HTTP_2 || !fields.contains(&header::COOKIE) {
        return fields.len();
    }
    fields.len() + 1 - fields.get_all(&header::COOKIE).count()
}

fn invalid(offence: Offence) -> Refusal {
    Refusal::naming(Reason::HeaderInvalid, offence)
}

/// The size of all fields in HTTP/1.1, with a colon, a space and an end of line each.
fn field_bytes(fields: &FieldList) -> usize {
    fields
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum()
}
