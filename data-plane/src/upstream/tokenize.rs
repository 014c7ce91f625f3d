//! Asks an upstream that has its tokenizer on the wire how long a prompt is.
//!
//! Two kinds of servers have one, and the first answer tells which: one takes a whole
//! conversation, the other has to be asked for the text of it first. Whatever goes wrong,
//! the caller has an estimate of its own; nothing here counts for a breaker.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use url::Url;

use super::{
    admission::Upstreams,
    client::{self, Accept},
};
use crate::{routing::Candidate, snapshot::Endpoint};

/// For all calls together; a client is waiting for a number.
const TIMEOUT: Duration = Duration::from_secs(2);
/// A list of numbers, one for each token.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// APIs live below a version, tokenizers beside it.
const VERSION: &str = "/v1/";
/// Images cost what no tokenizer counts.
const IMAGE: &str = r#""type":"image_url""#;

/// What of a request makes up its prompt.
#[derive(Serialize, Deserialize)]
struct Conversation<'a> {
    #[serde(borrow)]
    model: &'a RawValue,
    #[serde(borrow)]
    messages: &'a RawValue,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    tools: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Tokenized<'a> {
    count: Option<u64>,
    #[serde(borrow)]
    tokens: Option<Vec<&'a RawValue>>,
}

#[derive(Serialize)]
struct Text<'a> {
    content: &'a str,
    add_special: bool,
}

#[derive(Deserialize)]
struct Prompt {
    prompt: String,
}

/// Tokens of a translated request; none if the upstream does not tell in time.
pub(crate) async fn count(upstreams: &Upstreams, candidate: &Candidate, body: &[u8]) -> Option<u64> {
    let now = Instant::now();
    let text = str::from_utf8(body).ok()?;
    if text.contains(IMAGE) || !upstreams.learnt.may_tokenize(candidate, now) {
        return None;
    }
    let conversation = serde_json::from_str::<Conversation<'_>>(text).ok()?;
    let endpoint = &candidate.provider.endpoint;
    let counted = tokio::time::timeout(TIMEOUT, ask(upstreams, endpoint, &conversation)).await;
    let counted = counted.ok().flatten();
    if counted.is_none() {
        upstreams.learnt.cannot_tokenize(candidate, now);
    }
    counted
}

async fn ask(upstreams: &Upstreams, endpoint: &Endpoint, conversation: &Conversation<'_>) -> Option<u64> {
    let told = post(upstreams, endpoint, "tokenize", conversation).await?;
    if let Some(count) = serde_json::from_slice::<Tokenized<'_>>(&told).ok()?.count {
        return Some(count);
    }
    let told = post(upstreams, endpoint, "apply-template", conversation).await?;
    let Prompt { prompt } = serde_json::from_slice(&told).ok()?;
    let text = Text {
        content: &prompt,
        add_special: true,
    };
    let told = post(upstreams, endpoint, "tokenize", &text).await?;
    let tokens = serde_json::from_slice::<Tokenized<'_>>(&told).ok()?.tokens?;
    u64::try_from(tokens.len()).ok()
}

async fn post(
    upstreams: &Upstreams,
    endpoint: &Endpoint,
    name: &str,
    body: &impl Serialize,
) -> Option<Vec<u8>> {
    let request = client::Request {
        url: beside_the_api(&endpoint.url, name)?,
        headers: endpoint.headers.clone(),
        accept: Accept::Json,
        body: Bytes::from(serde_json::to_vec(body).ok()?),
    };
    let mut answer = upstreams.client.send(&request).await.ok()?;
    let is_fine = (200..300).contains(&answer.status);
    let body = answer.body.collect(TIMEOUT, ANSWER_BYTES_MAX).await.ok()?;
    is_fine.then_some(body)
}

/// `https://host/prefix/v1/chat/completions` has its tokenizer at `https://host/prefix/tokenize`.
fn beside_the_api(url: &Url, name: &str) -> Option<Url> {
    let (prefix, _) = url.path().rsplit_once(VERSION)?;
    let mut beside = url.clone();
    beside.set_path(&format!("{prefix}/{name}"));
    Some(beside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokenizer_lives_beside_the_api() {
        let beside = |url: &str| beside_the_api(&url.parse().unwrap(), "tokenize").map(String::from);
        for (url, found) in [
            (
                "http://h:8000/v1/chat/completions",
                Some("http://h:8000/tokenize"),
            ),
            ("https://h/a/v1/chat/completions", Some("https://h/a/tokenize")),
            ("https://h/chat/completions", None),
        ] {
            assert_eq!(beside(url).as_deref(), found, "{url}");
        }
    }

    #[test]
    fn only_the_prompt_is_sent() {
        let body =
            r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"a \"b\""}],"max_tokens":9}"#;
        let conversation: Conversation<'_> = serde_json::from_str(body).unwrap();
        assert_eq!(
            serde_json::to_string(&conversation).unwrap(),
            r#"{"model":"m","messages":[{"role":"user","content":"a \"b\""}]}"#
        );
    }
}
