//! The fields that tell an upstream who calls, in the two forms that the two protocols need.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderName, HeaderValue};

/// What was proved of the caller, as header fields. Made once for a connection or credential and shared by its
/// requests, because formatting it for each of them costs more than forwarding it.
#[derive(Debug, Default)]
pub struct IdentityFields {
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// The same as they go over an HTTP/1.1 connection: `name: value` and CRLF for each.
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
