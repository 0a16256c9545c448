//! Issuers other than this gateway: their tokens open routes that name them, and are exchanged for ours.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use foldhash::HashMap;
use http::{HeaderName, HeaderValue};

use super::name::Name;
use super::secret::Secret;
use super::time::Timestamp;
use super::token::Subject;

/// The names of the algorithms that another issuer may sign with (RFC 7518, 3.1; RFC 8037, 3.1). All but HS256 sign with
/// a private key, so that the keys that verify are public.
pub const ALGORITHMS: [&str; 10] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", HS256,
];

/// The algorithm of a secret that the issuer and the gateway share. It stands alone: a public key is no secret.
pub const HS256: &str = "HS256";

/// An issuer whose tokens count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignIssuer {
    /// The name in the configuration.
    pub name: Name,
    /// `iss`, compared as it stands.
    pub issuer: Arc<str>,
    /// Its tokens are for one of these.
    pub audiences: Vec<String>,
    pub keys: KeySource,
    /// Some of [`ALGORITHMS`].
    pub algorithms: Vec<String>,
    pub app: AppOfToken,
    /// The claim that names the user.
    pub subject: String,
    pub told: Vec<ToldClaim>,
    /// True if its keys may be fetched from a private address.
    pub allow_private: bool,
}

impl ForeignIssuer {
    /// The source that its keys are fetched from, if they are fetched.
    pub fn source(&self) -> Option<Source> {
        match &self.keys {
            KeySource::Discovered => Some(Source::Issuer(Arc::clone(&self.issuer))),
            KeySource::Url(url) => Some(Source::Set(Arc::clone(url))),
            KeySource::Given(_) | KeySource::Secret(_) => None,
        }
    }
}

/// The place of an issuer's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The issuer's metadata names the URL of its set.
    Discovered,
    /// The set itself.
    Given(Arc<str>),
    /// The secret of HS256.
    Secret(Secret),
    /// The URL of the set.
    Url(Arc<str>),
}

/// A place that a set is fetched from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// An issuer, whose metadata names the URL of the set.
    Issuer(Arc<str>),
    /// The URL of a set.
    Set(Arc<str>),
}

/// The App that a token of an issuer is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppOfToken {
    /// A claim names it.
    Mapped {
        claim: String,
        apps: BTreeMap<String, Name>,
    },
    One(Name),
}

impl AppOfToken {
    /// True if some token of the issuer may be of this App.
    pub fn may_be(&self, app: &Name) -> bool {
        match self {
            Self::Mapped { apps, .. } => apps.values().any(|mapped| mapped == app),
            Self::One(one) => one == app,
        }
    }
}

/// A claim that upstreams get in a header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldClaim {
    pub claim: String,
    pub header: HeaderName,
}

/// A token of another issuer that is verified.
#[derive(Debug)]
pub struct ForeignToken {
    pub issuer: Arc<ForeignIssuer>,
    /// SHA-256 of its text.
    pub digest: [u8; 32],
    pub app: Name,
    pub subject: Subject,
    /// The first time at which it is no longer valid: its expiry, and the difference that clocks may have.
    pub counts_until: Timestamp,
    /// Its claims as upstreams get them.
    pub told: Vec<(HeaderName, HeaderValue)>,
}

/// The issuers of a configuration, and the header fields in which upstreams get their claims.
#[derive(Clone, Debug, Default)]
pub struct ForeignIssuers {
    list: Vec<Arc<ForeignIssuer>>,
    told: Option<Arc<ToldNames>>,
}

impl ForeignIssuers {
    pub fn new(list: Vec<Arc<ForeignIssuer>>) -> Self {
        let names = list.iter().flat_map(|issuer| &issuer.told);
        let told = ToldNames::new(names.map(|told| told.header.as_str()));
        Self {
            list,
            told: (!told.is_empty()).then(|| Arc::new(told)),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<ForeignIssuer>> {
        self.list.iter()
    }

    /// The issuer of this `iss`.
    pub fn of(&self, issuer: &str) -> Option<&Arc<ForeignIssuer>> {
        self.list.iter().find(|known| *known.issuer == *issuer)
    }

    /// The names that only the gateway sets, if there are any.
    pub fn told(&self) -> Option<&Arc<ToldNames>> {
        self.told.as_ref()
    }
}

/// Names of header fields that only the gateway sets, because upstreams get claims in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToldNames {
    names: HashSet<String, foldhash::fast::FixedState>,
    /// A bit for each length of a name: most fields of a request have another one.
    lengths: u64,
}

impl ToldNames {
    fn new<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let mut told = Self::default();
        for name in names {
            told.lengths |= bit(name);
            told.names.insert(folded(name).into());
        }
        told
    }

    fn is_empty(&self) -> bool {
        self.lengths == 0
    }

    /// True for one of the names, with any character in place of a hyphen and in any case.
    pub fn has(&self, name: &str) -> bool {
        self.lengths & bit(name) != 0 && self.names.contains(&*folded(name))
    }
}

const fn bit(name: &str) -> u64 {
    let length = name.len();
    1 << if length < 63 { length } else { 63 }
}

/// A name as upstreams see it that take all characters but letters and digits for the same.
fn folded(name: &str) -> std::borrow::Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.bytes().all(is_plain) {
        return name.into();
    }
    let fold = |letter: char| match letter {
        'a'..='z' | '0'..='9' => letter,
        'A'..='Z' => letter.to_ascii_lowercase(),
        _ => '-',
    };
    name.chars().map(fold).collect::<String>().into()
}

/// The sets that were fetched, by their sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchedSets(HashMap<Source, Arc<str>>);

impl FetchedSets {
    pub fn find(&self, source: &Source) -> Option<&Arc<str>> {
        self.0.get(source)
    }
}

impl FromIterator<(Source, Arc<str>)> for FetchedSets {
    fn from_iter<I: IntoIterator<Item = (Source, Arc<str>)>>(sets: I) -> Self {
        Self(sets.into_iter().collect())
    }
}

#[cfg(test)]
impl ForeignIssuer {
    /// An issuer of a test, with a set at a URL.
    pub fn sample(name: &str, app: &str) -> Self {
        Self {
            name: name.parse().unwrap(),
            issuer: format!("https://{name}.test").into(),
            audiences: vec!["acme".to_owned()],
            keys: KeySource::Url(format!("https://{name}.test/jwks").into()),
            algorithms: vec!["ES256".to_owned()],
            app: AppOfToken::One(app.parse().unwrap()),
            subject: "sub".to_owned(),
            told: Vec::new(),
            allow_private: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_told_name_is_known_in_every_spelling() {
        let told = ToldNames::new(["x-user-role", "x-user-tier"].into_iter());
        for name in ["x-user-role", "x_user_role", "X.User~Tier", "X-USER-TIER"] {
            assert!(told.has(name), "{name}");
        }
        for name in ["x-user-rule", "x-user-roles", "", "xuserrole--"] {
            assert!(!told.has(name), "{name}");
        }
        assert!(!told.is_empty());
        assert!(ToldNames::default().is_empty());
        assert!(!ToldNames::default().has("x-user-role"));
        let long = "x".repeat(200);
        assert!(ToldNames::new([&*long].into_iter()).has(&long));
    }
}
