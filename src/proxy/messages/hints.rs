//! Early hints (103, RFC 8297) on their way from an upstream to the caller of one request.

use std::cell::{Cell, RefCell};

use crate::proxy::codec::field_list::FieldList;

/// Early hints of the upstream that were not sent to the caller yet. Only callers over HTTP/2 get them: over HTTP/1.1
/// there are clients that take the first head for the answer.
#[derive(Debug, Default)]
pub struct Hints {
    waiting: RefCell<Vec<FieldList>>,
    given: Cell<usize>,
}

impl Hints {
    /// Adds the fields of a 103; those beyond the limit are dropped.
    pub fn give(&self, fields: FieldList) {
        if self.given.get() < HINTS_MAX {
            self.given.set(self.given.get() + 1);
            self.waiting.borrow_mut().push(fields);
        }
    }

    /// Takes all waiting hints, in their order.
    pub fn take(&self) -> Vec<FieldList> {
        self.waiting.take()
    }
}

/// More than any page needs, and few enough for a caller that reads slowly.
const HINTS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_passed_on_in_their_order_and_within_their_bound() {
        let hints = Hints::default();
        assert!(hints.take().is_empty());
        for count in 0..2 * HINTS_MAX {
            hints.give(FieldList::with_capacity(count));
        }
        assert_eq!(hints.take().len(), HINTS_MAX);
        hints.give(FieldList::new());
        assert!(hints.take().is_empty());
    }
}
