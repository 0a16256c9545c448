//! Random bytes, and the bits of ids that sort by their time of creation.

use std::cell::RefCell;

use crate::domain::time::Timestamp;

/// Random bytes from the system's generator, as many as the caller's array holds.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0_u8; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the generator was seeded when the process began");
    bytes
}

/// Random bytes for values that only have to be distinct: ids, never secrets.
///
/// Each call of the generator costs about as much as a thousand of its bytes, so one call fetches many.
pub fn distinct<const N: usize>() -> [u8; N] {
    const { assert!(N <= STOCK, "fits into the stock") };
    thread_local! {
        static LEFT: RefCell<Stock> = const { RefCell::new(Stock { bytes: [0; STOCK], used: STOCK }) };
    }
    LEFT.with_borrow_mut(Stock::take)
}

const STOCK: usize = 1024;

struct Stock {
    bytes: [u8; STOCK],
    used: usize,
}

impl Stock {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        if self.used + N > STOCK {
            self.bytes = bytes();
            self.used = 0;
        }
        let taken = self.bytes.get(self.used..self.used + N);
        self.used += N;
        taken
            .and_then(|taken| taken.try_into().ok())
            .expect("the stock was filled when it was too short")
    }
}

/// 128 bits in the layout of UUID version 7 (RFC 9562, 5.7): 48 bits of milliseconds, then 74 random ones.
pub fn id_bits(now: Timestamp) -> u128 {
    const VERSION: u128 = 7 << 76;
    const VARIANT: u128 = 2 << 62;
    const RANDOM: u128 = !((0xffff_ffff_ffff << 80) | (0xf << 76) | (3 << 62));

    let millis = u128::from(now.unix_millis().max(0).unsigned_abs()) & 0xffff_ffff_ffff;
    let random = u128::from_be_bytes(distinct());
    (millis << 80) | VERSION | VARIANT | (random & RANDOM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stock_that_is_used_up_is_filled_again() {
        let drawn: std::collections::HashSet<[u8; 24]> = (0..1000).map(|_| distinct()).collect();
        assert_eq!(drawn.len(), 1000);
    }

    #[test]
    fn ids_made_later_sort_later() {
        let earlier = id_bits(Timestamp::from_unix_millis(1_000));
        let later = id_bits(Timestamp::from_unix_millis(1_001));
        assert!(earlier < later);
    }

    #[test]
    fn ids_of_the_same_moment_differ_in_the_layout_of_version_7() {
        let now = Timestamp::from_unix_millis(1_764_000_000_123);
        let one = id_bits(now);
        let other = id_bits(now);
        assert_ne!(one, other);
        assert_eq!(one >> 80, 1_764_000_000_123);
        assert_eq!((one >> 76) & 0xf, 7);
        assert_eq!((one >> 62) & 3, 2);
        let before_the_epoch = id_bits(Timestamp::from_unix_millis(-1));
        assert_eq!(before_the_epoch >> 80, 0);
    }
}
