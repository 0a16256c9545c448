//! A latency histogram: exact below 64 us, then 64 buckets per power of two (an error of at most 1.6 %).

const BUCKETS_PER_DOUBLING: u64 = 64;
const DOUBLINGS: usize = 64;

pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

impl Histogram {
    pub fn new() -> Self {
        Self {
            buckets: vec![0; BUCKETS_PER_DOUBLING as usize * DOUBLINGS],
            count: 0,
        }
    }

    pub fn add(&mut self, micros: u64) {
        let index = index_of(micros.max(1)).min(self.buckets.len() - 1);
        self.buckets[index] += 1;
        self.count += 1;
    }

    /// The lower edge of the bucket in which the given quantile lies; 0 for an empty histogram.
    pub fn quantile(&self, quantile: f64) -> u64 {
        let target = ((self.count as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= target {
                return lower_edge(index as u64);
            }
        }
        0
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

fn index_of(micros: u64) -> usize {
    let exponent = 63 - u64::from(micros.leading_zeros());
    if exponent < 6 {
        micros as usize
    } else {
        ((exponent - 5) * BUCKETS_PER_DOUBLING + ((micros >> (exponent - 6)) & 63)) as usize
    }
}

fn lower_edge(index: u64) -> u64 {
    if index < BUCKETS_PER_DOUBLING {
        return index;
    }
    let exponent = index / BUCKETS_PER_DOUBLING + 5;
    (64 + index % BUCKETS_PER_DOUBLING) << (exponent - 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lands_in_a_bucket_at_most_two_percent_below_it() {
        for micros in [1, 63, 64, 65, 127, 128, 1_000, 12_345, 1_000_000] {
            let edge = lower_edge(index_of(micros) as u64);
            assert!(
                edge <= micros && micros - edge <= micros / 50,
                "{micros} -> {edge}"
            );
        }
    }
}
