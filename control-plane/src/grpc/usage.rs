//! `UsageService` on the fleet listener: counts what nodes report.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bridge_proto::fleet::v1 as fleet;
use bridge_proto::fleet::v1::usage_service_server::UsageService;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use crate::domain::Violations;
use crate::domain::api_key::KeyId;
use crate::domain::price::{Price, cost_micros};
use crate::domain::usage::{
    Attempt, Boot, Calls, Entry, Histogram, Logged, Report, Rollup, Step, Subject, Sums, Tokens,
};
use crate::grpc::call;
use crate::grpc::interceptor;
use crate::grpc::status::Error;
use crate::roster::{Denied, Roster};
use crate::snapshot::nodes::NodeId;
use crate::store::Store;
use crate::telemetry::{Metrics, ReportResult};
use crate::traces::FromNode;

/// Largest report, in bytes.
pub(crate) const REPORT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most of each in one report; nodes send 500.
const ITEMS_MAX: usize = 2_000;
/// Of one sum or request.
const ERROR_CLASSES_MAX: usize = 16;
const ATTEMPTS_MAX: usize = 20;
const LOSSES_MAX: usize = 20;
const BUCKETS_MAX: usize = 64;
/// Longer texts are cut: all of a request must fit into one record.
const TEXT_BYTES_MAX: usize = 128;
/// A node whose clock is further ahead is not believed.
const AHEAD_MAX: Duration = Duration::from_secs(5 * 60);
/// Reports that wait for the store at a time: the changes of admins must not wait for many.
const AT_ONCE: usize = 1;

pub(crate) struct Usage {
    store: Store,
    roster: Roster,
    metrics: Metrics,
    turns: Arc<Semaphore>,
}

impl Usage {
    pub(crate) fn new(store: Store, roster: Roster, metrics: Metrics) -> Self {
        Self {
            store,
            roster,
            metrics,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    async fn count(&self, wire: fleet::ReportRequest, now: SystemTime) -> Result<u64, Error> {
        let settings = self.store.settings().await?;
        let prices = settings
            .map(|stored| stored.value.to_draft().prices)
            .unwrap_or_default();
        let now_s = unix_s(now);
        let report = Reading {
            latest_minute_s: Step::Minute.start(now_s + AHEAD_MAX.as_secs()),
            prices: &prices,
            violations: Violations::default(),
        }
        .report(wire)?;
        let boot = report.boot.clone();
        let _turn = self.turns.acquire().await.map_err(Error::internal)?;
        self.store.count_usage(report, now_s).await?;
        Ok(self.store.counted_sequence(&boot).await?)
    }
}

#[tonic::async_trait]
impl UsageService for Usage {
    async fn report(
        &self,
        request: Request<fleet::ReportRequest>,
    ) -> Result<Response<fleet::ReportResponse>, Status> {
        let identity = interceptor::identity(&request)?;
        let from_node = FromNode::of(request.extensions());
        let mut wire = request.into_inner();
        match self.roster.name(&identity, &wire.node_id).await {
            Ok(id) => {
                from_node.tell(id.as_str());
                wire.node_id = id.to_string();
            }
            // It is told with all that is wrong.
            Err(Denied::BadName) => {}
            Err(denied) => return Err(interceptor::denied(denied)),
        }
        let counted = self.count(wire, call::now()).await;
        self.metrics.reported(match &counted {
            Ok(_) => ReportResult::Counted,
            Err(Error::Invalid(_)) => ReportResult::Refused,
            Err(_) => ReportResult::Failed,
        });
        Ok(Response::new(fleet::ReportResponse {
            counted_sequence: counted?,
        }))
    }
}

/// Reads a report. What makes no sense refuses it; what is only too long is cut.
struct Reading<'a> {
    latest_minute_s: u64,
    prices: &'a [Price],
    violations: Violations,
}

impl Reading<'_> {
    fn report(mut self, wire: fleet::ReportRequest) -> Result<Report, Error> {
        let fleet::ReportRequest {
            node_id,
            boot_id,
            sequence,
            rollups,
            requests,
            dropped_rollups,
            dropped_requests,
        } = wire;
        for (field, text) in [("node_id", &node_id), ("boot_id", &boot_id)] {
            if NodeId::parse(text).is_none() {
                self.violations
                    .add(field, "must be 1 to 128 printable ASCII characters");
            }
        }
        if sequence == 0 {
            self.violations.add("sequence", "must be at least 1");
        }
        for (field, count) in [("rollups", rollups.len()), ("requests", requests.len())] {
            if count > ITEMS_MAX {
                self.violations
                    .add(field, format!("must have at most {ITEMS_MAX} entries"));
            }
        }
        let rollups = rollups
            .into_iter()
            .take(ITEMS_MAX)
            .enumerate()
            .map(|(index, rollup)| self.rollup(index, rollup))
            .collect();
        let entries = requests
            .into_iter()
            .take(ITEMS_MAX)
            .enumerate()
            .map(|(index, entry)| self.logged(index, entry, &node_id))
            .collect();
        let report = Report {
            boot: Boot { node_id, boot_id },
            sequence,
            rollups,
            entries,
            dropped: dropped_rollups.saturating_add(dropped_requests),
        };
        Ok(self.violations.finish(Some(report))?)
    }

