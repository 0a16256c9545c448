//! All the upstreams of one worker.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::connectors::Connectors;
use super::health::Healths;
use super::pool::Pool;
use crate::domain::name::Name;
use crate::domain::upstream::Upstream;

/// The connections of one worker, by upstream. Bound to the worker's thread and its local runtime.
#[derive(Debug)]
pub struct Upstreams {
    connectors: Arc<dyn Connectors>,
    healths: Healths,
    pools: RefCell<foldhash::HashMap<Name, Rc<Pool>>>,
}

impl Upstreams {
    pub fn new(connectors: Arc<dyn Connectors>, healths: Healths) -> Rc<Self> {
        Rc::new(Self {
            connectors,
            healths,
            pools: RefCell::default(),
        })
    }

    /// The connections to `upstream`. A reload that has changed it begins a new pool: running exchanges keep the old
    /// connections, which close after them.
    pub fn pool(&self, upstream: &Arc<Upstream>) -> Rc<Pool> {
        if let Some(pool) = self.pools.borrow().get(&upstream.name)
            && pool.serves(upstream)
        {
            return Rc::clone(pool);
        }
        let health = self.healths.of(upstream);
        let connectors = Arc::clone(&self.connectors);
        let resolver = &self.healths.resolver;
        let pool = Rc::new(Pool::new(upstream, connectors, health, resolver));
        self.pools
            .borrow_mut()
            .insert(upstream.name.clone(), Rc::clone(&pool));
        pool
    }
}
