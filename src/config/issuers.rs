//! Other issuers, whose tokens open routes and are exchanged by the token service.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::field_name::FieldName;
use super::file::PemFile;
use super::secret::SecretReference;
use crate::domain::issuer::{
    ALGORITHMS, AppOfToken, ForeignIssuer, ForeignIssuers, HS256, KeySource, ToldClaim,
};
use crate::domain::name::Name;

/// Another issuer of JWTs, for example an `OpenID` provider. Its tokens open the routes that name it in `accept`, and
/// clients of its App exchange them at `POST /oauth2/token` for an access token with the same user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OtherIssuer {
    /// The `iss` of its tokens, compared as it stands. Without `keys`, it is also the `https` URL whose metadata name
    /// the keys.
    pub issuer: String,
    /// The `aud` of its tokens: they are for one of these.
    pub audiences: Vec<String>,
    #[serde(default)]
    pub keys: IssuerKeys,
    /// The algorithms that it signs with. When not set: `RS256` and `ES256`, or `HS256` with a `secret`.
    #[serde(default)]
    #[schemars(extend("items" = algorithm_schema()))]
    pub algorithms: Option<Vec<String>>,
    /// The name of the App that its tokens are of, or the claim that names it: `{claim: azp, map: {client-a: acme}}`.
    pub app: IssuerApp,
    /// The claim that names the user.
    #[serde(default = "default_subject")]
    pub subject: String,
    /// The claims that upstreams get, each with the name of its header field. The callers' own fields of these names
    /// reach no upstream, on any route.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub claims: BTreeMap<String, FieldName>,
    /// True if its metadata and keys may be fetched from a private address.
    #[serde(default)]
    pub allow_private: bool,
}

/// The keys of an issuer: one of the three, or none, and then its metadata name them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IssuerKeys {
    /// The `https` URL of its JWK set, which is fetched in the background every 5 minutes.
    pub jwks_url: Option<String>,
    /// A file with its JWK set, which is read at the start and by each reload.
    pub jwks: Option<KeyFile>,
    /// A reference to the secret of 32 or more bytes that it signs with, for `HS256` alone.
    #[schemars(with = "Option<String>")]
    pub secret: Option<SecretReference>,
}

/// A file, by its path or as `{file: path}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "WrittenFile", into = "PathBuf")]
#[schemars(with = "WrittenFile")]
pub struct KeyFile(pub PemFile);

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum WrittenFile {
    Path(PathBuf),
    Named(NamedFile),
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NamedFile {
    file: PathBuf,
}

impl From<WrittenFile> for KeyFile {
    fn from(written: WrittenFile) -> Self {
        let (WrittenFile::Path(path) | WrittenFile::Named(NamedFile { file: path })) = written;
        Self(path.into())
    }
}

impl From<KeyFile> for PathBuf {
    fn from(file: KeyFile) -> Self {
        file.0.into()
    }
}

/// The App of an issuer's tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum IssuerApp {
    One(#[schemars(with = "String")] Name),
    Mapped(MappedApps),
}

/// A claim, and the App that each of its values names. A token with another value is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MappedApps {
    pub claim: String,
    #[schemars(with = "BTreeMap<String, String>")]
    pub map: BTreeMap<String, Name>,
}

impl OtherIssuer {
    /// The names of the algorithms.
    pub(super) fn algorithms(&self) -> Vec<String> {
        let usual: &[&str] = match self.keys.secret {
            Some(_) => &[HS256],
            None => &["RS256", "ES256"],
        };
        let usual = || usual.iter().copied().map(str::to_owned).collect();
        self.algorithms.clone().unwrap_or_else(usual)
    }

    /// The issuer as the data plane and the token service take it.
    fn domain(&self, name: &Name) -> ForeignIssuer {
        let IssuerKeys {
            jwks_url,
            jwks,
            secret,
        } = &self.keys;
        let keys = match (jwks_url, jwks, secret) {
            (Some(url), ..) => KeySource::Url(url.as_str().into()),
            (None, Some(file), _) => KeySource::Given(file.0.text().into()),
            (None, None, Some(secret)) => KeySource::Secret(secret.secret().clone()),
            (None, None, None) => KeySource::Discovered,
        };
        let told = self.claims.iter().map(|(claim, header)| ToldClaim {
            claim: claim.clone(),
            header: header.0.clone(),
        });
        ForeignIssuer {
            name: name.clone(),
            issuer: self.issuer.as_str().into(),
            audiences: self.audiences.clone(),
            keys,
            algorithms: self.algorithms(),
            app: match &self.app {
                IssuerApp::One(app) => AppOfToken::One(app.clone()),
                IssuerApp::Mapped(mapped) => AppOfToken::Mapped {
                    claim: mapped.claim.clone(),
                    apps: mapped.map.clone(),
                },
            },
            subject: self.subject.clone(),
            told: told.collect(),
            allow_private: self.allow_private,
        }
    }
}

fn default_subject() -> String {
    "sub".to_owned()
}

fn algorithm_schema() -> serde_json::Value {
    serde_json::json!({ "type": "string", "enum": ALGORITHMS })
}

/// The issuers of a loaded configuration.
pub(super) fn foreign_issuers(issuers: &BTreeMap<Name, OtherIssuer>) -> ForeignIssuers {
    let each = issuers.iter();
    let each = each.map(|(name, issuer)| Arc::new(issuer.domain(name)));
    ForeignIssuers::new(each.collect())
}
