//! Cases 84–89: what an answer cost, and why it stopped.

use anyhow::Result;
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::Script;
use serde_json::{Value, json};

use super::bed::{Bed, check_error, tool, with};
use super::chunks::{self, content, document_with, finish, stream};

fn said() -> Value {
    json!({"role": "assistant", "content": "Fine."})
}

/// A stream that ends with these figures.
fn stream_with(usage: &Value) -> Script {
    stream([content("Fine."), finish("stop"), chunks::usage(usage.clone())])
}

/// Uncached input, cache reads, cache writes, output.
fn figures(message: &Value) -> [u64; 4] {
    let names = [
        "input_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "output_tokens",
    ];
    // A missing figure is none that any case expects.
    names.map(|name| message["usage"][name].as_u64().unwrap_or(u64::MAX))
}

/// The same figures whether the answer is whole or streamed.
async fn check(bed: &Bed, usage: Value, expected: [u64; 4]) -> Result<[Value; 2]> {
    let body = ask("haiku", "Hi");
    let whole = bed
        .whole(document_with(&said(), "stop", usage.clone()), &body)
        .await?;
    let streamed = bed.streamed(stream_with(&usage), &body).await?.message;
    assert_eq!(figures(&whole), expected, "whole, {usage}");
    assert_eq!(figures(&streamed), expected, "streamed, {usage}");
    Ok([whole, streamed])
}

#[tokio::test]
async fn c084_u01_usage_is_read_wherever_it_stands() -> Result<()> {
    let bed = Bed::start().await?;
    let usage = json!({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120});
    check(&bed, usage.clone(), [100, 0, 0, 20]).await?;

    let beside = |mut chunk: Value, figures: &Value| {
        chunk["usage"] = figures.clone();
        chunk
    };
    let growing = json!({"prompt_tokens": 100, "completion_tokens": 1});
    let groq = with(finish("stop"), "x_groq", json!({"usage": usage}));
    let rows = [
        (
            "in every chunk",
            stream([beside(content("Fine."), &growing), beside(finish("stop"), &usage)]),
        ),
        (
            "in the finish chunk",
            stream([content("Fine."), beside(finish("stop"), &usage)]),
        ),
        ("in x_groq", stream([content("Fine."), groq])),
        (
            "null until the end",
            stream([
                beside(content("Fine."), &Value::Null),
                finish("stop"),
                chunks::usage(usage.clone()),
            ]),
        ),
    ];
    for (what, script) in rows {
        let message = bed.streamed(script, &ask("haiku", "Hi")).await?.message;
        assert_eq!(figures(&message), [100, 0, 0, 20], "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn c085_u02_cached_tokens_are_no_input() -> Result<()> {
    let bed = Bed::start().await?;
    let total = |details: (&str, Value)| {
        let mut usage = json!({"prompt_tokens": 100, "completion_tokens": 20});
        usage[details.0] = details.1;
        usage
    };
    check(
        &bed,
        total(("prompt_tokens_details", json!({"cached_tokens": 64}))),
        [36, 64, 0, 20],
    )
    .await?;
    check(
        &bed,
        total(("prompt_cache_hit_tokens", json!(70))),
        [30, 70, 0, 20],
    )
    .await?;
    check(&bed, total(("cached_tokens", json!(50))), [50, 50, 0, 20]).await?;
    Ok(())
}

#[tokio::test]
async fn c086_u03_cache_writes_have_a_figure_of_their_own() -> Result<()> {
    let bed = Bed::start().await?;
    let total = |details: Value| json!({"prompt_tokens": 100, "completion_tokens": 20, "prompt_tokens_details": details});
    check(
        &bed,
        total(json!({"cached_tokens": 40, "cache_write_tokens": 25})),
        [35, 40, 25, 20],
    )
    .await?;
    let dashscope = json!({"cached_tokens": 0, "cache_creation_input_tokens": 90});
    let [whole, _] = check(&bed, total(dashscope), [10, 0, 90, 20]).await?;
    assert_eq!(whole["usage"]["cache_creation"]["ephemeral_5m_input_tokens"], 90);
    Ok(())
}

#[tokio::test]
async fn c087_u04_reasoning_is_output_once() -> Result<()> {
    let bed = Bed::start().await?;
    let details = json!({"reasoning_tokens": 12});
    let inside = json!({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "completion_tokens_details": details});
    for message in check(&bed, inside, [100, 0, 0, 20]).await? {
        assert_eq!(
            message["usage"]["output_tokens_details"]["thinking_tokens"], 12,
            "{message}"
        );
    }
    let beside = json!({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 150,
        "completion_tokens_details": {"reasoning_tokens": 30}});
    check(&bed, beside, [100, 0, 0, 50]).await?;
    Ok(())
}

#[tokio::test]
async fn c088_u05_without_usage_it_is_estimated() -> Result<()> {
    let bed = Bed::start().await?;
    let body = ask("haiku", "How are you today?");
    let silent = stream([content("I am very well, thank you."), finish("stop")]);
    let whole = bed
        .whole(document_with(&said(), "stop", Value::Null), &body)
        .await?;
    let streamed = bed.streamed(silent, &body).await?.message;
    for message in [whole, streamed] {
        let [input, _, _, output] = figures(&message);
        assert!((1..50).contains(&input) && (1..50).contains(&output), "{message}");
    }
    Ok(())
}

#[tokio::test]
async fn c089_g01_finish_reasons_have_their_stop_reasons() -> Result<()> {
    let bed = Bed::start().await?;
    let body = with(ask("haiku", "Go"), "tools", json!([tool("f")]));
    let calling = json!({"role": "assistant", "content": null, "tool_calls": [chunks::whole_call("call_1", "f", "{}")]});
    let rows = [
        (said(), "stop", "end_turn"),
        (said(), "eos", "end_turn"),
        (said(), "length", "max_tokens"),
        (said(), "model_length", "model_context_window_exceeded"),
        (said(), "content_filter", "refusal"),
        (said(), "SAFETY", "refusal"),
        (said(), "unheard_of", "end_turn"),
        (calling.clone(), "tool_calls", "tool_use"),
        (calling.clone(), "function_call", "tool_use"),
        (calling.clone(), "stop", "tool_use"),
        (calling, "length", "max_tokens"),
    ];
    for (message, finish_reason, stop_reason) in rows {
        for answer in bed.both(&message, finish_reason, &body).await? {
            assert_eq!(answer["stop_reason"], stop_reason, "{finish_reason}");
        }
    }
    let filtered = bed
        .whole(chunks::document(&said(), "content_filter"), &body)
        .await?;
    assert_eq!(filtered["stop_details"]["type"], "refusal", "{filtered}");

    for (finish_reason, status, kind) in [
        ("error", 502, "api_error"),
        ("insufficient_system_resource", 529, "overloaded_error"),
    ] {
        let answer = bed.ask(chunks::document(&said(), finish_reason), &body).await?;
        check_error(&answer, status, kind, finish_reason);
    }
    Ok(())
}
