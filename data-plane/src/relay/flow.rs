//! One upstream stream after its first content: bytes in, events out, and an honest
//! end whatever happens.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bridge_translate::{StopReason, Usage, anthropic::ErrorBody, error::UpstreamFault, stream::KeepAlive};
use bytes::Bytes;

use super::gather::Gather;
use crate::{
    error::Error,
    upstream::{
        admission::Admission,
        client::Body,
        outcome::{Class, Failure},
        refusal,
        way_back::{Progress, Stream},
    },
    usage::meter::Meter,
};

/// One write holds at most about this much, so that a slow client holds no more.
const BATCH_BYTES: usize = 32 << 10;
/// Silence towards the client that is filled with a ping.
pub(super) const PING_TICKS: u32 = 10;
/// Silence without a real event that some clients' watchdogs take for death.
const EMPTY_DELTA_TICKS: u32 = 200;

/// What a poll came to.
pub(super) enum Step {
    Bytes(Bytes),
    /// The last bytes of a whole answer.
    Complete(Bytes),
    /// The last bytes of a broken one.
    Broken(Bytes),
}

/// The only way on is to the end of this upstream's answer.
pub(crate) struct Flow {
    upstream: Body,
    stream: Stream,
    out: Vec<u8>,
    /// The end came together with the first content.
    end: Option<Result<Option<StopReason>, UpstreamFault>>,
    silence: Silence,
    admission: Admission,
}

/// Ticks since something happened.
#[derive(Debug, Default)]
struct Silence {
    upstream: u32,
    client: u32,
    content: u32,
}

impl Flow {
    pub(crate) fn new(
        upstream: Body,
        stream: Stream,
        out: Vec<u8>,
        end: Option<Result<Option<StopReason>, UpstreamFault>>,
        admission: Admission,
    ) -> Self {
        Self {
            upstream,
            stream,
            out,
            end,
            silence: Silence::default(),
            admission,
        }
    }

    /// What is left after the last bytes: a body whose end frees its connection.
    pub(super) fn into_upstream(self) -> Body {
        self.upstream
    }

    /// What the answer has cost so far.
    pub(super) fn usage(&self) -> Usage {
        self.stream.usage()
    }

    /// Takes all that is there, and hands it on as one write, when that may go out.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        meter: &mut Meter,
        gather: &mut Gather,
    ) -> Poll<Step> {
        match self.end.take() {
            None => {}
            Some(Ok(reason)) => return Poll::Ready(self.complete(reason, meter)),
            Some(Err(fault)) => return Poll::Ready(self.broke(fault, meter)),
        }
        while self.out.len() < BATCH_BYTES {
            let progress = match self.upstream.poll_chunk(context) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(bytes))) => {
                    self.silence.upstream = 0;
                    self.stream.push(&bytes, &mut self.out)
                }
                Poll::Ready(Some(Err(class))) => return Poll::Ready(self.fail(self.failure(class), meter)),
                Poll::Ready(None) => self.stream.end(&mut self.out),
            };
            match progress {
                Progress::Held | Progress::Streaming => {
                    if let Err(class) = self.upstream.account(self.stream.held_bytes()) {
                        return Poll::Ready(self.fail(self.failure(class), meter));
                    }
                }
                Progress::Ended(reason) => return Poll::Ready(self.complete(reason, meter)),
                Progress::Failed(fault) => return Poll::Ready(self.broke(fault, meter)),
            }
        }
        if !self.out.is_empty() && self.out.len() < BATCH_BYTES {
            ready!(gather.poll_due(context));
        }
        self.take()
            .map_or(Poll::Pending, |bytes| Poll::Ready(Step::Bytes(bytes)))
    }

    /// A tick has passed.
    pub(super) fn on_tick(&mut self, tick: Duration, meter: &mut Meter) -> Option<Step> {
        let Silence {
            upstream,
            client,
            content,
        } = &mut self.silence;
        *upstream += 1;
        *client += 1;
        *content += 1;
        // The first tick may come right after the last byte.
        let (silent, client, content) = (tick * (*upstream - 1), *client, *content);
        let pace = self.admission.candidate().provider.endpoint.pace;
        if self.stream.is_finishing() && silent >= pace.finish_grace {
            return Some(self.end_of_grace(meter));
        }
        if silent >= pace.idle {
            return Some(self.fail(self.failure(Class::Stalled), meter));
        }
        if content >= EMPTY_DELTA_TICKS {
            self.stream.keep_alive(KeepAlive::EmptyDelta, &mut self.out);
            return self.take().map(Step::Bytes);
        }
        if client >= PING_TICKS {
            self.stream.keep_alive(KeepAlive::Ping, &mut self.out);
            // A ping is no content: the longer wait goes on.
            let bytes = self.take();
            self.silence.content = content;
            return bytes.map(Step::Bytes);
        }
        None
    }

    /// Ends the stream from our side.
    pub(super) fn cut(&mut self, error: &Error, meter: &mut Meter) -> Step {
        self.break_off(error, meter)
    }

    /// The finish reason came, and after it nothing: what is there is the answer.
    fn end_of_grace(&mut self, meter: &mut Meter) -> Step {
        match self.stream.end(&mut self.out) {
            Progress::Ended(reason) => self.complete(reason, meter),
            Progress::Held | Progress::Streaming | Progress::Failed(_) => {
                self.fail(self.failure(Class::Stalled), meter)
            }
        }
    }

    fn complete(&mut self, reason: Option<StopReason>, meter: &mut Meter) -> Step {
        let usage = self.stream.usage();
        self.admission.succeed(&usage);
        meter.used(usage);
        // Too late for a header; log and metrics still tell it.
        meter.lost_also(self.stream.losses());
        meter.stopped(reason);
        meter.succeeded();
        Step::Complete(std::mem::take(&mut self.out).into())
    }

    /// The upstream says itself that it cannot go on.
    fn broke(&mut self, fault: UpstreamFault, meter: &mut Meter) -> Step {
        let failure = refusal::said(self.admission.candidate(), fault);
        self.fail(failure, meter)
    }

    fn fail(&mut self, failure: Failure, meter: &mut Meter) -> Step {
        self.admission.fail(&failure);
        let verdict = failure.class.verdict();
        let (provider, outcome) = (&failure.provider, verdict.name);
        meter.metrics().broken_streams(provider, outcome).inc();
        meter.attempt_failed(outcome, verdict.shows());
        tracing::warn!(
            request.id = %meter.id(), %provider, model = %self.admission.candidate().model, outcome,
            "stream broke: {}", failure.message()
        );
        self.break_off(&Error::Upstream(failure), meter)
    }

    fn break_off(&mut self, error: &Error, meter: &mut Meter) -> Step {
        meter.used(self.stream.usage());
        meter.failed(error.status(), error.error_type().as_str());
        let text = error.to_string();
        let body = ErrorBody::new(error.error_type(), &text, meter.id().as_str());
        self.stream.fail(&body, &mut self.out);
        Step::Broken(std::mem::take(&mut self.out).into())
    }

    fn take(&mut self) -> Option<Bytes> {
        if self.out.is_empty() {
            return None;
        }
        self.silence.client = 0;
        self.silence.content = 0;
        Some(std::mem::take(&mut self.out).into())
    }

    fn failure(&self, class: Class) -> Failure {
        Failure::new(class, Arc::clone(&self.admission.candidate().provider.name))
    }
}
