//! The whole configuration: one YAML file's sections.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::authority::Authority;
use super::hosts::{Host, HostName};
use super::identity_headers::IdentityHeaders;
use super::listeners::{Admin, Listeners, Ops};
use super::logs::{AccessLog, Log, LogTarget};
use super::metrics::Metrics;
use super::span::Span;
use super::store::{Store, StoreUrl};
use super::tls::Tls;
use super::tokens::{Keys, Tokens};
use super::upstreams::Upstream;
use crate::domain::name::Name;

/// What a Countersign gateway needs to know. Apps and their credentials live in the store, not here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The version of this format; there is only 1. It has to be written.
    pub version: u32,
    /// Where the gateway keeps what it makes: the store, the authority, the key that signs tokens, the local
    /// admin socket. A relative path begins at this file's directory, here and everywhere below.
    pub data_directory: PathBuf,
    /// Threads that carry traffic; one per core when not set.
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
    pub tokens: Tokens,
    pub keys: Keys,
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
}

/// How the gateway stops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Drain {
    /// How long the gateway serves on after `/readyz` began to say 503, so that load balancers see it before the
    /// listeners close. Clients are told to connect anew with each answer. Longer than load balancers need to notice,
    /// and than busy clients pause between two requests; `1ms` where neither matters.
    pub delay: Span,
    /// How long requests may take to finish after the listeners closed; then they are cut.
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
            tokens: Tokens::default(),
            keys: Keys::default(),
            store: Store::default(),
            access_log: AccessLog::default(),
            log: Log::default(),
            metrics: Metrics::default(),
            drain: Drain::default(),
            directory: PathBuf::new(),
            ignored_variables: Vec::new(),
        }
    }
}

/// Places of files, with their defaults filled in and relative ones begun at the file's directory.
impl Config {
    pub fn data_directory(&self) -> PathBuf {
        self.directory.join(&self.data_directory)
    }

    /// Whether anything of the gateway lies in the data directory; every part of it may have a place elsewhere.
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

    /// The private key that signs access tokens, in PEM; made when it is missing.
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
