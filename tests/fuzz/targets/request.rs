//! Any request, for every preset: refused, or a body that an upstream can read and whose
//! calls and results belong together; the same bytes each time.

use std::borrow::Cow;
use std::collections::VecDeque;

use anyhow::{Context, Result, ensure};
use bridge_campaign::dice;
use bridge_translate::anthropic::Request;
use bridge_translate::{Dialect, request, response, tokens};
use rand::seq::IndexedRandom as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::judge;
use crate::fixtures::{Fixtures, ids, target};

/// The upstream's body as an upstream reads it; a key that comes twice is an error.
#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
    tools: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    tool_call_id: Option<Cow<'a, str>>,
    tool_calls: Option<Vec<Call<'a>>>,
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    function: Function<'a>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    arguments: Cow<'a, str>,
}

pub(crate) fn run(fixtures: &Fixtures, input: &[u8]) -> Result<()> {
    let request = match Request::parse(input) {
        Ok(request) => request,
        Err(refused) => {
            ensure!(!refused.message.is_empty(), "a refusal without a reason");
            return Ok(());
        }
    };
    ensure!(
        Request::parse_count_tokens(input).is_ok(),
        "what is served cannot be counted"
    );
    for dialect in &fixtures.presets {
        translate(&request, dialect)?;
    }
    if let Some(dialect) = fixtures.variants.choose(&mut dice(input)) {
        let first = translate(&request, dialect)?;
        ensure!(
            first == translate(&request, dialect)?,
            "the same request gives other bytes"
        );
        if first.is_some() {
            let tokens =
                tokens::count(&request, &target(dialect)).context("what is sent cannot be counted")?;
            ensure!(tokens > 0, "a prompt of no tokens");
        }
    }
    answer_without_output(&request)
}

fn answer_without_output(request: &Request<'_>) -> Result<()> {
    let mut events = Vec::new();
    response::without_output_events(request, &ids(), &mut events);
    let answer = response::without_output(request, &ids());
    judge::same_message(&judge::transcript(&events)?, &answer.body)
}

/// The body, if the dialect takes the request.
fn translate(request: &Request<'_>, dialect: &Dialect) -> Result<Option<Vec<u8>>> {
    let Ok(outbound) = request::to_openai(request, &target(dialect)) else {
        return Ok(None);
    };
    let header = outbound.losses.header().unwrap_or_default();
    let is_header = header.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    ensure!(is_header, "losses that no header can carry");
    let body = outbound.body;
    let sent: Sent<'_> = serde_json::from_slice(&body).context("a body of another shape")?;
    ensure!(
        sent.tools.as_ref().is_none_or(|tools| !tools.is_empty()),
        "an empty list of tools"
    );
    for tool in sent.tools.into_iter().flatten() {
        judge::tree(tool.get().as_bytes()).context("a tool that cannot be read")?;
    }
    belongs_together(&sent.messages)?;
    Ok(Some(body))
}

/// Every call has its result right behind it, in call order, and every result its call.
fn belongs_together(messages: &[Message<'_>]) -> Result<()> {
    let mut waiting: VecDeque<&str> = VecDeque::new();
    for message in messages {
        if let Some(content) = message.content {
            judge::tree(content.get().as_bytes()).context("content that cannot be read")?;
        }
        if message.role == "tool" {
            ensure!(
                waiting.pop_front() == message.tool_call_id.as_deref(),
                "a result out of place"
            );
            ensure!(message.content.is_some(), "a result without content");
            continue;
        }
        ensure!(waiting.is_empty(), "a call without a result");
        let is_role = matches!(&*message.role, "system" | "developer" | "user" | "assistant");
        ensure!(is_role, "a role that does not exist");
        for Call { id, function } in message.tool_calls.iter().flatten() {
            ensure!(!function.name.is_empty(), "a call without a name");
            judge::tree(function.arguments.as_bytes()).context("arguments that cannot be read")?;
            waiting.push_back(id);
        }
    }
    ensure!(waiting.is_empty(), "a call without a result");
    Ok(())
}
