//! Load balancing: the choice of an endpoint for the next request.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

/// The load and failures of an endpoint, from using it.
#[derive(Debug, Default)]
pub struct EndpointLoad {
    in_flight: Cell<usize>,
    /// Connections refused in a row.
    failures: Cell<u32>,
    ejected_until: Cell<Option<Instant>>,
}

impl AsRef<Self> for EndpointLoad {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl EndpointLoad {
    pub fn begin(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
    }

    pub fn end(&self) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
    }

    /// Notes that it takes connections.
    pub fn succeed(&self) {
        self.failures.set(0);
        self.ejected_until.set(None);
    }

    /// Notes that it refused a connection, and ejects it for a while: longer each time, never long. Returns the end of
    /// that.
    pub fn fail(&self, now: Instant) -> Instant {
        let pause = EJECTED_FIRST * (1 << self.failures.get().min(5));
        self.failures.set(self.failures.get().saturating_add(1));
        let until = now + pause.min(EJECTED_MAX);
        self.ejected_until.set(Some(until));
        until
    }

    pub fn is_ejected(&self, now: Instant) -> bool {
        self.ejected_until.get().is_some_and(|until| now < until)
    }
}

/// Endpoints that a request has tried without success; more than 64 are not counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tried(u64);

impl Tried {
    pub fn add(&mut self, place: usize) {
        self.0 |= Self::bit(place);
    }

    #[cfg(test)]
    pub fn count(self) -> u32 {
        self.0.count_ones()
    }

    fn has(self, place: usize) -> bool {
        self.0 & Self::bit(place) != 0
    }

    fn bit(place: usize) -> u64 {
        u32::try_from(place)
            .ok()
            .and_then(|place| 1_u64.checked_shl(place))
            .unwrap_or(0)
    }
}

/// The less loaded of two endpoints drawn at random: nearly as even as comparing all, without herding to one.
/// An ejected endpoint is drawn only when every other is ejected or tried. `None` when all have been tried.
pub fn choose<E: AsRef<EndpointLoad>>(
    endpoints: &[E],
    tried: Tried,
    now: Instant,
    mut random: impl FnMut() -> u64,
) -> Option<usize> {
    // The usual upstream has one endpoint, and nothing to choose.
    if endpoints.len() == 1 {
        return (!tried.has(0)).then_some(0);
    }
    let open = |place: &usize| {
        !tried.has(*place)
            && endpoints
                .get(*place)
                .is_some_and(|load| !load.as_ref().is_ejected(now))
    };
    let mut candidates: Vec<usize> = (0..endpoints.len()).filter(open).collect();
    if candidates.is_empty() {
        candidates = (0..endpoints.len())
            .filter(|place| !tried.has(*place))
            .collect();
    }
    let mut draw = || {
        let count = candidates.len() as u64;
        let number = usize::try_from(random().checked_rem(count)?).ok()?;
        Some(candidates.swap_remove(number))
    };
    let one = draw()?;
    let Some(other) = draw() else {
        return Some(one);
    };
    let in_flight = |place: usize| {
        endpoints
            .get(place)
            .map_or(usize::MAX, |load| load.as_ref().in_flight.get())
    };
    Some(if in_flight(other) < in_flight(one) {
        other
    } else {
        one
    })
}

/// A random number that need not be unpredictable.
pub fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0_u8) | 1);
    }
    // xorshift64*
    STATE.with(|state| {
        let mut value = state.get();
        value ^= value >> 12;
        value ^= value << 25;
        value ^= value >> 27;
        state.set(value);
        value.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 1
    })
}

const EJECTED_FIRST: Duration = Duration::from_millis(250);
const EJECTED_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(loads: &[EndpointLoad], tried: Tried, now: Instant) -> Vec<Option<usize>> {
        (0..200)
            .map(|_| choose(loads, tried, now, random))
            .collect()
    }

    fn three() -> Vec<EndpointLoad> {
        (0..3).map(|_| EndpointLoad::default()).collect()
    }

    #[test]
    fn the_most_loaded_of_three_is_never_taken() {
        let loads = three();
        loads[1].begin();
        let chosen = choices(&loads, Tried::default(), Instant::now());
        assert!(!chosen.contains(&Some(1)));
        assert!(chosen.contains(&Some(0)) && chosen.contains(&Some(2)));
        loads[1].end();
        assert!(choices(&loads, Tried::default(), Instant::now()).contains(&Some(1)));
    }

    #[test]
    fn an_endpoint_that_refuses_is_ejected_for_a_while() {
        let (loads, now) = (three(), Instant::now());
        loads[0].fail(now);
        assert!(!choices(&loads, Tried::default(), now).contains(&Some(0)));
        assert!(choices(&loads, Tried::default(), now + EJECTED_MAX).contains(&Some(0)));
        loads[0].succeed();
        assert!(choices(&loads, Tried::default(), now).contains(&Some(0)));
    }

    #[test]
    fn when_all_refuse_all_are_tried_and_none_twice() {
        let (loads, now) = (three(), Instant::now());
        for load in &loads {
            load.fail(now);
        }
        let mut tried = Tried::default();
        for count in 1..=3 {
            tried.add(choose(&loads, tried, now, random).unwrap());
            assert_eq!(tried.count(), count);
        }
        assert!(choices(&loads, tried, now).iter().all(Option::is_none));
        assert!(
            choices(&[], Tried::default(), now)
                .iter()
                .all(Option::is_none)
        );
    }
}
