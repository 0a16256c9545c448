//! The fields of CORS (Fetch): the answer to a browser's question, and the permission for a page to read an answer.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};

use crate::proxy::codec::field_list::FieldList;
use crate::proxy::messages::message::Response;

/// The time for which a browser remembers an answer: a revoked key's pages ask again after it.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The longest list of field names that is permitted as it was asked for. A browser sends a few names.
const NAMES_MAX: usize = 1024;

/// The fields of an answer that a page may read besides those that every page may.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("ratelimit, ratelimit-policy, retry-after, x-request-id");

/// The fields that an answer to a preflight depends on.
const VARY: HeaderValue = HeaderValue::from_static(
    "origin, access-control-request-method, access-control-request-headers",
);

/// The permission for pages of this origin to send requests of this method, with fields of these names.
pub fn grant(
    origin: &HeaderValue,
    method: &Method,
    names: Option<&HeaderValue>,
) -> Response<Bytes> {
    let mut response = Response::new(StatusCode::NO_CONTENT, Bytes::new());
    let fields = &mut response.fields;
    fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    if let Ok(method) = HeaderValue::from_str(method.as_str()) {
        fields.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method);
    }
    if let Some(names) = names.filter(|names| are_names(names)) {
        fields.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    fields.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    fields.insert(header::VARY, VARY);
    response
}

/// Lets a page of this origin read an answer. What the API says about origins is replaced.
pub fn allow(fields: &mut FieldList, origin: &HeaderValue) {
    fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    fields.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    fields.remove(&header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
    fields.append(header::VARY, HeaderValue::from_static("origin"));
}
/// True for a list of field names and nothing else.
fn are_names(value: &HeaderValue) -> bool {
    let name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_, ".contains(byte);
    value.len() <= NAMES_MAX && value.as_bytes().iter().all(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_permitted_as_they_were_asked_for_and_nothing_else_is() {
        let origin = HeaderValue::from_static("https://shop.example");
        for (names, permitted) in [
            ("x-api-key, content-type", true),
            ("x-inbenta-key", true),
            ("a: b", false),
            ("a\"b", false),
        ] {
            let value = HeaderValue::from_str(names).unwrap();
            let answer = grant(&origin, &Method::POST, Some(&value));
            let told = answer.fields.get(&header::ACCESS_CONTROL_ALLOW_HEADERS);
            assert_eq!(told.is_some(), permitted, "{names}");
        }
        let long = HeaderValue::from_str(&"a".repeat(NAMES_MAX + 1)).unwrap();
        assert!(!are_names(&long));
    }

    #[test]
    fn what_the_api_says_about_origins_is_replaced() {
        let origin = HeaderValue::from_static("https://shop.example");
        let mut fields = FieldList::new();
        fields.append(
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            HeaderValue::from_static("*"),
        );
        fields.append(
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
        fields.append(header::VARY, HeaderValue::from_static("accept"));
        allow(&mut fields, &origin);
        let told: Vec<_> = fields
            .get_all(&header::ACCESS_CONTROL_ALLOW_ORIGIN)
            .collect();
        assert_eq!(told, [&origin]);
        assert!(!fields.contains(&header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
        assert_eq!(fields.get_all(&header::VARY).count(), 2);
    }
}
