//! What traffic says of providers: nobody is called for it. Calls come from the sums that
//! data planes report, open breakers and refused credentials from what they say of
//! themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bridge_proto::admin::v1 as admin;
use bridge_proto::fleet::v1 as fleet;

use crate::domain::usage::{Calls, Histogram, Step, Subject, Sums};
use crate::grpc::status::Error;
use crate::store::{Store, UsageAsk};

/// How far back it looks, in whole minutes.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Sums that may be looked at. Where there are more, only data planes are told of.
const ROWS_MAX: usize = 100_000;

/// What is known of all providers.
pub(super) struct Passive {
    traffic: BTreeMap<String, Traffic>,
    troubles: BTreeMap<String, Troubles>,
}

/// Calls to one provider.
#[derive(Default)]
struct Traffic {
    calls: Calls,
    latency: Histogram,
    /// Starts of minutes, in seconds since 1970.
    last_success_s: Option<u64>,
    last_failure_s: Option<u64>,
}

/// Data planes that do not ask a provider.
#[derive(Debug, Default, PartialEq, Eq)]
struct Troubles {
    open_nodes: u32,
    quarantined_nodes: u32,
}

impl Passive {
    pub(super) async fn look(store: &Store, nodes: &[admin::Node], now: SystemTime) -> Result<Self, Error> {
        let now_s = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let ask = UsageAsk {
            step: Step::Minute,
            from_s: Step::Minute.start(now_s.saturating_sub(WINDOW.as_secs())),
            // Clocks of data planes differ.
            below_s: now_s.saturating_add(WINDOW.as_secs()),
            keep: Arc::new(|subject| !subject.provider.is_empty()),
            rows_max: ROWS_MAX,
        };
        let traffic = store.fold_usage(ask, BTreeMap::new(), add).await?;
        if traffic.is_none() {
            tracing::warn!(
                rows_max = ROWS_MAX,
                "there is too much traffic to tell what it says of providers"
            );
        }
        Ok(Self {
            traffic: traffic.unwrap_or_default(),
            troubles: troubles(nodes),
        })
    }

    /// What is known of one.
    pub(super) fn of(&self, provider: &str) -> admin::PassiveHealth {
        let (no_traffic, no_troubles) = (Traffic::default(), Troubles::default());
        let Traffic {
            calls: Calls { answered, failed },
            latency,
            last_success_s,
            last_failure_s,
        } = self.traffic.get(provider).unwrap_or(&no_traffic);
        let Troubles {
            open_nodes,
            quarantined_nodes,
        } = self.troubles.get(provider).unwrap_or(&no_troubles);
        let percentile = |per_cent| latency.percentile(per_cent)?.try_into().ok();
        admin::PassiveHealth {
            requests: answered.saturating_add(*failed),
            failures: *failed,
            latency_p50: percentile(50),
            latency_p99: percentile(99),
            open_nodes: *open_nodes,
            quarantined_nodes: *quarantined_nodes,
            last_success_at: last_success_s.map(minute),
            last_failure_at: last_failure_s.map(minute),
        }
    }
}

fn add(traffic: &mut BTreeMap<String, Traffic>, start_s: u64, subject: Subject, sums: &Sums) {
    let of_provider = traffic.entry(subject.provider).or_default();
    of_provider.calls.add(sums.calls);
    of_provider.latency.add(&sums.latency);
    let latest = |at: &mut Option<u64>, count: u64| {
        if count > 0 {
            *at = (*at).max(Some(start_s));
        }
    };
    latest(&mut of_provider.last_success_s, sums.calls.answered);
    latest(&mut of_provider.last_failure_s, sums.calls.failed);
}

/// By provider, each data plane once, though many of a provider's breakers may be open there.
fn troubles(nodes: &[admin::Node]) -> BTreeMap<String, Troubles> {
    let mut by_provider = BTreeMap::<String, Troubles>::new();
    let connected = nodes.iter().filter(|node| {
        !matches!(
            node.state(),
            admin::NodeState::Disconnected | admin::NodeState::Revoked
        )
    });
    for node in connected {
        let open: BTreeSet<&str> = node
            .breakers
            .iter()
            .filter(|breaker| breaker.state() != fleet::BreakerState::Closed)
            .map(|breaker| breaker.provider.as_str())
            .collect();
        for provider in open {
            by_provider.entry(provider.to_owned()).or_default().open_nodes += 1;
        }
        let quarantined: BTreeSet<&str> = node.quarantines.iter().map(|it| it.provider.as_str()).collect();
        for provider in quarantined {
            by_provider
                .entry(provider.to_owned())
                .or_default()
                .quarantined_nodes += 1;
        }
    }
    by_provider
}

fn minute(start_s: u64) -> prost_types::Timestamp {
    (SystemTime::UNIX_EPOCH + Duration::from_secs(start_s)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker(provider: &str, model: &str, state: fleet::BreakerState) -> fleet::BreakerStatus {
        fleet::BreakerStatus {
            provider: provider.to_owned(),
            model: model.to_owned(),
            state: state.into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_data_plane_counts_once_for_a_provider_while_it_is_connected() {
        use fleet::BreakerState::{Closed, HalfOpen, Open};
        let node = |state: admin::NodeState| admin::Node {
            state: state.into(),
            breakers: vec![
                breaker("a", "m", Open),
                breaker("a", "n", HalfOpen),
                breaker("b", "", Closed),
            ],
            quarantines: vec![fleet::QuarantineStatus {
                provider: "b".to_owned(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let nodes = [
            node(admin::NodeState::Current),
            node(admin::NodeState::Draining),
            node(admin::NodeState::Disconnected),
            node(admin::NodeState::Revoked),
        ];
        let told = troubles(&nodes);
        let of = |open_nodes, quarantined_nodes| Troubles {
            open_nodes,
            quarantined_nodes,
        };
        assert_eq!(
            told,
            [("a".to_owned(), of(2, 0)), ("b".to_owned(), of(0, 2))].into()
        );
    }

    #[test]
    fn what_is_told_is_the_sum_of_all_minutes_and_keys() {
        let sums = |answered, failed| Sums {
            requests: answered,
            calls: Calls { answered, failed },
            latency: Histogram::of(&[0, answered], answered),
            ..Sums::default()
        };
        let mut traffic = BTreeMap::new();
        for (start_s, key, told) in [
            (60, "k", sums(3, 0)),
            (60, "l", sums(2, 1)),
            (120, "k", sums(1, 0)),
        ] {
            let subject = Subject {
                key_id: key.to_owned(),
                provider: "a".to_owned(),
                upstream_model: "m".to_owned(),
            };
            add(&mut traffic, start_s, subject, &told);
        }
        let passive = Passive {
            traffic,
            troubles: BTreeMap::new(),
        };
        let told = passive.of("a");
        assert_eq!((told.requests, told.failures), (7, 1));
        let seconds = |at: Option<prost_types::Timestamp>| at.map(|at| at.seconds);
        assert_eq!(
            (seconds(told.last_success_at), seconds(told.last_failure_at)),
            (Some(120), Some(60))
        );
        let p50_ms = told.latency_p50.map(|p50| p50.nanos / 1_000_000);
        assert!(p50_ms.is_some_and(|ms| (1..=2).contains(&ms)), "{p50_ms:?}");
        assert_eq!(passive.of("b"), admin::PassiveHealth::default());
    }
}
