//! One client's connection, from its first byte to its end.

use std::{
    convert::Infallible,
    error::Error,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use axum::{Router, body::Body};
use bytes::Bytes;
use futures_util::{TryFutureExt, poll};
use http::{HeaderValue, Request, Response, Version, header};
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    net::TcpStream,
    time::{Instant as Due, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    activity::{Activity, Patience, Verdict, Wish},
    socket::Socket,
    stall,
};
use crate::life::Life;

const HEADERS_MAX: usize = 100;
const HEADER_BYTES_MAX: u32 = 64 << 10;
/// Also what is read or written at once.
const BUFFER_BYTES_MAX: usize = HEADER_BYTES_MAX as usize;
const H2_KEEP_ALIVE: Duration = Duration::from_secs(20);
const H2_KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const H2_STREAMS_MAX: u32 = 256;
/// Streams that a client may cancel before they were even looked at.
const H2_EARLY_RESETS_MAX: usize = 20;
/// Streams that may break the protocol's rules before their connection ends.
const H2_FAULTS_MAX: usize = 128;

/// How connections are served.
fn protocols() -> Builder<stall::Executor> {
    let mut builder = Builder::new(stall::Executor);
    builder
        .http1()
        .timer(TokioTimer::new())
        // `Activity` knows better.
        .header_read_timeout(None)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(H2_KEEP_ALIVE)
        .keep_alive_timeout(H2_KEEP_ALIVE_TIMEOUT)
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_pending_accept_reset_streams(H2_EARLY_RESETS_MAX)
        .max_local_error_reset_streams(H2_FAULTS_MAX)
        .max_send_buf_size(BUFFER_BYTES_MAX)
        .max_header_list_size(HEADER_BYTES_MAX);
    builder
}

/// What connections of one listener share.
pub(super) struct Terms {
    protocols: Builder<stall::Executor>,
    life: Arc<Life>,
    /// Told when the listener closes.
    end: CancellationToken,
}

impl Terms {
    pub(super) fn new(life: Arc<Life>, end: CancellationToken) -> Self {
        Self {
            protocols: protocols(),
            life,
            end,
        }
    }

    /// Serves one connection. `patience` is asked for whenever a limit is looked at.
    pub(super) async fn serve(
        &self,
        stream: TcpStream,
        router: Router,
        patience: impl Fn() -> Patience,
        mut wish: Wish,
    ) {
        // Without it small events wait for one another; the stream works all the same.
        let _ = stream.set_nodelay(true);
        let activity = Arc::new(Activity::new(Instant::now()));
        let socket = TokioIo::new(Socket::new(stream, Arc::clone(&activity)));
        let service = self.service(router, Arc::clone(&activity), wish);
        let mut connection = pin!(self.protocols.serve_connection(socket, service));
        let mut check = pin!(sleep_until(Due::now() + patience().head));
        let verdict = |wish| activity.verdict(Instant::now(), patience(), wish);
        loop {
            let mut is_cut = false;
            tokio::select! {
                // What has arrived is served before anything is ended.
                biased;
                ended = connection.as_mut() => return told(ended),
                () = self.end.cancelled(), if wish == Wish::Stay => wish = Wish::Leave,
                () = self.life.cutting(), if wish == Wish::Leave => is_cut = true,
                () = check.as_mut() => {}
            }
            let mut next = if is_cut { Verdict::Finish } else { verdict(wish) };
            if !is_cut && next.is_end() {
                activity.set_questioned(true);
                if let Poll::Ready(ended) = poll!(connection.as_mut()) {
                    return told(ended);
                }
                activity.set_questioned(false);
                next = verdict(wish);
            }
            match next {
                Verdict::Wait(until) => check.as_mut().reset(until.into()),
                Verdict::Finish => {
                    connection.as_mut().graceful_shutdown();
                    let now = Instant::now();
                    wish = Wish::Left(now);
                    check.as_mut().reset(now.into());
                }
                Verdict::Drop(why) => {
                    tracing::debug!("connection dropped: it {why}");
                    return;
                }
            }
        }
    }

    /// The router, and a note of when it is at work. Whoever is to leave is told so by each
    /// answer; HTTP/2 has another word for it.
    fn service(
        &self,
        router: Router,
        activity: Arc<Activity>,
        wish: Wish,
    ) -> impl Service<Request<Incoming>, Response = Response<Answer>, Error = Infallible, Future: Send> + use<>
    {
        let (router, life) = (TowerToHyperService::new(router), Arc::clone(&self.life));
        hyper::service::service_fn(move |request: Request<Incoming>| {
            let at_work = AtWork::new(Arc::clone(&activity));
            let (life, is_http1) = (Arc::clone(&life), request.version() < Version::HTTP_2);
            // Somebody may read past the body of a request that is answered already.
            let request = request.map(|body| Asked {
                body,
                _at_work: AtWork::new(Arc::clone(&activity)),
            });
            router.call(request).map_ok(move |mut response| {
                if is_http1 && (life.is_draining() || wish == Wish::Leave) {
                    let headers = response.headers_mut();
                    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                response.map(|body| Answer {
                    body,
                    rest: Bytes::new(),
                    is_alone: is_http1,
                    at_work,
                })
            })
        })
    }
}

fn told(ended: Result<(), Box<dyn Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!("connection ended: {error}");
    }
}

/// The body of a request, which lasts at least as long as somebody has it.
struct Asked {
    body: Incoming,
    _at_work: AtWork,
}

impl http_body::Body for Asked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer; the request lasts at least as long as it.
struct Answer {
    body: Body,
    /// Of its latest piece, what was not handed on yet.
    rest: Bytes,
    /// Nothing else goes out over its connection, whose task asks for the next piece whenever
    /// the socket has taken something.
    is_alone: bool,
    at_work: AtWork,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // The HTTP library gathers much for a socket that takes nothing.
        if self.is_alone && self.at_work.0.is_stalled() {
            return Poll::Pending;
        }
        stall::wanted();
        if self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                end @ (Some(Err(_)) | None) => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            }
        }
        // A large piece would give its client hours to take it.
        let bytes = if self.is_alone {
            self.rest.len()
        } else {
            self.rest.len().min(stall::PIECE_BYTES)
        };
        let piece = self.rest.split_to(bytes);
        stall::handed(bytes);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}

/// Something of a request goes on.
struct AtWork(Arc<Activity>);

impl AtWork {
    fn new(activity: Arc<Activity>) -> Self {
        activity.began();
        Self(activity)
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.ended(Instant::now());
    }
}

#[cfg(test)]
mod tests;
