//! Client authentication at the token endpoint: exactly one method (RFC 6749, 2.3; RFC 8705, 2).

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::form::{Form, decode, unescape};
use crate::domain::key_text;
use crate::domain::reason::Reason;
use crate::domain::secret::Secret;
use crate::domain::stray::stray;
use crate::domain::token::ClientAuthMethod;

/// The one type of assertions (RFC 7523, 2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The credentials that a client sent.
#[derive(Debug)]
pub struct ClientAuth {
    /// Empty where the assertion names the client.
    pub client_id: String,
    pub secret: Option<Secret>,
    pub assertion: Option<Secret>,
    pub method: ClientAuthMethod,
}

impl ClientAuth {
    /// True if the secret is a publishable Key, which is none.
    pub fn is_publishable(&self) -> bool {
        let secret = self.secret.as_ref();
        secret.is_some_and(|secret| secret.expose().starts_with(PUBLISHABLE))
    }
}

/// The prefix of publishable Keys.
const PUBLISHABLE: &str = "pk_";

/// The error for credentials that cannot be used, in the terms of RFC 6749, 5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAuthRefusal {
    pub code: &'static str,
    pub reason: Reason,
    pub description: &'static str,
}

/// Finds the one way in which the client proves itself.
pub fn read(fields: &HeaderMap, form: &Form) -> Result<ClientAuth, ClientAuthRefusal> {
    if form.get("client_assertion").is_some() || form.get("client_assertion_type").is_some() {
        return asserted(fields, form);
    }
    let in_body = form.get("client_secret");
    if let Some(around) = in_body.and_then(stray) {
        return Err(unproved(Reason::KeySurrounded, around));
    }
    match (basic(fields)?, in_body) {
        (Some(_), Some(_)) => Err(malformed(
            "the client authenticates in two ways; use the Authorization field or the body, not both",
        )),
        (Some((id, _)), None) if form.get("client_id").is_some_and(|named| named != id) => Err(
            malformed("client_id in the body is another than in the Authorization field"),
        ),
        (Some((client_id, secret)), None) => Ok(ClientAuth {
            client_id,
            secret: Some(secret),
            assertion: None,
            method: ClientAuthMethod::ClientSecretBasic,
        }),
        (None, secret) => {
            let Some(client_id) = form.get("client_id") else {
                return Err(unproved(
                    Reason::CredentialMissing,
                    "send the client's id and secret",
                ));
            };
            if secret.is_none() && client_id.starts_with(PUBLISHABLE) {
                return Ok(public(client_id));
            }
            Ok(ClientAuth {
                client_id: client_id.to_owned(),
                method: match secret {
                    Some(_) => ClientAuthMethod::ClientSecretPost,
                    None => ClientAuthMethod::TlsClientAuth,
                },
                secret: secret.map(|secret| Secret::new(secret.to_owned())),
                assertion: None,
            })
        }
    }
}

/// A client that shows a publishable Key in place of an id: the Key has its id in it, and is no secret.
fn public(key: &str) -> ClientAuth {
    let id = key_text::parse(key);
    ClientAuth {
        client_id: id.map_or_else(|| key.to_owned(), |id| id.to_string()),
        secret: Some(Secret::new(key.to_owned())),
        assertion: None,
        method: ClientAuthMethod::ClientSecretPost,
    }
}

