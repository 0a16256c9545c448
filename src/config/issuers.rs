//! Other issuers, whose tokens the token service exchanges.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::issuer::{ALGORITHMS, ForeignIssuer};
use crate::domain::name::Name;

/// Another issuer of JWTs, for example an `OpenID` provider. Clients of `app` exchange its tokens at `POST /oauth2/token`
/// for an access token with the same user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OtherIssuer {
    /// The `iss` of its tokens, compared as it stands.
    pub issuer: String,
    /// The `aud` of its tokens: they are for one of these.
    pub audiences: Vec<String>,
    pub keys: IssuerKeys,
    /// The algorithms that it signs with.
    #[serde(default = "default_algorithms")]
    #[schemars(extend("items" = algorithm_schema()))]
    pub algorithms: Vec<String>,
    /// The name of the App whose clients exchange its tokens.
    #[schemars(with = "String")]
    pub app: Name,
    /// The claim that names the user.
    #[serde(default = "default_subject")]
    pub subject: String,
}

/// The public keys of an issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssuerKeys {
    /// The `https` URL of its JWK set, which is fetched in the background every 5 minutes. A private address is asked
    /// only with `tokens.jwks_allow_private`.
    pub jwks_url: String,
}

fn default_algorithms() -> Vec<String> {
    ["RS256", "ES256"].map(str::to_owned).to_vec()
}

fn default_subject() -> String {
    "sub".to_owned()
}

fn algorithm_schema() -> serde_json::Value {
    serde_json::json!({ "type": "string", "enum": ALGORITHMS })
}

/// The issuers as the token service takes them.
pub fn foreign_issuers(issuers: &BTreeMap<Name, OtherIssuer>) -> Vec<ForeignIssuer> {
    let each = issuers.iter().map(|(name, issuer)| ForeignIssuer {
        name: name.clone(),
        issuer: issuer.issuer.clone(),
        audiences: issuer.audiences.clone(),
        jwks_url: issuer.keys.jwks_url.as_str().into(),
        algorithms: issuer.algorithms.clone(),
        app: issuer.app.clone(),
        subject: issuer.subject.clone(),
    });
    each.collect()
}
