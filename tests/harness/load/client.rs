//! A client that is cheap and believes nothing: it judges every answer whole.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::text_of_pieces;
use super::upstream::WHOLE_TEXT;
use crate::sse::{Event, Judge, text_of};

/// How often the official SDKs try again by default.
pub const SDK_RETRIES: u32 = 2;
const SDK_PAUSE: Duration = Duration::from_millis(500);
/// What prompts are filled with. Words, since a tokenizer takes much longer for a word that
/// does not end.
const PADDING: &str =
    "The node reads what a client sends, asks who may answer, and hands on what comes back. ";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    /// With prior knowledge, as proxies speak it.
    Http2,
}

#[derive(Clone)]
pub struct Client {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    url: String,
    key: String,
}

/// One request, made of few words.
#[derive(Clone, Debug)]
pub struct Ask {
    /// What the upstream of `load` shall do.
    pub model: String,
    /// By which that upstream tells what became of it.
    pub tag: u64,
    /// `Some`: a stream of so many pieces is expected.
    pub pieces: Option<u32>,
    /// Bytes of prompt beyond the tag.
    pub padding_bytes: usize,
}

/// How one request went.
#[derive(Clone, Debug)]
pub struct Sample {
    pub is_stream: bool,
    pub sent_at: Instant,
    /// From `sent_at`, or from when it should have been sent, to the last byte.
    pub took: Duration,
    /// To the head of the answer.
    pub head_took: Option<Duration>,
    /// How often it was sent again.
    pub retries: u32,
    pub end: End,
}

#[derive(Clone, Debug)]
pub enum End {
    /// 200, and every part of the answer was there.
    Good,
    /// Another status, told honestly.
    Refused(Refusal),
    /// No answer, a broken one, or a wrong one.
    Failed(String),
}

/// An error in Anthropic's shape.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: u16,
    pub kind: String,
    pub should_retry: Option<bool>,
}

// === impl Client ===

impl Client {
    pub fn new(base_url: &str, key: &str, protocol: Protocol) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = legacy::Client::builder(TokioExecutor::new())
            .http2_only(protocol == Protocol::Http2)
            .build(connector);
        Self {
            http,
            url: format!("{base_url}/v1/messages"),
            key: key.to_owned(),
        }
    }

    /// Sends a request and judges the whole answer.
    pub async fn send(&self, ask: &Ask) -> Sample {
        self.send_due(ask, Instant::now()).await
    }

    /// The same, timed from when the request was due.
    pub async fn send_due(&self, ask: &Ask, due: Instant) -> Sample {
        let mut head_took = None;
        let end = match self.judge(ask, due, &mut head_took).await {
            Ok(end) => end,
            Err(error) => End::Failed(format!("{error:#}")),
        };
        Sample {
            is_stream: ask.pieces.is_some(),
            sent_at: due,
            took: due.elapsed(),
            head_took,
            retries: 0,
            end,
        }
    }

    /// The same with the default retries of the official SDKs: a lost connection, 408, 409,
    /// 429 and 5xx; nothing once a 200 has come.
    pub async fn send_patiently(&self, ask: &Ask, due: Instant) -> Sample {
        let mut retries = 0;
        loop {
            let mut sample = self.send_due(ask, due).await;
            sample.retries = retries;
            let is_worth_it = match &sample.end {
                End::Good => false,
                End::Refused(refusal) => refusal.is_worth_a_retry(),
                End::Failed(_) => sample.head_took.is_none(),
            };
            if !is_worth_it || retries == SDK_RETRIES {
                return sample;
            }
            tokio::time::sleep(SDK_PAUSE * 2_u32.pow(retries)).await;
            retries += 1;
        }
    }

    /// The head of an answer, for those who read the body in their own way.
    pub async fn open(&self, ask: &Ask) -> Result<Response<Incoming>> {
        self.post(ask.body()).await
    }

    pub async fn post(&self, body: Bytes) -> Result<Response<Incoming>> {
        let request = Request::post(&self.url)
            .header("x-api-key", &self.key)
            .header("anthropic-version", "2023-06-01")
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        Ok(self.http.request(request).await?)
    }

    async fn judge(&self, ask: &Ask, due: Instant, head_took: &mut Option<Duration>) -> Result<End> {
        let response = self.post(ask.body()).await?;
        *head_took = Some(due.elapsed());
        let status = response.status().as_u16();
        if status != 200 {
            return Ok(End::Refused(Refusal::read(response).await?));
        }
        match ask.pieces {
            Some(pieces) => judge_stream(response.into_body(), pieces).await?,
            None => {
                let body = response.into_body().collect().await?.to_bytes();
                let message: Value = serde_json::from_slice(&body)?;
                ensure!(text_of(&message) == WHOLE_TEXT, "another answer: {message}");
                ensure!(message["stop_reason"] == "end_turn", "not the end: {message}");
            }
        }
        Ok(End::Good)
    }
}

