//! Providers that speak the client's own API: bytes pass, keys do not, and whatever goes
//! wrong is told as honestly as on the translated way.

mod failures;
mod knobs;
mod passing;
mod thinking;

use std::pin::Pin;

use anyhow::{Context, Result};
use bridge_proto::admin::v1::{ApiFormat, Provider};
use bridge_proto::fleet::v1::{Dialect, StringList};
use bridge_tests::admin;
use bridge_tests::anthropic::{Answer, Client, ask, read_answer};
use bridge_tests::faultd::{Faultd, Recorded, Script};
use bridge_tests::stage::Stage;
use reqwest::Method;
use serde_json::{Value, json};

fn native(provider: Provider) -> Provider {
    Provider {
        api_format: ApiFormat::Anthropic.into(),
        ..provider
    }
}

async fn stage() -> Result<Stage> {
    Stage::without_memory_of(native).await
}

/// A native provider with knobs of its own. Boxed, since all knobs together are large.
fn stage_with(knobs: Dialect) -> Pin<Box<impl Future<Output = Result<Stage>>>> {
    Box::pin(Stage::without_memory_of(|provider| Provider {
        dialect_overrides: Some(knobs),
        ..native(provider)
    }))
}

fn list(values: &[&str]) -> Option<StringList> {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    Some(StringList { values })
}

/// What the upstream got last.
fn last(upstream: &Faultd) -> Result<Recorded> {
    upstream.requests().pop().context("nothing went up")
}

/// Posts with more of a head than the harness usually sends.
async fn post(client: &Client, path: &str, headers: &[(&str, &str)], body: String) -> Result<Answer> {
    let mut request = client.request(Method::POST, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    read_answer(request.body(body).send().await?).await
}

/// A second provider, translated, behind the native one.
async fn add_translated(stage: &Stage) -> Result<Faultd> {
    let upstream = Faultd::start().await?;
    upstream.always("second", Script::text("from the second"));
    let provider = Provider {
        priority: 2,
        ..admin::provider("second", &upstream.base_url(), "second")
    };
    stage.admin.create_provider(provider).await?;
    stage.settle().await?;
    Ok(upstream)
}

/// A turn of the assistant with this thinking, between two of the user.
fn conversation(thinking: &[Value]) -> Value {
    let mut said = thinking.to_vec();
    said.push(json!({"type": "text", "text": "So."}));
    let mut body = ask("opus", "Hi");
    body["messages"] = json!([
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": said},
        {"role": "user", "content": "Go on"},
    ]);
    body
}
