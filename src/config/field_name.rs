//! The name of a header field that the operator chooses for the gateway to set.

use std::fmt;
use std::str::FromStr;

use super::text::text_value;

/// The longest name; honest ones have half of it.
const NAME_MAX: usize = 64;

/// A field name that has no other meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldName(pub http::HeaderName);

/// A text that is no such name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFieldName {
    #[error("a field name has 1 to 64 letters, digits and hyphens")]
    Letters,
    #[error("this field has a meaning of its own; choose a name like X-Caller-Request-Id")]
    Taken,
}

impl FromStr for FieldName {
    type Err = InvalidFieldName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !(1..=NAME_MAX).contains(&text.len()) || !text.bytes().all(plain) {
            return Err(InvalidFieldName::Letters);
        }
        let name = http::HeaderName::from_bytes(text.as_bytes());
        let name = name.ok().ok_or(InvalidFieldName::Letters)?;
        if is_taken(name.as_str()) {
            return Err(InvalidFieldName::Taken);
        }
        Ok(Self(name))
    }
}

/// Fields that frame, route, authenticate or describe a message, and those that the gateway sets.
fn is_taken(name: &str) -> bool {
    const BEGINNINGS: [&str; 9] = [
        "accept",
        "access-control-",
        "content-",
        "if-",
        "proxy-",
        "sec-",
        "x-countersign",
        "x-forwarded-",
        "client-cert",
    ];
    BEGINNINGS.iter().any(|begin| name.starts_with(begin))
        || matches!(
            name,
            "authorization"
                | "cache-control"
                | "connection"
                | "cookie"
                | "date"
                | "expect"
                | "forwarded"
                | "host"
                | "http2-settings"
                | "keep-alive"
                | "origin"
                | "proxy"
                | "range"
                | "referer"
                | "te"
                | "traceparent"
                | "tracestate"
                | "trailer"
                | "transfer-encoding"
                | "upgrade"
                | "user-agent"
                | "via"
                | "x-api-key"
                | "x-real-ip"
                | "x-request-id"
        )
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

text_value!(
    FieldName,
    "FieldName",
    r"^[A-Za-z0-9-]{1,64}$",
    "A header field's name: X-Caller-Request-Id."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_free_and_of_plain_letters() {
        let read = |text: &str| text.parse::<FieldName>().map(|name| name.to_string());
        assert_eq!(read("X-Caller-Request-Id").unwrap(), "x-caller-request-id");
        assert_eq!(read("Correlation-Id").unwrap(), "correlation-id");
        for odd in ["", "x_y", "x y", "x:", &"x".repeat(65)] {
            assert_eq!(read(odd), Err(InvalidFieldName::Letters), "{odd}");
        }
        for taken in [
            "X-Request-Id",
            "host",
            "Content-Length",
            "X-Forwarded-For",
            "X-Countersign-App-Id",
        ] {
            assert_eq!(read(taken), Err(InvalidFieldName::Taken), "{taken}");
        }
    }
}
