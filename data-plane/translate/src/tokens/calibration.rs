//! Learns from real usage how far the estimates for one model are off.
//!
//! No tokenizer fits every model, but a model is off by about the same factor each time:
//! the upstream's own figures correct the next estimate. The mean is taken over logarithms,
//! so that twice too much and half too little weigh the same.

/// No tokenizer is off by more; whatever is, counts something else.
const RATIO_MAX: f64 = 4.0;
/// What the newest sample weighs at least: a model behind a name may be exchanged.
const NEWEST_WEIGHT: f64 = 0.1;

/// The ratio between real and estimated prompt tokens of one model.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Calibration {
    log_ratio: f64,
    samples: u32,
}

impl Calibration {
    /// Smaller prompts say more about chat templates than about the tokenizer, in tokens:
    /// they are not observed.
    pub const PROMPT_TOKENS_MIN: u64 = 256;

    /// Takes in what an estimate came to. `actual` are all tokens of the prompt, cached or not
    /// (see [`Usage::prompt_tokens`](crate::Usage::prompt_tokens)).
    pub fn observe(&mut self, estimated: u64, actual: u64) {
        if estimated.min(actual) < Self::PROMPT_TOKENS_MIN {
            return;
        }
        let most = RATIO_MAX.ln();
        let sample = (actual as f64 / estimated as f64).ln().clamp(-most, most);
        self.samples = self.samples.saturating_add(1);
        let weight = NEWEST_WEIGHT.max(1.0 / f64::from(self.samples));
        self.log_ratio += weight * (sample - self.log_ratio);
    }

    /// An estimate, corrected by what was seen so far; at least 1.
    pub fn apply(&self, estimate: u64) -> u64 {
        if self.samples == 0 {
            return estimate.max(1);
        }
        ((estimate as f64 * self.ratio()).round() as u64).max(1)
    }

    /// Real tokens per estimated one; 1 before anything was seen.
    pub fn ratio(&self) -> f64 {
        self.log_ratio.exp()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_sample_already_corrects() {
        let mut calibration = Calibration::default();
        assert_eq!(calibration.apply(1000), 1000);
        calibration.observe(1000, 1300);
        assert_eq!(calibration.apply(2000), 2600);
    }

    #[test]
    fn a_model_that_is_exchanged_is_learned_anew() {
        let mut calibration = Calibration::default();
        for _ in 0..100 {
            calibration.observe(1000, 2000);
        }
        for _ in 0..40 {
            calibration.observe(1000, 1000);
        }
        assert!((0.99..1.02).contains(&calibration.ratio()), "{calibration:?}");
    }

    proptest! {
        #[test]
        fn small_prompts_teach_nothing(estimated in 0..Calibration::PROMPT_TOKENS_MIN, actual: u64) {
            let mut calibration = Calibration::default();
            calibration.observe(estimated, actual);
            calibration.observe(actual, estimated);
            prop_assert_eq!(calibration, Calibration::default());
        }

        #[test]
        fn the_ratio_stays_between_the_samples(
            samples in prop::collection::vec((Calibration::PROMPT_TOKENS_MIN..1_000_000, Calibration::PROMPT_TOKENS_MIN..1_000_000), 1..40),
        ) {
            let mut calibration = Calibration::default();
            let (mut low, mut high) = (f64::MAX, 0.0_f64);
            for (estimated, actual) in samples {
                calibration.observe(estimated, actual);
                let ratio = (actual as f64 / estimated as f64).clamp(1.0 / RATIO_MAX, RATIO_MAX);
                (low, high) = (low.min(ratio), high.max(ratio));
                let now = calibration.ratio();
                prop_assert!(low * 0.999 <= now && now <= high * 1.001, "{} not in {}..{}", now, low, high);
            }
        }

        #[test]
        fn more_stays_more(estimated in Calibration::PROMPT_TOKENS_MIN..1_000_000, actual: u64, less in 0..1_000_000_u64, more in 0..1_000_000_u64) {
            let mut calibration = Calibration::default();
            calibration.observe(estimated, actual);
            prop_assert!(calibration.apply(less) <= calibration.apply(less + more));
        }

        #[test]
        fn a_steady_factor_is_found(estimated in 1_000..200_000_u64, percent in 30..350_u64) {
            let mut calibration = Calibration::default();
            for n in 0..20 {
                calibration.observe(estimated + n, (estimated + n) * percent / 100);
            }
            let want = estimated * percent / 100;
            let have = calibration.apply(estimated);
            prop_assert!(have.abs_diff(want) <= want / 100 + 1, "{} for {}", have, want);
        }
    }
}
