//! `GET /.well-known/oauth-authorization-server`: what clients need to know of the token service (RFC 8414).

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use super::answer::{self, Keep};
use super::{grants, introspect, jwks, revoke, token};
use crate::control::tokens::{assertion, proof};
use crate::domain::local::{LocalEndpoint, READ, SMALL_BODY};
use crate::domain::policy::Requirement;
use crate::domain::snapshot::Snapshot;
use crate::domain::token::{ClientAuthMethod, ClientAuthMethods};
use crate::domain::token_profile::TokenProfile;

/// The endpoint's row in the table.
pub static ENDPOINT: LocalEndpoint = LocalEndpoint {
    name: "countersign.metadata",
    path: "/.well-known/oauth-authorization-server",
    methods: &READ,
    requirement: Requirement::None,
    limits: &[],
    body_max: SMALL_BODY,
    open_to_quarantined: true,
    checks_secrets: false,
    of_tokens: true,
};

/// The metadata of the issuer that the configuration names.
pub fn answer(snapshot: &Snapshot) -> Response<Bytes> {
    let catalog = &snapshot.catalog;
    let body = metadata(&catalog.issuer, &catalog.client_auth, catalog.profile);
    answer::json(Keep::FiveMinutes, &body)
}

fn metadata(issuer: &str, methods: &ClientAuthMethods, profile: TokenProfile) -> Value {
    let base = issuer.trim_end_matches('/');
    let at = |endpoint: &LocalEndpoint| format!("{base}{}", endpoint.path);
    let token = at(&token::ENDPOINT);
    let introspection = at(&introspect::ENDPOINT);
    let revocation = at(&revoke::ENDPOINT);
    let mut metadata = json!({
        "issuer": issuer,
        "token_endpoint": token,
        "jwks_uri": at(&jwks::ENDPOINT),
        // There is no authorization endpoint, and the standard wants the list all the same.
        "response_types_supported": [],
        "grant_types_supported": grants::GRANT_TYPES,
        "token_endpoint_auth_methods_supported": methods.names(),
        "introspection_endpoint": introspection,
        "introspection_endpoint_auth_methods_supported": methods.names(),
        "revocation_endpoint": revocation,
        "revocation_endpoint_auth_methods_supported": methods.names(),
        "tls_client_certificate_bound_access_tokens": true,
        "dpop_signing_alg_values_supported": proof::algorithms(profile),
        // One port speaks TLS with and without client certificates.
        "mtls_endpoint_aliases": {
            "token_endpoint": token,
            "introspection_endpoint": introspection,
            "revocation_endpoint": revocation,
        },
    });
    // Only where assertions are accepted: a client that reads the algorithms takes the method for granted.
    if methods.allow(ClientAuthMethod::PrivateKeyJwt)
        && let Value::Object(members) = &mut metadata
    {
        for endpoint in ["token", "introspection", "revocation"] {
            let name = format!("{endpoint}_endpoint_auth_signing_alg_values_supported");
            members.insert(name, json!(assertion::algorithms(profile)));
        }
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_stand_below_the_issuer() {
        for issuer in ["https://api.example.com", "https://api.example.com/"] {
            let metadata = metadata(
                issuer,
                &ClientAuthMethods::default(),
                TokenProfile::Standard,
            );
            let methods = &metadata["token_endpoint_auth_methods_supported"];
            assert_eq!(
                *methods,
                json!([
                    "client_secret_basic",
                    "client_secret_post",
                    "private_key_jwt"
                ])
            );
            assert_eq!(metadata["issuer"], issuer, "clients compare it as it is");
            let token = "https://api.example.com/oauth2/token";
            assert_eq!(metadata["token_endpoint"], token);
            assert_eq!(metadata["mtls_endpoint_aliases"]["token_endpoint"], token);
            assert_eq!(
                metadata["jwks_uri"],
                "https://api.example.com/.well-known/jwks.json"
            );
            assert_eq!(metadata["tls_client_certificate_bound_access_tokens"], true);
        }
    }
}
