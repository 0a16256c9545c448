//! JWTs that others sign (RFC 7519): verified with their keys, by the rules of RFC 8725.
//!
//! The reader decides everything: the algorithms, the keys, the issuer and the audience. The token's header chooses
//! among them by `alg` and `kid`, and nothing else in it counts. The signature is verified before the claims are read.

use std::time::Duration;

use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use super::jwk::{Algorithm, KeySet};
use super::strict_json;
use crate::domain::issuer::HS256;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;

/// The largest token: a set of claims with the groups of a user fits.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// The most audiences of one token.
const AUDIENCES_MAX: usize = 16;

/// Members of a header that name another key, another form of the content, or rules that a reader must know
/// (RFC 7515, 4.1; RFC 7516, 4.1; RFC 7797). A token with one of them is refused: it means what is not done here.
const REFUSED: [(&str, Fault); 9] = [
    ("crit", Fault::Extension),
    ("b64", Fault::Extension),
    ("zip", Fault::Extension),
    ("enc", Fault::Extension),
    ("cty", Fault::Extension),
    ("jwk", Fault::OwnKey),
    ("jku", Fault::OwnKey),
    ("x5u", Fault::OwnKey),
    ("x5c", Fault::OwnKey),
];

/// The rules for one use of tokens.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'e> {
    pub issuer: &'e str,
    /// The names of this reader: the token is for one of them.
    pub audiences: &'e [&'e str],
    pub algorithms: &'e [Algorithm],
    /// The values of `typ` in lower case, without `application/`; a token without one is read as well.
    pub types: &'e [&'e str],
    /// The claim that names the user.
    pub subject: &'e str,
    /// The most that a token may still live.
    pub lifetime_max: Option<Duration>,
    /// The most by which the clock of the signer may differ from ours.
    pub skew: Duration,
}

/// A token that is verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    pub claims: Map<String, Value>,
    pub subject: String,
    pub expires_at: Timestamp,
}

/// The fault of a token, in words for the one who signs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the token has more than {} KiB", TOKEN_BYTES_MAX / 1024)]
    TooLarge,
    #[error(
        "the token is not three parts of base64url with a JSON header and JSON claims, in which each member stands once"
    )]
    Form,
    #[error(
        "the token's header has `crit`, `b64`, `cty` or a member of encrypted tokens, which is not supported"
    )]
    Extension,
    #[error("the token's header names a key of its own; only the registered keys count")]
    OwnKey,
    #[error("the token's `typ` is that of another kind of token")]
    Type,
    #[error("the token's `alg` is not accepted here")]
    Algorithm,
    #[error("no registered key has the token's `kid` and fits its `alg`")]
    KeyUnknown,
    #[error("the token's signature does not verify with the registered key")]
    Signature,
    #[error("the token's `iss` is not the expected one")]
    Issuer,
    #[error("the token is for another audience")]
    Audience,
    #[error("the token names no App")]
    App,
    #[error("the token is bound to a key or a certificate by `cnf`, which is not verified here")]
    Bound,
    #[error("the token has no subject of 1 to 255 characters without control characters")]
    Subject,
    #[error("the token has no `exp`, or its `exp`, `nbf` or `iat` is no time")]
    Times,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet, or from the future")]
    NotYet,
    #[error("the token lives longer than is accepted here")]
    TooLong,
}

/// The most characters of a subject (`OpenID` Connect Core, 2).
const SUBJECT_CHARS_MAX: usize = 255;

/// The issuer that a token names, before anything is verified. It only selects the rules by which the token is judged.
pub fn claimed_issuer(token: &str) -> Option<String> {
    claimed(token, "iss")
}

/// The subject that a token names, before anything is verified. It only selects the client whose keys are tried.
pub fn claimed_subject(token: &str) -> Option<String> {
    claimed(token, "sub")
}

fn claimed(token: &str, member: &str) -> Option<String> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let claims = object(token.split('.').nth(1)?).ok()?;
    claims.get(member)?.as_str().map(str::to_owned)
}

