//! Identity headers for upstreams, in the two forms that the two versions of HTTP need.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderName, HeaderValue};

/// The caller's proofs as header fields. Made once for a connection or credential and shared by its requests, because
/// formatting them for each one costs more than forwarding it.
#[derive(Debug, Default)]
pub struct IdentityFields {
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// The same fields in the form of HTTP/1.1: `name: value` and CRLF for each.
    pub wire: Bytes,
}

impl IdentityFields {
    pub fn new(fields: Vec<(HeaderName, HeaderValue)>) -> Self {
        let length =
            |(name, value): &(HeaderName, HeaderValue)| name.as_str().len() + value.len() + 4;
        let mut wire = BytesMut::with_capacity(fields.iter().map(length).sum());
        for (name, value) in &fields {
            wire.put_slice(name.as_str().as_bytes());
            wire.put_slice(b": ");
            wire.put_slice(value.as_bytes());
            wire.put_slice(b"\r\n");
        }
        Self {
            fields,
            wire: wire.freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let fields = IdentityFields::new(vec![
            (
                HeaderName::from_static("x-countersign-app-id"),
                HeaderValue::from_static("app_1"),
            ),
            (
                HeaderName::from_static("x-countersign-scopes"),
                HeaderValue::from_static(""),
            ),
        ]);
        assert_eq!(
            fields.wire,
            &b"x-countersign-app-id: app_1\r\nx-countersign-scopes: \r\n"[..]
        );
    }
}
