//! Every path over HTTP, with a credential wherever a client may have put one.

use anyhow::{Result, ensure};
use bridge_tests::anthropic::ask;
use reqwest::{Method, RequestBuilder};

use super::{ECHO, MODEL, PROMPT, Search};

const PATHS: [(&str, &str); 10] = [
    ("POST", "/v1/messages"),
    ("POST", "/v1/messages/count_tokens"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/m"),
    ("GET", "/health"),
    ("GET", "/"),
    ("HEAD", "/"),
    ("POST", "/api/event_logging/batch"),
    ("GET", "/no/such/path"),
    ("DELETE", "/v1/messages"),
];
const OPS: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// Where a client puts its key: what follows the path, and the heads.
type Credential = (fn(&str) -> String, fn(RequestBuilder, &str) -> RequestBuilder);

/// Good ones, and those of who has misread the documentation.
const CREDENTIALS: [Credential; 6] = [
    (nothing, |request, key| request.header("x-api-key", key)),
    (nothing, |request, key| request.bearer_auth(key)),
    (nothing, |request, key| request.header("authorization", key)),
    (|key| format!("?api_key={key}"), |request, _| request),
    (
        |key| format!("?key={key}"),
        |request, key| request.header("cookie", format!("key={key}")),
    ),
    (
        |key| format!("/{key}"),
        |request, key| {
            request
                .header("x-api-key", format!("{key}x"))
                .basic_auth(key, Some(key))
        },
    ),
];

fn nothing(_: &str) -> String {
    String::new()
}

pub(super) async fn call_every_path(
    base_url: &str,
    metrics_url: &str,
    key: &str,
    search: &mut Search,
) -> Result<()> {
    let http = reqwest::Client::new();
    let mut bodies = vec![format!("not JSON: {PROMPT}")];
    for model in [MODEL, ECHO, "no-such-model"] {
        let mut body = ask(model, PROMPT);
        bodies.push(body.to_string());
        body["stream"] = true.into();
        bodies.push(body.to_string());
        body["max_tokens"] = PROMPT.into();
        bodies.push(body.to_string());
    }
    for (method, path) in PATHS {
        let method = Method::from_bytes(method.as_bytes())?;
        for (query, heads) in CREDENTIALS {
            // Others say nothing that depends on it.
            let count = if method == Method::POST { bodies.len() } else { 1 };
            for body in &bodies[..count] {
                let url = format!("{base_url}{path}{}", query(key));
                let request = heads(http.request(method.clone(), url), key);
                let answer = request.body(body.clone()).send().await?;
                let head = format!("{:?} {:?}", answer.status(), answer.headers());
                search.answered(format!("{path}: head"), head);
                let told = answer.bytes().await?;
                // A good answer is for that client alone, and so is the path that it has asked for.
                let unquoted = String::from_utf8_lossy(&told).replace("\\\"", "\"");
                let mut answer = unquoted.replace(super::ANSWER, "");
                if query(key).starts_with('/') {
                    answer = answer.replace(key, "");
                }
                search.answered(path, answer);
            }
        }
    }
    let ops = metrics_url.trim_end_matches("/metrics");
    for path in OPS {
        let answer = http
            .get(format!("{ops}{path}?api_key={key}"))
            .bearer_auth(key)
            .send()
            .await?;
        ensure!(answer.status().is_success(), "{path}: {}", answer.status());
        search.answered(path, answer.text().await?);
    }
    Ok(())
}
