//! The only place that calls providers.
//!
//! One shared pool of connections. No redirect, no proxy from the environment, no retry but
//! one: a call that a kept connection swallowed goes out once more on a new one. Addresses
//! are checked after the name is resolved, at every connect.

mod classify;
mod connect;
mod resolver;
mod tls;

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use http_body::Body as _;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{
        self,
        connect::{CaptureConnection, capture_connection},
    },
    rt::{TokioExecutor, TokioTimer},
};
use prometheus_client::metrics::counter::Counter;
use url::Url;

use self::{
    classify::{classify, is_untaken},
    connect::{Connector, Past},
};
use super::outcome::Class;
use crate::{config, metrics::Process};

const POOL_IDLE_PER_HOST: usize = 64;
/// Below the minute after which balancers commonly drop an idle connection.
const POOL_IDLE_MAX: Duration = Duration::from_secs(55);
/// After that a connection takes no more calls, so that a name's new addresses are used
/// within a minute however busy the old ones are.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(40);
const HEADERS_MAX: usize = 100;
/// Of a head, and of what has been read and not taken: a slow client holds no more.
const BUFFER_BYTES_MAX: usize = 64 << 10;
const H2_KEEP_ALIVE: Duration = Duration::from_secs(20);
const H2_KEEP_ALIVE_MAX: Duration = Duration::from_secs(10);
/// What an upstream may send of one answer before we take it.
const H2_STREAM_WINDOW: u32 = 128 << 10;
/// No limit of its own: slow clients must not use up what the others share.
const H2_CONNECTION_WINDOW: u32 = (1 << 31) - 1;

#[derive(Debug, thiserror::Error)]
#[error("upstreams cannot be called: {0}")]
pub struct StartError(#[from] tls::Error);

type Pool = legacy::Client<Connector, Full<Bytes>>;

#[derive(Debug, Clone)]
pub(crate) struct Client {
    pool: Pool,
    /// Keeps no connection: each call has one of its own.
    unpooled: Pool,
    /// Calls that went out once more.
    swallowed: Counter,
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
pub(crate) struct Body(UnsyncBoxBody<Bytes, BoxError>);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Client {
    pub(crate) fn new(config: config::Upstream, counts: &Process) -> Result<Self, StartError> {
        let connector = Connector::new(config, counts)?;
        Ok(Self {
            pool: pool(connector.clone(), POOL_IDLE_PER_HOST),
            unpooled: pool(connector, 0),
            swallowed: counts.swallowed_calls.clone(),
        })
    }

    /// Sends one request and waits for the head of its answer. The caller bounds the wait.
    pub(crate) async fn send(&self, call: &Request) -> Result<Answer, Class> {
        let response = match send_over(&self.pool, call).await {
            Ok(response) => response,
            Err(Lost::Swallowed) => {
                self.swallowed.inc();
                let sent = send_over(&self.unpooled, call).await;
                sent.map_err(Lost::class)?
            }
            Err(lost) => return Err(lost.class()),
        };
        let (head, body) = response.into_parts();
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
            body: Body(body.map_err(BoxError::from).boxed_unsync()),
        })
    }
}

fn pool(connector: Connector, idle_per_host: usize) -> Pool {
    legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(idle_per_host)
        .pool_idle_timeout(POOL_IDLE_MAX)
        .http1_max_headers(HEADERS_MAX)
        .http1_max_buf_size(BUFFER_BYTES_MAX)
        .http2_max_header_list_size(BUFFER_BYTES_MAX as u32)
        .http2_initial_stream_window_size(H2_STREAM_WINDOW)
        .http2_initial_connection_window_size(H2_CONNECTION_WINDOW)
        .http2_keep_alive_interval(H2_KEEP_ALIVE)
        .http2_keep_alive_timeout(H2_KEEP_ALIVE_MAX)
        .build(connector)
}

/// A call without an answer.
enum Lost {
    /// Its connection had been kept from before and ended without a byte in return: the
    /// upstream had closed it already and has not seen the call.
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

async fn send_over(pool: &Pool, call: &Request) -> Result<http::Response<Incoming>, Lost> {
    let mut request = call.to_http()?;
    let connection = capture_connection(&mut request);
    let sent = pool.request(request).await;
    let past = past_of(&connection);
    let is_first_call = past.as_ref().is_none_or(Past::is_first_call);
    match sent {
        Ok(response) => {
            if past.is_some_and(|past| past.age() > CONNECTION_AGE_MAX)
                && let Some(connected) = &*connection.connection_metadata()
            {
                connected.poison();
            }
            Ok(response)
        }
        Err(error) => {
            let has_answered = past.is_none_or(|past| past.has_answered());
            let class = classify(&error);
            let is_swallowed =
                class == Class::Reset && !is_first_call && (!has_answered || is_untaken(&error));
            Err(if is_swallowed {
                Lost::Swallowed
            } else {
                Lost::Failed(class)
            })
        }
    }
}

fn past_of(connection: &CaptureConnection) -> Option<Past> {
    let mut extras = http::Extensions::new();
    connection.connection_metadata().as_ref()?.get_extras(&mut extras);
    extras.remove()
}

impl Request {
    fn to_http(&self) -> Result<http::Request<Full<Bytes>>, Lost> {
        let Self {
            url,
            headers,
            accept,
            body,
        } = self;
        let mut request = http::Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        // What is a URL and no URI leads nowhere.
        *request.uri_mut() = Uri::try_from(url.as_str()).map_err(|_| Lost::Failed(Class::Unreachable))?;
        *request.headers_mut() = headers.clone();
        request
            .headers_mut()
            .entry(header::ACCEPT)
            .or_insert(HeaderValue::from_static(match accept {
                Accept::Json => "application/json",
                Accept::Events => "text/event-stream",
            }));
        Ok(request)
    }
}

impl Body {
    /// The next bytes; `None` at the end.
    pub(crate) fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Class>>> {
        loop {
            let frame = ready!(Pin::new(&mut self.0).poll_frame(context));
            match frame {
                None => return Poll::Ready(None),
                Some(Err(_)) => return Poll::Ready(Some(Err(Class::Reset))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => return Poll::Ready(Some(Ok(bytes))),
                    Err(_trailers) => {}
                },
            }
        }
    }

    pub(crate) async fn chunk(&mut self) -> Option<Result<Bytes, Class>> {
        std::future::poll_fn(|context| self.poll_chunk(context)).await
    }

    /// The whole of it. `idle` bounds each wait, `bytes_max` the sum.
    pub(crate) async fn collect(mut self, idle: Duration, bytes_max: usize) -> Result<Vec<u8>, Class> {
        let mut whole = Vec::new();
        while let Some(chunk) = tokio::time::timeout(idle, self.chunk())
            .await
            .map_err(|_| Class::Silent)?
        {
            let chunk = chunk?;
            if whole.len() + chunk.len() > bytes_max {
                return Err(Class::TooBig);
            }
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
        )
        .unwrap()
    }
}

#[cfg(test)]
impl Body {
    /// Chunks of a test's own.
    pub(crate) fn of(chunks: tokio::sync::mpsc::UnboundedReceiver<Result<Bytes, std::io::Error>>) -> Self {
        use futures_util::StreamExt;

        let chunks = tokio_stream::wrappers::UnboundedReceiverStream::new(chunks);
        let frames = chunks.map(|chunk| chunk.map(http_body::Frame::data).map_err(BoxError::from));
        Self(http_body_util::StreamBody::new(frames).boxed_unsync())
    }
}

#[cfg(test)]
mod tests;
