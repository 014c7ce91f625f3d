//! Knobs of such a provider: what it cannot take, and whose credential it sees.

use anyhow::Result;
use bridge_proto::fleet::v1::Dialect;
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::Script;
use bridge_tests::stage::MODEL;
use serde_json::json;

use super::{last, list, post, stage_with};

const CALLERS_KEY: &str = "sk-ant-callers-own-77aa";

#[tokio::test]
async fn p49_knobs_fit_a_request_to_a_provider_that_knows_less() -> Result<()> {
    let stage = stage_with(Dialect {
        mid_system: Some("user".into()),
        strip_fields: list(&["context_management"]),
        strip_betas: list(&["context-management-*"]),
        thinking_adaptive: Some("enabled".into()),
        ..Dialect::default()
    })
    .await?;
    stage.upstream.always(MODEL, Script::text("Fine."));
    let body = json!({
        "model": "opus",
        "max_tokens": 32000,
        "context_management": {"edits": []},
        "thinking": {"type": "adaptive"},
        "messages": [{"role": "user", "content": "Hi"}, {"role": "system", "content": "Be brief."}],
    });
    let headers = [(
        "anthropic-beta",
        "effort-2025-11-24,context-management-2025-06-27",
    )];
    let answer = post(&stage.client()?, "/v1/messages", &headers, body.to_string()).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    let lost = "context_management, thinking.type, anthropic-beta.context-management-2025-06-27";
    assert_eq!(answer.header("x-bridge-loss"), Some(lost));
    let sent = last(&stage.upstream)?;
    assert_eq!(sent.header("anthropic-beta"), Some("effort-2025-11-24"));
    let sent = sent.json()?;
    assert_eq!(sent.get("context_management"), None);
    assert_eq!(sent["thinking"]["type"], "enabled");
    assert_eq!(sent["messages"][1]["role"], "user");
    Ok(())
}

#[tokio::test]
async fn the_callers_own_credential_is_passed_on_and_ours_is_not() -> Result<()> {
    let stage = stage_with(Dialect {
        auth: Some("client".into()),
        ..Dialect::default()
    })
    .await?;
    stage.upstream.always(MODEL, Script::text("Fine."));
    let bearer = format!("Bearer {CALLERS_KEY}");
    let body = ask("opus", "Hi").to_string();
    let headers = [("authorization", bearer.as_str())];
    let answer = post(&stage.client()?, "/v1/messages", &headers, body.clone()).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    let sent = last(&stage.upstream)?;
    assert_eq!(sent.header("authorization"), Some(bearer.as_str()));
    assert_eq!(sent.header("x-api-key"), None);

    // Who brings only a key of ours shows nothing.
    post(&stage.client()?, "/v1/messages", &[], body).await?;
    let sent = last(&stage.upstream)?;
    assert_eq!(
        (sent.header("authorization"), sent.header("x-api-key")),
        (None, None)
    );
    assert!(!format!("{:?}", stage.upstream.requests()).contains(&stage.key));
    Ok(())
}
