//! The reader of proofs: the form, the key and the signature of one (RFC 9449, 4.2 and 4.3).

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use super::algorithms::Algorithms;
use crate::crypto::jwk::Jwk;
use crate::crypto::strict_json;
use crate::domain::thumbprint::Thumbprint;
use crate::domain::time::Timestamp;

/// The largest proof. One with an RSA key of 8192 bits has some 3 KiB.
const PROOF_BYTES_MAX: usize = 8 * 1024;

/// The most characters of a `jti`.
const JTI_CHARS_MAX: usize = 200;

/// The type of proofs. No other reader accepts it, and this one accepts no other (RFC 8725, 3.11).
const TYPE: &str = "dpop+jwt";

/// Members of a header that name another key, another form of the content, or rules that a reader must know.
const REFUSED: [&str; 8] = ["crit", "b64", "zip", "enc", "cty", "jku", "x5u", "x5c"];

/// The fault of a proof, in words for the log of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the proof has more than {} KiB", PROOF_BYTES_MAX / 1024)]
    TooLarge,
    #[error("the proof is not three parts of base64url with a JSON header and JSON claims")]
    Form,
    #[error("the proof's header has a member that is not supported, `crit` for example")]
    Extension,
    #[error("the proof's `typ` is not dpop+jwt")]
    Type,
    #[error("the proof's `alg` is not accepted here")]
    Algorithm,
    #[error("the proof's `jwk` is no public key for its `alg`, or has a private member")]
    Key,
    #[error("the proof's signature does not verify with the key in it")]
    Signature,
    #[error("the proof lacks `jti`, `htm`, `htu` or `iat`, or one of them is of another kind")]
    Claims,
}

/// A proof with a valid signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The key that has signed it.
    pub key: Thumbprint,
    /// `jti`
    pub id: String,
    /// `htm`
    pub method: String,
    /// `htu`
    pub target: String,
    /// `iat`
    pub issued_at: Timestamp,
    /// `ath`: the digest of the access token that it was made for.
    pub token: Option<String>,
    pub nonce: Option<String>,
}

/// Reads a proof. The signature is verified before the claims are read.
pub fn read(text: &str, algorithms: &Algorithms) -> Result<Proof, Fault> {
    if text.len() > PROOF_BYTES_MAX {
        return Err(Fault::TooLarge);
    }
    let (signed, signature) = text.rsplit_once('.').ok_or(Fault::Form)?;
    let (header, claims) = signed.split_once('.').ok_or(Fault::Form)?;
    let header = object(header)?;
    if REFUSED.iter().any(|member| header.contains_key(*member)) {
        return Err(Fault::Extension);
    }
    if header.get("typ").and_then(Value::as_str) != Some(TYPE) {
        return Err(Fault::Type);
    }
    let algorithm = header.get("alg").and_then(Value::as_str);
    let algorithm = algorithm.and_then(|name| algorithms.find(name));
    let algorithm = algorithm.ok_or(Fault::Algorithm)?;
    let key = Jwk::read(header.get("jwk").ok_or(Fault::Key)?);
    let key = key.ok().ok_or(Fault::Key)?;
    if !key.verifies(algorithm, signed.as_bytes(), &decode(signature)?) {
        return Err(Fault::Signature);
    }
    let proof = claims_of(object(claims)?, key.thumbprint());
    proof.ok_or(Fault::Claims)
}

fn claims_of(mut claims: Map<String, Value>, key: Thumbprint) -> Option<Proof> {
    let issued_at = seconds(claims.get("iat")?)?;
    let mut text = |member: &str| match claims.remove(member) {
        Some(Value::String(text)) => Some(Some(text)),
        Some(_) => None,
        None => Some(None),
    };
    let id = text("jti")??;
    if !(1..=JTI_CHARS_MAX).contains(&id.chars().count()) {
        return None;
    }
    Some(Proof {
        key,
        id,
        method: text("htm")??,
        target: text("htu")??,
        issued_at,
        token: text("ath")?,
        nonce: text("nonce")?,
    })
}

/// A time in whole seconds since 1970, up to the year 9999. A fraction is dropped.
fn seconds(value: &Value) -> Option<Timestamp> {
    const LAST: i64 = 253_402_300_799;
    let whole = value.as_i64().or_else(|| {
        let digits = format!("{:.0}", value.as_f64()?.floor());
        digits.parse().ok()
    })?;
    let fits = (0..=LAST).contains(&whole);
    fits.then(|| Timestamp::from_unix_seconds(whole))
}

fn object(part: &str) -> Result<Map<String, Value>, Fault> {
    strict_json::object(&decode(part)?).ok_or(Fault::Form)
}

