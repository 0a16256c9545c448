//! Recognition of our own credentials in a request: they never reach an upstream unless its route forwards them.

use data_encoding::{BASE64, BASE64URL_NOPAD};
use http::HeaderValue;
use serde::Deserialize;

use crate::domain::id::KeyId;

/// The first letters of our keys and opaque tokens, up to the first `_`, and what follows it.
const PREFIXES: [(&[u8], &[u8]); 10] = [
    (b"sk", b"live_"),
    (b"sk", b"test_"),
    (b"pk", b"live_"),
    (b"pk", b"test_"),
    (b"sg", b"live_"),
    (b"sg", b"test_"),
    (b"cs", b"admin_"),
    (b"cs", b"access_"),
    (b"cs", b"auth_"),
    (b"cs", b"refresh_"),
];

/// The longest claims that are parsed. Ours have a few hundred bytes; a larger token is removed unread.
const CLAIMS_MAX: usize = 16 << 10;

/// True if a value of `Authorization` or `X-Api-Key` holds a key of ours, or an access token of `issuer`.
pub fn is_ours(value: &HeaderValue, issuer: &str) -> bool {
    let bytes = value.as_bytes();
    if holds_a_key(bytes) {
        return true;
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    // Every word: a scheme that is written twice, or not at all, does not hide a credential.
    let words = || text.split([' ', '\t', ',', '=', '"']);
    memchr::memchr(b'.', bytes).is_some() && words().any(|word| is_our_token(word, issuer))
        || may_hold_an_encoded_key(bytes)
            && (words().any(is_basic_with_a_key)
                || text
                    .split_once(' ')
                    .is_some_and(|(_, rest)| is_basic_with_a_key(rest.trim())))
}

fn holds_a_key(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'_', bytes).any(|at| {
        let (before, after) = bytes.split_at(at);
        let is_here = |(first, rest)| {
            before.ends_with(first) && after.get(1..).is_some_and(|after| after.starts_with(rest))
        };
        PREFIXES.into_iter().any(is_here)
    })
}

/// True if base64 of the first letters of [`PREFIXES`] occurs, at any place within a group of three bytes: `c2tf`,
/// `NrX` and `za19` for `sk_`, `cGtf`, `BrX` and `wa19` for `pk_`, `c2df`, `NnX` and `zZ19` for `sg_`, `Y3Nf`, `NzX` and
/// `jc19` for `cs_`; or `a2V5X` for a key's id at the beginning. Most values are excluded by this and never decoded.
fn may_hold_an_encoded_key(bytes: &[u8]) -> bool {
    memchr::memchr3_iter(b'X', b'9', b'f', bytes).any(|at| {
        matches!(
            bytes.get(..=at),
            Some(
                [.., b'N', b'r' | b'n' | b'z', b'X']
                    | [.., b'B', b'r', b'X']
                    | [.., b'V', b'5', b'X']
                    | [.., b'z' | b'w', b'a', b'1', b'9']
                    | [.., b'z', b'Z', b'1', b'9']
                    | [.., b'j', b'c', b'1', b'9']
                    | [.., b'c', b'2', b't' | b'd', b'f']
                    | [.., b'c', b'G', b't', b'f']
                    | [.., b'Y', b'3', b'N', b'f']
            )
        )
    })
}

/// True for `Basic` with a key, or with a key's id: the password is then a key of another system.
fn is_basic_with_a_key(text: &str) -> bool {
    BASE64
        .decode(text.as_bytes())
        .is_ok_and(|pair| holds_a_key(&pair) || is_of_a_key(&pair))
}

fn is_of_a_key(pair: &[u8]) -> bool {
    let user = pair.split(|byte| *byte == b':').next();
    let user = user.and_then(|user| std::str::from_utf8(user).ok());
    user.is_some_and(|user| user.parse::<KeyId>().is_ok())
}

