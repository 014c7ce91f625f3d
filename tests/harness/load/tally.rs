//! Many samples as few figures.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

use super::client::{End, Sample};

/// The longest time that a histogram tells apart from longer ones.
const MICROSECONDS_MAX: u64 = 3_600_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;
/// What a node with too much to do says.
pub const SHED_STATUS: u16 = 529;
/// How many failures are told in words.
const WORDS_MAX: usize = 5;

pub struct Tally {
    /// Times of good answers.
    pub good: Times,
    /// Times to the head of refusals.
    pub refused: Times,
    pub refusals: BTreeMap<(u16, String), u64>,
    pub failed: u64,
    /// Requests that had to be sent again, whatever became of them.
    pub retried: u64,
    words: Vec<String>,
}

/// A distribution of times.
pub struct Times(Histogram<u64>);

// === impl Tally ===

impl Tally {
    pub fn new() -> Result<Self> {
        Ok(Self {
            good: Times::new()?,
            refused: Times::new()?,
            refusals: BTreeMap::new(),
            failed: 0,
            retried: 0,
            words: Vec::new(),
        })
    }

    pub fn of<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Result<Self> {
        let mut tally = Self::new()?;
        for sample in samples {
            tally.add(sample);
        }
        Ok(tally)
    }

    /// Those of streams and those of whole answers.
    pub fn apart(samples: &[Sample]) -> Result<(Self, Self)> {
        let (streams, wholes) = samples.iter().partition::<Vec<_>, _>(|sample| sample.is_stream);
        Ok((Self::of(streams)?, Self::of(wholes)?))
    }

    pub fn add(&mut self, sample: &Sample) {
        self.retried += u64::from(sample.retries > 0);
        match &sample.end {
            End::Good => self.good.add(sample.took),
            End::Refused(refusal) => {
                self.refused.add(sample.head_took.unwrap_or(sample.took));
                let kind = (refusal.status, refusal.kind.clone());
                *self.refusals.entry(kind).or_default() += 1;
            }
            End::Failed(words) => {
                self.failed += 1;
                if self.words.len() < WORDS_MAX {
                    self.words.push(format!("{words} after {:?}", sample.took));
                }
            }
        }
    }

    pub fn all(&self) -> u64 {
        self.good.count() + self.refused.count() + self.failed
    }

    /// Those that a node refused because it had too much to do.
    pub fn shed(&self) -> u64 {
        let of_status = self
            .refusals
            .iter()
            .filter(|((status, _), _)| *status == SHED_STATUS);
        of_status.map(|(_, count)| count).sum()
    }

    /// All that were not answered as asked.
    pub fn bad(&self) -> u64 {
        self.refused.count() + self.failed
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} good ({})", self.good.count(), self.all(), self.good)?;
        for ((status, kind), count) in &self.refusals {
            write!(f, ", {count} x {status} {kind}")?;
        }
        if self.retried > 0 {
            write!(f, ", {} sent again", self.retried)?;
        }
        if self.failed > 0 {
            write!(f, ", {} failed: {:?}", self.failed, self.words)?;
        }
        Ok(())
    }
}

// === impl Times ===

impl Times {
    pub fn new() -> Result<Self> {
        let histogram = Histogram::new_with_bounds(1, MICROSECONDS_MAX, SIGNIFICANT_DIGITS)?;
        Ok(Self(histogram))
    }

    pub fn add(&mut self, time: Duration) {
        let microseconds = time.as_micros().try_into().unwrap_or(MICROSECONDS_MAX);
        self.0.saturating_record(microseconds);
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time that `share` (0 to 1) of them did not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        Duration::from_micros(self.0.value_at_quantile(share))
    }

    pub fn p50(&self) -> Duration {
        self.quantile(0.5)
    }

    pub fn p99(&self) -> Duration {
        self.quantile(0.99)
    }

    pub fn max(&self) -> Duration {
        Duration::from_micros(self.0.max())
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "p50 {:.1?}, p99 {:.1?}, max {:.1?}",
            self.p50(),
            self.p99(),
            self.max()
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn every_sample_is_counted_once_and_failures_are_named() {
        let sample = |took_ms, end| Sample {
            is_stream: false,
            sent_at: Instant::now(),
            took: Duration::from_millis(took_ms),
            head_took: None,
            retries: 0,
            end,
        };
        let samples = [
            sample(10, End::Good),
            sample(30, End::Good),
            sample(1, End::Failed("lost".to_owned())),
        ];
        let tally = Tally::of(&samples).unwrap();
        assert_eq!((tally.all(), tally.bad(), tally.good.count()), (3, 1, 2));
        assert_eq!(tally.good.max().as_millis(), 30);
        assert!(tally.to_string().contains("1 failed: [\"lost"), "{tally}");
    }
}
