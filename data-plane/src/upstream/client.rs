//! The only place that calls providers.
//!
//! One shared pool of connections. No redirect, no proxy from the environment, no retry but
//! one: a call that a kept connection swallowed goes out once more on a new one. Addresses
//! are checked after the name is resolved, at every connect.

mod classify;
mod pool;
mod resolver;
mod spread;
mod tls;
mod trace;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use http_body::Body as _;
use prometheus_client::metrics::counter::Counter;
use url::Url;

use self::{
    classify::{classify, may_be_unseen},
    pool::Pool,
    spread::Place,
    trace::Trace,
};
use super::outcome::Class;
use crate::{
    config,
    metrics::Process,
    overload::{Budget, Held},
};

/// The HTTP client reads up to 400 KiB at once for an upstream that is fast. What becomes of
/// them may be several times as long, so a slow client's share is translated piece by piece.
const CHUNK_BYTES_MAX: usize = 16 << 10;

/// What is kept of an answer without being accounted for: all that most of them ever need.
const UNCOUNTED_BYTES_MAX: usize = 64 << 10;
/// What is kept beyond is accounted for in steps of this.
const STEP_BYTES: usize = 64 << 10;
/// A whole answer costs itself, what is made of it for the client, and the room that both grow in.
const COPIES: usize = 3;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("upstreams cannot be called: {0}")]
    Tls(#[from] tls::Error),
    #[error("upstreams cannot be called: {0}")]
    Client(#[from] reqwest::Error),
}

#[derive(Clone)]
pub(crate) struct Client {
    pool: Arc<Pool>,
    /// Calls that went out once more.
    swallowed: Counter,
    /// For what is kept of answers.
    memory: Arc<Budget>,
}

/// What a request asks for in its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accept {
    Json,
    Events,
}

/// One call, ready to go.
pub(crate) struct Request {
    pub(crate) url: Url,
    /// The whole head, the credential included.
    pub(crate) headers: HeaderMap,
    pub(crate) accept: Accept,
    pub(crate) body: Bytes,
}

/// An answer whose body has not been read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

/// Bytes as they come. Dropping it ends the upstream request.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: reqwest::Body,
    /// Of what has come, what was not taken yet.
    rest: Bytes,
    /// The memory that is accounted for, as long as this lives.
    held: Held,
    /// Among the calls to its host, on a connection that is kept.
    _place: Option<Place<reqwest::Client>>,
}

impl Client {
    pub(crate) fn new(
        config: config::Upstream,
        counts: &Process,
        memory: Arc<Budget>,
    ) -> Result<Self, StartError> {
        Ok(Self {
            pool: Arc::new(Pool::new(config, counts)?),
            swallowed: counts.swallowed_calls.clone(),
            memory,
        })
    }

    /// Sends one request and waits for the head of its answer. The caller bounds the wait.
    pub(crate) async fn send(&self, call: &Request) -> Result<Answer, Class> {
        if self.pool.is_denied(&call.url) {
            return Err(Class::DeniedAddress);
        }
        let (client, place) = self.pool.keeping(&call.url);
        let (response, place) = match send_over(&client, call).await {
            Ok(response) => (response, Some(place)),
            Err(Lost::Swallowed) => {
                drop(place);
                self.swallowed.inc();
                let sent = send_over(self.pool.unkept(), call).await;
                (sent.map_err(Lost::class)?, None)
            }
            Err(lost) => return Err(lost.class()),
        };
        let (head, body) = http::Response::from(response).into_parts();
        if head.status.is_redirection() {
            return Err(Class::Redirect);
        }
        if head
            .headers
            .get(header::CONTENT_ENCODING)
            .is_some_and(|encoding| encoding != "identity")
        {
            return Err(Class::Encoded);
        }
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: Body::new(body, self.memory.hold(), place),
        })
    }
}

/// A call without an answer.
enum Lost {
    /// Its connection had been kept from before and ended without a head in return: most
    /// likely the upstream had closed it already and has not seen the call.
    Swallowed,
    Failed(Class),
}

impl Lost {
    fn class(self) -> Class {
        match self {
            Self::Swallowed => Class::Reset,
            Self::Failed(class) => class,
        }
    }
}

