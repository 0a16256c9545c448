//! The two parts of a configuration: the settings that only a restart changes, and those that a reload replaces.
//!
//! Both are made by patterns that name every setting. A new setting does not compile until it belongs to one of them.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::address::ListenAddress;
use super::authority::{Authority, Profile};
use super::field_name::FieldName;
use super::host_name::HostName;
use super::hosts::Host;
use super::identity_headers::IdentityHeaders;
use super::issuers::OtherIssuer;
use super::limits::Limits;
use super::listeners::{
    Admin, AuthFailures, Discard, Forwarded, Http, ListenerTimeouts, Listeners, Ops, Partners,
    ProxyProtocol,
};
use super::logs::{AccessLog, Log};
use super::metrics::Metrics;
use super::root::{Config, Drain};
use super::secret::SecretReference;
use super::signatures::Signatures;
use super::size::Size;
use super::span::Span;
use super::store::Store;
use super::tcp::Tcp;
use super::tls::Tls;
use super::tokens::{Keys, Tokens};
use super::upstreams::Upstream;
use crate::domain::local::LocalEndpoint;
use crate::domain::name::Name;
use crate::domain::scope::Scope;
use crate::domain::secret::Secret;
use crate::domain::token::ClientAuthMethod;
use crate::domain::token_profile::TokenProfile;

/// The settings that a reload replaces. The data plane's values are made from them in [`super::catalog`].
#[derive(Clone, Copy, Debug)]
pub struct Replaceable<'c> {
    pub hosts: &'c BTreeMap<HostName, Host>,
    pub upstreams: &'c BTreeMap<Name, Upstream>,
    pub identity_headers: &'c IdentityHeaders,
    /// The catalogue of scopes, if there is one.
    pub scopes: Option<&'c [Scope]>,
    /// `limits.legacy_headers`
    pub legacy_limit_headers: bool,
    pub tls: &'c Tls,
    pub profile: &'c Profile,
    /// `tokens.issuer`
    pub issuer: Option<&'c str>,
    /// `tokens.client_auth`
    pub token_client_auth: &'c [ClientAuthMethod],
    /// `tokens.profile`
    pub token_profile: TokenProfile,
    pub issuers: &'c BTreeMap<Name, OtherIssuer>,
    /// `listeners.partners.http.http2`: the offer of HTTP/2 is a part of TLS.
    pub http2: bool,
    /// The endpoints that the gateway answers itself; no setting.
    pub endpoints: &'c [&'static LocalEndpoint],
}

/// The settings that the process reads once, when it starts. Paths are complete.
///
/// The structure is the file's, so that a changed setting has the name that the file gives it. A section that is not
/// divided any further is named as a whole.
#[derive(Clone, Debug, Serialize)]
pub struct Fixed<'c> {
    pub workers: Option<NonZeroU16>,
    #[serde(serialize_with = "path")]
    pub data_directory: PathBuf,
    pub listeners: FixedListeners<'c>,
    pub admin: FixedAdmin<'c>,
    pub ops: FixedOps<'c>,
    pub authority: FixedAuthority,
    pub tokens: FixedTokens,
    pub keys: FixedKeys,
    #[serde(serialize_with = "whole")]
    pub signatures: &'c Signatures,
    pub store: FixedStore,
    #[serde(serialize_with = "whole")]
    pub access_log: &'c AccessLog,
    #[serde(serialize_with = "whole")]
    pub log: &'c Log,
    #[serde(serialize_with = "whole")]
    pub metrics: &'c Metrics,
    #[serde(serialize_with = "whole")]
    pub drain: &'c Drain,
}

/// The fixed part of `listeners`.
#[derive(Clone, Debug, Serialize)]
pub struct FixedListeners<'c> {
    pub partners: FixedPartners<'c>,
}

