//! Follows one request from its arrival to its end and records it exactly once: when
//! it is finished, or when it is dropped because the client left.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bridge_translate::{LossList, StopReason, anthropic::ErrorType, usage::Usage};
use http::HeaderMap;
use tracing::info;

use crate::{
    clock::Clock,
    limits::Grant,
    metrics::{LossLabel, Metrics, ProviderLabel, RequestLabels, TokenLabels},
    overload::Shortage,
    request_id::RequestId,
    snapshot::KeyId,
};

use super::{
    recorder::Recorder,
    served::{Asked, Attempt, Seen, Served, Shows},
    trace::Trace,
};

/// What the log calls a request whose client left before the end.
const CLIENT_LEFT: u16 = 499;
const LEFT: &str = "client_left";
const ATTEMPT_OK: &str = "ok";
/// Calls that are told one by one.
const ATTEMPTS_TOLD_MAX: usize = 32;
/// What a client sees, or would have seen, of a panic.
const PANICKED: u16 = 500;

/// Records on drop.
pub(crate) struct Meter {
    metrics: Arc<Metrics>,
    id: RequestId,
    started: Instant,
    caller: Asked,
    trail: Trail,
    attempts: Vec<Attempt>,
    /// What the translation for the latest candidate could not carry.
    losses: LossList,
    end: End,
    book: Option<Book>,
    /// What a key with limits was let in with.
    grant: Option<Grant>,
    /// `None`: nobody wants to see the way it took.
    trace: Option<Trace>,
}

/// Where it is written down what a request cost, and by which clock.
#[derive(Clone)]
pub(crate) struct Book {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) clock: Arc<Clock>,
}

/// Where the request went.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trail {
    /// Provider and upstream model of the latest attempt.
    pub(crate) latest: Option<(Arc<str>, Arc<str>)>,
    pub(crate) attempts: u32,
    /// Revision of the configuration that judged the request.
    pub(crate) revision: Option<u64>,
    /// The value of `x-bridge-loss`.
    pub(crate) losses: Option<String>,
    /// Of the latest attempt's answer, for the client to see.
    pub(crate) passed: HeaderMap,
    /// What the key may still do.
    pub(crate) limits: HeaderMap,
}

/// How it ended.
#[derive(Debug, Default)]
struct End {
    status: Option<u16>,
    error: Option<&'static str>,
    first_token: Option<Duration>,
    usage: Usage,
    stop_reason: Option<StopReason>,
}

impl Meter {
    pub(crate) fn start(metrics: &Arc<Metrics>, id: RequestId, now: Instant) -> Box<Self> {
        metrics.process.requests_in_flight.inc();
        Box::new(Self {
            metrics: Arc::clone(metrics),
            id,
            started: now,
            caller: Asked::default(),
            trail: Trail::default(),
            attempts: Vec::new(),
            losses: LossList::default(),
            end: End::default(),
            book: None,
            grant: None,
            trace: None,
        })
    }

    /// What it costs is written down: it asks for an answer of a model.
    pub(crate) fn writes_into(&mut self, book: Book) {
        self.book = Some(book);
    }

    /// Its way is told to a collector.
    pub(crate) fn traced_by(&mut self, trace: Option<Trace>) {
        self.trace = trace;
    }

    pub(crate) fn id(&self) -> &RequestId {
        &self.id
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(crate) fn trail(&self) -> &Trail {
        &self.trail
    }

    pub(crate) fn judged_by(&mut self, revision: u64) {
        self.trail.revision = Some(revision);
    }

    pub(crate) fn called_by(&mut self, key: KeyId) {
        self.caller.key = Some(key);
    }

    pub(crate) fn asked(&mut self, model: &str, is_stream: bool) {
        self.caller.model = model.to_owned();
        self.caller.is_stream = is_stream;
    }

    pub(crate) fn attempt(&mut self, provider: &Arc<str>, model: &Arc<str>) {
        self.trail.latest = Some((Arc::clone(provider), Arc::clone(model)));
        self.trail.attempts += 1;
        self.trail.passed = HeaderMap::new();
        if self.attempts.len() < ATTEMPTS_TOLD_MAX {
            self.attempts
                .push(Attempt::start((provider, model), Instant::now()));
        }
    }

    /// The upstream of the latest attempt answered.
    pub(crate) fn answered(&mut self, status: u16) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.status = status;
        }
    }

    /// The latest attempt is over, without an answer for the client or in the middle of it.
    pub(crate) fn attempt_failed(&mut self, outcome: &'static str, shows: Shows) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.end(outcome, shows, Instant::now());
        }
    }

    /// It runs within the limits of its key.
    pub(crate) fn granted(&mut self, grant: Grant) {
        self.grant = Some(grant);
    }

    /// What the client is told of its limits.
    pub(crate) fn tells_limits(&mut self, headers: HeaderMap) {
        self.trail.limits = headers;
    }

    /// What the client may see of an upstream's head.
    pub(crate) fn passes(&mut self, headers: HeaderMap) {
        self.trail.passed = headers;
    }

    /// What the latest candidate does not get.
    pub(crate) fn lost(&mut self, losses: LossList) {
        self.trail.losses = None;
        self.losses = losses;
    }

    /// What its answer lost on the way back.
    pub(crate) fn lost_also(&mut self, losses: LossList) {
        self.losses.extend(losses);
    }

    /// The client wants to know all that was lost.
    pub(crate) fn tells_losses(&mut self) {
        self.trail.losses = self.losses.header();
    }

    /// The first content is there.
    pub(crate) fn first_token(&mut self, now: Instant) {
        self.end
            .first_token
            .get_or_insert(now.saturating_duration_since(self.started));
    }

    pub(crate) fn used(&mut self, usage: Usage) {
        self.end.usage = usage;
    }

    /// Why the model stopped.
    pub(crate) fn stopped(&mut self, reason: Option<StopReason>) {
        self.end.stop_reason = reason;
    }

    pub(crate) fn succeeded(&mut self) {
        self.end.status = Some(200);
    }

    /// It was turned away.
    pub(crate) fn shed(&self, shortage: Shortage) {
        self.metrics.turned_away(shortage);
    }

    /// `status` is what the client saw, or would have seen before the head was out.
    pub(crate) fn failed(&mut self, status: u16, error: &'static str) {
        self.end.status = Some(status);
        self.end.error = Some(error);
    }
}