/// Verifies a token by the keys of its issuer and the rules of its use.
pub fn verify(
    token: &str,
    keys: &KeySet,
    expected: &Expected<'_>,
    now: Timestamp,
) -> Result<Verified, Fault> {
    let parts = Parts::of(token)?;
    let named = algorithm(&parts.header, expected)?;
    let named = Algorithm::named(named);
    let accepted = named.filter(|algorithm| expected.algorithms.contains(algorithm));
    let algorithm = accepted.ok_or(Fault::Algorithm)?;
    let kid = match parts.header.get("kid") {
        None => None,
        Some(kid) => Some(kid.as_str().ok_or(Fault::KeyUnknown)?),
    };
    let key = keys.find(kid, algorithm).ok_or(Fault::KeyUnknown)?;
    if !key.verifies(algorithm, parts.signed.as_bytes(), &parts.signature) {
        return Err(Fault::Signature);
    }
    judge(object(parts.claims)?, expected, now)
}

/// Verifies a token that is signed with HS256 and a secret that the signer and the reader share. Its `kid` names nothing.
pub fn verify_by_secret(
    token: &str,
    secret: &Secret,
    expected: &Expected<'_>,
    now: Timestamp,
) -> Result<Verified, Fault> {
    let parts = Parts::of(token)?;
    if algorithm(&parts.header, expected)? != HS256 {
        return Err(Fault::Algorithm);
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    hmac::verify(&key, parts.signed.as_bytes(), &parts.signature)
        .ok()
        .ok_or(Fault::Signature)?;
    judge(object(parts.claims)?, expected, now)
}

/// The parts of a token, before anything is verified.
struct Parts<'t> {
    header: Map<String, Value>,
    /// Not decoded yet: nothing is read before the signature is verified.
    claims: &'t str,
    signed: &'t str,
    signature: Vec<u8>,
}

impl<'t> Parts<'t> {
    fn of(token: &'t str) -> Result<Self, Fault> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Fault::TooLarge);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Fault::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(Fault::Form)?;
        // A fourth part is that of another format, and the signature would be over what is no JWT.
        if claims.contains('.') {
            return Err(Fault::Form);
        }
        Ok(Self {
            header: object(header)?,
            claims,
            signed,
            signature: decode(signature)?,
        })
    }
}

/// The name of the algorithm in a header that asks for nothing that is not done here.
fn algorithm<'h>(
    header: &'h Map<String, Value>,
    expected: &Expected<'_>,
) -> Result<&'h str, Fault> {
    for (member, fault) in REFUSED {
        if header.contains_key(member) {
            return Err(fault);
        }
    }
    if let Some(typ) = header.get("typ") {
        let typ = typ.as_str().ok_or(Fault::Type)?.to_ascii_lowercase();
        let typ = typ.strip_prefix("application/").unwrap_or(&typ);
        if !expected.types.contains(&typ) {
            return Err(Fault::Type);
        }
    }
    let named = header.get("alg").and_then(Value::as_str);
    named.ok_or(Fault::Algorithm)
}

/// Judges the claims of a token whose signature is verified.
fn judge(
    claims: Map<String, Value>,
    expected: &Expected<'_>,
    now: Timestamp,
) -> Result<Verified, Fault> {
    if claims.get("iss").and_then(Value::as_str) != Some(expected.issuer) {
        return Err(Fault::Issuer);
    }
    if !is_for(claims.get("aud"), expected.audiences) {
        return Err(Fault::Audience);
    }
    let expires_at = time(&claims, "exp")?.ok_or(Fault::Times)?;
    if now >= expires_at.plus(expected.skew) {
        return Err(Fault::Expired);
    }
    for begin in ["nbf", "iat"] {
        if time(&claims, begin)?.is_some_and(|begin| begin > now.plus(expected.skew)) {
            return Err(Fault::NotYet);
        }
    }
    let latest = expected
        .lifetime_max
        .map(|max| now.plus(max).plus(expected.skew));
    if latest.is_some_and(|latest| expires_at > latest) {
        return Err(Fault::TooLong);
    }
    let subject = claims.get(expected.subject).and_then(Value::as_str);
    let subject = subject.filter(|subject| is_subject(subject));
    Ok(Verified {
        subject: subject.ok_or(Fault::Subject)?.to_owned(),
        expires_at,
        claims,
    })
}

fn is_subject(subject: &str) -> bool {
    let fits = (1..=SUBJECT_CHARS_MAX).contains(&subject.chars().count());
    fits && !subject.chars().any(char::is_control)
}