/// Decodes canonical base64url without padding.
fn decode(part: &str) -> Result<Vec<u8>, Fault> {
    BASE64URL_NOPAD
        .decode(part.as_bytes())
        .ok()
        .ok_or(Fault::Form)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::jwk::Algorithm;
    use crate::crypto::jwk_testing::TestKey;
    use crate::domain::token_profile::TokenProfile;
    use proptest::prelude::*;
    use serde_json::json;

    const USUAL: Algorithms = Algorithms::of(TokenProfile::Standard);

    fn claims() -> Value {
        json!({"jti": "a", "htm": "GET", "htu": "https://api.test/", "iat": 1_764_000_000})
    }

    fn header(key: &TestKey, algorithm: &str) -> Value {
        let mut jwk = key.jwk("k");
        jwk.as_object_mut().unwrap().remove("kid");
        json!({"typ": "dpop+jwt", "alg": algorithm, "jwk": jwk})
    }

    fn judge(text: &str) -> Result<Proof, Fault> {
        read(text, &USUAL)
    }

    fn es256(change: impl FnOnce(&mut Value, &mut Value)) -> Result<Proof, Fault> {
        let key = TestKey::p256();
        let (mut header, mut claims) = (header(&key, "ES256"), claims());
        change(&mut header, &mut claims);
        judge(&key.seal(Algorithm::Es256, &header.to_string(), &claims.to_string()))
    }

    #[test]
    fn a_proof_by_any_algorithm_has_the_thumbprint_of_its_key() {
        for key in TestKey::one_of_each() {
            for algorithm in key.algorithms().iter().copied() {
                let name = algorithm.as_str();
                let seal = |name: &str| {
                    let header = header(&key, name).to_string();
                    judge(&key.seal(algorithm, &header, &claims().to_string()))
                };
                if USUAL.find(name).is_none() {
                    assert_eq!(seal(name), Err(Fault::Algorithm), "{name}");
                    continue;
                }
                let proof = seal(name).unwrap();
                assert_eq!(proof.key, Jwk::read(&key.jwk("k")).unwrap().thumbprint());
                assert_eq!((&*proof.id, &*proof.method), ("a", "GET"));
                assert_eq!(proof.issued_at.unix_seconds(), 1_764_000_000);
                assert_eq!((proof.token, proof.nonce), (None, None));
                if algorithm == Algorithm::EdDsa {
                    assert!(seal("Ed25519").is_ok());
                }
            }
        }
    }

    #[test]
    fn no_header_changes_the_rules() {
        for (fault, member, value) in [
            (Fault::Type, "typ", json!("jwt")),
            (Fault::Type, "typ", json!("at+jwt")),
            (Fault::Type, "typ", Value::Null),
            (Fault::Algorithm, "alg", json!("none")),
            (Fault::Algorithm, "alg", json!("HS256")),
            (Fault::Algorithm, "alg", json!("RS256")),
            (Fault::Algorithm, "alg", json!(["ES256"])),
            (Fault::Signature, "alg", json!("ES384")),
            (Fault::Signature, "alg", json!("EdDSA")),
            (Fault::Key, "jwk", Value::Null),
            (Fault::Key, "jwk", json!({"kty": "oct", "k": "c2VjcmV0"})),
            (Fault::Extension, "crit", json!(["exp"])),
            (Fault::Extension, "b64", json!(false)),
            (Fault::Extension, "x5c", json!([])),
            (Fault::Extension, "jku", json!("https://evil.test/jwks")),
        ] {
            let judged = es256(|header, _| header[member] = value.clone());
            assert_eq!(judged, Err(fault), "{member} {value}");
        }
        let private = es256(|header, _| header["jwk"]["d"] = json!("AAAA"));
        assert_eq!(private, Err(Fault::Key));
        let other = TestKey::p256().jwk("k");
        let stranger = es256(|header, _| header["jwk"] = other);
        assert_eq!(stranger, Err(Fault::Signature));
    }

    #[test]
    fn claims_are_there_and_of_their_kind() {
        for (member, value) in [
            ("jti", Value::Null),
            ("jti", json!("")),
            ("jti", json!("j".repeat(201))),
            ("jti", json!(1)),
            ("htm", Value::Null),
            ("htm", json!(["GET"])),
            ("htu", Value::Null),
            ("iat", Value::Null),
            ("iat", json!("1764000000")),
            ("iat", json!(-1)),
            ("ath", json!(1)),
            ("nonce", json!({})),
        ] {
            let judged = es256(|_, claims| claims[member] = value.clone());
            assert_eq!(judged, Err(Fault::Claims), "{member} {value}");
            if value.is_null() {
                let missing = es256(|_, claims| {
                    claims.as_object_mut().unwrap().remove(member);
                });
                assert_eq!(missing, Err(Fault::Claims), "{member}");
            }
        }
        let whole = es256(|_, claims| claims["iat"] = json!(1_764_000_000.9)).unwrap();
        assert_eq!(whole.issued_at.unix_seconds(), 1_764_000_000);
    }

    #[test]
    fn a_proof_has_one_form_and_a_bound() {
        let key = TestKey::p256();
        let header = header(&key, "ES256").to_string();
        let good = key.seal(Algorithm::Es256, &header, &claims().to_string());
        for (bad, fault) in [
            (String::new(), Fault::Form),
            ("a.b".to_owned(), Fault::Form),
            (format!("{good}="), Fault::Form),
            (format!("{good}.x"), Fault::Form),
            (format!(" {good}"), Fault::Form),
            ("x".repeat(PROOF_BYTES_MAX + 1), Fault::TooLarge),
        ] {
            assert_eq!(judge(&bad), Err(fault), "{bad:.40}");
        }
        let twice = r#"{"jti":"a","jti":"b","htm":"GET","htu":"https://a.test","iat":1}"#;
        let sealed = key.seal(Algorithm::Es256, &header, twice);
        assert_eq!(judge(&sealed), Err(Fault::Form));
    }

    /// The example of RFC 9449, 4.1, with the thumbprint of 6.1.
    #[test]
    fn the_example_of_the_standard_is_read() {
        let text = concat!(
            "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6Ik",
            "VDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCR",
            "nMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JE",
            "QSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIj",
            "oiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwia",
            "WF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg",
            "4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
        );
        let proof = judge(text).unwrap();
        let jkt = BASE64URL_NOPAD.encode(proof.key.as_bytes());
        assert_eq!(jkt, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
        assert_eq!(proof.target, "https://server.example.com/token");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[\\PC.]{0,200}") {
            prop_assert!(judge(&text).is_err());
        }
    }
}
