//! Breakers that an admin holds open or closed, until the time that was said.
//!
//! Whoever is named by model counts before all models of a provider, so that one model can
//! be kept out of what is said of the rest.

use std::time::SystemTime;

use crate::{
    routing::Candidate,
    snapshot::{BreakerOverride, Held, Snapshot},
};

/// Whether an admin holds the candidate's breaker.
pub(super) fn of(snapshot: &Snapshot, candidate: &Candidate, now: SystemTime) -> Option<Held> {
    let of_provider = in_force(snapshot, now)
        .filter(|held| *held.provider == *candidate.provider.name && held.covers(&candidate.model));
    // `true` is more than `false`.
    of_provider
        .max_by_key(|held| held.model.is_some())
        .map(|held| held.held)
}

/// All that hold at this moment.
pub(super) fn in_force(snapshot: &Snapshot, now: SystemTime) -> impl Iterator<Item = &BreakerOverride> {
    snapshot.overrides.iter().filter(move |held| !held.is_over(now))
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::snapshot::decode::tests as fixture;

    const MINUTE: Duration = Duration::from_secs(60);

    fn hold(model: Option<&str>, held: Held, expires_at: SystemTime) -> BreakerOverride {
        BreakerOverride {
            provider: "alpha".to_owned(),
            model: model.map(str::to_owned),
            held,
            expires_at: Some(expires_at),
        }
    }

    #[test]
    fn one_model_counts_before_all_and_each_ends_by_itself() {
        let now = SystemTime::now();
        let mut overrides = vec![
            hold(Some("big-1"), Held::Closed, now + MINUTE),
            hold(None, Held::Open, now + 2 * MINUTE),
        ];
        for _ in 0..2 {
            overrides.reverse();
            let snapshot = Snapshot {
                overrides: overrides.clone(),
                ..fixture::snapshot()
            };
            let held = |model: &str, now| {
                let candidate = Candidate {
                    provider: Arc::clone(&snapshot.providers[0]),
                    model: model.into(),
                };
                of(&snapshot, &candidate, now)
            };
            assert_eq!(held("big-1", now), Some(Held::Closed));
            assert_eq!(held("big-2", now), Some(Held::Open));
            assert_eq!(held("big-1", now + MINUTE), Some(Held::Open));
            assert_eq!(held("big-1", now + 2 * MINUTE), None);
        }
    }
}
