//! The body of a streamed answer.
//!
//! Pulled by the client: nothing is read from the upstream before the client takes it,
//! no task stands between the two, and dropping this body drops the upstream request.
//! All bytes that arrived together leave together.

mod flow;
mod gather;

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bridge_translate::anthropic::ErrorBody;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::Frame;
use tokio::time::{Instant, Sleep, sleep};

use self::flow::{PING_TICKS, Step};
pub(crate) use flow::Flow;
pub(crate) use gather::Gather;

use crate::{
    error::Error, metrics::Metrics, request_id::RequestId, running::Leash, upstream::client::Body,
    usage::meter::Meter,
};

/// How often time-outs are looked at: one cheap timer instead of one per wait.
const TICK: Duration = Duration::from_secs(1);
/// How long the end of a client's body waits for the end of the upstream's.
const LINGER: Duration = Duration::from_millis(50);
/// What may come after the last word of an answer: the end of its framing, not more words.
const LINGER_BYTES_MAX: usize = 4 << 10;
const PING: &[u8] = b"event: ping\ndata: {\"type\":\"ping\"}\n\n";

/// The answer has begun; from here on nobody else can give it.
pub(crate) enum Committed {
    /// All of it, in the form that the client asked for.
    Whole(Bytes),
    Flow(Box<Flow>),
}

/// The end of a request, and the meter that follows it.
pub(crate) struct Outcome {
    pub(crate) meter: Box<Meter>,
    pub(crate) result: Result<Committed, Error>,
}

/// A streamed answer as a body.
pub(crate) struct Relay {
    stage: Stage,
    gather: Gather,
    tick: Pin<Box<Sleep>>,
    leash: Leash,
    metrics: Arc<Metrics>,
    id: RequestId,
}

/// How far the answer has come. Only `HeadersSent` can still move to another candidate:
/// it holds the walk. `ContentSent` holds one upstream and nothing else.
enum Stage {
    HeadersSent {
        walk: BoxFuture<'static, Outcome>,
        silent_ticks: u32,
    },
    ContentSent {
        flow: Box<Flow>,
        meter: Box<Meter>,
    },
    /// The last bytes, still to be handed out.
    Closing(Bytes),
    /// All is said. If the upstream ends its body soon, its connection can be used again.
    Lingering {
        upstream: Body,
        bytes_left: usize,
    },
    Ended,
}

impl Relay {
    /// Content is there.
    pub(crate) fn content(flow: Box<Flow>, meter: Box<Meter>, leash: Leash, gather: Gather) -> Self {
        let (id, metrics) = (meter.id().clone(), Arc::clone(meter.metrics()));
        Self::new(Stage::ContentSent { flow, meter }, leash, gather, metrics, id)
    }

    /// The client has waited long enough for a head; content comes later.
    pub(crate) fn waiting(
        walk: BoxFuture<'static, Outcome>,
        leash: Leash,
        gather: Gather,
        metrics: Arc<Metrics>,
        id: RequestId,
    ) -> Self {
        let stage = Stage::HeadersSent {
            walk,
            silent_ticks: PING_TICKS,
        };
        Self::new(stage, leash, gather, metrics, id)
    }

    fn new(stage: Stage, leash: Leash, gather: Gather, metrics: Arc<Metrics>, id: RequestId) -> Self {
        Self {
            stage,
            gather,
            tick: Box::pin(sleep(TICK)),
            leash,
            metrics,
            id,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            match &mut self.stage {
                Stage::HeadersSent { walk, .. } => match walk.as_mut().poll(context) {
                    Poll::Ready(outcome) => self.stage = settled(outcome),
                    Poll::Pending => {
                        ready!(self.poll_tick(context));
                        if let Some(bytes) = self.on_tick() {
                            return Poll::Ready(Some(bytes));
                        }
                    }
                },
                Stage::ContentSent { flow, meter } => {
                    // Before the flow: one that never has to wait never sees a tick.
                    if let Some(error) = self.leash.pulled() {
                        let step = flow.cut(&error, meter);
                        return Poll::Ready(Some(self.take(step)));
                    }
                    match flow.poll(context, meter, &mut self.gather) {
                        Poll::Ready(step) => return Poll::Ready(Some(self.take(step))),
                        Poll::Pending => {
                            ready!(self.poll_tick(context));
                            if let Some(bytes) = self.on_tick() {
                                return Poll::Ready(Some(bytes));
                            }
                        }
                    }
                }
                Stage::Lingering { upstream, bytes_left } => match upstream.poll_chunk(context) {
                    Poll::Ready(Some(Ok(bytes))) if bytes.len() <= *bytes_left => *bytes_left -= bytes.len(),
                    Poll::Ready(Some(_) | None) => self.stage = Stage::Ended,
                    Poll::Pending => {
                        ready!(self.tick.as_mut().poll(context));
                        self.stage = Stage::Ended;
                    }
                },
                Stage::Closing(bytes) => {
                    let bytes = std::mem::take(bytes);
                    self.stage = Stage::Ended;
                    if !bytes.is_empty() {
                        return Poll::Ready(Some(bytes));
                    }
                }
                Stage::Ended => return Poll::Ready(None),
            }
        }
    }

