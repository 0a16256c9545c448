//! Which credentials of a request are ours: those never reach an upstream that has not been promised them.

use data_encoding::{BASE64, BASE64URL_NOPAD};
use http::HeaderValue;
use serde::Deserialize;

/// How our keys and admin tokens begin.
const PREFIXES: [&[u8]; 3] = [b"sk_live_", b"sk_test_", b"cs_admin_"];

/// The longest claims that are looked into. Ours have a few hundred bytes; a larger token is taken off unread.
const CLAIMS_MAX: usize = 16 << 10;

/// Whether a value of `Authorization` or `X-Api-Key` holds a key of ours, or an access token of `issuer`.
pub fn is_ours(value: &HeaderValue, issuer: &str) -> bool {
    let bytes = value.as_bytes();
    if holds_a_key(bytes) {
        return true;
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    // Every word: who writes a scheme twice, or none, has sent the credential all the same.
    text.split([' ', '\t', ',', '=', '"'])
        .any(|word| is_our_token(word, issuer) || is_basic_with_a_key(word))
        || text
            .split_once(' ')
            .is_some_and(|(_, rest)| is_basic_with_a_key(rest.trim()))
}

fn holds_a_key(bytes: &[u8]) -> bool {
    PREFIXES
        .iter()
        .any(|prefix| memchr::memmem::find(bytes, prefix).is_some())
}

/// `Basic` of a key's id and the key.
fn is_basic_with_a_key(text: &str) -> bool {
    BASE64
        .decode(text.as_bytes())
        .is_ok_and(|pair| holds_a_key(&pair))
}

#[derive(Deserialize)]
struct Claims<'t> {
    #[serde(borrow, default)]
    iss: Option<std::borrow::Cow<'t, str>>,
}

/// A JWT whose claims name us as the issuer, whether it is valid or not.
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
        let ours_token = token(&format!("{{\"iss\":\"{ISSUER}\",\"sub\":\"x\"}}"));
        for text in [
            format!("Bearer {key}"),
            format!("bearer   {key}"),
            key.to_owned(),
            format!("Token token=\"{key}\""),
            "sk_test_0abc".to_owned(),
            "Bearer cs_admin_x".to_owned(),
            format!("Basic {basic}"),
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
