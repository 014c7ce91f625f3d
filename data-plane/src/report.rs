//! Tells the control plane what traffic was.
//!
//! One batch is on its way at a time, and it is sent again, unchanged, until it is counted;
//! everything that ends meanwhile goes on being summed up where it is. So a control plane
//! that is away costs no more memory than the recorder's limits, and no batch counts twice.

mod message;
mod pace;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bridge_proto::fleet::v1 as proto;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tracing::warn;

use self::pace::Pace;
use crate::{
    limits::cost_micros,
    metrics::ResultLabel,
    node::Node,
    snapshot::watch::link::Link,
    usage::{
        recorder::{TAKEN_ENTRIES_MAX, TAKEN_ROLLUPS_MAX, Taken},
        sums::{SumKey, Sums},
    },
};

/// How often what has ended is told.
const INTERVAL: Duration = Duration::from_secs(2);
/// How long the control plane may take to count a batch.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

pub(crate) struct Reporter {
    node: Arc<Node>,
    link: watch::Receiver<Option<Link>>,
    node_id: String,
    boot_id: String,
    sequence: u64,
    pace: Pace,
}

/// What became of an attempt to report.
enum Told {
    /// There was nothing to say.
    Nothing,
    /// All that waited then.
    Everything,
    /// As much as a report carries.
    Part,
    /// Nobody counted it yet.
    Nobody(proto::ReportRequest),
}

impl Reporter {
    pub(crate) fn new(
        node: &Arc<Node>,
        node_id: &str,
        boot_id: &str,
        link: watch::Receiver<Option<Link>>,
    ) -> Self {
        Self {
            node: Arc::clone(node),
            link,
            node_id: node_id.to_owned(),
            boot_id: boot_id.to_owned(),
            sequence: 0,
            pace: Pace::default(),
        }
    }

    /// Runs until nothing ends any more and all is told. The caller bounds the latter.
    pub(crate) async fn run(mut self, served: CancellationToken) {
        let mut waiting = None;
        loop {
            let is_last = served.is_cancelled();
            let pause = match self.tell(waiting.take()).await {
                Told::Nothing if is_last => return,
                Told::Part => Duration::ZERO,
                Told::Everything if is_last => Duration::ZERO,
                // Whatever has ended meanwhile: under load something always has.
                Told::Everything | Told::Nothing => INTERVAL,
                Told::Nobody(batch) => {
                    waiting = Some(batch);
                    self.pace.next(is_last, &mut rand::rng())
                }
            };
            tokio::select! {
                // The last word must not wait for its turn.
                biased;
                () = served.cancelled(), if !is_last => {}
                () = sleep(pause) => {}
            }
        }
    }

    async fn tell(&mut self, waiting: Option<proto::ReportRequest>) -> Told {
        let Some(batch) = waiting.or_else(|| self.next()) else {
            return Told::Nothing;
        };
        let told = if is_full(&batch) {
            Told::Part
        } else {
            Told::Everything
        };
        let Some(link) = self.link.borrow().clone() else {
            return Told::Nobody(batch);
        };
        let answer = timeout(ANSWER_WAIT, link.usage().report(batch.clone())).await;
        let refusal = match answer {
            Ok(Ok(_counted)) => {
                self.counted("counted");
                self.pace = Pace::default();
                return told;
            }
            Ok(Err(status)) => status,
            Err(_) => Status::deadline_exceeded("no answer in time"),
        };
        if refusal.code() == Code::InvalidArgument {
            warn!(
                "the control plane refuses a report for good: {}",
                refusal.message()
            );
            self.counted("refused");
            self.node.recorder.lost(batch.rollups.len(), batch.requests.len());
            return told;
        }
        if self.pace.is_first() {
            warn!(code = ?refusal.code(), "usage could not be reported: {}", refusal.message());
        }
        self.counted("failed");
        Told::Nobody(batch)
    }

    fn next(&mut self) -> Option<proto::ReportRequest> {
        let taken = self
            .node
            .recorder
            .take(self.node.clock.at_unix_ms(Instant::now()));
        if taken.is_empty() {
            return None;
        }
        let Taken {
            sums,
            entries,
            dropped,
        } = taken;
        self.sequence += 1;
        self.tell_limits(&sums);
        self.node.metrics.usage.dropped(dropped.rollups, dropped.entries);
        Some(proto::ReportRequest {
            node_id: self.node_id.clone(),
            boot_id: self.boot_id.clone(),
            sequence: self.sequence,
            rollups: sums.into_iter().map(message::rollup).collect(),
            requests: entries.into_iter().map(message::entry).collect(),
            dropped_rollups: dropped.rollups,
            dropped_requests: dropped.entries,
        })
    }

    /// What is in this report the control plane will count.
    fn tell_limits(&self, sums: &[(SumKey, Sums)]) {
        let prices = self
            .node
            .live
            .held()
            .map(|held| Arc::clone(&held.settings.prices));
        let prices = prices.unwrap_or_default();
        let spent = sums.iter().filter_map(|(key, sums)| {
            let (provider, model) = key.place.as_ref()?;
            let usage = sums.tokens.as_usage();
            let cost = cost_micros(&prices, provider, model, &usage);
            let tokens = usage.prompt_tokens().saturating_add(usage.output_tokens);
            Some((key.key.as_ref()?, tokens, cost))
        });
        self.node.limits.reported(self.sequence, spent);
    }

    fn counted(&self, result: &'static str) {
        let label = ResultLabel { result };
        self.node.metrics.usage.reports.get_or_create(&label).inc();
    }
}

fn is_full(batch: &proto::ReportRequest) -> bool {
    batch.rollups.len() >= TAKEN_ROLLUPS_MAX || batch.requests.len() >= TAKEN_ENTRIES_MAX
}

#[cfg(test)]
mod tests;
