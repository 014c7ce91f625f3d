//! The only place that calls providers.
//!
//! One shared pool of connections. No redirect, no hidden retry, no proxy from the
//! environment: each of them would send a credential where no admin sent it. Addresses
//! are checked after the name is resolved, at every connect.

use std::{
    error::Error as StdError,
    io,
    net::{IpAddr, SocketAddr},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use http_body::Body as _;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Url;

use super::{address, outcome::Class};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);
const POOL_IDLE_PER_HOST: usize = 64;
/// Below the minute after which balancers commonly drop an idle connection.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(55);
const KEEP_ALIVE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot start: {0}")]
pub struct StartError(#[from] reqwest::Error);

#[derive(Debug, Clone)]
pub(crate) struct Client(reqwest::Client);

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
pub(crate) struct Body(reqwest::Body);

impl Client {
    pub(crate) fn new() -> Result<Self, StartError> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(POOL_IDLE_PER_HOST)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .tcp_nodelay(true)
            .tcp_keepalive(KEEP_ALIVE)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .dns_resolver(GuardedResolver)
            .build()?;
        Ok(Self(client))
    }

    /// Sends one request and waits for the head of its answer. The caller bounds the wait.
    pub(crate) async fn send(&self, call: &Request) -> Result<Answer, Class> {
        let Request {
            url,
            headers,
            accept,
            body,
        } = call;
        if literal_address(url).is_some_and(address::is_denied) {
            return Err(Class::DeniedAddress);
        }
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
        let response = self.0.execute(request).await.map_err(|error| classify(&error))?;
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
            body: Body(body),
        })
    }
}

impl Body {
    /// The next bytes; `None` at the end.
    pub(crate) fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Class>>> {
        loop {
            let frame = ready!(std::pin::Pin::new(&mut self.0).poll_frame(context));
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
impl Body {
    /// Chunks of a test's own.
    pub(crate) fn of(chunks: tokio::sync::mpsc::UnboundedReceiver<Result<Bytes, io::Error>>) -> Self {
        let chunks = tokio_stream::wrappers::UnboundedReceiverStream::new(chunks);
        Self(reqwest::Body::wrap_stream(chunks))
    }
}

/// A URL with a literal address is never resolved, so it is checked here.
fn literal_address(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        url::Host::Ipv4(address) => Some(address.into()),
        url::Host::Ipv6(address) => Some(address.into()),
        url::Host::Domain(_) => None,
    }
}

fn classify(error: &reqwest::Error) -> Class {
    if let Some(class) = causes(error).find_map(|cause| cause.downcast_ref::<Refusal>()) {
        return match class {
            Refusal::Denied => Class::DeniedAddress,
            Refusal::NotFound => Class::NameNotFound,
        };
    }
    if !error.is_connect() {
        let is_garbage = causes(error)
            .filter_map(|cause| cause.downcast_ref::<hyper::Error>())
            .any(hyper::Error::is_parse);
        return if is_garbage {
            Class::Said(bridge_translate::error::FaultKind::Nonsense)
        } else {
            Class::Reset
        };
    }
    if error.is_timeout() {
        return Class::ConnectTimeout;
    }
    let is_tls = causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| {
            matches!(
                cause.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            )
        });
    if is_tls { Class::Tls } else { Class::Unreachable }
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |cause| StdError::source(*cause))
}

/// Why a name leads nowhere.
#[derive(Debug, Clone, Copy, thiserror::Error)]
enum Refusal {
    #[error("the name has no address")]
    NotFound,
    #[error("the name points to an address that is not allowed")]
    Denied,
}

/// The system's resolver, with the addresses taken out that no provider may have.
struct GuardedResolver;

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found =
                tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((name.as_str(), 0))).await;
            let found: Vec<SocketAddr> = match found {
                Ok(Ok(addresses)) => addresses.collect(),
                Ok(Err(_)) | Err(_) => return Err(Refusal::NotFound.into()),
            };
            let allowed: Vec<_> = found
                .iter()
                .copied()
                .filter(|address| !address::is_denied(address.ip()))
                .collect();
            match (allowed.is_empty(), found.is_empty()) {
                (false, _) => Ok(Box::new(allowed.into_iter()) as Addrs),
                (true, false) => Err(Refusal::Denied.into()),
                (true, true) => Err(Refusal::NotFound.into()),
            }
        })
    }
}
