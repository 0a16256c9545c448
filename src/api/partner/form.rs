//! Forms (`application/x-www-form-urlencoded`) of the token endpoint, read strictly: what could be read in two ways is
//! refused, and what nobody knows is passed over (RFC 6749, 3.2).

use std::borrow::Cow;

use crate::domain::stray::stray;

/// The most parameters of a form, known or not; OAuth needs a dozen at most.
const PARAMETERS_MAX: usize = 32;

/// The parameters that are read, each at most once.
const KNOWN: [&str; 16] = [
    "actor_token",
    "actor_token_type",
    "assertion",
    "client_assertion",
    "client_assertion_type",
    SECRET,
    "client_id",
    "device_id",
    "grant_type",
    "refresh_token",
    "requested_token_type",
    "scope",
    "subject_token",
    "subject_token_type",
    "token",
    "token_type_hint",
];

const SECRET: &str = "client_secret";

/// May stand several times (RFC 8707, 2).
const RESOURCE: &str = "resource";

/// A form's parameters in order.
#[derive(Debug)]
pub struct Form(Vec<(&'static str, String)>);

/// The refusal of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidForm {
    #[error("the parameter {0} holds a control character")]
    Control(&'static str),
    #[error("the body is not a form that is percent-encoded as it should be, or not UTF-8")]
    Encoding,
    #[error("the parameter {0} is there more than once")]
    Repeated(&'static str),
    /// The characters around the client's secret, as [`stray`] names them.
    #[error("{0}")]
    Secret(&'static str),
    #[error("there are too many parameters")]
    TooMany,
}

impl Form {
    pub fn read(body: &[u8]) -> Result<Self, InvalidForm> {
        let body = std::str::from_utf8(body)
            .ok()
            .ok_or(InvalidForm::Encoding)?;
        let mut parameters: Vec<(&'static str, String)> = Vec::new();
        let pairs = body.split('&').filter(|pair| !pair.is_empty());
        for (place, pair) in pairs.enumerate() {
            if place == PARAMETERS_MAX {
                return Err(InvalidForm::TooMany);
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = unescape(name).ok_or(InvalidForm::Encoding)?;
            let value = unescape(value).ok_or(InvalidForm::Encoding)?;
            let read = KNOWN.into_iter().chain([RESOURCE]);
            let Some(name) = read.into_iter().find(|known| *known == name) else {
                continue;
            };
            if name != RESOURCE && parameters.iter().any(|(known, _)| *known == name) {
                return Err(InvalidForm::Repeated(name));
            }
            if value.contains(char::is_control) {
                let around = stray(&value).filter(|_| name == SECRET);
                return Err(around.map_or(InvalidForm::Control(name), InvalidForm::Secret));
            }
            parameters.push((name, value.into_owned()));
        }
        Ok(Self(parameters))
    }

    /// The parameter's value. A parameter without a value is treated as absent (RFC 6749, 3.2).
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The resources that a token is asked for (RFC 8707).
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        let resources = self.0.iter().filter(|(name, _)| *name == RESOURCE);
        let values = resources.map(|(_, value)| value.as_str());
        values.filter(|value| !value.is_empty())
    }
}

/// Decodes as [`unescape`] does; `None` for what holds control characters, too.
pub fn decode(text: &str) -> Option<Cow<'_, str>> {
    unescape(text).filter(|decoded| !decoded.contains(char::is_control))
}

/// Decodes `+` and `%xx`; `None` for a `%` without two digits, and for what is not UTF-8.
pub fn unescape(text: &str) -> Option<Cow<'_, str>> {
    Some(if text.contains(['%', '+']) {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'+' => b' ',
                b'%' => 16 * digit(rest.next()?)? + digit(rest.next()?)?,
                other => other,
            });
        }
        Cow::Owned(String::from_utf8(bytes).ok()?)
    } else {
        Cow::Borrowed(text)
    })
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms_are_read_in_one_way() {
        let form =
            Form::read(b"grant_type=client_credentials&scope=a+b%20c&client_id=&client_secret&&")
                .unwrap();
        assert_eq!(form.get("grant_type"), Some("client_credentials"));
        assert_eq!(form.get("scope"), Some("a b c"));
        for absent in ["client_id", "client_secret", "other"] {
            assert_eq!(form.get(absent), None, "{absent}");
        }
        for (body, refusal) in [
            (&b"scope=1&scope=1"[..], InvalidForm::Repeated("scope")),
            (
                b"client_id=1&%63lient_id=2",
                InvalidForm::Repeated("client_id"),
            ),
            (
                b"grant_type=&grant_type=2",
                InvalidForm::Repeated("grant_type"),
            ),
            (b"a=%", InvalidForm::Encoding),
            (b"a=%4", InvalidForm::Encoding),
            (b"a=%zz", InvalidForm::Encoding),
            (b"a=%+1", InvalidForm::Encoding),
            (b"a=%ff", InvalidForm::Encoding),
            (b"a=\xff", InvalidForm::Encoding),
            (b"scope=%00", InvalidForm::Control("scope")),
            (b"scope=1\r\nb=2", InvalidForm::Control("scope")),
            (
                b"client_secret=a%00b",
                InvalidForm::Control("client_secret"),
            ),
            (
                b"client_secret=a%0D%0A",
                InvalidForm::Secret("The secret ends in a line end."),
            ),
        ] {
            assert_eq!(Form::read(body).unwrap_err(), refusal, "{body:?}");
        }
        let many: Vec<String> = (0..33).map(|place| format!("p{place}=1")).collect();
        let refusal = Form::read(many.join("&").as_bytes()).unwrap_err();
        assert_eq!(refusal, InvalidForm::TooMany);
    }

    #[test]
    fn what_nobody_knows_is_passed_over_and_a_resource_may_be_one_of_several() {
        let body = b"audience=a&audience=b&x=%00&resource=r1&grant_type=g&resource=&resource=r2";
        let form = Form::read(body).unwrap();
        assert_eq!(form.get("grant_type"), Some("g"));
        assert_eq!(form.get("audience"), None);
        assert_eq!(form.resources().collect::<Vec<_>>(), ["r1", "r2"]);
    }

    proptest! {
        #[test]
        fn no_body_makes_the_reader_panic(body in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Form::read(&body);
        }
    }
}