/// An assertion, which names its client itself (RFC 7521, 4.2).
fn asserted(fields: &HeaderMap, form: &Form) -> Result<ClientAuth, ClientAuthRefusal> {
    if fields.contains_key(AUTHORIZATION) || form.get("client_secret").is_some() {
        return Err(malformed(
            "the client authenticates in two ways; use the assertion or the secret, not both",
        ));
    }
    if form.get("client_assertion_type") != Some(JWT_BEARER) {
        return Err(unproved(
            Reason::AssertionMalformed,
            "send client_assertion with the client_assertion_type urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        ));
    }
    let Some(assertion) = form.get("client_assertion") else {
        return Err(unproved(
            Reason::CredentialMissing,
            "client_assertion is missing",
        ));
    };
    Ok(ClientAuth {
        client_id: form.get("client_id").unwrap_or_default().to_owned(),
        secret: None,
        assertion: Some(Secret::new(assertion.to_owned())),
        method: ClientAuthMethod::PrivateKeyJwt,
    })
}

/// Id and secret from `Authorization: Basic`, each percent-encoded before they were joined (RFC 6749, 2.3.1).
fn basic(fields: &HeaderMap) -> Result<Option<(String, Secret)>, ClientAuthRefusal> {
    let mut all = fields.get_all(AUTHORIZATION).iter();
    let Some(field) = all.next() else {
        return Ok(None);
    };
    if all.next().is_some() {
        return Err(malformed("there is more than one Authorization field"));
    }
    let unreadable = || {
        unproved(
            Reason::KeyMalformed,
            "the Authorization field is not Basic with the client's id and secret",
        )
    };
    let (scheme, encoded) = field
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or_else(unreadable)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(unreadable());
    }
    let decoded = data_encoding::BASE64
        .decode(encoded.trim_matches(' ').as_bytes())
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .map(Secret::new)
        .ok_or_else(unreadable)?;
    let (id, secret) = decoded.expose().split_once(':').ok_or_else(unreadable)?;
    let id = decode(id).ok_or_else(unreadable)?.into_owned();
    let secret = Secret::new(unescape(secret).ok_or_else(unreadable)?.into_owned());
    if let Some(around) = stray(secret.expose()) {
        return Err(unproved(Reason::KeySurrounded, around));
    }
    let has_controls = secret.expose().contains(char::is_control);
    if id.is_empty() || secret.expose().is_empty() || has_controls {
        return Err(unreadable());
    }
    Ok(Some((id, secret)))
}

const fn malformed(description: &'static str) -> ClientAuthRefusal {
    ClientAuthRefusal {
        code: "invalid_request",
        reason: Reason::InputInvalid,
        description,
    }
}

const fn unproved(reason: Reason, description: &'static str) -> ClientAuthRefusal {
    ClientAuthRefusal {
        code: "invalid_client",
        reason,
        description,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ClientAuthMethod as M;
    use proptest::prelude::*;

    /// The parsed authentication, or the code of the refusal. `basic` is the value of `Authorization`; `~` encodes.
    fn check(
        authorization: &[&str],
        body: &str,
    ) -> Result<(String, Option<String>, M), &'static str> {
        let mut fields = HeaderMap::new();
        for value in authorization {
            let value = match value.strip_prefix('~') {
                Some(plain) => format!("Basic {}", data_encoding::BASE64.encode(plain.as_bytes())),
                None => (*value).to_owned(),
            };
            fields.append(AUTHORIZATION, value.parse().unwrap());
        }
        let read = read(&fields, &Form::read(body.as_bytes()).unwrap());
        let secret = |secret: Secret| secret.expose().to_owned();
        read.map(|auth| (auth.client_id, auth.secret.map(secret), auth.method))
            .map_err(|refusal| refusal.code)
    }

    #[test]
    fn each_way_to_prove_oneself_is_understood() {
        let with = |id: &str, secret: Option<&str>, method| {
            Ok((id.to_owned(), secret.map(str::to_owned), method))
        };
        for (authorization, body, expected) in [
            (
                &["~key_1:sk"][..],
                "",
                with("key_1", Some("sk"), M::ClientSecretBasic),
            ),
            (
                &["~key_1:sk"],
                "client_id=key_1",
                with("key_1", Some("sk"), M::ClientSecretBasic),
            ),
            (
                &["~key%5F1:s%3Ak+x"],
                "",
                with("key_1", Some("s:k x"), M::ClientSecretBasic),
            ),
            (
                &["basic a2V5XzE6c2s="],
                "",
                with("key_1", Some("sk"), M::ClientSecretBasic),
            ),
            (
                &[],
                "client_id=key_1&client_secret=sk",
                with("key_1", Some("sk"), M::ClientSecretPost),
            ),
            (
                &[],
                "client_id=key_1",
                with("key_1", None, M::TlsClientAuth),
            ),
            (
                &[],
                "client_id=key_1&client_secret=",
                with("key_1", None, M::TlsClientAuth),
            ),
        ] {
            assert_eq!(
                check(authorization, body),
                expected,
                "{authorization:?} {body}"
            );
        }
    }

    /// Each is told by its true cause, and none of the secret is repeated.
    #[test]
    fn what_stands_around_a_secret_is_told() {
        for (authorization, body, told) in [
            ("~key_1:sk\n", "", "The secret ends in a line end."),
            ("~key_1:sk\r\n", "", "The secret ends in a line end."),
            ("~key_1:sk%0D", "", "The secret ends in a line end."),
            ("~key_1: sk", "", "The secret begins with a blank."),
            (
                "~key_1:\u{feff}sk",
                "",
                "The secret begins with a byte order mark.",
            ),
            ("~key_1:\"sk\"", "", "The secret stands in quotes."),
            ("", "client_secret=sk+", "The secret ends in a blank."),
            ("", "client_secret=%27sk%27", "The secret stands in quotes."),
            (
                "",
                "client_secret=%EF%BB%BFsk",
                "The secret begins with a byte order mark.",
            ),
        ] {
            let mut fields = HeaderMap::new();
            if let Some(plain) = authorization.strip_prefix('~') {
                let value = data_encoding::BASE64.encode(plain.as_bytes());
                fields.append(AUTHORIZATION, format!("Basic {value}").parse().unwrap());
            }
            let form = Form::read(format!("client_id=key_1&{body}").as_bytes()).unwrap();
            let refusal = read(&fields, &form).unwrap_err();
            assert_eq!(refusal.description, told, "{authorization:?} {body}");
            let kind = (refusal.code, refusal.reason);
            assert_eq!(kind, ("invalid_client", Reason::KeySurrounded));
        }
    }

    #[test]
    fn an_assertion_stands_alone_and_names_its_client() {
        const TYPE: &str =
            "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let asked = |authorization: Option<&str>, body: &str| {
            let mut fields = HeaderMap::new();
            if let Some(value) = authorization {
                fields.append(AUTHORIZATION, value.parse().unwrap());
            }
            read(&fields, &Form::read(body.as_bytes()).unwrap())
        };
        for (named, client_id) in [("", ""), ("&client_id=key_1", "key_1")] {
            let found = asked(None, &format!("{TYPE}&client_assertion=a.b.c{named}")).unwrap();
            assert_eq!(
                (found.method, &*found.client_id),
                (M::PrivateKeyJwt, client_id)
            );
            assert_eq!(found.assertion.as_ref().map(Secret::expose), Some("a.b.c"));
            assert!(found.secret.is_none());
        }
        let both = format!("{TYPE}&client_assertion=a.b.c&client_secret=sk");
        for (authorization, body, code) in [
            (None, &*both, "invalid_request"),
            (Some("Basic a2V5XzE6c2s="), TYPE, "invalid_request"),
            (None, TYPE, "invalid_client"),
            (None, "client_assertion=a.b.c", "invalid_client"),
            (
                None,
                "client_assertion=a.b.c&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:saml2-bearer",
                "invalid_client",
            ),
        ] {
            let refused = asked(authorization, body).unwrap_err();
            assert_eq!(refused.code, code, "{body}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for (authorization, body, code) in [
            (&[][..], "", "invalid_client"),
            (&[], "client_secret=sk", "invalid_client"),
            (&["~key_1:sk"], "client_secret=sk", "invalid_request"),
            (
                &["~key_1:sk"],
                "client_id=key_1&client_secret=sk",
                "invalid_request",
            ),
            (&["~key_1:sk"], "client_id=key_2", "invalid_request"),
            (&["~key_1:sk", "~key_1:sk"], "", "invalid_request"),
            (&["~key_1"], "", "invalid_client"),
            (&["~:sk"], "", "invalid_client"),
            (&["~key_1:"], "", "invalid_client"),
            (&["~key_1:%"], "", "invalid_client"),
            (&["Basic ***"], "", "invalid_client"),
            (&["Basic a2V5XzE6c2s"], "", "invalid_client"),
            (
                &["Bearer abc"],
                "client_id=key_1&client_secret=sk",
                "invalid_client",
            ),
            (&["Basic"], "", "invalid_client"),
            (&[], "client_id=key_1&client_assertion=x", "invalid_client"),
        ] {
            assert_eq!(
                check(authorization, body),
                Err(code),
                "{authorization:?} {body}"
            );
        }
    }

    /// Every byte of a text as `%xx`, which RFC 6749 allows for any of them.
    fn encoded(text: &str) -> String {
        use std::fmt::Write as _;
        text.bytes().fold(String::new(), |mut encoded, byte| {
            let _ = write!(encoded, "%{byte:02X}");
            encoded
        })
    }

    proptest! {
        #[test]
        fn basic_gives_back_what_was_put_in(id in "[^\\p{Cc}]{1,20}", secret in "[^\\p{Cc}]{1,40}") {
            let whole = format!("~{}:{}", encoded(&id), encoded(&secret));
            prop_assume!(stray(&secret).is_none());
            let expected = (id, Some(secret), M::ClientSecretBasic);
            prop_assert_eq!(check(&[&whole], ""), Ok(expected));
        }

        /// A secret may hold colons as they are; an id may not, since the first one ends it.
        #[test]
        fn the_first_colon_ends_the_id(id in "[a-z0-9_]{1,9}", secret in "[a-z0-9:]{1,9}") {
            let expected = (id.clone(), Some(secret.clone()), M::ClientSecretBasic);
            prop_assert_eq!(check(&[&format!("~{id}:{secret}")], ""), Ok(expected));
        }

        #[test]
        fn no_field_proves_somebody_without_id_or_secret(text in "[ -~]{0,60}", raw in any::<bool>()) {
            let field = if raw { text } else { format!("Basic {text}") };
            if !field.starts_with('~')
                && let Ok((id, secret, method)) = check(&[&field], "")
            {
                prop_assert!(!id.is_empty() && secret.is_some_and(|secret| !secret.is_empty()));
                prop_assert_eq!(method, M::ClientSecretBasic);
            }
        }

        #[test]
        fn no_bytes_behind_basic_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let field = format!("Basic {}", data_encoding::BASE64.encode(&bytes));
            let read = check(&[&field], "");
            prop_assert!(read.is_err() || bytes.contains(&b':'));
        }
    }
}
