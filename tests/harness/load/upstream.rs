//! An upstream for rates: hyper, no script, nothing kept but of tagged requests. The model's name says what it does:
//!
//! - `whole@MS`: a document after so many milliseconds
//! - `stream@NxMS`: N pieces of text, so many milliseconds apart
//! - `flood@KIB`: so much text as fast as it is taken
//! - `never`: not even a head
//! - `status@N`: an error
//!
//! Who wants to know what becomes of a request puts `tag=N;` into it, with N above 0.

mod events;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use self::events::Events;

/// A request that takes its time to be read, and must not hold up others.
const LARGE_BYTES: usize = 256 << 10;

/// What a whole answer says.
pub const WHOLE_TEXT: &str = "Hello there.";

/// Dropping it closes its port and every connection.
pub struct Upstream {
    address: SocketAddr,
    accepting: JoinHandle<()>,
    books: Arc<Books>,
}

/// What has become of a tagged request so far.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    pub arrived_at: Instant,
    pub body_bytes: u64,
    pub over: Option<Over>,
}

/// Everything was handed over, or the client hung up first.
#[derive(Clone, Copy, Debug)]
pub struct Over {
    pub at: Instant,
    pub is_whole: bool,
}

/// What all connections write down, and what they are told.
#[derive(Default)]
struct Books {
    ledger: Mutex<HashMap<u64, Exchange>>,
    calls: AtomicU64,
    open_streams: AtomicUsize,
    /// Answers every request with this status, if it is not 0.
    failing: AtomicU16,
}

/// What a model does, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Whole { after: Duration },
    Stream { pieces: u32, every: Duration },
    Flood { bytes: u64 },
    Never,
    Status(u16),
}

#[derive(Deserialize)]
struct Asked {
    model: String,
}

// === impl Upstream ===

impl Upstream {
    /// Listens on a free port of loopback.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let books = Arc::<Books>::default();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&books)));
        Ok(Self {
            address,
            accepting,
            books,
        })
    }

    /// `None`: it has not arrived.
    pub fn exchange(&self, tag: u64) -> Option<Exchange> {
        self.books.entries().get(&tag).copied()
    }

    /// Requests so far.
    pub fn calls(&self) -> u64 {
        self.books.calls.load(Ordering::Relaxed)
    }

    /// Streams that have begun and not ended.
    pub fn open_streams(&self) -> usize {
        self.books.open_streams.load(Ordering::Relaxed)
    }

    /// From here on every request gets this status; `None`: what it asks for.
    pub fn fail_with(&self, status: Option<u16>) {
        self.books.failing.store(status.unwrap_or(0), Ordering::Relaxed);
    }

    /// What a provider's `base_url` has to be.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // Its connections are tasks of this one.
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, books: Arc<Books>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        // An accept error concerns one connection; the next may be fine.
        let Ok((socket, _)) = listener.accept().await else {
            continue;
        };
        // Without it small events wait for one another; they arrive all the same.
        socket.set_nodelay(true).ok();
        let books = Arc::clone(&books);
        let serve = service_fn(move |request| answer(request, Arc::clone(&books)));
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), serve);
        connections.spawn(connection);
    }
}

async fn answer(
    request: hyper::Request<Incoming>,
    books: Arc<Books>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    books.calls.fetch_add(1, Ordering::Relaxed);
    let failing = books.failing.load(Ordering::Relaxed);
    let mut watch = Watch::over(&body, books);
    let manner = match body.len() > LARGE_BYTES {
        true => tokio::task::spawn_blocking(move || Manner::of(&body))
            .await
            .unwrap_or(None),
        false => Manner::of(&body),
    };
    let manner = match failing {
        0 => manner.unwrap_or(Manner::Status(400)),
        status => Manner::Status(status),
    };
    Ok(match manner {
        Manner::Whole { after } => {
            tokio::time::sleep(after).await;
            document(watch)
        }
        Manner::Stream { pieces, every } => events(Events::new(pieces, every, watch)),
        Manner::Flood { bytes } => events(Events::flood(bytes, watch)),
        Manner::Never => std::future::pending().await,
        Manner::Status(status) => {
            watch.is_whole = true;
            let body = r#"{"error":{"message":"scripted failure","type":"scripted_error","code":null}}"#;
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            sized(status, Bytes::from_static(body.as_bytes()))
        }
    })
}