/// The fixed part of `listeners.partners`.
#[derive(Clone, Debug, Serialize)]
pub struct FixedPartners<'c> {
    pub address: ListenAddress,
    pub connections_max: u32,
    pub connections_per_address: u32,
    #[serde(serialize_with = "whole")]
    pub tcp: &'c Tcp,
    #[serde(serialize_with = "whole")]
    pub proxy_protocol: &'c ProxyProtocol,
    #[serde(serialize_with = "whole")]
    pub forwarded: &'c Forwarded,
    #[serde(serialize_with = "whole")]
    pub timeouts: &'c ListenerTimeouts,
    #[serde(serialize_with = "whole")]
    pub http: FixedHttp<'c>,
    #[serde(serialize_with = "whole")]
    pub discard: &'c Discard,
    #[serde(serialize_with = "whole")]
    pub auth_failures: &'c AuthFailures,
}

/// The fixed part of `listeners.partners.http`.
#[derive(Clone, Debug, Serialize)]
pub struct FixedHttp<'c> {
    pub header_bytes_max: Size,
    pub headers_max: u16,
    pub uri_bytes_max: Size,
    pub streams_max: u32,
    pub resets_max: u32,
    pub unsent_bytes_max: Size,
    pub caller_request_id: Option<&'c FieldName>,
}

/// The fixed part of `admin`.
#[derive(Clone, Debug, Serialize)]
pub struct FixedAdmin<'c> {
    pub address: ListenAddress,
    #[serde(serialize_with = "path")]
    pub socket: PathBuf,
    #[serde(serialize_with = "whole")]
    pub tcp: &'c Tcp,
}

/// The fixed part of `ops`.
#[derive(Clone, Debug, Serialize)]
pub struct FixedOps<'c> {
    pub address: ListenAddress,
    #[serde(serialize_with = "whole")]
    pub tcp: &'c Tcp,
}

/// The fixed part of `authority`.
#[derive(Clone, Debug, Serialize)]
pub struct FixedAuthority {
    #[serde(serialize_with = "path")]
    pub directory: PathBuf,
}

/// The fixed part of `tokens`.
#[derive(Clone, Debug, Serialize)]
pub struct FixedTokens {
    pub ttl: Span,
    pub ttl_bound: Span,
    pub auth_token_ttl: Span,
    pub session_ttl: Span,
    pub refresh_ttl: Span,
    pub sessions_per_user: u32,
    pub dpop_nonces: bool,
    jwks_allow_private: bool,
    #[serde(serialize_with = "path")]
    pub signing_key: PathBuf,
}

/// The fixed part of `keys`.
#[derive(Clone, Debug, Serialize)]
pub struct FixedKeys {
    pepper: Option<String>,
    sealing_key: Option<String>,
}

/// The fixed part of `store`.
#[derive(Clone, Debug, Serialize)]
pub struct FixedStore {
    #[serde(serialize_with = "path")]
    pub url: PathBuf,
}

impl Config {
    pub fn fixed(&self) -> Fixed<'_> {
        self.parts().0
    }

    pub fn replaceable(&self) -> Replaceable<'_> {
        self.parts().1
    }

    /// Both parts. Every setting is in one of them.
    pub fn parts(&self) -> (Fixed<'_>, Replaceable<'_>) {
        let Self {
            // There is one version of the format.
            version: _,
            data_directory: _,
            workers,
            listeners: Listeners { partners },
            admin,
            ops,
            tls,
            authority,
            hosts,
            upstreams,
            identity_headers,
            scopes,
            limits: Limits { legacy_headers },
            tokens,
            issuers,
            keys: Keys {
                pepper,
                sealing_key,
            },
            signatures,
            store: Store { url: _ },
            access_log,
            log,
            metrics,
            drain,
            // Paths are relative to it, and the parts hold complete ones.
            directory: _,
            ignored_variables: _,
            endpoints,
        } = self;
        let (partners, http2) = partners.parts();
        let (authority, profile) = authority.parts(self.authority_directory());
        let token_profile = tokens.profile;
        let (tokens, issuer, token_client_auth) = tokens.parts(self.token_signing_key());
        let fixed = Fixed {
            workers: *workers,
            data_directory: self.data_directory(),
            listeners: FixedListeners { partners },
            admin: admin.fixed(self.admin_socket()),
            ops: ops.fixed(),
            authority,
            tokens,
            keys: FixedKeys {
                pepper: pepper.as_ref().map(secret),
                sealing_key: sealing_key.as_ref().map(secret),
            },
            signatures,
            store: FixedStore {
                url: self.store_path(),
            },
            access_log,
            log,
            metrics,
            drain,
        };
        let replaceable = Replaceable {
            hosts,
            upstreams,
            identity_headers,
            scopes: scopes.as_deref(),
            legacy_limit_headers: *legacy_headers,
            tls,
            profile,
            issuer,
            token_client_auth,
            token_profile,
            issuers,
            http2,
            endpoints,
        };
        (fixed, replaceable)
    }
}