#[derive(Deserialize)]
struct Claims<'t> {
    #[serde(borrow, default)]
    iss: Option<std::borrow::Cow<'t, str>>,
}

/// True for a JWT whose claims name us as the issuer, valid or not.
fn is_our_token(text: &str, issuer: &str) -> bool {
    let mut parts = text.split('.');
    let (Some(_), Some(claims), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    if issuer.is_empty() || claims.is_empty() {
        return false;
    }
    if claims.len() > CLAIMS_MAX {
        return true;
    }
    let decoded = BASE64URL_NOPAD.decode(claims.as_bytes());
    decoded.is_ok_and(|claims| {
        serde_json::from_slice::<Claims<'_>>(&claims)
            .is_ok_and(|claims| claims.iss.is_some_and(|named| named == issuer))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://api.example.test";

    fn token(claims: &str) -> String {
        let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        format!("{}.{}.c2ln", part("{\"alg\":\"ES256\"}"), part(claims))
    }

    fn ours(text: &str) -> bool {
        is_ours(&HeaderValue::from_str(text).unwrap(), ISSUER)
    }

    #[test]
    fn keys_and_tokens_of_ours_are_known_however_they_are_sent() {
        let key = "sk_live_0abc";
        let basic = BASE64.encode(format!("key_1:{key}").as_bytes());
        let foreign = format!("{}:of another system", KeyId::from_bits(7));
        let of_another_system = BASE64.encode(foreign.as_bytes());
        let ours_token = token(&format!("{{\"iss\":\"{ISSUER}\",\"sub\":\"x\"}}"));
        for text in [
            format!("Bearer {key}"),
            format!("bearer   {key}"),
            key.to_owned(),
            format!("Token token=\"{key}\""),
            "sk_test_0abc".to_owned(),
            "Bearer cs_admin_x".to_owned(),
            "DPoP cs_access_x".to_owned(),
            "Bearer cs_auth_x".to_owned(),
            "cs_refresh_x".to_owned(),
            format!("Basic {basic}"),
            format!("Basic {of_another_system}"),
            format!("basic  {basic}"),
            format!("Bearer {ours_token}"),
            format!("DPoP {ours_token}"),
            ours_token,
            format!(
                "Bearer {}",
                token("{\"a\":\"\\u0041\",\"iss\":\"https:\\/\\/api.example.test\"}")
            ),
            format!("Bearer a.{}.b", "A".repeat(CLAIMS_MAX + 1)),
        ] {
            assert!(ours(&text), "{text}");
        }
    }

    #[test]
    fn an_encoded_key_is_found_at_every_place() {
        for id in ["", "k", "ke", "key", "key_0123456789"] {
            for key in ["sk_live_0", "pk_test_0", "sg_live_0", "cs_admin_0"] {
                for rest in ["", "a", "ab", "\u{fc}"] {
                    let basic = BASE64.encode(format!("{id}:{key}{rest}").as_bytes());
                    assert!(ours(&format!("Basic {basic}")), "{id}:{key}{rest}");
                    let bare = BASE64.encode(format!("{id}{key}{rest}").as_bytes());
                    assert!(ours(&format!("Basic {bare}")), "{id}{key}{rest}");
                }
            }
        }
    }

    #[test]
    fn credentials_of_the_apis_own_are_not_ours() {
        for text in [
            "Basic dXNlcjpwYXNz".to_owned(),
            "Bearer opaque".to_owned(),
            format!("Bearer {}", token("{\"iss\":\"https://elsewhere.test\"}")),
            format!("Bearer {}", token("{\"sub\":\"x\"}")),
            "Bearer a.b.c".to_owned(),
            "AWS4-HMAC-SHA256 Credential=AKID/20260101/eu/s3/aws4_request, Signature=ab".to_owned(),
            "Digest username=\"a\", nonce=\"b==\"".to_owned(),
            String::new(),
        ] {
            assert!(!ours(&text), "{text}");
        }
    }
}