    fn rollup(&mut self, index: usize, wire: fleet::UsageRollup) -> Rollup {
        let fleet::UsageRollup {
            minute,
            key_id,
            provider,
            upstream_model,
            requests,
            errors,
            tokens,
            estimated_requests,
            latency,
            first_token,
            answered_calls,
            failed_calls,
        } = wire;
        let minute_s = self.time(format!("rollups[{index}].minute"), minute) / 1_000;
        let subject = Subject {
            key_id: self.key_id(format!("rollups[{index}].key_id"), key_id),
            provider: cut(provider),
            upstream_model: cut(upstream_model),
        };
        let tokens = self::tokens(tokens);
        let cost = cost_micros(self.prices, &subject.provider, &subject.upstream_model, &tokens);
        let errors = errors.into_iter().take(ERROR_CLASSES_MAX);
        let mut sums = Sums {
            requests,
            errors: errors.map(|(class, count)| (cut(class), count)).collect(),
            tokens,
            cost_micros: cost.unwrap_or(0),
            unpriced_requests: 0,
            estimated_requests,
            latency: histogram(latency),
            first_token: histogram(first_token),
            dropped: 0,
            calls: Calls {
                answered: answered_calls,
                failed: failed_calls,
            },
        };
        if cost.is_none() && tokens.total() > 0 {
            sums.unpriced_requests = requests.saturating_sub(sums.failed());
        }
        Rollup {
            minute_s: Step::Minute.start(minute_s).min(self.latest_minute_s),
            subject,
            sums,
        }
    }

    fn logged(&mut self, index: usize, wire: fleet::RequestLogEntry, node_id: &str) -> Logged {
        let fleet::RequestLogEntry {
            request_id,
            started_at,
            key_id,
            model,
            is_stream,
            http_status,
            error_type,
            stop_reason,
            tokens,
            is_estimated,
            latency,
            first_token,
            attempts,
            losses,
            config_revision,
        } = wire;
        let tokens = self::tokens(tokens);
        let attempts: Vec<Attempt> = attempts.into_iter().take(ATTEMPTS_MAX).map(attempt).collect();
        let cost = match attempts.last() {
            Some(last) if tokens.total() > 0 => {
                cost_micros(self.prices, &last.provider, &last.upstream_model, &tokens)
            }
            Some(_) | None => Some(0),
        };
        let entry = Entry {
            request_id: cut(request_id),
            started_ms: self.time(format!("requests[{index}].started_at"), started_at),
            key_id: self.key_id(format!("requests[{index}].key_id"), key_id),
            model: cut(model),
            is_stream,
            http_status,
            error_type: cut(error_type),
            stop_reason: cut(stop_reason),
            tokens,
            is_estimated,
            latency_ms: milliseconds(latency).unwrap_or(0),
            first_token_ms: milliseconds(first_token),
            attempts,
            losses: losses.into_iter().take(LOSSES_MAX).map(cut).collect(),
            config_revision,
        };
        Logged {
            entry,
            node_id: node_id.to_owned(),
            cost_micros: cost,
        }
    }

    /// Milliseconds since 1970, not ahead of our own clock by more than clocks differ.
    fn time(&mut self, field: String, wire: Option<prost_types::Timestamp>) -> u64 {
        let time = wire.and_then(|wire| SystemTime::try_from(wire).ok());
        let since = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let Some(since) = since else {
            self.violations.add(field, "must be a point in time since 1970");
            return 0;
        };
        let latest_ms = (self.latest_minute_s + Step::Minute.seconds()).saturating_mul(1_000);
        u64::try_from(since.as_millis())
            .unwrap_or(u64::MAX)
            .min(latest_ms)
    }

    fn key_id(&mut self, field: String, text: String) -> String {
        if !text.is_empty() {
            self.violations.check(field, KeyId::parse(&text));
        }
        text
    }
}

fn tokens(wire: Option<fleet::TokenCounts>) -> Tokens {
    let fleet::TokenCounts {
        input,
        output,
        cache_read,
        cache_creation,
    } = wire.unwrap_or_default();
    Tokens {
        input,
        output,
        cache_read,
        cache_creation,
    }
}

fn histogram(wire: Option<fleet::Histogram>) -> Histogram {
    let fleet::Histogram { mut buckets, sum } = wire.unwrap_or_default();
    buckets.truncate(BUCKETS_MAX);
    Histogram::of(&buckets, milliseconds(sum).unwrap_or(0))
}

fn attempt(wire: fleet::AttemptLog) -> Attempt {
    let fleet::AttemptLog {
        provider,
        upstream_model,
        http_status,
        outcome,
        latency,
    } = wire;
    Attempt {
        provider: cut(provider),
        upstream_model: cut(upstream_model),
        http_status,
        outcome: cut(outcome),
        latency_ms: milliseconds(latency).unwrap_or(0),
    }
}

fn milliseconds(wire: Option<prost_types::Duration>) -> Option<u64> {
    let duration = Duration::try_from(wire?).ok()?;
    Some(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

pub(crate) fn unix_s(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
