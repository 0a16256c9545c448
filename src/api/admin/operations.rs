//! Operations on the process itself, which the daemon implements.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::time::Timestamp;

/// An answer that takes its time.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The process's own operations.
pub trait Operations: Send + Sync + fmt::Debug {
    /// Reads the configuration again; one that is refused leaves the running one untouched.
    /// One that drops every route is refused too, unless `allow_empty` says that it is meant.
    fn reload(&self, allow_empty: bool) -> Answer<'_, Result<Reloaded, ReloadRefusal>>;
    /// Begins to drain: new connections are refused, what was accepted is finished. Asking again changes nothing.
    fn drain(&self) -> Answer<'_, ()>;
    /// The progress of the drain. During the drain, the answer waits a moment for its end.
    fn drain_progress(&self) -> Answer<'_, DrainProgress>;
    fn status(&self) -> Answer<'_, Status>;
}

/// The configuration that is in force after a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// Grows by one with each reload.
    pub generation: u64,
    /// The store's revision.
    pub revision: u64,
    /// Settings that differ from those the process runs with and that only a restart puts in force.
    pub restart_needed: Vec<String>,
}

/// The failure of a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadRefusal {
    /// The configuration is bad, and the running one stays in force.
    Refused { problems: Vec<ConfigProblem> },
    /// The configuration has taken the other's place, and the data plane did not say in time that it goes by it.
    Unconfirmed { generation: u64 },
}

/// One thing that is wrong in a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigProblem {
    /// The path, for example `hosts.api.example.com.routes[0].upstream`.
    pub path: String,
    pub line: Option<u64>,
    pub column: Option<u64>,
    pub message: String,
    pub suggestion: Option<String>,
}

/// The status of the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    pub version: String,
    /// The store's revision.
    pub revision: u64,
    /// The snapshot that the data plane decides by.
    pub snapshot_version: u64,
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    pub ready: bool,
    pub draining: bool,
    /// The file that a reload reads.
    pub configuration: String,
    pub addresses: ListeningAt,
    /// The ends of the authority's and the server's certificates.
    pub ends: Vec<End>,
    /// The upstreams of the configuration in force.
    pub upstreams: Vec<StatusUpstream>,
}

/// The addresses that the gateway listens on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListeningAt {
    pub partners: String,
    pub admin: String,
    pub ops: String,
    pub socket: String,
}

/// The end of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct End {
    /// `root`, `issuing`, or `server` and its first name.
    pub certificate: String,
    #[schema(value_type = String, format = DateTime)]
    pub not_after: Timestamp,
}

/// An upstream and its endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusUpstream {
    pub name: String,
    pub endpoints: Vec<String>,
}

/// The state of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DrainState {
    /// Nobody asked for one.
    Serving,
    Draining,
    /// Everything that was accepted has ended; the process ends with this answer.
    Drained,
}

/// The progress of a drain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DrainProgress {
    pub state: DrainState,
    /// Since it began; 0 while there is none.
    pub milliseconds: u64,
    /// Connections of partners that are open.
    pub connections: u64,
    /// Requests that are being answered, tunnels included.
    pub requests: u64,
    /// Requests that did not end before the deadline and were cut.
    pub requests_cut: u64,
}
