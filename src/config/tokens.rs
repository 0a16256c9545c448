//! The token service and the keys that are exchanged there.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::secret::SecretReference;
use super::span::Span;
use crate::domain::token::ClientAuthMethod;
use crate::domain::token_profile::TokenProfile;

/// The token service: a key is exchanged for a short-lived access token at `POST /oauth2/token`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tokens {
    /// The issuer and audience of access tokens: the `https` origin that partners call, without a path. Without an
    /// issuer, no tokens are issued.
    pub issuer: Option<String>,
    /// The profile that the token service keeps to: `standard`, or `fapi2` for the FAPI 2.0 Security Profile, which
    /// switches off client secrets, tokens that are not bound to a certificate or a key, and all algorithms but PS256,
    /// ES256 and `EdDSA`.
    #[schemars(with = "String", extend("enum" = TokenProfile::ALL.map(TokenProfile::as_str)))]
    pub profile: TokenProfile,
    /// Client authentication methods at `POST /oauth2/token`, by the names of RFC 8414: the key as the secret
    /// (`client_secret_basic`, `client_secret_post`), an assertion that is signed with the App's `jwks`
    /// (`private_key_jwt`), or a certificate of the key's App alone (`tls_client_auth`, `self_signed_tls_client_auth`).
    /// With the last two, a certificate is the only factor on a route that requires `mtls_and_token`: anyone who has it
    /// can get a token with every scope of the key.
    #[schemars(with = "Vec<String>", extend("items" = client_auth_schema()))]
    pub client_auth: Vec<ClientAuthMethod>,
    /// The lifetime of an access token.
    pub ttl: Span,
    /// The lifetime of an access token that is bound to a certificate.
    pub ttl_bound: Span,
    /// The lifetime of an auth token, with which a user logs in once.
    pub auth_token_ttl: Span,
    /// The lifetime of a user's session that is not refreshed.
    pub session_ttl: Span,
    /// The time from a login for which its session can be refreshed.
    pub refresh_ttl: Span,
    /// The maximum number of sessions of a user. One more ends the one that was refreshed longest ago.
    pub sessions_per_user: u32,
    /// True if each DPoP proof needs a nonce of the gateway (RFC 9449, 8), so that nobody can make proofs for later. A
    /// client that has none gets one with a refusal, and sends its request again; libraries do that by themselves.
    pub dpop_nonces: bool,
    /// True if the `jwks_url` of an App may lead to a private address. The gateway fetches it, so that an operator of
    /// Apps could reach hosts that only the gateway's machine can.
    pub jwks_allow_private: bool,
    /// The file of the private key that signs tokens, in PEM; `token-signing.pem` in the data directory when not set.
    /// Created when it is missing.
    pub signing_key: Option<PathBuf>,
}

/// The storage of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// A reference to a secret of 32 or more characters that is part of every key's digest, so that keys cannot be
    /// guessed from a stolen store. Changing it invalidates all keys.
    pub pepper: Option<SecretReference>,
    /// A reference to a secret of 32 or more characters, under which the store keeps the texts of signing keys: a
    /// signature is checked with the text itself. Signing keys need it. Keep a copy apart from the store's: with another
    /// one, or without it, the gateway does not start while the store has signing keys.
    pub sealing_key: Option<SecretReference>,
}

fn client_auth_schema() -> serde_json::Value {
    let names = ClientAuthMethod::ALL.map(ClientAuthMethod::as_str);
    serde_json::json!({ "type": "string", "enum": names })
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            issuer: None,
            profile: TokenProfile::Standard,
            client_auth: vec![
                ClientAuthMethod::ClientSecretBasic,
                ClientAuthMethod::ClientSecretPost,
                ClientAuthMethod::PrivateKeyJwt,
            ],
            ttl: Span::from_secs(15 * 60),
            ttl_bound: Span::from_secs(60 * 60),
            auth_token_ttl: Span::from_secs(10 * 60),
            session_ttl: Span::from_secs(30 * 24 * 60 * 60),
            refresh_ttl: Span::from_secs(90 * 24 * 60 * 60),
            sessions_per_user: 20,
            dpop_nonces: true,
            jwks_allow_private: false,
            signing_key: None,
        }
    }
}
