//! Opaque tokens: auth tokens and refresh tokens, which only the gateway itself reads.
//!
//! An auth token is `cs_auth_` and 43 characters. A refresh token is `cs_refresh_`, the 26 characters of its session's
//! id, 43 characters that every refresh token of the session has, and 43 that only this one has. Each 43 characters are
//! 256 random bits in base64url. A thief of the store learns none of them, and a refresh token that was used before is
//! known from one that never was.

use data_encoding::BASE64URL_NOPAD;
use zeroize::Zeroizing;

use super::api_key::SecretHasher;
use super::random;
use crate::domain::api_key::SecretDigest;
use crate::domain::id::{ID_CHARS, SessionId, decode, encode};
use crate::domain::secret::Secret;

const AUTH: &str = "cs_auth_";
const REFRESH: &str = "cs_refresh_";

/// 43 characters of base64url hold 256 bits.
const SECRET_CHARS: usize = 43;

/// A new auth token.
pub fn generate_auth_token() -> Secret {
    let mut text = String::with_capacity(AUTH.len() + SECRET_CHARS);
    text.push_str(AUTH);
    push_random(&mut text);
    Secret::new(text)
}

/// True if the text has the form of an auth token.
pub fn is_auth_token(text: &str) -> bool {
    text.strip_prefix(AUTH).is_some_and(is_secret)
}

/// The part of a session's refresh tokens that stays the same.
#[derive(Clone, Debug)]
pub struct Family {
    session: SessionId,
    secret: Secret,
}

/// A refresh token that was shown: its session, and the digests of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShownRefresh {
    pub session: SessionId,
    pub family: SecretDigest,
    pub refresh: SecretDigest,
}

impl Family {
    /// The family of a new session.
    pub fn generate(session: SessionId) -> Self {
        let mut secret = String::with_capacity(SECRET_CHARS);
        push_random(&mut secret);
        Self {
            session,
            secret: Secret::new(secret),
        }
    }

    /// The family of a refresh token, and what was shown of it. `None` for another text.
    pub fn read(text: &str, hasher: &SecretHasher) -> Option<(Self, ShownRefresh)> {
        let rest = text.strip_prefix(REFRESH)?;
        let (id, secrets) = rest.split_at_checked(ID_CHARS)?;
        let (family, refresh) = secrets.split_at_checked(SECRET_CHARS)?;
        if !is_secret(family) || !is_secret(refresh) {
            return None;
        }
        let session = SessionId::from_bits(decode(id)?);
        let shown = ShownRefresh {
            session,
            family: hasher.digest(family),
            refresh: hasher.digest(refresh),
        };
        let secret = Secret::new(family.to_owned());
        Some((Self { session, secret }, shown))
    }

    /// The next refresh token of the family, and the digests that it will be known by.
    pub fn next(&self, hasher: &SecretHasher) -> (Secret, ShownRefresh) {
        let mut text = String::with_capacity(REFRESH.len() + ID_CHARS + 2 * SECRET_CHARS);
        text.push_str(REFRESH);
        text.extend(encode(self.session.into()).map(char::from));
        text.push_str(self.secret.expose());
        let begin = text.len();
        push_random(&mut text);
        let refresh = text.get(begin..).unwrap_or_default();
        let shown = ShownRefresh {
            session: self.session,
            family: hasher.digest(self.secret.expose()),
            refresh: hasher.digest(refresh),
        };
        (Secret::new(text), shown)
    }
}

/// True if the text has the form of a refresh token.
pub fn is_refresh_token(text: &str) -> bool {
    text.starts_with(REFRESH)
}

fn push_random(text: &mut String) {
    let bytes = Zeroizing::new(random::bytes::<32>());
    BASE64URL_NOPAD.encode_append(&*bytes, text);
}

fn is_secret(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    text.len() == SECRET_CHARS && text.bytes().all(known)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_auth_token_is_short_and_has_its_form() {
        let token = generate_auth_token();
        assert!(token.expose().len() <= 100);
        assert!(is_auth_token(token.expose()));
        assert_ne!(token, generate_auth_token());
        let longer = format!("{}a", token.expose());
        for other in ["", AUTH, "cs_auth_short", &longer] {
            assert!(!is_auth_token(other), "{other}");
        }
    }

    #[test]
    fn refresh_tokens_of_a_session_have_one_family() {
        let hasher = SecretHasher::new(None);
        let session = SessionId::from_bits(9);
        let family = Family::generate(session);
        let (first, shown) = family.next(&hasher);
        let (again, read) = Family::read(first.expose(), &hasher).unwrap();
        assert_eq!(read, shown);
        let (second, next) = again.next(&hasher);
        assert_eq!((next.session, next.family), (session, shown.family));
        assert_ne!(next.refresh, shown.refresh);
        assert_ne!(first, second);
        let (_, other) = Family::generate(session).next(&hasher);
        assert_ne!(other.family, shown.family);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(cs_refresh_)?[\\PC]{0,130}") {
            let _ = Family::read(&text, &SecretHasher::new(None));
        }
    }
}
