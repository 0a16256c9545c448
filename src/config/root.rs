//! The whole configuration: one YAML file's sections.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::authority::Authority;
use super::host_name::HostName;
use super::hosts::Host;
use super::identity_headers::IdentityHeaders;
use super::issuers::OtherIssuer;
use super::limits::Limits;
use super::listeners::{Admin, Listeners, Ops};
use super::logs::{AccessLog, Log, LogTarget};
use super::metrics::Metrics;
use super::signatures::Signatures;
use super::span::Span;
use super::store::{Store, StoreUrl};
use super::tls::Tls;
use super::tokens::{Keys, Tokens};
use super::upstreams::Upstream;
use crate::domain::local::LocalEndpoints;
use crate::domain::name::Name;
use crate::domain::scope::Scope;

/// The configuration of a Countersign gateway. Apps and their credentials are in the store, not here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The version of this format; there is only 1. It has to be written.
    pub version: u32,
    /// The directory for the gateway's own files: the store, the authority, the key that signs tokens, the local
    /// admin socket. All relative paths in this file are relative to the file's directory.
    pub data_directory: PathBuf,
    /// The number of threads that carry traffic; one per core when not set.
    pub workers: Option<NonZeroU16>,
    pub listeners: Listeners,
    pub admin: Admin,
    pub ops: Ops,
    pub tls: Tls,
    pub authority: Authority,
    /// The hosts that partners call, by name: `api.example.com`, `*.example.com`, or `*` for every other.
    #[schemars(with = "BTreeMap<String, Host>")]
    pub hosts: BTreeMap<HostName, Host>,
    /// The APIs behind the gateway, by the names that routes use.
    #[schemars(with = "BTreeMap<String, Upstream>")]
    pub upstreams: BTreeMap<Name, Upstream>,
    pub identity_headers: IdentityHeaders,
    /// The names of all scopes. With a list, a scope that is not in it is refused wherever one is written: in routes,
    /// and in new keys. Without a list, every name is a scope. The scopes of the gateway itself, `countersign:…`, need
    /// no entry.
    #[schemars(with = "Option<Vec<String>>")]
    pub scopes: Option<Vec<Scope>>,
    pub limits: Limits,
    pub tokens: Tokens,
    /// Other issuers of JWTs, by names of your own. At most 32.
    #[schemars(with = "BTreeMap<String, OtherIssuer>")]
    pub issuers: BTreeMap<Name, OtherIssuer>,
    pub keys: Keys,
    pub signatures: Signatures,
    pub store: Store,
    pub access_log: AccessLog,
    pub log: Log,
    pub metrics: Metrics,
    pub drain: Drain,
    /// The directory of the configuration file.
    #[serde(skip)]
    pub directory: PathBuf,
    /// Variables of the environment that begin as settings do and are Kubernetes' own.
    #[serde(skip)]
    pub ignored_variables: Vec<String>,
    /// The endpoints that the gateway answers itself.
    #[serde(skip)]
    pub endpoints: LocalEndpoints,
}

/// The shutdown of the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Drain {
    /// The time for which the gateway continues to serve after `/readyz` has begun to return 503. Each answer then asks
    /// clients to open a new connection. Set it longer than load balancers need to notice, and longer than busy clients
    /// pause between two requests; `1ms` where neither matters.
    pub delay: Span,
    /// The maximum time for running requests to finish after the listeners have closed; then they are cut.
    pub timeout: Span,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            delay: Span::from_secs(2),
            timeout: Span::from_secs(30),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            version: 1,
            data_directory: "/var/lib/countersign".into(),
            workers: None,
            listeners: Listeners::default(),
            admin: Admin::default(),
            ops: Ops::default(),
            tls: Tls::default(),
            authority: Authority::default(),
            hosts: BTreeMap::new(),
            upstreams: BTreeMap::new(),
            identity_headers: IdentityHeaders::default(),
            scopes: None,
            limits: Limits::default(),
            tokens: Tokens::default(),
            issuers: BTreeMap::new(),
            keys: Keys::default(),
            signatures: Signatures::default(),
            store: Store::default(),
            access_log: AccessLog::default(),
            log: Log::default(),
            metrics: Metrics::default(),
            drain: Drain::default(),
            directory: PathBuf::new(),
            ignored_variables: Vec::new(),
            endpoints: LocalEndpoints::new(),
        }
    }
}

/// Paths of files, with defaults filled in, relative to the configuration file's directory.
impl Config {
    pub fn data_directory(&self) -> PathBuf {
        self.directory.join(&self.data_directory)
    }

    /// True if the gateway keeps anything in the data directory; each part can have another place.
    pub fn uses_data_directory(&self) -> bool {
        let parts = [
            self.authority_directory(),
            self.token_signing_key(),
            self.admin_socket(),
            self.store_path(),
        ];
        let directory = self.data_directory();
        parts.iter().any(|part| part.starts_with(&directory))
    }

    /// Holds `root.pem`, `root.key`, `issuing.pem` and `issuing.key`.
    pub fn authority_directory(&self) -> PathBuf {
        self.place(self.authority.directory.as_deref(), "authority")
    }

    /// The private key that signs access tokens, in PEM; created when it is missing.
    pub fn token_signing_key(&self) -> PathBuf {
        self.place(self.tokens.signing_key.as_deref(), "token-signing.pem")
    }

    /// The unix socket of the admin API.
    pub fn admin_socket(&self) -> PathBuf {
        self.place(self.admin.socket.as_deref(), "admin.sock")
    }

    /// The file of the SQLite store.
    pub fn store_path(&self) -> PathBuf {
        let written = self.store.url.as_ref().map(StoreUrl::path);
        self.place(written, "countersign.db")
    }

    /// The file of the access log; none when it goes to stdout.
    pub fn access_log_path(&self) -> Option<PathBuf> {
        match &self.access_log.path {
            LogTarget::Stdout => None,
            LogTarget::File(path) => Some(self.directory.join(path)),
        }
    }

    fn place(&self, written: Option<&Path>, default: &str) -> PathBuf {
        match written {
            Some(path) => self.directory.join(path),
            None => self.data_directory().join(default),
        }
    }
}
