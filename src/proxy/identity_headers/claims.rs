//! The claims of another issuer's token, as upstreams get them.
//!
//! A text is written as it stands; what is no visible ASCII, `%`, and blanks at its ends are percent-encoded. In a list, a
//! comma inside of a text is encoded too, so that no text looks like two.

use std::fmt::Write as _;

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use crate::domain::issuer::ToldClaim;

/// The most bytes of one value. A role or an address has less, and an API takes a head of some 8 KiB.
const VALUE_BYTES_MAX: usize = 1024;

/// The most bytes of all values of one token.
const VALUES_BYTES_MAX: usize = 4096;

/// A claim is longer than an upstream may get it. Without it the API would judge by less than the issuer has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// The fields for the claims that upstreams get. A claim that is absent, or neither a text, a number, a boolean nor a list of
/// texts, has none.
pub fn fields(
    told: &[ToldClaim],
    claims: &Map<String, Value>,
) -> Result<Vec<(HeaderName, HeaderValue)>, TooLong> {
    let mut fields = Vec::with_capacity(told.len());
    let mut room = VALUES_BYTES_MAX;
    for of in told {
        let Some(text) = claims.get(&of.claim).and_then(text) else {
            continue;
        };
        if text.len() > VALUE_BYTES_MAX {
            return Err(TooLong);
        }
        room = room.checked_sub(text.len()).ok_or(TooLong)?;
        if let Ok(value) = HeaderValue::try_from(text) {
            fields.push((of.header.clone(), value));
        }
    }
    Ok(fields)
}

fn text(claim: &Value) -> Option<String> {
    match claim {
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(encoded(text, false)),
        Value::Array(several) => {
            let texts = several.iter().map(Value::as_str);
            let texts: Option<Vec<&str>> = texts.collect();
            let texts = texts?.into_iter().map(|text| encoded(text, true));
            Some(texts.collect::<Vec<_>>().join(","))
        }
        Value::Null | Value::Object(_) => None,
    }
}

fn encoded(text: &str, in_a_list: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    let last = text.len().saturating_sub(1);
    for (place, byte) in text.bytes().enumerate() {
        let inside = place != 0 && place != last;
        let stays = match byte {
            b'%' => false,
            b',' => !in_a_list,
            b' ' => inside,
            other => other.is_ascii_graphic(),
        };
        if stays {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn told(claim: &str) -> ToldClaim {
        ToldClaim {
            claim: claim.to_owned(),
            header: HeaderName::from_static("x-user-claim"),
        }
    }

    fn value(claim: &Value) -> Result<Option<String>, TooLong> {
        let claims = json!({ "claim": claim });
        let fields = fields(&[told("claim")], claims.as_object().unwrap())?;
        let value = fields.first().map(|(_, value)| value.to_str().unwrap());
        Ok(value.map(str::to_owned))
    }

    #[test]
    fn texts_numbers_booleans_and_lists_are_told() {
        for (claim, expected) in [
            (json!("admin"), Some("admin")),
            (
                json!("John Smith, a+b@example.com"),
                Some("John Smith, a+b@example.com"),
            ),
            (json!("100% z\u{fc}rich"), Some("100%25 z%C3%BCrich")),
            (json!("a\r\nX-Evil: 1"), Some("a%0D%0AX-Evil: 1")),
            (json!(" a "), Some("%20a%20")),
            (json!(" "), Some("%20")),
            (json!(""), Some("")),
            (json!(3), Some("3")),
            (json!(true), Some("true")),
            (json!(["a", "b,c", "d e"]), Some("a,b%2Cc,d e")),
            (json!([]), Some("")),
            (json!(["a", 1]), None),
            (json!({"a": 1}), None),
            (Value::Null, None),
        ] {
            assert_eq!(value(&claim), Ok(expected.map(str::to_owned)), "{claim}");
        }
    }

    #[test]
    fn values_have_a_bound_each_and_together() {
        let longest = "a".repeat(VALUE_BYTES_MAX);
        assert!(value(&json!(longest)).is_ok());
        assert_eq!(value(&json!(format!("{longest}a"))), Err(TooLong));
        assert_eq!(value(&json!("\u{fc}".repeat(200))), Err(TooLong));
        let claims = json!({ "claim": longest });
        let claims = claims.as_object().unwrap();
        let several = |count| vec![told("claim"); count];
        assert!(fields(&several(4), claims).is_ok());
        assert_eq!(fields(&several(5), claims), Err(TooLong));
    }

    proptest! {
        #[test]
        fn no_text_leaves_its_value(text in "\\PC{0,60}|[\\x00-\\x7f]{0,60}") {
            let told = value(&json!(text)).unwrap().unwrap();
            prop_assert!(told.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(told.trim(), &told);
            let decoded = percent_decode(&told);
            prop_assert_eq!(decoded, text);
        }
    }

    fn percent_decode(text: &str) -> String {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            if byte == b'%' {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                let digits = std::str::from_utf8(&digits).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
            } else {
                bytes.push(byte);
            }
        }
        String::from_utf8(bytes).unwrap()
    }
}
