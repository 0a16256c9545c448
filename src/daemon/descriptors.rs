//! The limit on open files: raised as far as the system allows, and shared out so that neither partners nor upstreams
//! can take the descriptors that operators and the store need.

use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::root::Config;
use crate::domain::snapshot::Catalog;

/// The descriptors in reserve: 384 connections of the admin and ops listeners and the socket together, and those of the
/// store, the logs and lookups of names.
const RESERVE: usize = 512;

/// The descriptors of a worker itself.
const RESERVE_PER_WORKER: usize = 16;

/// Raises the soft limit to the hard limit, and returns the limit in force.
///
/// If it cannot be raised, the gateway serves with fewer connections.
pub fn raise() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let (soft, hard) = (files(limit.current), files(limit.maximum));
    if soft >= hard {
        return soft;
    }
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => hard,
        Err(error) => {
            tracing::warn!(%error, soft, hard, "the limit on open files could not be raised");
            soft
        }
    }
}

/// The limit as a number; an unlimited process gets one that is never reached.
fn files(limit: Option<u64>) -> usize {
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

/// The shares of the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Connections of partners.
    pub partners: usize,
    /// Connections of partners from one address.
    pub per_address: usize,
    /// Connections to upstreams, of all workers together.
    upstreams: usize,
    workers: usize,
    limit: usize,
}

impl Shares {
    /// Shares `limit` out for a process that starts with `config`. The configured bounds are used if they fit, and the
    /// log reports those that do not.
    pub fn of(config: &Config, workers: usize, limit: usize) -> Self {
        let pools = config.upstreams.values().map(|upstream| &upstream.pool);
        let each_worker: usize = pools.map(|pool| pool.connections_max as usize).sum();
        let listener = &config.listeners.partners;
        let asked = Asked {
            partners: listener.connections_max as usize,
            per_address: listener.connections_per_address as usize,
            upstreams: each_worker.saturating_mul(workers),
            reserve: RESERVE + RESERVE_PER_WORKER * workers,
        };
        let shares = asked.share(limit, workers);
        if asked.all() > limit {
            tracing::warn!(
                limit,
                needed = asked.all(),
                connections_max = shares.partners,
                connections_per_address = shares.per_address,
                "the limit on open files is too low for what is configured: fewer connections are taken"
            );
        }
        shares
    }

    /// Reduces the upstreams' pools to their share, each in the same proportion.
    pub fn hold(&self, catalog: &mut Catalog) {
        let pools = catalog.upstreams.values().map(|upstream| &upstream.pool);
        let each_worker: usize = pools.map(|pool| pool.connections_max).sum();
        let asked = each_worker.saturating_mul(self.workers);
        if asked <= self.upstreams {
            return;
        }
        tracing::warn!(
            limit = self.limit,
            needed = asked,
            shared = self.upstreams,
            "the limit on open files is too low for what is configured: fewer connections to upstreams are opened"
        );
        for upstream in catalog.upstreams.values_mut() {
            let pool = &mut Arc::make_mut(upstream).pool;
            let share = pool.connections_max.saturating_mul(self.upstreams) / asked;
            pool.connections_max = share.max(1);
        }
    }
}

/// The open files if every bound of the configuration were reached.
#[derive(Clone, Copy, Debug)]
struct Asked {
    partners: usize,
    per_address: usize,
    upstreams: usize,
    reserve: usize,
}

impl Asked {
    fn all(self) -> usize {
        let connections = self.partners.saturating_add(self.upstreams);
        connections.saturating_add(self.reserve)
    }

    fn share(self, limit: usize, workers: usize) -> Shares {
        let left = limit - self.reserve.min(limit / 2);
        // Half for each side; partners get the rest of the upstreams' half.
        let most = (left / 2).max(left.saturating_sub(self.upstreams));
        let partners = self.partners.min(most).max(1);
        let leaves_others_room = self.per_address < self.partners;
        let per_address = if partners < self.partners && leaves_others_room {
            self.per_address.min((partners / 2).max(1))
        } else {
            self.per_address
        };
        Shares {
            partners,
            per_address,
            upstreams: left.saturating_sub(partners),
            workers,
            limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::{Layers, load_text};

    /// The configured bounds: 1000 partners and 200 of them from one address, 500 connections to upstreams, and 100 in
    /// reserve.
    const ASKED: Asked = Asked {
        partners: 1000,
        per_address: 200,
        upstreams: 500,
        reserve: 100,
    };

    fn check(asked: Asked, limit: usize, partners: usize, per_address: usize, upstreams: usize) {
        let shares = asked.share(limit, 2);
        assert_eq!(
            (shares.partners, shares.per_address, shares.upstreams),
            (partners, per_address, upstreams),
            "{limit}"
        );
        let reserve = asked.reserve.min(limit / 2);
        assert_eq!(partners + upstreams + reserve, limit);
    }

    #[test]
    fn what_fits_is_given_and_what_does_not_is_halved() {
        check(ASKED, 5000, 1000, 200, 3900);
        check(ASKED, 1600, 1000, 200, 500);
        check(ASKED, 1599, 999, 200, 500);
        check(ASKED, 1024, 462, 200, 462);
        check(ASKED, 600, 250, 125, 250);
        check(ASKED, 128, 32, 16, 32);
    }

    #[test]
    fn one_address_has_all_places_where_it_was_meant_to() {
        let balancer = Asked {
            per_address: 1000,
            ..ASKED
        };
        check(balancer, 128, 32, 1000, 32);
    }

    #[test]
    fn what_upstreams_do_not_ask_for_is_for_partners() {
        let few = Asked {
            upstreams: 4,
            ..ASKED
        };
        check(few, 128, 60, 30, 4);
    }

    #[test]
    fn pools_are_held_to_their_share() {
        let text = "version: 1
hosts: { a.test: {} }
upstreams:
  one: { endpoints: [\"http://127.0.0.1:1\"], pool: { connections_max: 300 } }
  two: { endpoints: [\"http://127.0.0.1:2\"], pool: { connections_max: 100 } }
";
        let layers = Layers::default();
        let config = load_text(text, "countersign.yaml".as_ref(), &layers).unwrap();
        let held = |limit| {
            let mut catalog = config.replaceable().catalog(1).unwrap();
            Shares::of(&config, 2, limit).hold(&mut catalog);
            let pool = |name: &str| {
                let upstream = &catalog.upstreams[&name.parse().unwrap()];
                upstream.pool.connections_max
            };
            (pool("one"), pool("two"))
        };
        assert_eq!(held(usize::MAX), (300, 100));
        // Half of the rest beside the reserve, for two workers' pools together.
        assert_eq!(held(1024), (96, 32));
        assert_eq!(held(8), (1, 1));
    }

    #[test]
    fn the_limit_is_as_high_as_it_may_be() {
        let limit = raise();
        let now = getrlimit(Resource::Nofile);
        assert_eq!(limit, files(now.current));
        assert_eq!(now.current, now.maximum);
    }
}