impl Partners {
    fn parts(&self) -> (FixedPartners<'_>, bool) {
        let Self {
            address,
            connections_max,
            connections_per_address,
            tcp,
            proxy_protocol,
            forwarded,
            timeouts,
            http,
            discard,
            auth_failures,
        } = self;
        let (http, http2) = http.parts();
        let fixed = FixedPartners {
            address: *address,
            connections_max: *connections_max,
            connections_per_address: *connections_per_address,
            tcp,
            proxy_protocol,
            forwarded,
            timeouts,
            http,
            discard,
            auth_failures,
        };
        (fixed, http2)
    }
}

impl Http {
    fn parts(&self) -> (FixedHttp<'_>, bool) {
        let Self {
            http2,
            header_bytes_max,
            headers_max,
            uri_bytes_max,
            streams_max,
            resets_max,
            unsent_bytes_max,
            caller_request_id,
        } = self;
        let fixed = FixedHttp {
            header_bytes_max: *header_bytes_max,
            headers_max: *headers_max,
            uri_bytes_max: *uri_bytes_max,
            streams_max: *streams_max,
            resets_max: *resets_max,
            unsent_bytes_max: *unsent_bytes_max,
            caller_request_id: caller_request_id.as_ref(),
        };
        (fixed, *http2)
    }
}

impl Admin {
    fn fixed(&self, complete_socket: PathBuf) -> FixedAdmin<'_> {
        let Self {
            address,
            socket: _,
            tcp,
        } = self;
        FixedAdmin {
            address: *address,
            socket: complete_socket,
            tcp,
        }
    }
}

impl Ops {
    fn fixed(&self) -> FixedOps<'_> {
        let Self { address, tcp } = self;
        FixedOps {
            address: *address,
            tcp,
        }
    }
}

impl Authority {
    fn parts(&self, complete_directory: PathBuf) -> (FixedAuthority, &Profile) {
        let Self {
            directory: _,
            profile,
        } = self;
        let fixed = FixedAuthority {
            directory: complete_directory,
        };
        (fixed, profile)
    }
}

impl Tokens {
    fn parts(
        &self,
        complete_signing_key: PathBuf,
    ) -> (FixedTokens, Option<&str>, &[ClientAuthMethod]) {
        let Self {
            issuer,
            client_auth,
            ttl,
            ttl_bound,
            auth_token_ttl,
            session_ttl,
            refresh_ttl,
            sessions_per_user,
            dpop_nonces,
            jwks_allow_private,
            signing_key: _,
            profile: _,
        } = self;
        let fixed = FixedTokens {
            ttl: *ttl,
            ttl_bound: *ttl_bound,
            auth_token_ttl: *auth_token_ttl,
            session_ttl: *session_ttl,
            refresh_ttl: *refresh_ttl,
            sessions_per_user: *sessions_per_user,
            dpop_nonces: *dpop_nonces,
            jwks_allow_private: *jwks_allow_private,
            signing_key: complete_signing_key,
        };
        (fixed, issuer.as_deref(), client_auth)
    }
}

impl Fixed<'_> {
    /// The names of the settings that differ, as `listeners.partners.address`, sorted.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut names = Vec::new();
        differences(String::new(), &self.tree(), &other.tree(), &mut names);
        names
    }

    fn tree(&self) -> Value {
        serde_json::to_value(self).expect("settings are plain JSON")
    }
}