/// True if `aud`, a text or a list of texts (RFC 7519, 4.1.3), has one of these names.
fn is_for(audience: Option<&Value>, names: &[&str]) -> bool {
    let ours = |audience: &Value| audience.as_str().is_some_and(|text| names.contains(&text));
    match audience {
        Some(Value::Array(several)) => {
            several.len() <= AUDIENCES_MAX
                && several.iter().all(Value::is_string)
                && several.iter().any(ours)
        }
        Some(one) => ours(one),
        None => false,
    }
}

/// The time of a claim: seconds since 1970, whole or not, up to the year 9999.
fn time(claims: &Map<String, Value>, member: &str) -> Result<Option<Timestamp>, Fault> {
    const LAST: i64 = 253_402_300_799;
    let Some(value) = claims.get(member) else {
        return Ok(None);
    };
    let whole = value.as_i64().or_else(|| whole_seconds(value.as_f64()?));
    let seconds = whole.filter(|seconds| (0..=LAST).contains(seconds));
    let seconds = seconds.ok_or(Fault::Times)?;
    Ok(Some(Timestamp::from_unix_seconds(seconds)))
}

/// The whole seconds of a time with a fraction (RFC 7519, 2).
fn whole_seconds(seconds: f64) -> Option<i64> {
    let digits = format!("{:.0}", seconds.floor());
    digits.parse().ok()
}

fn object(part: &str) -> Result<Map<String, Value>, Fault> {
    strict_json::object(&decode(part)?).ok_or(Fault::Form)
}

