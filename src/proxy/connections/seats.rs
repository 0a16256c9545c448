//! Limits on connections: seats for all together, and seats for one address.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::counted::counted;
use crate::domain::reason::Reason;

use crate::proxy::report::metrics::Open;
use crate::proxy::settings::Settings;

/// Enough shards that workers seldom meet at one lock.
const SHARDS: usize = 16;

/// The seats of all workers.
#[derive(Debug)]
pub struct Seats {
    taken: AtomicUsize,
    max: usize,
    per_address_max: usize,
    addresses: [Mutex<HashMap<IpAddr, usize>>; SHARDS],
    hasher: RandomState,
}

/// One connection's place, free again when dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    address: Option<IpAddr>,
    /// Its place among its worker's connections; given back with the seat.
    _place: Open,
}

impl Seats {
    pub fn new(settings: &Settings) -> Self {
        Self {
            taken: AtomicUsize::new(0),
            max: settings.connections_max,
            per_address_max: settings.connections_per_address,
            addresses: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
        }
    }

    /// Takes a seat for a connection of the worker that counts it by `place`, before any byte is read.
    pub fn take(self: &Arc<Self>, place: Open) -> Result<Seat, Reason> {
        self.taken
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |taken| {
                (taken < self.max).then_some(taken + 1)
            })
            .ok()
            .ok_or(Reason::ConnectionLimit)?;
        Ok(Seat {
            seats: Arc::clone(self),
            address: None,
            _place: place,
        })
    }

    fn count(&self, address: IpAddr, change: impl FnOnce(&mut HashMap<IpAddr, usize>)) {
        let place = usize::try_from(self.hasher.hash_one(address) >> 32).unwrap_or(0) % SHARDS;
        if let Some(shard) = self.addresses.get(place) {
            change(&mut shard.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Seat {
    /// Counts the connection for its client's address, once that is known.
    pub fn assign(&mut self, address: IpAddr) -> Result<(), Reason> {
        let address = counted(address);
        let max = self.seats.per_address_max;
        let mut free = false;
        self.seats.count(address, |addresses| {
            let taken = addresses.entry(address).or_default();
            free = *taken < max;
            if free {
                *taken += 1;
            }
        });
        if !free {
            return Err(Reason::AddressConnections);
        }
        self.address = Some(address);
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken.fetch_sub(1, Ordering::AcqRel);
        if let Some(address) = self.address {
            self.seats.count(address, |addresses| {
                if let Some(taken) = addresses.get_mut(&address) {
                    *taken -= 1;
                    if *taken == 0 {
                        addresses.remove(&address);
                    }
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(max: usize, per_address: usize) -> Arc<Seats> {
        Arc::new(Seats::new(&Settings {
            connections_max: max,
            connections_per_address: per_address,
            ..Settings::default()
        }))
    }

    fn place() -> Open {
        Open::new(prometheus::IntGauge::new("open", "open").unwrap())
    }

    #[test]
    fn seats_are_free_again_when_their_connections_have_gone() {
        let seats = seats(2, 2);
        let first = seats.take(place()).unwrap();
        let _second = seats.take(place()).unwrap();
        assert_eq!(seats.take(place()).unwrap_err(), Reason::ConnectionLimit);
        drop(first);
        assert!(seats.take(place()).is_ok());
    }

    #[test]
    fn one_address_cannot_take_all_seats() {
        let seats = seats(10, 1);
        let address = IpAddr::from([192, 0, 2, 1]);
        let mut first = seats.take(place()).unwrap();
        first.assign(address).unwrap();
        let mut second = seats.take(place()).unwrap();
        assert_eq!(second.assign(address), Err(Reason::AddressConnections));
        second.assign(IpAddr::from([192, 0, 2, 2])).unwrap();
        drop(first);
        seats.take(place()).unwrap().assign(address).unwrap();
        drop(second);
        let left: usize = seats
            .addresses
            .iter()
            .map(|shard| shard.lock().unwrap().len())
            .sum();
        assert_eq!(left, 0, "no address is remembered for nothing");
    }
}
