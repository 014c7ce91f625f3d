//! The real server behind a fault proxy: its answers, as they come.
//!
//! The name of the model that it is asked for has lost the faults that were written after it.

use std::collections::VecDeque;
use std::io;

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

use super::Recorded;
use super::script::{Framing, Head};

/// Headers of a request that are about one connection.
const HOP_BY_HOP: [&str; 4] = ["host", "connection", "content-length", "transfer-encoding"];
const END_OF_EVENT: &[u8] = b"\n\n";

/// What faults are passed on to break.
#[derive(Clone)]
pub(super) struct Server {
    http: reqwest::Client,
    /// Without a path.
    origin: String,
    /// What it knows the model as.
    model: String,
}

/// The body of a server's answer, in events if it is a stream of them.
pub(super) struct Passage {
    response: reqwest::Response,
    is_events: bool,
    rest: BytesMut,
    ready: VecDeque<Bytes>,
}

// === impl Server ===

impl Server {
    pub(super) fn new(origin: &str) -> Self {
        Self {
            http: reqwest::Client::new(),
            origin: origin.trim_end_matches('/').to_owned(),
            model: String::new(),
        }
    }

    pub(super) fn of_model(&self, model: &str) -> Self {
        Self {
            model: model.to_owned(),
            ..self.clone()
        }
    }

    pub(super) async fn ask(&self, request: &Recorded) -> reqwest::Result<(Head, Passage)> {
        let url = format!("{}{}", self.origin, request.path);
        let method = request.method.parse().unwrap_or(reqwest::Method::POST);
        let mut call = self.http.request(method, url);
        for (name, value) in &request.headers {
            if !HOP_BY_HOP.contains(&name.as_str()) {
                call = call.header(name, value);
            }
        }
        let response = call.body(self.body(request)).send().await?;
        let content_type = response.headers().get("content-type");
        let content_type = content_type
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let head = Head {
            status: response.status().as_u16(),
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            framing: Framing::Chunked,
        };
        let passage = Passage {
            is_events: content_type.starts_with("text/event-stream"),
            response,
            rest: BytesMut::new(),
            ready: VecDeque::new(),
        };
        Ok((head, passage))
    }

    fn body(&self, request: &Recorded) -> Bytes {
        let Ok(mut body) = serde_json::from_slice::<Value>(&request.body) else {
            return request.body.clone();
        };
        if body.get("model").is_some() {
            body["model"] = json!(self.model);
        }
        Bytes::from(body.to_string())
    }
}

// === impl Passage ===

impl Passage {
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            let Some(chunk) = self.response.chunk().await.map_err(io::Error::other)? else {
                let rest = self.rest.split().freeze();
                return Ok(Some(rest).filter(|rest| !rest.is_empty()));
            };
            if !self.is_events {
                return Ok(Some(chunk));
            }
            self.rest.extend_from_slice(&chunk);
            while let Some(end) = self.rest.windows(2).position(|pair| pair == END_OF_EVENT) {
                self.ready.push_back(self.rest.split_to(end + 2).freeze());
            }
        }
    }
}
