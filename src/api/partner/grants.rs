//! Grants as requests name them: `grant_type`, and for an exchange the types of its tokens (RFC 8693, 2.1).

use super::oauth::{OauthCall, Refusal, invalid};
use crate::control::tokens::request::Grant;
use crate::domain::reason::Reason;

/// `grant_type` of the exchange of tokens.
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// `grant_type` of an assertion for a user.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The values of `grant_type`, for the metadata.
pub const GRANT_TYPES: [&str; 4] = ["client_credentials", "refresh_token", EXCHANGE, JWT_BEARER];

/// `subject_token_type` of a user's id.
const USER: &str = "urn:countersign:token-type:user";
/// `subject_token_type` of an auth token.
const AUTH: &str = "urn:countersign:token-type:auth";
/// `subject_token_type` of an access token.
const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";

/// `subject_token_type` of another issuer's token.
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// The grant that a request asks for.
pub fn read<'r>(call: &'r OauthCall<'_>) -> Result<Grant<'r>, Refusal> {
    match call.form.get("grant_type") {
        Some("client_credentials") => Ok(Grant::ClientCredentials),
        Some("refresh_token") => Ok(Grant::Refresh {
            refresh_token: call.required("refresh_token")?,
        }),
        Some(EXCHANGE) => exchange(call),
        Some(JWT_BEARER) => Ok(Grant::Assertion {
            assertion: call.required("assertion")?,
            device: call.form.get("device_id"),
        }),
        Some(_) => Err(Refusal::new(
            "unsupported_grant_type",
            Reason::GrantUnsupported,
            "the grants are client_credentials, refresh_token, token-exchange and jwt-bearer",
        )),
        None => Err(invalid("grant_type is missing")),
    }
}

fn exchange<'r>(call: &'r OauthCall<'_>) -> Result<Grant<'r>, Refusal> {
    if call.form.get("actor_token").is_some() {
        return Err(invalid("actor_token is not supported"));
    }
    let subject = call.required("subject_token")?;
    let device = call.form.get("device_id");
    let (grant, gives) = match call.required("subject_token_type")? {
        // A session without an auth token has to be asked for by name: most clients never may.
        USER if call.form.get("requested_token_type") == Some(ACCESS) => (
            Grant::Login {
                user: subject,
                device,
            },
            ACCESS,
        ),
        USER => (
            Grant::Vouch {
                user: subject,
                device,
            },
            AUTH,
        ),
        AUTH => (
            Grant::Session {
                auth_token: subject,
                device,
            },
            ACCESS,
        ),
        ACCESS => (
            Grant::Narrow {
                access_token: subject,
            },
            ACCESS,
        ),
        JWT => (Grant::Foreign { token: subject }, ACCESS),
        _ => return Err(invalid("subject_token_type is not supported")),
    };
    match call.form.get("requested_token_type") {
        Some(asked) if asked != gives => Err(invalid(
            "requested_token_type is not what this exchange gives",
        )),
        _ => Ok(grant),
    }
}
