//! Tokens of other issuers, verified by the configuration of their issuer: for routes and for exchanges alike.

use std::time::Duration;

use serde_json::{Map, Value};

use super::foreign_jwt::{self, Expected, Fault, Verified};
use super::jwk::{Algorithm, InvalidKeys, KeySet, Strictness};
use crate::domain::issuer::{AppOfToken, ForeignIssuer, KeySource};
use crate::domain::name::Name;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::domain::token::Subject;

/// The most by which an issuer's clock may differ from ours.
const SKEW: Duration = Duration::from_secs(30);

/// The values of `typ`: RFC 9068 has one of its own, and most issuers write the general one.
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// The verifier of the tokens of one issuer.
#[derive(Debug)]
pub struct IssuerVerifier {
    keys: Keys,
    algorithms: Vec<Algorithm>,
}

#[derive(Debug)]
enum Keys {
    Public(KeySet),
    Secret(Secret),
}

/// The content of a verified token.
#[derive(Debug)]
pub struct IssuerClaims {
    pub app: Name,
    pub subject: Subject,
    pub expires_at: Timestamp,
    /// The first time at which the token is no longer valid.
    pub counts_until: Timestamp,
    pub claims: Map<String, Value>,
}

impl IssuerVerifier {
    /// The verifier by the issuer's own keys, or by `published`, the set that was fetched; none if there is no set yet.
    pub fn new(
        issuer: &ForeignIssuer,
        published: Option<&str>,
    ) -> Result<Option<Self>, InvalidKeys> {
        let set = match &issuer.keys {
            KeySource::Secret(secret) => {
                let keys = Keys::Secret(secret.clone());
                return Ok(Some(Self::by(issuer, keys)));
            }
            KeySource::Given(set) => Some(&**set),
            KeySource::Discovered | KeySource::Url(_) => published,
        };
        let set = set.map(|set| KeySet::parse(set.as_bytes(), Strictness::Usable));
        Ok(set
            .transpose()?
            .map(|set| Self::by(issuer, Keys::Public(set))))
    }

    fn by(issuer: &ForeignIssuer, keys: Keys) -> Self {
        let names = issuer.algorithms.iter();
        Self {
            keys,
            algorithms: names.filter_map(|name| Algorithm::named(name)).collect(),
        }
    }

    /// Verifies a token of `issuer`.
    pub fn verify(
        &self,
        issuer: &ForeignIssuer,
        token: &str,
        now: Timestamp,
    ) -> Result<IssuerClaims, Fault> {
        let audiences: Vec<&str> = issuer.audiences.iter().map(String::as_str).collect();
        let expected = Expected {
            issuer: &issuer.issuer,
            audiences: &audiences,
            algorithms: &self.algorithms,
            types: &TYPES,
            subject: &issuer.subject,
            lifetime_max: None,
            skew: SKEW,
        };
        let verified = match &self.keys {
            Keys::Public(set) => foreign_jwt::verify(token, set, &expected, now),
            Keys::Secret(secret) => foreign_jwt::verify_by_secret(token, secret, &expected, now),
        };
        content(issuer, verified?)
    }
}

fn content(issuer: &ForeignIssuer, verified: Verified) -> Result<IssuerClaims, Fault> {
    // A token that counts only beside a proof must not count without it.
    if verified.claims.contains_key("cnf") {
        return Err(Fault::Bound);
    }
    let app = app(&issuer.app, &verified.claims)
        .ok_or(Fault::App)?
        .clone();
    let subject = verified.subject.parse().ok().ok_or(Fault::Subject)?;
    Ok(IssuerClaims {
        app,
        subject,
        expires_at: verified.expires_at,
        counts_until: verified.expires_at.plus(SKEW),
        claims: verified.claims,
    })
}

