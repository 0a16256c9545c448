//! The tools of one worker thread. Nothing here is shared with another worker unless its comment says so.

use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_util::task::TaskTracker;

use crate::domain::snapshot::Snapshot;
use crate::domain::time::Clock;
use crate::net::http::ServerBounds;

use super::bodies::held::HeldBytes;
use super::connections::live::Live;
use super::connections::seats::Seats;
use super::counters::local::Counters;
use super::credentials::signatures::Signatures;
use super::credentials::verifier::Verifier;
use super::downstream::date::Dates;
use super::generations::Generations;
use super::identity_headers::assertion::Assertions;
use super::intake::handshake::Leaves;
use super::local::LocalService;
use super::report::key_uses::KeyUses;
use super::report::record::Book;
use super::report::worker_metrics::WorkerMetrics;
use super::settings::Settings;
use super::upstream::upstreams::Upstreams;

/// A worker and its tools.
#[derive(Debug)]
pub struct Worker {
    pub settings: Arc<Settings>,
    /// Shared: the snapshot for all decisions; read once for each request.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Shared: the parts of the configuration beside the snapshot.
    pub generations: Arc<ArcSwap<Generations>>,
    /// Shared.
    pub seats: Arc<Seats>,
    /// Shared.
    pub local: Arc<dyn LocalService>,
    /// Shared.
    pub clock: Arc<dyn Clock>,
    pub server: ServerBounds,
    pub upstreams: Rc<Upstreams>,
    pub counters: Rc<Counters>,
    pub dates: Dates,
    pub leaves: Leaves,
    pub verifier: Verifier,
    pub signatures: Signatures,
    pub held_bytes: Rc<HeldBytes>,
    pub assertions: Assertions,
    pub live: Rc<Live>,
    pub book: Rc<Book>,
    pub metrics: Rc<WorkerMetrics>,
    pub key_uses: KeyUses,
    /// Connections and tunnels, so that draining can wait for them.
    pub tasks: TaskTracker,
}
