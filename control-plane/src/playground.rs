//! Hands a message of somebody who has signed in on to a data plane, and the answer back as it comes.
//!
//! A browser cannot do that itself: the pages may call nobody but the control plane, and data planes
//! answer no page. Whom to call is not the caller's choice but among [`Playground::targets`]: the
//! address that the operator has given, or a node where its stream comes from. So neither a person
//! nor a node can have the control plane call anybody else.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use reqwest::redirect::Policy;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use crate::snapshot::nodes::{NodeId, Nodes};

/// Requests at once.
const RUNNING_MAX: usize = 32;
const RETRY_AFTER: Duration = Duration::from_secs(5);
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// From the first byte of a request to the last of its answer.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(600);
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most of one piece: clients of the admin take messages of four times that.
const PIECE_BYTES_MAX: usize = 1024 * 1024;

const PATH: &str = "/v1/messages";
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const API_VERSION: (HeaderName, HeaderValue) = (
    HeaderName::from_static("anthropic-version"),
    HeaderValue::from_static("2023-06-01"),
);
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const USER_AGENT: &str = concat!("bridge-playground/", env!("CARGO_PKG_VERSION"));
/// What is shown of an answer's headers, besides those that are ours.
const SHOWN: [&str; 3] = ["content-type", "request-id", "retry-after"];
const OUR_HEADERS: &str = "x-bridge-";

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct NoClient(reqwest::Error);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("is none of the targets that are there")]
    NoSuchTarget,
    #[error("must be an API key")]
    NotAKey,
    #[error("there are too many requests at once; try again in {} s", .retry_after.as_secs())]
    TooMany { retry_after: Duration },
    #[error(
        "the data plane at {address} cannot be reached from the control plane; if clients reach it elsewhere, set BRIDGE_URL"
    )]
    Unreachable { address: Url },
    #[error("the data plane at {address} did not answer in time")]
    NoAnswer { address: Url },
}

/// Where messages can be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// `None`: the given address.
    pub(crate) node: Option<NodeId>,
    pub(crate) address: Url,
}

/// What is to be sent, and where.
pub(crate) struct Letter {
    /// Name of a node; empty: the given address.
    pub(crate) target: String,
    pub(crate) key: SecretString,
    pub(crate) body: String,
}

/// What a data plane answers.
pub(crate) struct Answer {
    pub(crate) address: Url,
    pub(crate) status: u16,
    /// Name and value, as far as they are shown.
    pub(crate) headers: Vec<(String, String)>,
    /// Dropping it ends the request.
    pub(crate) body: BoxStream<'static, Result<Bytes, Cut>>,
}

/// Why a body ends before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cut {
    #[error("the connection to the data plane broke")]
    Broken,
    #[error("the answer has more than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
}

#[derive(Clone)]
pub(crate) struct Playground {
    client: reqwest::Client,
    given: Option<Url>,
    nodes: Nodes,
    running: Arc<Semaphore>,
}

impl Playground {
    pub(crate) fn new(given: Option<Url>, nodes: Nodes) -> Result<Self, NoClient> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_WAIT)
            .timeout(REQUEST_TIME_MAX)
            .user_agent(USER_AGENT)
            .build()
            .map_err(NoClient)?;
        Ok(Self {
            client,
            given,
            nodes,
            running: Arc::new(Semaphore::new(RUNNING_MAX)),
        })
    }

    /// The given address first, then connected nodes by name.
    pub(crate) fn targets(&self) -> Vec<Target> {
        let given = self.given.iter().map(|address| Target {
            node: None,
            address: address.clone(),
        });
        let connected = self
            .nodes
            .list()
            .into_iter()
            .filter(|(.., is_connected)| *is_connected);
        let nodes = connected.filter_map(|(id, record, _)| {
            Some(Target {
                node: Some(id),
                address: record.facts.reached_at()?,
            })
        });
        given.chain(nodes).collect()
    }

    pub(crate) async fn send(&self, Letter { target, key, body }: Letter) -> Result<Answer, Error> {
        let is_meant = |it: &Target| it.node.as_ref().map_or("", NodeId::as_str) == target;
        let Some(Target { node: _, address }) = self.targets().into_iter().find(is_meant) else {
            return Err(Error::NoSuchTarget);
        };
        let mut key = HeaderValue::from_str(key.expose_secret()).map_err(|_| Error::NotAKey)?;
        key.set_sensitive(true);
        let running = Arc::clone(&self.running);
        let running = running.try_acquire_owned().map_err(|_| Error::TooMany {
            retry_after: RETRY_AFTER,
        })?;
        let mut url = address.clone();
        url.set_path(&format!("{}{PATH}", address.path().trim_end_matches('/')));
        let (name, version) = API_VERSION;
        let request = self
            .client
            .post(url)
            .header(API_KEY, key)
            .header(name, version)
            .header(header::CONTENT_TYPE, JSON)
            .body(body);
        let answered = request.send().await.map_err(|error| match error.is_timeout() {
            true if !error.is_connect() => Error::NoAnswer {
                address: address.clone(),
            },
            true | false => Error::Unreachable {
                address: address.clone(),
            },
        })?;
        Ok(Answer {
            status: answered.status().as_u16(),
            headers: shown(answered.headers()),
            body: pieces(answered, running),
            address,
        })
    }
}

fn shown(headers: &HeaderMap) -> Vec<(String, String)> {
    let is_shown = |name: &str| SHOWN.contains(&name) || name.starts_with(OUR_HEADERS);
    let headers = headers.iter().filter(|(name, _)| is_shown(name.as_str()));
    headers
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect()
}

/// The body within its limit. It holds its place among those that run until it is dropped.
fn pieces(
    answered: reqwest::Response,
    running: OwnedSemaphorePermit,
) -> BoxStream<'static, Result<Bytes, Cut>> {
    let mut left = ANSWER_BYTES_MAX;
    let counted = answered.bytes_stream().map(move |piece| {
        let _held = &running;
        let piece = piece.map_err(|_| Cut::Broken)?;
        left = left.checked_sub(piece.len()).ok_or(Cut::TooLong)?;
        Ok(piece)
    });
    // Nothing follows what has failed.
    let whole = counted.scan(false, |has_failed, piece| {
        let next = (!*has_failed).then_some(piece);
        *has_failed |= matches!(next, Some(Err(_)));
        std::future::ready(next)
    });
    whole
        .flat_map(|piece| futures_util::stream::iter(split(piece)))
        .boxed()
}

fn split(piece: Result<Bytes, Cut>) -> Vec<Result<Bytes, Cut>> {
    let Ok(mut rest) = piece else { return vec![piece] };
    let mut parts = Vec::with_capacity(1);
    while rest.len() > PIECE_BYTES_MAX {
        parts.push(Ok(rest.split_to(PIECE_BYTES_MAX)));
    }
    parts.push(Ok(rest));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_tells_something_is_shown_of_headers() {
        let headers = [
            ("x-bridge-provider", "qwen"),
            ("request-id", "r"),
            ("set-cookie", "s"),
        ];
        let headers =
            headers.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut shown = shown(&headers.into_iter().collect());
        shown.sort();
        let expected = [("request-id", "r"), ("x-bridge-provider", "qwen")];
        assert_eq!(
            shown,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn a_piece_is_no_larger_than_clients_take() {
        let parts = split(Ok(Bytes::from(vec![0; PIECE_BYTES_MAX * 2 + 1])));
        let lengths: Vec<_> = parts.into_iter().map(|part| part.unwrap().len()).collect();
        assert_eq!(lengths, [PIECE_BYTES_MAX, PIECE_BYTES_MAX, 1]);
    }
}
