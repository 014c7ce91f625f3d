//! What goes wrong: told in the provider's words where they are the client's affair, and who
//! stands in.

use anyhow::{Context, Result};
use bridge_tests::admin::UPSTREAM_KEY;
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::Script;
use bridge_tests::faultd::answer;
use bridge_tests::faultd::script::{After, End};
use bridge_tests::stage::MODEL;
use serde_json::json;

use super::{add_translated, last, stage};

#[tokio::test]
async fn c104_p03_errors_pass_unless_they_are_the_admins_affair() -> Result<()> {
    let stage = stage().await?;
    let passed = [
        (400, "invalid_request_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
    ];
    for (status, kind) in passed {
        let words = format!("exactly these words, not {UPSTREAM_KEY}");
        let script = Script::refusal(status, kind, &words)
            .header("retry-after", "90")
            .header("anthropic-ratelimit-requests-remaining", "0")
            .header("x-should-retry", "false");
        stage.upstream.once(MODEL, script);
        let answer = stage.client()?.messages(&ask("opus", "Hi")).await?;
        assert_eq!((answer.status, answer.error_type()), (status, kind), "{answer:?}");
        assert_eq!(answer.error_message(), "exactly these words, not ***");
        assert_eq!(answer.header("x-should-retry"), Some("false"));
        assert_eq!(answer.header("anthropic-ratelimit-requests-remaining"), Some("0"));
        let is_wait_told = matches!(status, 429 | 529);
        assert_eq!(
            answer.header("retry-after"),
            is_wait_told.then_some("60"),
            "{status}"
        );
        assert_eq!(answer.body["request_id"].as_str(), answer.header("request-id"));
    }
    let hidden = [
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
    ];
    for (status, kind) in hidden {
        stage.upstream.once(MODEL, Script::refusal(status, kind, "no"));
        let answer = stage.client()?.messages(&ask("opus", "Hi")).await?;
        assert_eq!(
            (answer.status, answer.error_type()),
            (502, "api_error"),
            "{answer:?}"
        );
        assert_eq!(answer.header("x-should-retry"), Some("false"));
    }
    Ok(())
}

#[tokio::test]
async fn c104_p04_a_lost_upstream_ends_in_an_error_event() -> Result<()> {
    let stage = stage().await?;
    let said = Script::text("The quick brown fox jumps.");
    for (cut, end) in [(620, End::Reset), (700, End::Fin), (760, End::Early)] {
        stage
            .upstream
            .once(MODEL, said.clone().cut(After::Bytes(cut), end));
        let transcript = stage.client()?.stream_to_end(&ask("opus", "Hi")).await?;
        let error = transcript.error.context("a whole answer")?;
        assert_eq!(error["error"]["type"], "api_error", "cut after {cut}");
        assert!(transcript.is_block_open, "cut after {cut}");
    }
    // Before content it is an HTTP status.
    for cut in [0, 10, 300] {
        let script = said.clone().cut(After::Bytes(cut), End::Reset);
        stage.upstream.once(MODEL, script);
        let stream = stage.client()?.stream(&ask("opus", "Hi")).await?;
        assert_eq!(stream.status, 502, "cut after {cut}");
    }
    Ok(())
}

#[tokio::test]
async fn an_error_event_is_a_status_before_content_and_an_event_after_it() -> Result<()> {
    let stage = stage().await?;
    let error = |kind: &str| {
        format!(
            "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"{kind}\",\"message\":\"Sorry\"}}}}\n\n"
        )
    };
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n";
    let block = "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
    let statuses = [
        ("overloaded_error", 529),
        ("rate_limit_error", 429),
        ("api_error", 502),
    ];
    for (kind, status) in statuses {
        for pieces in [vec![error(kind)], vec![start.to_owned(), error(kind)]] {
            stage.upstream.once(MODEL, Script::stream(pieces));
            let stream = stage.client()?.stream(&ask("opus", "Hi")).await?;
            assert_eq!(stream.status, status, "{kind}");
        }
    }
    let pieces = [start.to_owned(), block.to_owned(), error("overloaded_error")];
    stage.upstream.once(MODEL, Script::stream(pieces));
    let transcript = stage.client()?.stream_to_end(&ask("opus", "Hi")).await?;
    let told = transcript.error.context("no error")?;
    assert_eq!(told["error"]["type"], "overloaded_error");
    assert!(
        told["error"]["message"]
            .as_str()
            .unwrap_or_default()
            .contains("Sorry")
    );
    Ok(())
}

#[tokio::test]
async fn native_and_translated_providers_stand_in_for_each_other() -> Result<()> {
    let stage = stage().await?;
    let second = add_translated(&stage).await?;
    let said = answer::Answer::text("from the second").reasoning("Hm.");
    second.always("second", Script::answer(said));
    let mut body = ask("opus", "Hi");
    body["thinking"] = json!({"type": "enabled", "budget_tokens": 1024});
    body["max_tokens"] = json!(4096);
    let failures = [
        Script::refusal(529, "overloaded_error", "Overloaded"),
        Script::refusal(404, "not_found_error", "model: m"),
        Script::body(200, "text/html", "<html>welcome</html>"),
        Script::body(200, "application/json", "{}"),
        Script::text("lost").cut(After::Bytes(100), End::Reset),
    ];
    for script in failures {
        stage.upstream.always(MODEL, script);
        let transcript = stage.client()?.stream_to_end(&body).await?;
        assert_eq!(transcript.text(), "from the second");
        let answer = stage.client()?.messages(&body).await?;
        assert_eq!(answer.text(), "from the second", "{answer:?}");
        assert_eq!(answer.body["model"], "opus");
    }
    let keys: Vec<_> = second
        .requests()
        .iter()
        .map(|sent| sent.header("x-api-key").is_some())
        .collect();
    assert!(
        !keys.contains(&true),
        "a native header reached a translated provider"
    );

    // And back: what the translated one thought is no native thinking.
    let thought = stage.client()?.messages(&body).await?;
    second.always("second", Script::error(500, "server_error", "no"));
    stage.upstream.always(MODEL, Script::text("from the first"));
    body["messages"] = json!([
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": thought.body["content"]},
        {"role": "user", "content": "Go on"},
    ]);
    assert_eq!(thought.body["content"][0]["type"], "thinking", "{thought:?}");
    let answer = stage.client()?.messages(&body).await?;
    assert_eq!(answer.text(), "from the first", "{answer:?}");
    let sent = last(&stage.upstream)?.json()?;
    let kept = json!([thought.body["content"][1]]);
    assert_eq!(sent["messages"][1]["content"], kept);
    Ok(())
}
