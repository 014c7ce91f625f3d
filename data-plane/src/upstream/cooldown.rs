//! After a 429 a model of a provider is left alone for as long as the provider asked.
//!
//! Pure on purpose: time is an argument. An answer does not end it: it may have been on
//! its way for long. The credential is the provider's own; what is
//! said of a caller's credential is never remembered here.

use std::time::{Duration, Instant};

use super::by_model::ByModel;

/// A longer wait may be an error of the provider's; it is asked again after this.
const COOL_DOWN_MAX: Duration = Duration::from_secs(60);
/// Of a provider that does not say how long.
const COOL_DOWN_DEFAULT: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct CoolDowns(ByModel<Instant>);

impl CoolDowns {
    /// Begins one, or makes it longer. Returns for how long.
    pub(crate) fn begin(
        &mut self,
        provider: &str,
        model: &str,
        asked_for: Option<Duration>,
        now: Instant,
    ) -> Duration {
        let wait = asked_for.unwrap_or(COOL_DOWN_DEFAULT).min(COOL_DOWN_MAX);
        let until = self
            .until(provider, model, now)
            .map_or(now + wait, |known| known.max(now + wait));
        self.0.insert(provider, model, until, now, |until| *until <= now);
        until.saturating_duration_since(now)
    }

    /// Forgets the providers that are none of these.
    pub(crate) fn keep(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.0.keep(is_kept);
    }

    /// When it is over; `None` if nothing has to be waited for.
    pub(crate) fn until(&self, provider: &str, model: &str, now: Instant) -> Option<Instant> {
        self.0.get(provider, model).copied().filter(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_asked_before_the_time_that_was_named_or_a_minute() {
        let now = Instant::now();
        for (asked_for, lasts) in [
            (Some(1), 1_000),
            (Some(60), 60_000),
            (Some(3600), 60_000),
            (Some(u64::MAX), 60_000),
            (None, 1_000),
        ] {
            let mut cooldowns = CoolDowns::default();
            let lasts = Duration::from_millis(lasts);
            let told = cooldowns.begin("p", "m", asked_for.map(Duration::from_secs), now);
            assert_eq!(told, lasts);
            assert_eq!(cooldowns.until("p", "m", now), Some(now + lasts));
            let almost = now + lasts - Duration::from_millis(1);
            assert!(cooldowns.until("p", "m", almost).is_some(), "{asked_for:?}");
            assert_eq!(cooldowns.until("p", "m", now + lasts), None, "{asked_for:?}");
            assert_eq!(cooldowns.until("p", "other", now), None);
        }
    }

    #[test]
    fn a_wait_of_nothing_is_none() {
        let now = Instant::now();
        let mut cooldowns = CoolDowns::default();
        cooldowns.begin("p", "m", Some(Duration::ZERO), now);
        assert_eq!(cooldowns.until("p", "m", now), None);
    }

    #[test]
    fn a_shorter_one_does_not_end_a_longer_one() {
        let now = Instant::now();
        let mut cooldowns = CoolDowns::default();
        cooldowns.begin("p", "m", Some(Duration::from_secs(30)), now);
        cooldowns.begin("p", "m", None, now);
        assert_eq!(
            cooldowns.until("p", "m", now),
            Some(now + Duration::from_secs(30))
        );
    }
}
