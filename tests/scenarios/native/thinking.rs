//! Thinking of earlier turns: a provider takes back only what it signed itself.

use anyhow::Result;
use bridge_tests::faultd::Script;
use bridge_tests::faultd::answer::native::SIGNATURE;
use bridge_tests::stage::MODEL;
use serde_json::json;

use super::{conversation, last, stage};

#[tokio::test]
async fn c104_p05_own_thinking_is_left_out_and_foreign_passes() -> Result<()> {
    let stage = stage().await?;
    stage.upstream.always(MODEL, Script::text("Fine."));
    let signed = json!({"type": "thinking", "thinking": "a", "signature": SIGNATURE});
    let redacted = json!({"type": "redacted_thinking", "data": "EmwKAhgB"});
    let ours = json!({"type": "thinking", "thinking": "b", "signature": "brg1.eyJwIjoicCJ9"});
    let unsigned = json!({"type": "thinking", "thinking": "c", "signature": ""});
    let ours_redacted = json!({"type": "redacted_thinking", "data": "brg1.e30"});
    let body = conversation(&[
        signed.clone(),
        ours.clone(),
        redacted.clone(),
        unsigned,
        ours_redacted,
    ]);
    let answer = stage.client()?.messages(&body).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("x-bridge-loss"), None);
    let sent = last(&stage.upstream)?.json()?;
    let kept = json!([signed, redacted, {"type": "text", "text": "So."}]);
    assert_eq!(sent["messages"][1]["content"], kept);

    let mut body = conversation(&[]);
    body["messages"][1]["content"] = json!([ours]);
    stage.client()?.messages(&body).await?;
    let sent = last(&stage.upstream)?.json()?;
    let roles: Vec<_> = sent["messages"].as_array().into_iter().flatten().collect();
    assert_eq!(roles.len(), 2, "an empty turn is no turn: {sent}");
    Ok(())
}

#[tokio::test]
async fn p31_refused_thinking_is_left_out_and_asked_again_once() -> Result<()> {
    let stage = stage().await?;
    let refused = "messages.1.content.0: Invalid `signature` in `thinking` block";
    let refusal = Script::refusal(400, "invalid_request_error", refused);
    let signed = json!({"type": "thinking", "thinking": "a", "signature": "EqSomebodyElses"});
    stage.upstream.once(MODEL, refusal.clone());
    stage.upstream.once(MODEL, Script::text("Fine."));
    let body = conversation(&[signed]);
    let answer = stage.client()?.messages(&body).await?;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "Fine."),
        "{answer:?}"
    );
    assert_eq!(answer.header("x-bridge-attempts"), Some("2"));
    assert_eq!(answer.header("x-bridge-loss"), Some("messages.1.content.0"));
    let sent = last(&stage.upstream)?.json()?;
    assert_eq!(
        sent["messages"][1]["content"],
        json!([{"type": "text", "text": "So."}])
    );

    // Once is enough: what is refused again is told.
    stage.upstream.always(MODEL, refusal);
    let before = stage.upstream.requests().len();
    let answer = stage.client()?.messages(&body).await?;
    assert_eq!(
        (answer.status, answer.error_message()),
        (400, refused),
        "{answer:?}"
    );
    assert_eq!(stage.upstream.requests().len(), before + 2);
    Ok(())
}