/// Decodes canonical base64url without padding.
fn decode(part: &str) -> Result<Vec<u8>, Fault> {
    let octets = BASE64URL_NOPAD.decode(part.as_bytes());
    octets.ok().ok_or(Fault::Form)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::jwk::Strictness;
    use crate::crypto::jwk_testing::TestKey;
    use proptest::prelude::*;
    use serde_json::json;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_764_000_000);
    const EXPECTED: Expected<'_> = Expected {
        issuer: "https://idp.test",
        audiences: &["https://api.test", "https://api.test/oauth2/token"],
        algorithms: Algorithm::ALL,
        types: &["jwt", "client-authentication+jwt"],
        subject: "sub",
        lifetime_max: Some(Duration::from_mins(5)),
        skew: Duration::from_secs(30),
    };

    fn claims() -> Value {
        json!({
            "iss": "https://idp.test",
            "aud": "https://api.test",
            "sub": "alice",
            "iat": 1_764_000_000,
            "exp": 1_764_000_100,
        })
    }

    fn with(member: &str, value: Value) -> String {
        let mut claims = claims();
        claims[member] = value;
        claims.to_string()
    }

    fn set(key: &TestKey) -> KeySet {
        KeySet::parse(key.set().as_bytes(), Strictness::Every).unwrap()
    }

    fn judge(key: &TestKey, token: &str) -> Result<Verified, Fault> {
        verify(token, &set(key), &EXPECTED, NOW)
    }

    fn es256(header: &str, claims: &str) -> Result<Verified, Fault> {
        let key = TestKey::p256();
        judge(&key, &key.seal(Algorithm::Es256, header, claims))
    }

    const HEADER: &str = r#"{"alg":"ES256","kid":"k"}"#;

    #[test]
    fn a_token_by_any_algorithm_is_verified_with_its_own_key() {
        for key in TestKey::one_of_each() {
            for algorithm in key.algorithms().iter().copied() {
                let header = json!({"alg": algorithm.as_str(), "kid": "k", "typ": "JWT"});
                let text = key.seal(algorithm, &header.to_string(), &claims().to_string());
                let verified = judge(&key, &text).unwrap();
                assert_eq!(verified.subject, "alice");
                assert_eq!(verified.expires_at.unix_seconds(), 1_764_000_100);
                assert_eq!(Value::Object(verified.claims), claims());
                for other in TestKey::one_of_each() {
                    let refused = judge(&other, &text).unwrap_err();
                    assert!(matches!(refused, Fault::KeyUnknown | Fault::Signature));
                }
                assert_eq!(claimed_subject(&text).as_deref(), Some("alice"));
            }
        }
    }

    #[test]
    fn no_header_changes_the_rules() {
        let [rsa, ..] = TestKey::one_of_each();
        for (header, fault) in [
            (r#"{"alg":"none","kid":"k"}"#, Fault::Algorithm),
            (r#"{"alg":"nOnE","kid":"k"}"#, Fault::Algorithm),
            (r#"{"alg":"","kid":"k"}"#, Fault::Algorithm),
            (r#"{"kid":"k"}"#, Fault::Algorithm),
            (r#"{"alg":"es256","kid":"k"}"#, Fault::Algorithm),
            (r#"{"alg":["ES256"],"kid":"k"}"#, Fault::Algorithm),
            (r#"{"alg":"HS256","kid":"k"}"#, Fault::Algorithm),
            (r#"{"alg":"ES384","kid":"k"}"#, Fault::KeyUnknown),
            (r#"{"alg":"RS256","kid":"k"}"#, Fault::KeyUnknown),
            (r#"{"alg":"ES256","kid":"other"}"#, Fault::KeyUnknown),
            (r#"{"alg":"ES256","kid":1}"#, Fault::KeyUnknown),
            (r#"{"alg":"ES256","kid":"../../k"}"#, Fault::KeyUnknown),
            (
                r#"{"alg":"ES256","kid":"k","crit":["exp"]}"#,
                Fault::Extension,
            ),
            (r#"{"alg":"ES256","kid":"k","crit":[]}"#, Fault::Extension),
            (r#"{"alg":"ES256","kid":"k","b64":false}"#, Fault::Extension),
            (r#"{"alg":"ES256","kid":"k","zip":"DEF"}"#, Fault::Extension),
            (
                r#"{"alg":"ES256","kid":"k","enc":"A128GCM"}"#,
                Fault::Extension,
            ),
            (r#"{"alg":"ES256","kid":"k","cty":"JWT"}"#, Fault::Extension),
            (r#"{"alg":"ES256","jwk":{"kty":"EC"}}"#, Fault::OwnKey),
            (
                r#"{"alg":"ES256","jku":"https://evil.test"}"#,
                Fault::OwnKey,
            ),
            (
                r#"{"alg":"ES256","x5u":"https://evil.test"}"#,
                Fault::OwnKey,
            ),
            (r#"{"alg":"ES256","x5c":["AA=="]}"#, Fault::OwnKey),
            (r#"{"alg":"ES256","kid":"k","typ":"at+jwt"}"#, Fault::Type),
            (r#"{"alg":"ES256","kid":"k","typ":"dpop+jwt"}"#, Fault::Type),
            (r#"{"alg":"ES256","kid":"k","typ":1}"#, Fault::Type),
            (r#"{"alg":"ES256","alg":"ES256","kid":"k"}"#, Fault::Form),
            (r#"["ES256"]"#, Fault::Form),
            ("", Fault::Form),
        ] {
            assert_eq!(es256(header, &claims().to_string()), Err(fault), "{header}");
        }
        for header in [
            r#"{"alg":"ES256"}"#,
            r#"{"alg":"ES256","typ":"application/JWT"}"#,
            r#"{"alg":"ES256","kid":"k","typ":"client-authentication+jwt","x5t":"AA"}"#,
        ] {
            assert!(es256(header, &claims().to_string()).is_ok(), "{header}");
        }
        // A public key used as a secret: there is no symmetric algorithm that could take it.
        let secret = rsa.set();
        let header = r#"{"alg":"HS256","kid":"k"}"#;
        let content = format!(
            "{}.{}",
            BASE64URL_NOPAD.encode(header.as_bytes()),
            BASE64URL_NOPAD.encode(claims().to_string().as_bytes())
        );
        let tag = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
            content.as_bytes(),
        );
        let forged = format!("{content}.{}", BASE64URL_NOPAD.encode(tag.as_ref()));
        assert_eq!(judge(&rsa, &forged), Err(Fault::Algorithm));
    }

    #[test]
    fn only_the_expected_algorithms_count() {
        let key = TestKey::p256();
        let token = key.seal(Algorithm::Es256, HEADER, &claims().to_string());
        let expected = Expected {
            algorithms: &[Algorithm::Rs256, Algorithm::Es384],
            ..EXPECTED
        };
        let refused = verify(&token, &set(&key), &expected, NOW);
        assert_eq!(refused, Err(Fault::Algorithm));
    }

    #[test]
    fn claims_say_from_whom_for_whom_and_until_when() {
        let (far, late) = (i64::MAX, 253_402_300_800_i64);
        for (member, value, fault) in [
            ("iss", json!("https://idp.test/"), Fault::Issuer),
            ("iss", json!(["https://idp.test"]), Fault::Issuer),
            ("iss", json!(null), Fault::Issuer),
            ("aud", json!("https://other.test"), Fault::Audience),
            ("aud", json!([]), Fault::Audience),
            ("aud", json!(["https://api.test", 1]), Fault::Audience),
            ("aud", json!({"https://api.test": true}), Fault::Audience),
            ("aud", json!(null), Fault::Audience),
            ("aud", json!(vec!["https://api.test"; 17]), Fault::Audience),
            ("sub", json!(null), Fault::Subject),
            ("sub", json!(""), Fault::Subject),
            ("sub", json!(1), Fault::Subject),
            ("sub", json!("a\nb"), Fault::Subject),
            ("sub", json!("a".repeat(256)), Fault::Subject),
            ("exp", json!(1_763_999_970), Fault::Expired),
            ("exp", json!(0), Fault::Expired),
            ("exp", json!(-1), Fault::Times),
            ("exp", json!("1764000100"), Fault::Times),
            ("exp", json!(null), Fault::Times),
            ("exp", json!(1e300), Fault::Times),
            ("exp", json!(far), Fault::Times),
            ("exp", json!(late), Fault::Times),
            ("exp", json!(1_764_000_331), Fault::TooLong),
            ("nbf", json!(1_764_000_031), Fault::NotYet),
            ("nbf", json!(true), Fault::Times),
            ("iat", json!(1_764_000_031), Fault::NotYet),
        ] {
            assert_eq!(
                es256(HEADER, &with(member, value.clone())),
                Err(fault),
                "{member} {value}"
            );
        }
        for (member, value) in [
            ("aud", json!(["https://other.test", "https://api.test"])),
            ("aud", json!("https://api.test/oauth2/token")),
            ("exp", json!(1_763_999_971)),
            ("exp", json!(1_764_000_330)),
            ("exp", json!(1_764_000_100.75)),
            ("nbf", json!(1_764_000_030)),
            ("sub", json!("zoë")),
        ] {
            assert!(
                es256(HEADER, &with(member, value.clone())).is_ok(),
                "{member} {value}"
            );
        }
        let mut without = claims();
        without.as_object_mut().unwrap().remove("exp");
        assert_eq!(es256(HEADER, &without.to_string()), Err(Fault::Times));
        let twice = claims().to_string().replacen('{', r#"{"sub":"bob","#, 1);
        assert_eq!(es256(HEADER, &twice), Err(Fault::Form));
    }

    #[test]
    fn a_token_has_one_form() {
        let key = TestKey::p256();
        let good = key.seal(Algorithm::Es256, HEADER, &claims().to_string());
        let keys = set(&key);
        let judge = |text: &str| verify(text, &keys, &EXPECTED, NOW);
        assert!(judge(&good).is_ok());
        let parts: Vec<&str> = good.split('.').collect();
        let [header, body, signature] = parts[..] else {
            panic!("{good}")
        };
        let jwe = format!("{good}.{body}.{body}");
        let nested = key.seal(Algorithm::Es256, HEADER, &good);
        let huge = key.seal(
            Algorithm::Es256,
            HEADER,
            &with("x", json!("a".repeat(20_000))),
        );
        for (text, fault) in [
            (String::new(), Fault::Form),
            ("..".to_owned(), Fault::Form),
            (format!("{header}.{body}"), Fault::Form),
            (format!("{header}.{body}."), Fault::Signature),
            (format!("{good}="), Fault::Form),
            (format!("{good}\n"), Fault::Form),
            (format!(" {good}"), Fault::Form),
            (jwe, Fault::Form),
            (format!("{body}.{body}.{signature}"), Fault::Algorithm),
            (nested, Fault::Form),
            (huge, Fault::TooLarge),
        ] {
            assert_eq!(judge(&text).map(|_| ()), Err(fault), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_changed_token_is_verified(place in 0_usize..400, to in "[A-Za-z0-9_.-]") {
            let key = TestKey::p256();
            let good = key.seal(Algorithm::Es256, HEADER, &claims().to_string());
            let place = place % good.len();
            let (before, after) = good.split_at(place);
            let after: String = after.chars().skip(1).collect();
            let changed = format!("{before}{to}{after}");
            prop_assume!(changed != good);
            prop_assert!(judge(&key, &changed).is_err());
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let key = TestKey::p256();
            prop_assert!(judge(&key, &text).is_err());
            prop_assert_eq!(claimed_subject(&text), None);
        }
    }
}
