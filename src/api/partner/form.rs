//! Forms (`application/x-www-form-urlencoded`), read strictly: what could be read in two ways is refused.

use std::borrow::Cow;

/// The most parameters of a form; OAuth needs six.
const PARAMETERS_MAX: usize = 32;

/// A form's parameters, in order, each once.
#[derive(Debug)]
pub struct Form(Vec<(String, String)>);

/// The refusal of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidForm {
    #[error("the body is not a form with valid percent-encoding and UTF-8")]
    Encoding,
    #[error("a parameter is repeated")]
    Repeated,
    #[error("there are too many parameters")]
    TooMany,
}

impl Form {
    pub fn read(body: &[u8]) -> Result<Self, InvalidForm> {
        let body = std::str::from_utf8(body)
            .ok()
            .ok_or(InvalidForm::Encoding)?;
        let mut parameters: Vec<(String, String)> = Vec::new();
        for pair in body.split('&').filter(|pair| !pair.is_empty()) {
            if parameters.len() == PARAMETERS_MAX {
                return Err(InvalidForm::TooMany);
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).ok_or(InvalidForm::Encoding)?;
            let value = decode(value).ok_or(InvalidForm::Encoding)?;
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(InvalidForm::Repeated);
            }
            parameters.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(parameters))
    }

    /// The parameter's value. A parameter without a value is treated as absent (RFC 6749, 3.2).
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }
}

/// Decodes `+` and `%xx`; `None` for a `%` without two digits, and for what is not UTF-8 or holds control characters.
pub fn decode(text: &str) -> Option<Cow<'_, str>> {
    let decoded = if text.contains(['%', '+']) {
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
    };
    (!decoded.chars().any(char::is_control)).then_some(decoded)
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
            Form::read(b"grant_type=client_credentials&scope=a+b%20c&empty=&bare&&").unwrap();
        assert_eq!(form.get("grant_type"), Some("client_credentials"));
        assert_eq!(form.get("scope"), Some("a b c"));
        for absent in ["empty", "bare", "other"] {
            assert_eq!(form.get(absent), None, "{absent}");
        }
        for (body, refusal) in [
            (&b"a=1&a=1"[..], InvalidForm::Repeated),
            (b"a=1&%61=2", InvalidForm::Repeated),
            (b"a=&a=2", InvalidForm::Repeated),
            (b"a=%", InvalidForm::Encoding),
            (b"a=%4", InvalidForm::Encoding),
            (b"a=%zz", InvalidForm::Encoding),
            (b"a=%+1", InvalidForm::Encoding),
            (b"a=%ff", InvalidForm::Encoding),
            (b"a=%00", InvalidForm::Encoding),
            (b"a=\xff", InvalidForm::Encoding),
            (b"a=1\r\nb=2", InvalidForm::Encoding),
        ] {
            assert_eq!(Form::read(body).unwrap_err(), refusal, "{body:?}");
        }
        let many: Vec<String> = (0..33).map(|place| format!("p{place}=1")).collect();
        let refusal = Form::read(many.join("&").as_bytes()).unwrap_err();
        assert_eq!(refusal, InvalidForm::TooMany);
    }

    proptest! {
        #[test]
        fn no_body_makes_the_reader_panic(body in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Form::read(&body);
        }
    }
}
