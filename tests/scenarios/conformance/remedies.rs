//! Cases 95 and 96: refusals that the bridge knows a way around.

use anyhow::Result;
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::Script;
use serde_json::{Value, json};

use super::bed::{Bed, check_error, with};

fn refusal(error: Value) -> Script {
    Script::body(400, "application/json", json!({"error": error}).to_string())
}

#[tokio::test]
async fn c095_h06_an_answer_that_does_not_fit_is_asked_for_shorter() -> Result<()> {
    let bed = Bed::start().await?;
    let overflow = |prompt: u64, wanted: u64| {
        let total = prompt + wanted;
        let message = format!(
            "This model's maximum context length is 8192 tokens. However, you requested {total} tokens \
             ({prompt} in the messages, {wanted} in the completion). Please reduce the length of the messages or completion."
        );
        self::refusal(json!({"message": message, "code": "context_length_exceeded"}))
    };
    bed.once(overflow(1000, 32_000));
    let body = with(ask("haiku", "Hi"), "max_tokens", json!(32_000));
    let answer = bed.ask(Script::text("Fine."), &body).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(bed.calls(), 2);
    let granted = bed.last_sent()?["max_tokens"].as_u64().unwrap();
    assert!((1024..=8192 - 1000).contains(&granted), "{granted}");

    // Where too little would be left, the client decides, by Anthropic's words.
    let answer = bed.ask(overflow(8000, 32_000), &body).await?;
    check_error(&answer, 400, "invalid_request_error", "too little left");
    let wording = "input length and `max_tokens` exceed context limit: 8000 + 32000 > 8192";
    assert!(answer.error_message().contains(wording), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn c096_h07_a_field_that_a_server_refuses_is_left_out() -> Result<()> {
    let bed = Bed::start().await?;
    bed.once(refusal(
        json!({"message": "Unrecognized request argument supplied: stream_options"}),
    ));
    let transcript = bed.streamed(Script::text("Fine."), &ask("haiku", "Hi")).await?;
    assert_eq!(transcript.text(), "Fine.");
    assert!(bed.last_sent()?.get("stream_options").is_none());

    let unsupported = json!({"code": "unsupported_parameter", "param": "max_tokens",
        "message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."});
    bed.once(refusal(unsupported));
    let answer = bed.ask(Script::text("Fine."), &ask("haiku", "Hi")).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    let sent = bed.last_sent()?;
    assert_eq!(
        (sent.get("max_tokens"), &sent["max_completion_tokens"]),
        (None, &json!(256))
    );

    // What was learnt is remembered.
    let before = bed.calls();
    let answer = bed.ask(Script::text("Fine."), &ask("haiku", "Hi")).await?;
    assert_eq!((answer.status, bed.calls()), (200, before + 1));
    Ok(())
}
