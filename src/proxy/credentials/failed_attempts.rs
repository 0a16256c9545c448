//! Failed attempts to authenticate, counted for each address.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::domain::counted::counted;
use crate::domain::limit::Meter;
use crate::domain::rate::Allowance;
use crate::proxy::counters::local::{BucketKey, Counters, Unit};
use crate::proxy::counters::subject::Subject;

/// Failed attempts, counted for each address, so that guessing is slow and costs us little.
#[derive(Debug)]
pub struct FailedAttempts {
    counters: Rc<Counters>,
    meter: Meter,
}

impl FailedAttempts {
    pub fn new(counters: Rc<Counters>, allowance: Allowance) -> Self {
        Self {
            counters,
            meter: Meter::Rate(allowance),
        }
    }

    /// Refuses an address that has failed too often lately; the error has the time until the next attempt.
    pub fn check(&self, address: IpAddr) -> Result<(), Duration> {
        let at = self.counters.pace();
        let standing = self.counters.look(&key(address), &self.meter, at);
        if standing.retry_after.is_zero() {
            Ok(())
        } else {
            Err(standing.retry_after)
        }
    }

    /// Counts one failure.
    pub fn count(&self, address: IpAddr) {
        let at = self.counters.pace();
        // An exhausted address is refused until its time comes, with any further attempts.
        let _standing = self.counters.take(&key(address), &self.meter, at);
    }
}

fn key(address: IpAddr) -> BucketKey {
    BucketKey {
        limit: None,
        subject: Subject::Address(counted(address)),
        unit: Unit::Rate,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::proxy::counters::local::Buckets;

    #[test]
    fn an_address_waits_after_its_failures_and_no_other_does() {
        let interval = Duration::from_hours(1);
        let nanos = u64::try_from(interval.as_nanos()).unwrap();
        let failures = FailedAttempts::new(
            Rc::new(Counters::new(Arc::new(Buckets::new(1024)))),
            Allowance {
                interval: nanos,
                window: nanos * 2,
            },
        );
        let (here, there) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..2 {
            assert_eq!(failures.check(here), Ok(()));
            failures.count(here);
        }
        // More failures prolong nothing.
        for _ in 0..3 {
            let wait = failures.check(here).unwrap_err();
            assert!(wait > Duration::ZERO && wait <= interval, "{wait:?}");
            failures.count(here);
        }
        assert_eq!(failures.check(there), Ok(()));
    }
}
