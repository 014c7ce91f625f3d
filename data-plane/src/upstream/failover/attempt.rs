//! One call to one candidate, up to the point where its answer is sure to begin.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bridge_translate::{StopReason, error::UpstreamFault, stream::Status, tokens};
use bytes::Bytes;
use http::{HeaderMap, header};
use tokio::time::sleep_until;

use super::order::{Order, Sent};
use crate::{
    off_reactor::Room,
    overload::Held,
    relay::{Committed, Flow},
    routing::Candidate,
    upstream::{
        admission::Admission,
        client::{Accept, Answer, Body},
        learnt::Estimates,
        native_head,
        outcome::{Class, Failure},
        refusal::{self, Advice},
        retry_after::retry_after,
        way_back::{Progress, Reply, Stream, Whole},
    },
    usage::meter::Meter,
};

/// Some clients give up on a stream after five minutes without an event, and pings are none.
/// Servers that evaluate a long prompt may take longer.
const WORDLESS_MAX: Duration = Duration::from_secs(200);
/// Longest whole answer.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// Longest error body; what it says fits into less.
const ERROR_BYTES_MAX: usize = 1 << 20;
/// Longest request whose tokens are counted to learn from it.
const SAMPLE_BYTES_MAX: usize = 256 << 10;

const SHOULD_RETRY: &str = "x-should-retry";

/// The way an answer comes.
enum Form {
    Events,
    Document,
    /// HTML and the like: nothing that an API answers.
    Page,
}

/// Asks and judges. The admission is settled by what the answer shows.
pub(super) async fn run(
    order: &Order<'_>,
    candidate: &Candidate,
    sent: &Sent,
    mut admission: Admission,
    deadline: Instant,
    meter: &mut Meter,
) -> Result<Committed, Failure> {
    let call = Call {
        order,
        candidate,
        sent,
        silent_at: Instant::now() + candidate.provider.endpoint.pace.idle,
        deadline,
    };
    // The upstream is asked first; the tokens of the prompt are counted while it thinks.
    let (reached, counted) = tokio::join!(call.run(meter), call.sample());
    admission.expects(Estimates {
        rough: sent.rough_tokens,
        counted,
    });
    match reached {
        Ok(Reached::Whole(whole, held)) => {
            let Whole {
                body,
                usage,
                losses,
                stop_reason,
            } = whole;
            admission.succeed(&usage);
            meter.stopped(stop_reason);
            order.report_answer(losses, meter);
            Ok(Committed::Whole(Bytes::from_owner(Accounted {
                body,
                _held: held,
            })))
        }
        Ok(Reached::Begun {
            body,
            stream,
            out,
            end,
        }) => {
            admission.begun();
            Ok(Committed::Flow(Box::new(Flow::new(
                body, stream, out, end, admission,
            ))))
        }
        Err(failure) => {
            let is_curable = failure
                .change
                .is_some_and(|change| sent.changes.clone().make(change));
            // Cured, it says nothing about the candidate.
            if !is_curable {
                admission.fail(&failure);
            }
            Err(failure)
        }
    }
}

/// A whole answer; its memory is given back when its client has taken it.
struct Accounted {
    body: Vec<u8>,
    _held: Held,
}

impl AsRef<[u8]> for Accounted {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

#[expect(clippy::large_enum_variant, reason = "moved once, straight into the flow")]
enum Reached {
    Whole(Whole, Held),
    Begun {
        body: Body,
        stream: Stream,
        out: Vec<u8>,
        end: Option<Result<Option<StopReason>, UpstreamFault>>,
    },
}

struct Call<'a> {
    order: &'a Order<'a>,
    candidate: &'a Candidate,
    sent: &'a Sent,
    /// When the answer must have begun.
    silent_at: Instant,
    /// When the request's own time is over: what is told before its end has begun by then,
    /// everything else is complete.
    deadline: Instant,
}