    /// Moves on by what the flow came to.
    fn take(&mut self, step: Step) -> Bytes {
        match step {
            Step::Bytes(bytes) => bytes,
            Step::Broken(bytes) => {
                self.stage = Stage::Ended;
                bytes
            }
            Step::Complete(bytes) => {
                if let Stage::ContentSent { flow, .. } = std::mem::replace(&mut self.stage, Stage::Ended) {
                    self.stage = Stage::Lingering {
                        upstream: flow.into_upstream(),
                        bytes_left: LINGER_BYTES_MAX,
                    };
                    self.tick.as_mut().reset(Instant::now() + LINGER);
                }
                bytes
            }
        }
    }

    /// Ends in the one event that tells it. The meter of a walk is gone with it.
    fn panicked(&mut self) -> Bytes {
        tracing::error!(request.id = %self.id, "a stream ended in a panic");
        self.metrics.process.panics.inc();
        let error = Error::Internal;
        if let Stage::ContentSent { mut meter, .. } = std::mem::replace(&mut self.stage, Stage::Ended) {
            meter.failed(error.status(), error.error_type().as_str());
        }
        event(&error, &self.id)
    }

    fn poll_tick(&mut self, context: &mut Context<'_>) -> Poll<()> {
        ready!(self.tick.as_mut().poll(context));
        self.tick.as_mut().reset(Instant::now() + TICK);
        Poll::Ready(())
    }

    /// A second has passed. Returns what has to go out because of it.
    fn on_tick(&mut self) -> Option<Bytes> {
        match &mut self.stage {
            Stage::HeadersSent { silent_ticks, .. } => {
                if let Some(error) = self.leash.pulled() {
                    self.stage = Stage::Ended;
                    return Some(event(&error, &self.id));
                }
                *silent_ticks += 1;
                if *silent_ticks < PING_TICKS {
                    return None;
                }
                *silent_ticks = 0;
                Some(Bytes::from_static(PING))
            }
            Stage::ContentSent { flow, meter } => {
                let step = flow.on_tick(TICK, meter);
                step.map(|step| self.take(step))
            }
            Stage::Closing(_) | Stage::Lingering { .. } | Stage::Ended => None,
        }
    }
}

/// The walk is over while the client already has its head.
fn settled(outcome: Outcome) -> Stage {
    let Outcome { mut meter, result } = outcome;
    match result {
        Ok(Committed::Flow(flow)) => Stage::ContentSent { flow, meter },
        Ok(Committed::Whole(bytes)) => {
            meter.succeeded();
            Stage::Closing(bytes)
        }
        Err(error) => {
            meter.failed(error.status(), error.error_type().as_str());
            Stage::Closing(event(&error, meter.id()))
        }
    }
}

/// The one event that ends a broken stream.
fn event(error: &Error, id: &RequestId) -> Bytes {
    let mut out = Vec::new();
    ErrorBody::new(error.error_type(), &error.to_string(), id.as_str()).to_event(&mut out);
    out.into()
}

impl http_body::Body for Relay {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let polled = catch_unwind(AssertUnwindSafe(|| this.poll(context)))
            .unwrap_or_else(|_panic| Poll::Ready(Some(this.panicked())));
        if let Poll::Ready(Some(_)) = &polled {
            this.gather.wrote();
        }
        polled.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

impl Drop for Relay {
    /// A client that leaves in the middle of an answer has used what came of it.
    fn drop(&mut self) {
        if let Stage::ContentSent { flow, meter } = &mut self.stage {
            meter.used(flow.usage());
        }
    }
}

#[cfg(test)]
mod splits;
#[cfg(test)]
mod tests;
