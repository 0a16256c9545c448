//! The listeners for operators and monitors: the admin API over TLS and over its socket, and the ops listener.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use prometheus::Registry;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listeners;
use super::reload::Running;
use crate::api::admin::operations::Operations;
use crate::api::admin::state::AdminState;
use crate::api::edge::Edge;
use crate::api::listen::{self, Listening, LocalSocket};
use crate::api::ops::router::OpsState;
use crate::api::{admin, openapi, ops};
use crate::config::root::Config;
use crate::crypto::random;
use crate::domain::id::RequestId;
use crate::domain::time::Clock;
use crate::net::tls::ServerConfig;

/// The parts of the listeners.
pub struct Operators<'a> {
    pub config: &'a Config,
    pub running: Arc<Running>,
    /// The TLS of the admin API.
    pub admin_tls: Arc<ServerConfig>,
    pub registry: Registry,
    pub tasks: TaskTracker,
    /// Cancelled to close the listeners.
    pub closing: CancellationToken,
}

impl Operators<'_> {
    /// Opens the admin API and the ops listener; returns their addresses.
    pub async fn listen(self) -> anyhow::Result<(SocketAddr, SocketAddr)> {
        let edge = Edge {
            ids: request_ids(&self.running.clock),
            tasks: self.tasks.clone(),
        };
        let how = Listening::new(self.closing.clone(), self.tasks.clone());
        let admin = self.listen_admin(edge.clone(), &how).await?;
        let ops = self.listen_ops(edge, how)?;
        Ok((admin, ops))
    }

    /// Opens the admin API over TLS, and then over its socket.
    async fn listen_admin(&self, edge: Edge, how: &Listening) -> anyhow::Result<SocketAddr> {
        let written = &self.config.admin;
        let router = admin::router::router(self.admin_state(), edge);
        let (listener, address) =
            listeners::control("admin.address", written.address.0, &written.tcp)?;
        let over_tls = listen::tcp(
            listener,
            Some(Arc::clone(&self.admin_tls)),
            router.clone(),
            how.clone(),
        );
        self.tasks.spawn(over_tls);
        let path = self.config.admin_socket();
        let socket = LocalSocket::bind(&path, Vec::new())
            .await
            .with_context(|| format!("admin.socket {}", path.display()))?;
        self.tasks.spawn(listen::unix(socket, router, how.clone()));
        Ok(address)
    }

    fn admin_state(&self) -> AdminState {
        let operations: Arc<dyn Operations> = Arc::clone(&self.running) as _;
        AdminState::new(
            self.running.control.clone(),
            operations,
            Arc::clone(&self.running.clock),
            openapi::json(),
        )
    }

    fn listen_ops(&self, edge: Edge, how: Listening) -> anyhow::Result<SocketAddr> {
        let state = OpsState {
            health: Arc::clone(&self.running.health),
            registry: self.registry.clone(),
        };
        let router = ops::router::router(state, edge);
        let written = &self.config.ops;
        let (listener, address) =
            listeners::control("ops.address", written.address.0, &written.tcp)?;
        self.tasks.spawn(listen::tcp(listener, None, router, how));
        Ok(address)
    }
}

fn request_ids(clock: &Arc<dyn Clock>) -> Arc<dyn Fn() -> RequestId + Send + Sync> {
    let clock = Arc::clone(clock);
    Arc::new(move || RequestId::from_bits(random::id_bits(clock.now())))
}
