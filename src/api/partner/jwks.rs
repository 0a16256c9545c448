//! `GET /.well-known/jwks.json`: the public keys that verify our access tokens (RFC 7517).

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use http::Response;
use serde_json::{Value, json};

use super::answer::{self, Keep};
use crate::domain::local::{LocalEndpoint, READ, SMALL_BODY};
use crate::domain::policy::Requirement;
use crate::domain::snapshot::Snapshot;
use crate::domain::token::VerificationKey;

/// The endpoint's row in the table.
pub static ENDPOINT: LocalEndpoint = LocalEndpoint {
    name: "countersign.jwks",
    path: "/.well-known/jwks.json",
    methods: &READ,
    requirement: Requirement::None,
    limits: &[],
    body_max: SMALL_BODY,
    open_to_quarantined: true,
    checks_secrets: false,
    of_tokens: true,
};

/// All keys that verify tokens now, the retiring ones included.
pub fn answer(snapshot: &Snapshot) -> Response<Bytes> {
    let keys: Vec<Value> = snapshot.verification_keys.iter().filter_map(jwk).collect();
    let body = json!({ "keys": keys }).to_string() + "\n";
    answer::answer(
        "application/jwk-set+json",
        Keep::FiveMinutes,
        Bytes::from(body),
    )
}

/// A point that is not one of P-256 has no place in the set; `control` makes none.
fn jwk(key: &VerificationKey) -> Option<Value> {
    let [4, coordinates @ ..] = key.point.as_slice() else {
        return None;
    };
    let (x, y) = coordinates.split_at_checked(32)?;
    (y.len() == 32).then(|| {
        json!({
            "kty": "EC",
            "crv": "P-256",
            "alg": "ES256",
            "use": "sig",
            "kid": key.kid,
            "x": BASE64URL_NOPAD.encode(x),
            "y": BASE64URL_NOPAD.encode(y),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_as_a_jwk() {
        let mut point = vec![4];
        point.extend([1; 32]);
        point.extend([2; 32]);
        let key = VerificationKey {
            kid: "k1".to_owned(),
            point,
        };
        let jwk = jwk(&key).unwrap();
        assert_eq!(jwk["kid"], "k1");
        assert_eq!(jwk["x"], "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE");
        assert_eq!(jwk["y"], "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI");
        for point in [vec![], vec![4], vec![2; 33], vec![4; 66]] {
            let kid = String::new();
            assert_eq!(super::jwk(&VerificationKey { kid, point }), None);
        }
    }
}