fn document(mut watch: Watch) -> Response<BoxBody<Bytes, Infallible>> {
    let body = format!(
        r#"{{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"{WHOLE_TEXT}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":8,"completion_tokens":4,"total_tokens":12}}}}"#
    );
    watch.is_whole = true;
    sized(StatusCode::OK, body.into())
}

fn sized(status: StatusCode, body: Bytes) -> Response<BoxBody<Bytes, Infallible>> {
    let mut response = Response::new(Full::new(body).boxed());
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}

fn events(events: Events) -> Response<BoxBody<Bytes, Infallible>> {
    let mut response = Response::new(events.boxed());
    let stream = http::HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(http::header::CONTENT_TYPE, stream);
    response
}

// === impl Manner ===

impl Manner {
    /// What the model of a request does.
    fn of(body: &[u8]) -> Option<Self> {
        Self::parse(&serde_json::from_slice::<Asked>(body).ok()?.model)
    }

    fn parse(model: &str) -> Option<Self> {
        let (name, figures) = model.split_once('@').unwrap_or((model, ""));
        match name {
            "whole" => Some(Self::Whole {
                after: Duration::from_millis(figures.parse().ok()?),
            }),
            "stream" => {
                let (pieces, every_ms) = figures.split_once('x')?;
                Some(Self::Stream {
                    pieces: pieces.parse().ok()?,
                    every: Duration::from_millis(every_ms.parse().ok()?),
                })
            }
            "flood" => Some(Self::Flood {
                bytes: figures.parse::<u64>().ok()? << 10,
            }),
            "never" => Some(Self::Never),
            "status" => Some(Self::Status(figures.parse().ok()?)),
            _ => None,
        }
    }
}

/// Writes down when a tagged request arrived and, by being dropped, when it was over.
struct Watch {
    tag: u64,
    books: Arc<Books>,
    is_whole: bool,
}

impl Watch {
    fn over(body: &[u8], books: Arc<Books>) -> Self {
        let tag = tag_of(body).unwrap_or(0);
        if tag > 0 {
            let exchange = Exchange {
                arrived_at: Instant::now(),
                body_bytes: 0,
                over: None,
            };
            books.entries().insert(tag, exchange);
        }
        Self {
            tag,
            books,
            is_whole: false,
        }
    }

    fn change(&self, change: impl FnOnce(&mut Exchange)) {
        if self.tag > 0 {
            self.books.entries().get_mut(&self.tag).map(change);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let over = Over {
            at: Instant::now(),
            is_whole: self.is_whole,
        };
        self.change(|exchange| exchange.over = Some(over));
    }
}

impl Books {
    /// A panicking test must not hide behind a poisoned lock of another one.
    fn entries(&self) -> MutexGuard<'_, HashMap<u64, Exchange>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number in `tag=N;`.
fn tag_of(body: &[u8]) -> Option<u64> {
    const MARK: &[u8] = b"tag=";
    let start = body.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let rest = body.get(start..)?;
    let end = rest.iter().position(|byte| *byte == b';')?;
    std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_a_model_does() {
        let every = Duration::from_millis(50);
        assert_eq!(
            Manner::parse("stream@20x50"),
            Some(Manner::Stream { pieces: 20, every })
        );
        assert_eq!(Manner::parse("flood@3"), Some(Manner::Flood { bytes: 3072 }));
        assert_eq!(Manner::parse("never"), Some(Manner::Never));
        assert_eq!(Manner::parse("stream@20"), None);
    }

    #[test]
    fn a_tag_is_found_in_a_body() {
        assert_eq!(tag_of(br#"{"content":"tag=17; Hi"}"#), Some(17));
        assert_eq!(tag_of(br#"{"content":"tag=; Hi"}"#), None);
        assert_eq!(tag_of(b"{}"), None);
    }
}