/// Notes `name`, or the names below it, where the trees differ. Both trees have the same keys.
fn differences(name: String, one: &Value, other: &Value, names: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(section), Value::Object(others)) => {
            for (key, value) in section {
                let name = if name.is_empty() {
                    key.clone()
                } else {
                    format!("{name}.{key}")
                };
                differences(name, value, others.get(key).unwrap_or(&Value::Null), names);
            }
        }
        _ if one == other => {}
        _ => names.push(name),
    }
}

/// A section as one value.
fn whole<T: Serialize, S: Serializer>(section: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let text = serde_json::to_string(section).map_err(serde::ser::Error::custom)?;
    serializer.serialize_str(&text)
}

/// A path as text. A path that is not UTF-8 begins with the file's directory, which stays the same.
fn path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// A reference to a secret and a digest of the secret. The digest guards nothing, it only has to change.
fn secret(reference: &SecretReference) -> String {
    let mut hasher = DefaultHasher::new();
    reference.fetched().map(Secret::expose).hash(&mut hasher);
    format!("{reference} {}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::certificate::Profile as DomainProfile;

    #[test]
    fn a_setting_that_a_restart_changes_is_named_and_one_that_a_reload_replaces_is_not() {
        let running = Config::default();
        let differences = |new: &Config| running.fixed().differences(&new.fixed());
        let mut new = running.clone();
        new.tls.client_auth.mode = crate::config::tls::ClientAuthMode::Required;
        new.tokens.issuer = Some("https://a.test".to_owned());
        new.authority.profile.active_max = 7;
        new.listeners.partners.http.http2 = false;
        assert_eq!(differences(&new), [""; 0]);
        new.workers = NonZeroU16::new(3);
        new.listeners.partners.http.headers_max = 7;
        new.listeners.partners.discard.pause = Span::from_secs(7);
        new.tokens.ttl = Span::from_secs(7);
        new.drain.timeout = Span::from_secs(7);
        new.listeners.partners.tcp.nodelay = false;
        new.ops.tcp.nodelay = false;
        assert_eq!(
            differences(&new),
            [
                "drain",
                "listeners.partners.discard",
                "listeners.partners.http",
                "listeners.partners.tcp",
                "ops.tcp",
                "tokens.ttl",
                "workers",
            ]
        );
        // A data directory that moves takes its files along, and a default that is written down is no change.
        let mut moved = running.clone();
        moved.data_directory = "/elsewhere".into();
        assert_eq!(differences(&moved).len(), 5);
        let mut written = running.clone();
        written.admin.socket = Some(running.admin_socket());
        assert_eq!(differences(&written), [""; 0]);
    }

    #[test]
    fn a_secret_that_changes_under_its_reference_is_a_difference() {
        let directory = tempfile::tempdir().unwrap();
        let with = |secret: &str| {
            std::fs::write(directory.path().join("pepper"), secret).unwrap();
            let mut config = Config::default();
            let mut pepper: SecretReference = "${file:pepper}".parse().unwrap();
            let surroundings = crate::config::file::Surroundings {
                directory: directory.path(),
                environment: &[],
            };
            pepper.fetch(&surroundings).unwrap();
            config.keys.pepper = Some(pepper);
            config
        };
        let (one, other) = (with("one"), with("other"));
        assert_eq!(one.fixed().differences(&with("one").fixed()), [""; 0]);
        assert_eq!(one.fixed().differences(&other.fixed()), ["keys.pepper"]);
        assert!(!one.fixed().tree().to_string().contains("one"));
    }

    /// Every setting with a value, so that each can be changed by itself. No value hides another: where a host or a
    /// route overrides a setting, another one does not.
    fn everything() -> Value {
        let tcp = json!({"congestion": "cubic", "nodelay": true, "busy_poll": 50});
        let here = json!({
            "subject": true, "client_cert_not_after": true, "client_cert_subject": true, "client_cert_sans": true,
            "client_cert": true, "client_cert_chain": true, "client_cert_bytes_max": "1KiB",
            "assertion": {"enabled": true, "audience": "orders", "ttl": "30s"},
            "presets": ["nginx"], "xfcc_by": "urn:a",
        });
        let limit = |name: &str| json!({"name": name, "per": "app", "rate": "1/s", "burst": 2});
        let route =
            |name: &str, matches: Value| json!({"name": name, "match": matches, "upstream": "up"});
        let quota = json!({
            "name": "quota", "match": {"path": "/quota"}, "upstream": "up",
            "limit": {"name": "four", "per": "key", "quota": "9/d"},
        });
        let own = json!({
            "name": "own", "match": {"path": "/own", "methods": ["GET"]}, "require": "mtls_and_key",
            "scopes": ["a:b"], "accept": ["secret_key"], "environments": ["live"], "limit": limit("one"), "limits": [limit("two"), {"name": "three", "per": "user", "quota": "9/d"}], "upstream": "up",
            "body_max": "1KiB", "ambiguous_paths": ["semicolons"], "keep_credential": true,
            "timeouts": {"body": "1s", "body_pace": {"grace": "1s", "bytes_per_second": 1}},
            "upgrades": ["websocket"], "identity_headers": here,
        });
        json!({
            "version": 1,
            "data_directory": "/data",
            "workers": 2,
            "listeners": {"partners": {
                "tcp": tcp,
                "proxy_protocol": {"trusted": ["192.0.2.0/24"]},
                "forwarded": {"trusted": ["192.0.2.0/24"]},
                "http": {"caller_request_id": "X-Caller"},
            }},
            "admin": {"socket": "a.sock", "tcp": tcp},
            "ops": {"tcp": tcp},
            "tls": {
                "certificates": [{"cert": "c.pem", "key": "${file:c.key}"}],
                "own_names": ["own.test"],
                "client_auth": {"mode": "optional"},
            },
            "authority": {"directory": "authority"},
            "hosts": {
                "common.test": {"require": "key", "routes": [quota, route("common", json!({"path": "/common"}))]},
                "own.test": {
                    "require": "mtls", "client_auth": {"mode": "required", "reject": "alert"},
                    "identity_headers": here, "header_names": "pass",
                    "routes": [own, route("host", json!({"prefix": "/host"}))],
                },
            },
            "upstreams": {"up": {
                "endpoints": ["https://192.0.2.1:1"],
                "tls": {
                    "ca": "ca.pem", "client_cert": "u.pem", "client_key": "${file:u.key}", "server_name": "up.test",
                },
                "tcp": tcp,
            }},
            "identity_headers": here,
            "scopes": ["a:b", "c"],
            "limits": {"legacy_headers": true},
            "tokens": {"issuer": "https://a.test", "signing_key": "token.pem"},
            "keys": {"pepper": "${file:pepper}", "sealing_key": "${file:sealing}"},
            "store": {"url": "sqlite:///store.db"},
            "access_log": {"path": "access.log"},
            "metrics": {"apps": {"names": ["acme"]}},
        })
    }

    /// Values of every type that a setting has. The first one that can be read and differs is a change.
    const OTHERS: &[&str] = &[
        "7s",
        "7KiB",
        "7/s",
        "127.0.0.1:7",
        "http://192.0.2.7:7",
        "198.51.100.0/24",
        "POST",
        "bbr",
        "sqlite:///o.db",
        "${file:o}",
        "kong",
        "warn",
        "json",
        "listed",
        "drop",
        "pass",
        "pass",
        "off",
        "alert",
        "explain",
        "required",
        "none",
        "1.3",
        "p256",
        "p384",
        "tls_client_auth",
        "publishable_key",
        "test",
        "address",
        "7/h",
        "http2",
        "semicolons",
        "backslashes",
        "name/1",
        "other.test",
        "X-Other",
        "/other",
        "other",
        "fapi2",
    ];

    /// The paths of the values in a tree that are neither an object nor a list, and the paths of those without a value.
    fn leaves(at: &str, value: &Value, found: &mut Vec<String>, empty: &mut Vec<String>) {
        match value {
            Value::Object(section) => {
                for (key, value) in section {
                    // RFC 6901: a host's name may have none of the characters that need an escape.
                    leaves(&format!("{at}/{key}"), value, found, empty);
                }
            }
            Value::Null => empty.push(at.to_owned()),
            Value::Array(list) if list.is_empty() => empty.push(at.to_owned()),
            Value::Array(list) => {
                for (index, value) in list.iter().enumerate() {
                    leaves(&format!("{at}/{index}"), value, found, empty);
                }
            }
            _ => found.push(at.to_owned()),
        }
    }

    /// The path of a setting in every host and every list.
    fn everywhere(path: &str) -> String {
        let same = |part: &str| part.contains(".test") || part.parse::<usize>().is_ok();
        let parts = path
            .split('/')
            .map(|part| if same(part) { "*" } else { part });
        parts.collect::<Vec<_>>().join("/")
    }

    /// The same configuration with another value at `leaf`.
    fn changed(config: &Config, leaf: &str) -> Config {
        let tree = serde_json::to_value(config).unwrap();
        let written = tree.pointer(leaf).unwrap();
        let number = written.as_u64().map(|number| json!(number + 1));
        let switch = written.as_bool().map(|on| json!(!on));
        let texts = OTHERS.iter().map(|text| json!(text));
        let tried = number.into_iter().chain(switch).chain(texts);
        let mut read = tried.filter_map(|other| {
            let mut tree = tree.clone();
            *tree.pointer_mut(leaf)? = other;
            serde_json::from_value::<Config>(tree).ok()
        });
        read.find(|other| other != config)
            .unwrap_or_else(|| panic!("{leaf} could not be changed; does the sample have a value?"))
    }

    /// Everything that the gateway takes from the part that a reload replaces.
    fn in_force(config: &Replaceable<'_>) -> String {
        let policies = config.tls_policies().hosts;
        let by_host: BTreeMap<_, _> = policies.by_host.into_iter().collect();
        let upstreams: BTreeMap<_, _> = config.domain_upstreams().into_iter().collect();
        let tls_of_upstreams: Vec<_> = config.upstreams.values().map(|up| &up.tls).collect();
        let profile = DomainProfile::from(config.profile);
        let names = (config.server_names(), config.own_names());
        let methods = (config.token_client_auth, config.token_profile);
        let tokens = (config.issuer, methods);
        let shown = (&config.tls.certificates, names, config.http2);
        let limits = config.legacy_limit_headers;
        let traffic = (config.routes(), limits, upstreams, tls_of_upstreams);
        format!(
            "{:?} {traffic:?} {:?} {by_host:?} {profile:?} {tokens:?} {shown:?}",
            config.scopes, policies.general
        )
    }

    #[test]
    fn every_setting_is_in_force_after_a_reload_or_is_reported() {
        let running: Config = serde_json::from_value(everything()).unwrap();
        let (mut found, mut empty) = (Vec::new(), Vec::new());
        let tree = serde_json::to_value(&running).unwrap();
        leaves("", &tree, &mut found, &mut empty);
        for path in empty.iter().map(|path| everywhere(path)) {
            let mut has_value = found.iter().map(|leaf| everywhere(leaf));
            assert!(
                has_value.any(|leaf| leaf.starts_with(&path)),
                "the sample has no {path}"
            );
        }
        for leaf in found {
            // Each has one word.
            if ["/version", "/signatures/schemes/0"].contains(&leaf.as_str()) {
                continue;
            }
            let new = changed(&running, &leaf);
            let is_in_force = in_force(&new.replaceable()) != in_force(&running.replaceable());
            let reported = running.fixed().differences(&new.fixed());
            let dotted = leaf.trim_start_matches('/').replace('/', ".");
            match reported.as_slice() {
                [] => assert!(is_in_force, "{dotted} is neither in force nor reported"),
                [name] => assert!(
                    !is_in_force && dotted.starts_with(name.as_str()),
                    "{dotted} is reported as {name}, and in force: {is_in_force}"
                ),
                more => panic!("{dotted} is reported as {more:?}"),
            }
        }
    }
}