fn app<'i>(of: &'i AppOfToken, claims: &Map<String, Value>) -> Option<&'i Name> {
    match of {
        AppOfToken::One(app) => Some(app),
        AppOfToken::Mapped { claim, apps } => apps.get(claims.get(claim)?.as_str()?),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use data_encoding::BASE64URL_NOPAD;
    use serde_json::json;

    use super::*;
    use crate::crypto::jwk_testing::TestKey;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_764_000_000);

    fn claims() -> Value {
        json!({
            "iss": "https://idp.test", "aud": "acme", "sub": "alice",
            "exp": 1_764_000_100, "azp": "client-b",
        })
    }

    fn jwt(key: &TestKey, claims: &Value) -> String {
        let header = r#"{"alg":"ES256","kid":"k","typ":"JWT"}"#;
        key.seal(Algorithm::Es256, header, &claims.to_string())
    }

    fn by_secret(secret: &str, alg: &str, claims: &Value) -> String {
        let header = json!({"alg": alg, "typ": "JWT"}).to_string();
        let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let signed = format!("{}.{}", part(&header), part(&claims.to_string()));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
        let tag = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
        format!("{signed}.{}", BASE64URL_NOPAD.encode(tag.as_ref()))
    }

    #[test]
    fn a_claim_names_the_app_and_another_the_user() {
        let key = TestKey::p256();
        let apps = [("client-b", "globex"), ("client-a", "acme")];
        let apps = apps.map(|(value, app)| (value.to_owned(), app.parse().unwrap()));
        let issuer = ForeignIssuer {
            app: AppOfToken::Mapped {
                claim: "azp".to_owned(),
                apps: BTreeMap::from(apps),
            },
            subject: "user_id".to_owned(),
            ..ForeignIssuer::sample("idp", "acme")
        };
        let set = key.set();
        let verifier = IssuerVerifier::new(&issuer, Some(&set)).unwrap().unwrap();
        let check = |claims: &Value| {
            let token = jwt(&key, claims);
            verifier.verify(&issuer, &token, NOW)
        };
        let mut claims = claims();
        assert_eq!(check(&claims).unwrap_err(), Fault::Subject, "no user_id");
        claims["user_id"] = json!("bob");
        let read = check(&claims).unwrap();
        assert_eq!(
            (read.app.as_str(), read.subject.as_str()),
            ("globex", "bob")
        );
        assert_eq!(read.counts_until, read.expires_at.plus(SKEW));
        for nobody in [json!("client-c"), json!(1), Value::Null] {
            claims["azp"] = nobody;
            assert_eq!(check(&claims).unwrap_err(), Fault::App);
        }
        assert!(IssuerVerifier::new(&issuer, None).unwrap().is_none());
    }

    /// A public key is no secret: a set never verifies HS256, and a secret verifies nothing else.
    #[test]
    fn a_secret_and_a_set_never_stand_in_for_each_other() {
        let secret = "0123456789abcdef0123456789abcdef";
        let shared = ForeignIssuer {
            keys: KeySource::Secret(Secret::new(secret.to_owned())),
            algorithms: vec!["HS256".to_owned()],
            ..ForeignIssuer::sample("idp", "acme")
        };
        let key = TestKey::p256();
        let set = key.set();
        let public = ForeignIssuer {
            algorithms: crate::domain::issuer::ALGORITHMS
                .map(str::to_owned)
                .to_vec(),
            ..ForeignIssuer::sample("idp", "acme")
        };
        let by_set = IssuerVerifier::new(&public, Some(&set)).unwrap().unwrap();
        let by_key = IssuerVerifier::new(&shared, Some(&set)).unwrap().unwrap();
        let good = by_secret(secret, "HS256", &claims());
        assert_eq!(
            by_key.verify(&shared, &good, NOW).unwrap().subject.as_str(),
            "alice"
        );
        for (verifier, issuer, token, fault) in [
            (
                &by_key,
                &shared,
                by_secret("other", "HS256", &claims()),
                Fault::Signature,
            ),
            (
                &by_key,
                &shared,
                by_secret(secret, "HS512", &claims()),
                Fault::Algorithm,
            ),
            (
                &by_key,
                &shared,
                by_secret(secret, "none", &claims()),
                Fault::Algorithm,
            ),
            (&by_key, &shared, jwt(&key, &claims()), Fault::Algorithm),
            (
                &by_set,
                &public,
                by_secret(&set, "HS256", &claims()),
                Fault::Algorithm,
            ),
            (
                &by_set,
                &public,
                by_secret(secret, "HS256", &claims()),
                Fault::Algorithm,
            ),
        ] {
            assert_eq!(verifier.verify(issuer, &token, NOW).unwrap_err(), fault);
        }
    }
}
