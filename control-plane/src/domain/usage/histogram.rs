//! How long things took: counts by powers of two, and what can be said of them.

use std::time::Duration;

/// Bucket i counts what took at most 2^i ms and was too long for the one before; the last one
/// has no bound.
const BUCKETS: usize = 23;
const PER_CENT: u128 = 100;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
    pub sum_ms: u64,
}

impl Histogram {
    /// What is beyond the last bucket counts in it.
    #[must_use]
    pub fn of(counts: &[u64], sum_ms: u64) -> Self {
        let mut buckets = [0_u64; BUCKETS];
        for (place, count) in counts.iter().enumerate() {
            if let Some(bucket) = buckets.get_mut(place.min(BUCKETS - 1)) {
                *bucket = bucket.saturating_add(*count);
            }
        }
        Self { buckets, sum_ms }
    }

    /// Without the empty buckets at the end.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        let used = self.buckets.iter().rposition(|count| *count > 0);
        self.buckets
            .get(..used.map_or(0, |last| last + 1))
            .unwrap_or_default()
    }

    pub fn add(&mut self, other: &Self) {
        for (bucket, count) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket = bucket.saturating_add(count);
        }
        self.sum_ms = self.sum_ms.saturating_add(other.sum_ms);
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// How long so many per cent of them took at most, evenly spread within their bucket.
    #[must_use]
    pub fn percentile(&self, per_cent: u64) -> Option<Duration> {
        let wanted = (u128::from(self.count()) * u128::from(per_cent))
            .div_ceil(PER_CENT)
            .max(1);
        let mut below: u128 = 0;
        for (place, count) in self.buckets.iter().enumerate() {
            let count = u128::from(*count);
            if count > 0 && below + count >= wanted {
                let upper_us = 1_000_u128 << place;
                let lower_us = if place == 0 { 0 } else { upper_us / 2 };
                let us = lower_us + (upper_us - lower_us) * (wanted - below) / count;
                return Some(Duration::from_micros(u64::try_from(us).unwrap_or(u64::MAX)));
            }
            below += count;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_lie_within_the_bucket_that_holds_them() {
        assert_eq!(Histogram::default().percentile(50), None);
        let one = Histogram::of(&[0, 0, 0, 1], 7);
        assert_eq!(one.percentile(50), Some(Duration::from_millis(8)));
        // Fifty between 8 and 16 ms, fifty between 64 and 128 ms.
        let two = Histogram::of(&[0, 0, 0, 0, 50, 0, 0, 50], 0);
        assert_eq!(two.percentile(25), Some(Duration::from_millis(12)));
        assert_eq!(two.percentile(50), Some(Duration::from_millis(16)));
        assert_eq!(two.percentile(75), Some(Duration::from_millis(96)));
        assert_eq!(two.percentile(100), Some(Duration::from_millis(128)));
    }

    #[test]
    fn counts_come_back_as_they_were_and_too_many_lose_nobody() {
        let counts = [1, 0, 3];
        assert_eq!(Histogram::of(&counts, 9).counts(), counts);
        let long = [1; BUCKETS + 5];
        assert_eq!(Histogram::of(&long, 0).count(), long.len() as u64);
        let mut sum = Histogram::of(&[u64::MAX], u64::MAX);
        sum.add(&Histogram::of(&[1, 1], 1));
        assert_eq!((sum.count(), sum.sum_ms), (u64::MAX, u64::MAX));
    }
}