/// Reads a stream to its end; `Err` unless it is whole and every piece is there.
pub async fn judge_stream(mut body: Incoming, pieces: u32) -> Result<()> {
    let mut rest = Vec::new();
    let mut judge = Judge::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the stream was lost")?;
        let Some(bytes) = frame.data_ref() else { continue };
        rest.extend_from_slice(bytes);
        for event in Event::take_whole(&mut rest)? {
            judge.push(&event)?;
        }
    }
    ensure!(rest.is_empty(), "the stream ends inside an event");
    let verdict = judge.verdict()?;
    if let Some(error) = verdict.error {
        bail!("the stream ends in {error}");
    }
    let text = verdict.text();
    ensure!(text == text_of_pieces(pieces), "pieces are missing: {text:?}");
    Ok(())
}

// === impl Ask ===

impl Ask {
    /// Any model; `Some`: as a stream, of which so many pieces are expected.
    pub fn of(model: &str, pieces: Option<u32>) -> Self {
        Self {
            model: model.to_owned(),
            tag: 0,
            pieces,
            padding_bytes: 0,
        }
    }

    pub fn whole(after: Duration) -> Self {
        Self::of(&format!("whole@{}", after.as_millis()), None)
    }

    pub fn stream(pieces: u32, every: Duration) -> Self {
        Self::of(&format!("stream@{pieces}x{}", every.as_millis()), Some(pieces))
    }

    pub fn flood(kibibytes: u64) -> Self {
        Self::of(&format!("flood@{kibibytes}"), Some(0))
    }

    /// Refused with this status.
    pub fn status(status: u16) -> Self {
        Self::of(&format!("status@{status}"), None)
    }

    /// Never answered; as a stream or not.
    pub fn never(is_stream: bool) -> Self {
        Self::of("never", is_stream.then_some(0))
    }

    #[must_use]
    pub fn tagged(mut self, tag: u64) -> Self {
        self.tag = tag;
        self
    }

    #[must_use]
    pub fn padded(mut self, bytes: usize) -> Self {
        self.padding_bytes = bytes;
        self
    }

    /// As it goes over the wire.
    pub fn body(&self) -> Bytes {
        let Self {
            model,
            tag,
            pieces,
            padding_bytes,
        } = self;
        let is_stream = pieces.is_some();
        let mut padding = PADDING.repeat(padding_bytes.div_ceil(PADDING.len()));
        padding.truncate(*padding_bytes);
        format!(
            r#"{{"model":"{model}","max_tokens":256,"stream":{is_stream},"messages":[{{"role":"user","content":"tag={tag}; {padding}"}}]}}"#
        )
        .into()
    }
}

// === impl Refusal ===

impl Refusal {
    async fn read(response: Response<Incoming>) -> Result<Self> {
        let status = response.status().as_u16();
        let should_retry = should_retry(response.headers());
        let body = response.into_body().collect().await?.to_bytes();
        let error: Value = serde_json::from_slice(&body)
            .with_context(|| format!("status {status} without an error in JSON"))?;
        let kind = error["error"]["type"].as_str();
        Ok(Self {
            status,
            kind: kind.context("an error without a type")?.to_owned(),
            should_retry,
        })
    }

    fn is_worth_a_retry(&self) -> bool {
        let is_by_status = matches!(self.status, 408 | 409 | 429) || self.status >= 500;
        self.should_retry.unwrap_or(is_by_status)
    }
}

fn should_retry(headers: &HeaderMap) -> Option<bool> {
    match headers.get("x-should-retry")?.to_str().ok()? {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

// === impl Sample ===

impl Sample {
    pub fn is_good(&self) -> bool {
        matches!(self.end, End::Good)
    }
}