async fn send_over(client: &reqwest::Client, call: &Request) -> Result<reqwest::Response, Lost> {
    let trace = Arc::new(Trace::default());
    let sent = trace.follow(client.execute(call.to_http())).await;
    sent.map_err(|error| {
        let class = classify(&error, &trace);
        let is_swallowed = class == Class::Reset && !trace.has_connected() && may_be_unseen(&error);
        if is_swallowed {
            Lost::Swallowed
        } else {
            Lost::Failed(class)
        }
    })
}

impl Request {
    fn to_http(&self) -> reqwest::Request {
        let Self {
            url,
            headers,
            accept,
            body,
        } = self;
        let mut request = reqwest::Request::new(Method::POST, url.clone());
        *request.headers_mut() = headers.clone();
        request
            .headers_mut()
            .entry(header::ACCEPT)
            .or_insert(HeaderValue::from_static(match accept {
                Accept::Json => "application/json",
                Accept::Events => "text/event-stream",
            }));
        *request.body_mut() = Some(body.clone().into());
        request
    }
}

impl Body {
    fn new(bytes: reqwest::Body, held: Held, place: Option<Place<reqwest::Client>>) -> Self {
        Self {
            bytes,
            rest: Bytes::new(),
            held,
            _place: place,
        }
    }

    /// Accounts for so many bytes that are kept of this answer.
    pub(crate) fn account(&mut self, bytes: usize) -> Result<(), Class> {
        let counted = if bytes > UNCOUNTED_BYTES_MAX {
            bytes.next_multiple_of(STEP_BYTES) as u64
        } else {
            0
        };
        self.held.shrink_to(counted);
        self.held.grow_to(counted).map_err(|_| Class::NoMemory)
    }

    /// What is left when it has been read: the memory of what was made of it.
    pub(crate) fn into_held(mut self, bytes: usize) -> Held {
        self.held.shrink_to(bytes as u64);
        self.held
    }

    /// The next bytes, not many at once; `None` at the end.
    pub(crate) fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Class>>> {
        while self.rest.is_empty() {
            let frame = ready!(Pin::new(&mut self.bytes).poll_frame(context));
            match frame {
                None => return Poll::Ready(None),
                Some(Err(_)) => return Poll::Ready(Some(Err(Class::Reset))),
                // Trailers say nothing to us.
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
            }
        }
        let chunk = self.rest.split_to(self.rest.len().min(CHUNK_BYTES_MAX));
        Poll::Ready(Some(Ok(chunk)))
    }

    pub(crate) async fn chunk(&mut self) -> Option<Result<Bytes, Class>> {
        std::future::poll_fn(|context| self.poll_chunk(context)).await
    }

    /// The whole of it. `idle` bounds each wait, `bytes_max` the sum.
    pub(crate) async fn collect(&mut self, idle: Duration, bytes_max: usize) -> Result<Vec<u8>, Class> {
        let mut whole = Vec::new();
        while let Some(chunk) = tokio::time::timeout(idle, self.chunk())
            .await
            .map_err(|_| Class::Silent)?
        {
            let chunk = chunk?;
            if whole.len() + chunk.len() > bytes_max {
                return Err(Class::TooBig);
            }
            self.account((whole.len() + chunk.len()) * COPIES)?;
            whole.extend_from_slice(&chunk);
        }
        Ok(whole)
    }
}

#[cfg(test)]
impl Client {
    /// With nothing configured.
    pub(crate) fn plain() -> Self {
        Self::new(
            config::Upstream::default(),
            &crate::metrics::Metrics::new().process,
            Budget::new(1 << 30),
        )
        .unwrap()
    }
}

#[cfg(test)]
impl Body {
    /// Chunks of a test's own.
    pub(crate) fn of(chunks: tokio::sync::mpsc::UnboundedReceiver<Result<Bytes, std::io::Error>>) -> Self {
        Self::of_stream(tokio_stream::wrappers::UnboundedReceiverStream::new(chunks))
    }

    pub(crate) fn of_stream(
        chunks: impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
    ) -> Self {
        Self::new(
            reqwest::Body::wrap_stream(chunks),
            Budget::new(1 << 30).hold(),
            None,
        )
    }

    /// With memory of a test's own.
    pub(crate) fn within(mut self, memory: &Arc<Budget>) -> Self {
        self.held = memory.hold();
        self
    }
}

#[cfg(test)]
mod tests;
