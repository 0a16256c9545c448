//! The signatures of the last minutes: each counts once.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use foldhash::{HashMap, HashSet};

use crate::domain::id::AppId;
use crate::domain::time::Timestamp;

/// The signatures of one App that are remembered at a time, about 5 MiB: three thousand a second with right clocks. An
/// App that signs more is refused, and no other App is.
const PER_APP_MAX: usize = 200_000;

/// The parts of the memory, each with a lock: Apps that sign at the same time rarely meet.
const PARTS: usize = 16;

/// The seconds of one slot. Slots are forgotten as a whole.
const SLOT_SECONDS: i64 = 10;

/// The mark of a signature or a nonce, which is a digest.
pub type Mark = [u8; 16];

/// The result of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    First,
    Again,
    /// The App has signed too much to be remembered.
    Full,
}

/// The memory, which all workers share: a replay may come to another one. Only signed requests take its locks.
#[derive(Debug)]
pub struct SeenSignatures {
    parts: [Mutex<HashMap<AppId, Slots>>; PARTS],
    per_app_max: usize,
}

/// The marks of one App by the time until which they could count.
#[derive(Debug, Default)]
struct Slots {
    marks: BTreeMap<i64, HashSet<Mark>>,
    len: usize,
}

impl Default for SeenSignatures {
    fn default() -> Self {
        Self::of(PER_APP_MAX)
    }
}

impl SeenSignatures {
    fn of(per_app_max: usize) -> Self {
        Self {
            parts: std::array::from_fn(|_| Mutex::default()),
            per_app_max,
        }
    }

    /// Notes a mark that could count until `until`.
    pub fn note(&self, app: AppId, mark: Mark, until: Timestamp, now: Timestamp) -> Sight {
        let place = usize::try_from(u128::from(app) % PARTS as u128).unwrap_or(0);
        let Some(part) = self.parts.get(place) else {
            return Sight::Full;
        };
        let mut apps = part.lock().unwrap_or_else(PoisonError::into_inner);
        if !apps.contains_key(&app) {
            // Apps that have signed nothing that could still count give their memory back.
            apps.retain(|_, slots| !slots.is_over(now));
        }
        let slots = apps.entry(app).or_default();
        slots.forget(now);
        if slots.has(&mark) {
            return Sight::Again;
        }
        if slots.len >= self.per_app_max {
            return Sight::Full;
        }
        slots.add(mark, until);
        Sight::First
    }
}

impl Slots {
    fn forget(&mut self, now: Timestamp) {
        let current = slot(now);
        while let Some(first) = self.marks.first_entry()
            && *first.key() < current
        {
            self.len -= first.remove().len();
        }
    }

    /// True if none of the marks could count any more.
    fn is_over(&self, now: Timestamp) -> bool {
        let last = self.marks.last_key_value();
        last.is_none_or(|(last, _)| *last < slot(now))
    }

    fn has(&self, mark: &Mark) -> bool {
        self.marks.values().any(|marks| marks.contains(mark))
    }

    fn add(&mut self, mark: Mark, until: Timestamp) {
        self.marks.entry(slot(until)).or_default().insert(mark);
        self.len += 1;
    }
}

const fn slot(at: Timestamp) -> i64 {
    at.unix_seconds().div_euclid(SLOT_SECONDS)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_000_000);

    #[test]
    fn a_mark_is_seen_once_until_it_cannot_count_any_more() {
        let seen = SeenSignatures::default();
        let (app, other) = (AppId::from_bits(1), AppId::from_bits(17));
        let until = NOW.plus(Duration::from_mins(1));
        let note = |app, mark, now| seen.note(app, mark, until, now);
        assert_eq!(note(app, [1; 16], NOW), Sight::First);
        assert_eq!(note(app, [1; 16], NOW), Sight::Again);
        assert_eq!(note(app, [2; 16], NOW), Sight::First);
        assert_eq!(note(other, [1; 16], NOW), Sight::First);
        assert_eq!(note(app, [1; 16], until), Sight::Again);
        // Later, its signature is too old in any case.
        let later = until.plus(Duration::from_secs(11));
        assert_eq!(note(app, [1; 16], later), Sight::First);
    }

    #[test]
    fn an_app_that_signs_too_much_is_refused_alone_and_for_a_while() {
        let seen = SeenSignatures::of(2);
        let (app, other) = (AppId::from_bits(1), AppId::from_bits(17));
        let until = NOW.plus(Duration::from_mins(1));
        for (app, mark, expected) in [
            (app, 1, Sight::First),
            (app, 2, Sight::First),
            (app, 3, Sight::Full),
            (app, 1, Sight::Again),
            (other, 3, Sight::First),
        ] {
            assert_eq!(seen.note(app, [mark; 16], until, NOW), expected, "{mark}");
        }
        let later = until.plus(Duration::from_secs(11));
        assert_eq!(seen.note(app, [3; 16], later, later), Sight::First);
    }

    #[test]
    fn an_app_that_is_silent_takes_no_memory() {
        let seen = SeenSignatures::default();
        let (app, other, third) = (1, 17, 33);
        let note = |app, mark, now: Timestamp| {
            let until = now.plus(Duration::from_mins(1));
            seen.note(AppId::from_bits(app), [mark; 16], until, now)
        };
        let kept = || {
            seen.parts
                .iter()
                .map(|part| part.lock().unwrap().len())
                .sum::<usize>()
        };
        assert_eq!(note(app, 1, NOW), Sight::First);
        assert_eq!(
            note(other, 1, NOW.plus(Duration::from_secs(30))),
            Sight::First
        );
        assert_eq!(kept(), 2);
        // The first App's signature counts no more, the other's does.
        let later = NOW.plus(Duration::from_secs(80));
        assert_eq!(note(third, 1, later), Sight::First);
        assert_eq!(kept(), 2);
        assert_eq!(note(other, 1, later), Sight::Again);
    }
}
