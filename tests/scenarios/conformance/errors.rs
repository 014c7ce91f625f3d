//! Cases 90–98: whose fault it is, what clients are told, and when they may try again.

use anyhow::Result;
use bridge_tests::admin::UPSTREAM_KEY;
use bridge_tests::anthropic::{Answer, ask, read_answer};
use bridge_tests::faultd::Script;
use reqwest::Method;
use serde_json::{Value, json};

use super::bed::{Bed, check_error};

fn refusal(status: u16, error: Value) -> Script {
    Script::body(status, "application/json", json!({"error": error}).to_string())
}

fn plain(status: u16) -> Script {
    refusal(status, json!({"message": "scripted refusal", "type": "scripted"}))
}

async fn ask_for(bed: &Bed, script: Script) -> Result<Answer> {
    bed.ask(script, &ask("haiku", "Hi")).await
}

#[tokio::test]
async fn c090_h01_a_refusal_has_the_status_of_whose_fault_it_is() -> Result<()> {
    let bed = Bed::start().await?;
    let rows = [
        (400, 400, "invalid_request_error", None),
        (401, 502, "api_error", Some("false")),
        (403, 502, "api_error", Some("false")),
        (404, 502, "api_error", Some("false")),
        (408, 504, "timeout_error", None),
        (409, 409, "conflict_error", None),
        (413, 413, "request_too_large", Some("false")),
        (422, 400, "invalid_request_error", None),
    ];
    for (upstream, status, kind, should_retry) in rows {
        let answer = ask_for(&bed, plain(upstream)).await?;
        check_error(&answer, status, kind, &upstream.to_string());
        assert!(
            answer.error_message().contains("scripted refusal"),
            "{upstream}: {answer:?}"
        );
        if should_retry.is_some() {
            assert_eq!(answer.header("x-should-retry"), should_retry, "{upstream}");
        }
    }
    // An empty account is the admin's affair too, and asking again does not fill it.
    let broke = ask_for(&bed, plain(402)).await?;
    check_error(&broke, 502, "api_error", "402");
    assert_eq!(broke.header("x-should-retry"), Some("false"));

    let message = format!("Incorrect API key provided: {UPSTREAM_KEY}");
    let answer = ask_for(&bed, refusal(401, json!({"message": message}))).await?;
    assert!(!answer.body.to_string().contains(UPSTREAM_KEY), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn c091_h02_a_limit_says_when_and_an_empty_account_that_it_is_empty() -> Result<()> {
    let bed = Bed::start().await?;
    check_error(
        &ask_for(&bed, plain(429)).await?,
        429,
        "rate_limit_error",
        "plain",
    );

    let answer = ask_for(&bed, plain(429).header("retry-after", "5")).await?;
    check_error(&answer, 429, "rate_limit_error", "with a wait");
    assert_eq!(answer.header("retry-after"), Some("5"));

    let modelscope = json!({"errors": {"message": "too many requests"}, "request_id": "1"}).to_string();
    let answer = ask_for(&bed, Script::body(429, "application/json", modelscope)).await?;
    check_error(&answer, 429, "rate_limit_error", "ModelScope");
    assert!(answer.error_message().contains("too many requests"), "{answer:?}");

    let quota = json!({"message": "You exceeded your current quota", "code": "insufficient_quota"});
    let answer = ask_for(&bed, refusal(429, quota)).await?;
    check_error(&answer, 502, "api_error", "quota");
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    Ok(())
}

#[tokio::test]
async fn c092_h03_waits_are_told_in_seconds_that_clients_obey() -> Result<()> {
    let bed = Bed::start().await?;
    let rows = [
        ("retry-after-ms", "1500", "2", None),
        ("x-ratelimit-reset-requests", "1m2.5s", "60", None),
        ("x-ratelimit-reset-tokens", "120ms", "1", None),
        ("retry-after", "120", "60", None),
        ("retry-after", "2.2", "3", None),
        ("retry-after", "7200", "7200", Some("false")),
    ];
    for (name, value, told, should_retry) in rows {
        let answer = ask_for(&bed, plain(429).header(name, value)).await?;
        check_error(&answer, 429, "rate_limit_error", value);
        assert_eq!(answer.header("retry-after"), Some(told), "{name}: {value}");
        if should_retry.is_some() {
            assert_eq!(answer.header("x-should-retry"), should_retry, "{value}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn c093_h04_servers_that_fail_are_told_apart_without_their_pages() -> Result<()> {
    let bed = Bed::start().await?;
    let page = |status| Script::body(status, "text/html", "<html><h1>Bad gateway</h1></html>");
    let overloaded = json!({"message": "The engine is overloaded", "type": "overloaded"});
    let redirect = Script::body(302, "text/plain", "").header("location", "http://127.0.0.1:1/");
    let rows = [
        ("500", plain(500), 502, "api_error"),
        (
            "500 as text",
            Script::body(500, "text/plain", "it broke"),
            502,
            "api_error",
        ),
        (
            "500 without a body",
            Script::body(500, "text/plain", ""),
            502,
            "api_error",
        ),
        ("502 with a page", page(502), 502, "api_error"),
        ("503", plain(503), 503, "api_error"),
        ("504", plain(504), 504, "timeout_error"),
        ("520", page(520), 502, "api_error"),
        ("302", redirect, 502, "api_error"),
        ("529", plain(529), 529, "overloaded_error"),
    ];
    for (what, script, status, kind) in rows {
        let answer = ask_for(&bed, script).await?;
        check_error(&answer, status, kind, what);
        assert!(!answer.error_message().contains('<'), "{what}: {answer:?}");
    }
    let answer = ask_for(&bed, refusal(503, overloaded)).await?;
    let seen = (answer.status, answer.error_type());
    assert!(
        [(503, "api_error"), (529, "overloaded_error")].contains(&seen),
        "{answer:?}"
    );
    Ok(())
}

#[tokio::test]
async fn c094_h05_an_overflow_is_told_in_the_words_that_clients_know() -> Result<()> {
    let bed = Bed::start().await?;
    let rows = [
        (
            "OpenAI",
            json!({"message": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens. Please reduce the length of the messages.", "code": "context_length_exceeded"}),
        ),
        (
            "vLLM",
            json!({"message": "This model's maximum context length is 8192 tokens. However, your request has 9001 input tokens. Please reduce the length of the input messages."}),
        ),
        (
            "llama.cpp",
            json!({"message": "the request exceeds the available context size", "type": "exceed_context_size_error", "n_prompt_tokens": 9001, "n_ctx": 8192}),
        ),
        (
            "Gemini",
            json!({"message": "The input token count (9001) exceeds the maximum number of tokens allowed (8192)."}),
        ),
    ];
    for (server, error) in rows {
        let answer = ask_for(&bed, refusal(400, error)).await?;
        check_error(&answer, 400, "invalid_request_error", server);
        let wording = "prompt is too long: 9001 tokens > 8192 maximum";
        assert!(answer.error_message().contains(wording), "{server}: {answer:?}");
    }
    let qwen = json!({"message": "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 8192]"});
    let answer = ask_for(&bed, refusal(400, qwen)).await?;
    let message = answer.error_message();
    let (_, figures) = message.split_once("prompt is too long: ").unwrap();
    let numbers: Vec<u64> = figures
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|n| n.parse().ok())
        .collect();
    assert!(numbers.len() == 2 && numbers[0] > numbers[1], "{message}");
    Ok(())
}

#[tokio::test]
async fn c097_h08_what_is_not_here_says_so_in_json() -> Result<()> {
    let bed = Bed::start().await?;
    for path in ["/v1/messages/batches", "/v1/files", "/v1/complete", "/nowhere"] {
        let answer = bed.client.post(path, "{}").await?;
        check_error(&answer, 404, "not_found_error", path);
    }
    let response = bed.client.request(Method::GET, "/v1/messages").send().await?;
    let answer = read_answer(response).await?;
    assert_eq!(
        (answer.status, answer.body["type"].as_str()),
        (405, Some("error")),
        "{answer:?}"
    );
    Ok(())
}

#[tokio::test]
async fn c098_h09_an_unknown_model_is_named() -> Result<()> {
    let bed = Bed::start().await?;
    let answer = bed
        .refused(&ask("gpt-unheard-of", "Hi"), 404, "not_found_error")
        .await?;
    assert!(
        answer.error_message().contains("model: gpt-unheard-of"),
        "{answer:?}"
    );
    Ok(())
}