impl Meter {
    /// Hands on what is known, once it is told everywhere else.
    fn write_down(&mut self, seen: Seen) {
        let (book, trace) = (self.book.take(), self.trace.take());
        if book.is_none() && trace.is_none() {
            return;
        }
        let ended = self.started + seen.latency;
        if let Some(latest) = self.attempts.last_mut() {
            let (outcome, shows) = match seen.error {
                Some(error) => (error, Shows::Nothing),
                None => (ATTEMPT_OK, Shows::Answer),
            };
            latest.end(outcome, shows, ended);
        }
        let mut served = Served {
            id: self.id.clone(),
            asked: std::mem::take(&mut self.caller),
            revision: self.trail.revision.unwrap_or(0),
            seen,
            attempts: std::mem::take(&mut self.attempts),
            losses: std::mem::take(&mut self.losses),
            usage: self.end.usage,
        };
        if let Some(trace) = trace {
            trace.end(&served, ended, SystemTime::now());
        }
        if let Some(Book { recorder, clock }) = book {
            served.seen.ended_unix_ms = clock.at_unix_ms(ended);
            recorder.record(served);
        }
    }

    fn count(&self, provider: &str, status: u16, latency: Duration) {
        let Self {
            metrics, trail, end, ..
        } = self;
        let provider = || provider.to_owned();
        metrics
            .requests
            .get_or_create(&RequestLabels {
                provider: provider(),
                status,
            })
            .inc();
        if !self.losses.is_empty() {
            metrics.process.losses.inc();
        }
        for loss in self.losses.iter() {
            let path = metrics.loss_labels.of(&loss.path);
            metrics.losses.get_or_create(&LossLabel { path }).inc();
        }
        if trail.latest.is_some() {
            let label = ProviderLabel { provider: provider() };
            metrics
                .latency
                .get_or_create(&label)
                .observe(latency.as_secs_f64());
            if let Some(first_token) = end.first_token {
                metrics
                    .first_token
                    .get_or_create(&label)
                    .observe(first_token.as_secs_f64());
            }
        }
        let usage = &end.usage;
        for (class, count) in [
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("cache_read", usage.cache_read_input_tokens),
            ("cache_creation", usage.cache_creation_input_tokens),
        ] {
            if count > 0 {
                let label = TokenLabels {
                    provider: provider(),
                    class,
                };
                metrics.tokens.get_or_create(&label).inc_by(count);
            }
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let latency = self.started.elapsed();
        let (status, error) = match self.end.status {
            Some(status) => (status, self.end.error),
            None if std::thread::panicking() => (PANICKED, Some(ErrorType::Api.as_str())),
            None => (CLIENT_LEFT, Some(LEFT)),
        };
        let (provider, upstream_model) = match &self.trail.latest {
            Some((provider, model)) => (&**provider, &**model),
            None => ("", ""),
        };
        self.metrics.process.requests_in_flight.dec();
        if let Some(grant) = self.grant.take() {
            let place = self
                .trail
                .latest
                .as_ref()
                .map(|(provider, model)| (&**provider, &**model));
            grant.settle(&self.end.usage, place, self.started + latency);
        }
        self.count(provider, status, latency);
        let Self { caller, end, .. } = &*self;
        let usage = &end.usage;
        info!(
            request.id = %self.id,
            key.id = caller.key.map(tracing::field::display),
            model = caller.model,
            stream = caller.is_stream,
            provider,
            upstream_model,
            attempt = self.trail.attempts,
            status,
            error,
            latency_ms = latency.as_millis() as u64,
            ttft_ms = end.first_token.map(|first| first.as_millis() as u64),
            input_tokens = usage.input_tokens,
            output_tokens = usage.output_tokens,
            cached_tokens = usage.cache_read_input_tokens,
            losses = self.losses.header(),
            "request served"
        );
        self.write_down(Seen {
            ended_unix_ms: 0,
            latency,
            first_token: self.end.first_token,
            status,
            error,
            stop_reason: self.end.stop_reason,
        });
    }
}