impl Call<'_> {
    async fn run(&self, meter: &mut Meter) -> Result<Reached, Failure> {
        let wants_stream = self.order.asked.request.is_stream();
        let call = &self.sent.call;
        let answer = self
            .in_time(self.order.upstreams.client.send(call))
            .await
            .and_then(|answer| answer)
            .map_err(|class| self.failure(class))?;
        let Answer {
            status,
            headers,
            body,
        } = answer;
        meter.answered(status);
        if let Reply::Native(_) = &self.sent.reply {
            meter.passes(native_head::down(&headers));
        }
        if !(200..300).contains(&status) {
            return Err(self.refusal(status, &headers, body).await);
        }
        match (form(&headers, call.accept), wants_stream) {
            (Form::Events, true) => self.begin(body, meter).await,
            (Form::Events, false) => self.before_deadline(self.collect(body, meter)).await,
            (Form::Document, _) => self.before_deadline(self.read(body, meter)).await,
            (Form::Page, _) => Err(self.refusal(status, &headers, body).await),
        }
    }

    /// Counts the prompt with the tokenizer, now and then. Large ones teach no more than others, and
    /// their answer would have to wait for the count.
    async fn sample(&self) -> Option<u64> {
        let Order {
            upstreams,
            snapshot,
            asked,
            has_leisure,
            ..
        } = self.order;
        let is_cheap = asked.body.len() <= SAMPLE_BYTES_MAX && upstreams.tables.are_loaded();
        let rough = self.sent.rough_tokens;
        if !has_leisure || !is_cheap || !upstreams.learnt.wants_sample(self.candidate, rough) {
            return None;
        }
        let target = self.candidate.target(snapshot);
        // Short as it is, the prompt is no short work for a tokenizer.
        let room = Room::for_long_now()?;
        room.run(|| tokens::count(asked.request, &target)).ok()
    }

    /// Reads a stream up to its first content.
    async fn begin(&self, mut body: Body, meter: &mut Meter) -> Result<Reached, Failure> {
        let mut stream = self.sent.reply.stream();
        let mut out = Vec::new();
        let mut patience = pin!(sleep_until((self.order.arrived + WORDLESS_MAX).into()));
        let mut is_patient = true;
        loop {
            let chunk = tokio::select! {
                // What the upstream says is better than what we say.
                biased;
                chunk = self.in_time(body.chunk()) => chunk,
                () = &mut patience, if is_patient => {
                    is_patient = false;
                    stream.begin_wordless(&mut out);
                    if !stream.is_committed() {
                        continue;
                    }
                    return Ok(Reached::Begun { body, stream, out, end: None });
                }
            };
            let progress = match chunk.map_err(|class| self.failure(class))? {
                Some(Ok(bytes)) => stream.push(&bytes, &mut out),
                Some(Err(class)) => return Err(self.failure(class)),
                None => stream.end(&mut out),
            };
            let end = match progress {
                Progress::Held => {
                    let kept = body.account(stream.held_bytes());
                    kept.map_err(|class| self.failure(class))?;
                    continue;
                }
                Progress::Streaming => None,
                Progress::Ended(reason) => Some(Ok(reason)),
                // What is committed must not depend on how the bytes were cut.
                Progress::Failed(fault) if stream.is_committed() => Some(Err(fault)),
                Progress::Failed(fault) => return Err(self.said(fault)),
            };
            meter.first_token(Instant::now());
            meter.used(stream.usage());
            return Ok(Reached::Begun {
                body,
                stream,
                out,
                end,
            });
        }
    }

    /// Gathers a stream for a client that did not ask for one.
    async fn collect(&self, mut body: Body, meter: &mut Meter) -> Result<Reached, Failure> {
        let mut collector = self.sent.reply.collector().map_err(|fault| self.said(fault))?;
        let mut bytes_read = 0;
        let pace = self.candidate.provider.endpoint.pace;
        loop {
            let wait = if collector.is_finishing() {
                pace.finish_grace
            } else {
                pace.idle
            };
            let chunk = match tokio::time::timeout(wait, body.chunk()).await {
                Ok(Some(chunk)) => chunk.map_err(|class| self.failure(class))?,
                Ok(None) => break,
                Err(_) if collector.is_finishing() => break,
                Err(_) => return Err(self.failure(Class::Silent)),
            };
            bytes_read += chunk.len();
            if bytes_read > ANSWER_BYTES_MAX {
                return Err(self.failure(Class::TooBig));
            }
            match collector.push(&chunk) {
                Status::Held | Status::Streaming => {
                    let kept = body.account(collector.held_bytes() * 2);
                    kept.map_err(|class| self.failure(class))?;
                }
                Status::Ended { .. } => break,
                Status::Failed(fault) => return Err(self.said(fault)),
            }
        }
        let answer = collector.end().map_err(|fault| self.said(fault))?;
        meter.used(answer.usage);
        let held = body.into_held(answer.body.len());
        Ok(Reached::Whole(Whole::of(answer), held))
    }

    /// Reads a whole answer.
    async fn read(&self, mut body: Body, meter: &mut Meter) -> Result<Reached, Failure> {
        let idle = self.candidate.provider.endpoint.pace.idle;
        let whole = body
            .collect(idle, ANSWER_BYTES_MAX)
            .await
            .map_err(|class| self.failure(class))?;
        let reply = &self.sent.reply;
        let room = Room::of(whole.len()).await;
        let whole = room
            .run(|| {
                if self.order.asked.request.is_stream() {
                    reply.events(&whole)
                } else {
                    reply.document(&whole)
                }
            })
            .map_err(|fault| self.said(fault))?;
        meter.used(whole.usage);
        meter.first_token(Instant::now());
        let held = body.into_held(whole.body.len());
        Ok(Reached::Whole(whole, held))
    }

    /// Bounds the wait for first content; comments and pings are no content.
    async fn in_time<T>(&self, wait: impl Future<Output = T>) -> Result<T, Class> {
        let (limit, class) = if self.silent_at <= self.deadline {
            (self.silent_at, Class::Silent)
        } else {
            (self.deadline, Class::OutOfTime)
        };
        tokio::time::timeout_at(limit.into(), wait)
            .await
            .map_err(|_| class)
    }

    /// Bounds an answer of which nothing can be told before it is complete.
    async fn before_deadline(
        &self,
        answer: impl Future<Output = Result<Reached, Failure>>,
    ) -> Result<Reached, Failure> {
        tokio::time::timeout_at(self.deadline.into(), answer)
            .await
            .unwrap_or_else(|_| Err(self.failure(Class::OutOfTime)))
    }

    /// What an upstream says that refuses.
    async fn refusal(&self, status: u16, headers: &HeaderMap, mut body: Body) -> Failure {
        let idle = self.candidate.provider.endpoint.pace.idle;
        // Without its words the status still says what happened, however slowly they come.
        let words = match self.in_time(body.collect(idle, ERROR_BYTES_MAX)).await {
            Ok(Ok(words)) => words,
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        let refusal = self.sent.reply.refusal(status, content_type(headers), &words);
        let advice = Advice {
            wait: retry_after(status, headers, self.order.upstreams.clock.at(Instant::now())),
            should_retry: headers.get(SHOULD_RETRY).map(|told| told == "true"),
        };
        refusal::failure(self.candidate, refusal, advice)
    }

    fn said(&self, fault: UpstreamFault) -> Failure {
        refusal::said(self.candidate, fault)
    }

    fn failure(&self, class: Class) -> Failure {
        Failure::new(class, Arc::clone(&self.candidate.provider.name))
    }
}

/// By its type where that is telling, else by what was asked for.
fn form(headers: &HeaderMap, asked: Accept) -> Form {
    let content_type = content_type(headers).unwrap_or_default().to_ascii_lowercase();
    if content_type.starts_with("text/html") || content_type.starts_with("application/xml") {
        Form::Page
    } else if content_type.starts_with("text/event-stream") {
        Form::Events
    } else if content_type.starts_with("application/json") || asked == Accept::Json {
        Form::Document
    } else {
        Form::Events
    }
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()
}
