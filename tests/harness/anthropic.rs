//! A client of the bridge that hides nothing: raw bodies in, statuses, headers and events out.

use std::collections::VecDeque;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::plain_http;
use crate::sse::{Event, Judge, Transcript, kinds, text_of};

pub struct Client {
    http: reqwest::Client,
    base_url: String,
    /// `None` sends no credential at all.
    key: Option<String>,
}

/// An answer that came as one JSON document.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

/// An answer that comes as events.
pub struct Stream {
    pub status: u16,
    pub headers: HeaderMap,
    response: reqwest::Response,
    rest: Vec<u8>,
    ready: VecDeque<Event>,
    seen: Vec<Event>,
    judge: Judge,
}

// === impl Client ===

impl Client {
    pub fn new(base_url: &str, key: &str) -> Self {
        Self {
            http: plain_http::client(),
            base_url: base_url.to_owned(),
            key: Some(key.to_owned()),
        }
    }

    /// The same connections with another key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self {
            http: self.http.clone(),
            base_url: self.base_url.clone(),
            key: Some(key.to_owned()),
        }
    }

    #[must_use]
    pub fn without_key(mut self) -> Self {
        self.key = None;
        self
    }

    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// A request with the credential of this client, to be changed before it is sent.
    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base_url));
        let request = request.header("anthropic-version", "2023-06-01");
        match &self.key {
            Some(key) => request.header("x-api-key", key),
            None => request,
        }
    }

    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Result<Answer> {
        let request = self.request(reqwest::Method::POST, path);
        let request = request.header("content-type", "application/json");
        read_answer(request.body(body.into()).send().await?).await
    }

    pub async fn messages(&self, body: &Value) -> Result<Answer> {
        self.post("/v1/messages", body.to_string()).await
    }

    /// Sends a request that asks for a stream; errors before the stream have a status here too.
    pub async fn stream(&self, body: &Value) -> Result<Stream> {
        let mut body = body.clone();
        body["stream"] = json!(true);
        self.stream_or_not(&body).await
    }

    /// Sends a request as it is; what comes is read as the caller likes.
    pub async fn stream_or_not(&self, body: &Value) -> Result<Stream> {
        let request = self.request(reqwest::Method::POST, "/v1/messages");
        let request = request.header("content-type", "application/json");
        let response = request.body(body.to_string()).send().await?;
        Ok(Stream {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            response,
            rest: Vec::new(),
            ready: VecDeque::new(),
            seen: Vec::new(),
            judge: Judge::default(),
        })
    }

    /// The whole stream, with its grammar checked.
    pub async fn stream_to_end(&self, body: &Value) -> Result<Transcript> {
        self.stream(body).await?.to_end().await
    }

    /// The cheapest request that needs a key: it calls no upstream.
    pub async fn try_key(&self) -> Result<Answer> {
        let body = json!({"model": "haiku", "messages": [{"role": "user", "content": "x"}]});
        self.post("/v1/messages/count_tokens", body.to_string()).await
    }
}

/// The smallest request of the Messages API.
pub fn ask(model: &str, prompt: &str) -> Value {
    json!({
        "model": model,
        "max_tokens": 256,
        "messages": [{"role": "user", "content": prompt}],
    })
}

pub async fn read_answer(response: reqwest::Response) -> Result<Answer> {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let bytes = response.bytes().await?;
    let body = match bytes.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&bytes)
            .with_context(|| format!("status {status}, no JSON: {}", String::from_utf8_lossy(&bytes)))?,
    };
    Ok(Answer {
        status,
        headers,
        body,
    })
}

// === impl Answer ===

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The type of an error in Anthropic's shape.
    pub fn error_type(&self) -> &str {
        self.body["error"]["type"].as_str().unwrap_or_default()
    }

    pub fn error_message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }

    /// All text blocks, one after the other.
    pub fn text(&self) -> String {
        text_of(&self.body)
    }
}

// === impl Stream ===

impl Stream {
    /// The next event, judged by all that came before; `None` at a clean end of the body.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.seen.push(event.clone());
                self.judge
                    .push(&event)
                    .with_context(|| format!("in {:?}", kinds(&self.seen)))?;
                return Ok(Some(event));
            }
            let Some(chunk) = self.response.chunk().await? else {
                anyhow::ensure!(self.rest.is_empty(), "the body ends inside an event");
                self.judge
                    .verdict()
                    .with_context(|| format!("in {:?}", kinds(&self.seen)))?;
                return Ok(None);
            };
            self.rest.extend_from_slice(&chunk);
            self.ready.extend(Event::take_whole(&mut self.rest)?);
        }
    }

    /// Reads until an event of this type.
    pub async fn next_of(&mut self, kind: &str) -> Result<Event> {
        loop {
            let event = self.next().await?;
            let event = event.with_context(|| format!("the stream ends without {kind}"))?;
            if event.kind == kind {
                return Ok(event);
            }
        }
    }

    /// What is told instead of a stream, or the answer to who asked for none.
    pub async fn refusal(self) -> Result<Answer> {
        read_answer(self.response).await
    }

    /// Reads the rest.
    pub async fn to_end(mut self) -> Result<Transcript> {
        if self.status != 200 {
            bail!("status {}: {}", self.status, self.response.text().await?);
        }
        while self.next().await?.is_some() {}
        Ok(Transcript::of(self.judge.verdict()?, self.seen))
    }
}
