//! Checks of models, made because somebody asks for them, each by a data plane.
//!
//! A check that is running is joined: whoever asks for the same one waits for its
//! result. Once begun it runs to its end, so that what it has cost is not lost with the
//! one who asked, and nobody who stops reading holds up others. What it shows is kept
//! before it is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bridge_proto::fleet::v1 as fleet;
use futures_util::future::{BoxFuture, FutureExt, Shared, WeakShared};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain;
use crate::domain::health::{Check, Failure};
use crate::domain::model::ModelName;
use crate::domain::provider::ProviderName;
use crate::peers::Peers;
use crate::probe::{Probes, Target};
use crate::snapshot::nodes::NodeId;
use crate::store::Store;

/// What a node says if it has called nobody.
const REFUSED_BY_NODE: &str = "refused";

/// One model of a provider, as a revision left it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Subject {
    pub(crate) provider: ProviderName,
    pub(crate) model: ModelName,
    pub(crate) revision: u64,
}

/// Why nothing was checked, in words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotMade(pub(crate) String);

type Made = Result<Check, NotMade>;
type Run = Shared<BoxFuture<'static, Made>>;

/// Checks on their way; clones share them.
#[derive(Clone)]
pub(crate) struct Checks {
    store: Store,
    peers: Peers,
    probes: Probes,
    running: Arc<Mutex<HashMap<Subject, WeakShared<BoxFuture<'static, Made>>>>>,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl Checks {
    pub(crate) fn new(
        (store, peers, probes): (Store, Peers, Probes),
        tasks: TaskTracker,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            store,
            peers,
            probes,
            running: Arc::default(),
            tasks,
            stopping,
        }
    }

    /// Keeps what a call that somebody made otherwise has shown, if it has shown anything.
    pub(crate) async fn keep(&self, subject: Subject, node: &NodeId, result: fleet::ProbeResult) {
        let revision = subject.revision;
        if let Ok(check) = read(subject, node, result) {
            keep(&self.store, &check, revision).await;
        }
    }

    /// The check of this model that is running, or a new one. It waits for its turn.
    pub(crate) fn run(&self, subject: &Subject, timeout: Duration) -> Run {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, run| run.upgrade().is_some_and(|run| run.peek().is_none()));
        if let Some(run) = running.get(subject).and_then(WeakShared::upgrade) {
            return run;
        }
        let made = make(self.clone(), subject.clone(), timeout);
        let run = made.boxed().shared();
        if let Some(weak) = run.downgrade() {
            running.insert(subject.clone(), weak);
        }
        let (driven, stopping) = (run.clone(), self.stopping.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                // Nothing that is stopped has to be finished.
                biased;
                () = stopping.cancelled() => {}
                _made = driven => {}
            }
        });
        run
    }
}

async fn make(checks: Checks, subject: Subject, timeout: Duration) -> Made {
    let target = Target {
        provider: subject.provider.to_string(),
        model: subject.model.as_str().to_owned(),
        revision: subject.revision,
    };
    let asked = checks.probes.run_in_turn(&checks.peers, target, timeout).await;
    let (node, result) = asked.map_err(|error| NotMade(error.to_string()))?;
    let revision = subject.revision;
    let check = read(subject, &node, result)?;
    keep(&checks.store, &check, revision).await;
    Ok(check)
}

async fn keep(store: &Store, check: &Check, revision: u64) {
    if let Err(error) = store.keep_checks(vec![(check.clone(), revision)]).await {
        tracing::warn!(error = %error, "what a check has shown is not kept");
    }
}

fn read(subject: Subject, node: &NodeId, result: fleet::ProbeResult) -> Made {
    let fleet::ProbeResult {
        probe_id: _,
        ok,
        latency,
        http_status,
        error_class,
        message,
    } = result;
    if !ok && error_class == REFUSED_BY_NODE {
        return Err(NotMade(format!("data plane {node}: {message}")));
    }
    Ok(Check {
        provider: subject.provider,
        model: subject.model,
        at: domain::to_the_millisecond(SystemTime::now()),
        latency: latency
            .and_then(|latency| latency.try_into().ok())
            .unwrap_or_default(),
        node: node.to_string(),
        http_status,
        failure: (!ok).then(|| Failure::new(error_class, &message)),
    })
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::gauge::Gauge;

    use super::*;
    use crate::snapshot::nodes::{Ask, Nodes};

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn subject(revision: u64) -> Subject {
        Subject {
            provider: ProviderName::parse("qwen").unwrap(),
            model: ModelName::parse("qwen-max").unwrap(),
            revision,
        }
    }

    #[tokio::test]
    async fn a_check_that_is_running_is_joined_and_goes_on_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (nodes, probes) = (Nodes::new(Gauge::default()), Probes::default());
        let mut member = nodes.join_test("a", true, Some(9));
        let tasks = TaskTracker::new();
        let parts = (store, Peers::alone(nodes.clone()), probes.clone());
        let checks = Checks::new(parts, tasks.clone(), CancellationToken::new());

        let one = checks.run(&subject(1), TIMEOUT);
        assert!(checks.run(&subject(1), TIMEOUT).ptr_eq(&one));
        let other = checks.run(&subject(2), TIMEOUT);
        assert!(!other.ptr_eq(&one), "it is about another configuration");
        drop((one, other));
        for _ in 0..2 {
            let Some(Ask::Probe(probe)) = member.asks.recv().await else {
                panic!("no probe")
            };
            probes.answered(fleet::ProbeResult {
                probe_id: probe.probe_id,
                ok: true,
                ..Default::default()
            });
        }
        tasks.close();
        tasks.wait().await;
        assert!(member.asks.try_recv().is_err(), "nobody was called twice");
        let next = checks.run(&subject(1), TIMEOUT);
        assert!(next.peek().is_none(), "what is over is not joined");
    }
}
