//! Tells when the control plane has not been heard of for too long: once when it begins
//! to matter, once when requests are refused for it, once when it is over.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::live::{Live, Unavailable};
use crate::node::Node;

/// Beyond six heartbeats it is no accident.
const STALE_AFTER: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Staleness {
    /// Known to be the newest, or there is none yet.
    Fresh,
    Stale,
    /// Too old to serve.
    Expired,
}

impl Staleness {
    fn of(live: &Live, now: Instant) -> Self {
        match live.current(now) {
            Err(Unavailable::Stale) => Self::Expired,
            Ok(_) if live.age(now) > STALE_AFTER => Self::Stale,
            Ok(_) | Err(Unavailable::Empty) => Self::Fresh,
        }
    }

    fn gauge(self) -> i64 {
        match self {
            Self::Fresh => 0,
            Self::Stale => 1,
            Self::Expired => 2,
        }
    }
}

/// Looks until the end.
pub(crate) async fn look(node: Arc<Node>, over: CancellationToken) {
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = Staleness::Fresh;
    loop {
        tokio::select! {
            // A look more or less at the end does not matter.
            biased;
            () = over.cancelled() => return,
            _ = looks.tick() => {}
        }
        let now = Instant::now();
        let staleness = Staleness::of(&node.live, now);
        if staleness == before {
            continue;
        }
        before = staleness;
        node.metrics.config.staleness.set(staleness.gauge());
        let age_s = node.live.age(now).as_secs();
        match staleness {
            Staleness::Fresh => info!("the configuration is known to be the newest again"),
            Staleness::Stale => warn!(
                age_s,
                "no word from the control plane for a while: this node serves with what it has"
            ),
            Staleness::Expired => error!(
                age_s,
                "the configuration is older than the settings allow: requests are refused until the control plane is back"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::decode::tests::snapshot;

    #[test]
    fn age_makes_it_stale_and_the_limit_makes_it_expire() {
        let start = Instant::now();
        let live = Live::new(start);
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(
            Staleness::of(&live, after(100)),
            Staleness::Fresh,
            "there is none yet"
        );
        let mut held = snapshot();
        held.settings.stale_limit = Some(Duration::from_secs(60));
        live.swap(Arc::new(held), start);
        for (seconds, expected) in [
            (30, Staleness::Fresh),
            (31, Staleness::Stale),
            (60, Staleness::Stale),
            (61, Staleness::Expired),
        ] {
            assert_eq!(Staleness::of(&live, after(seconds)), expected, "{seconds} s");
        }
        live.confirm(after(61));
        assert_eq!(Staleness::of(&live, after(61)), Staleness::Fresh);
    }
}
