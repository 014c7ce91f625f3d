//! Failover: over the models of a tier, then over providers, and never after the commit point.

use std::collections::HashSet;

use anyhow::Result;
use bridge_proto::admin::v1::{FallbackStrategy, Provider};
use bridge_tests::admin;
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::script::{After, End};
use bridge_tests::faultd::{Faultd, Gate, Script};
use bridge_tests::stage::{MODEL, Stage};

/// A second provider behind the first, with a model of its own.
async fn add_second(stage: &Stage, priority: i32) -> Result<Faultd> {
    let upstream = Faultd::start().await?;
    upstream.always("second", Script::text("from the second"));
    let provider = Provider {
        priority,
        ..admin::provider("second", &upstream.base_url(), "second")
    };
    stage.admin.create_provider(provider).await?;
    stage.settle().await?;
    Ok(upstream)
}

#[tokio::test]
async fn a_failing_model_hands_over_to_the_next_of_its_tier() -> Result<()> {
    let mut stage = Stage::start().await?;
    stage.offer(&["first", "next"]).await?;
    stage.upstream.always(
        "first",
        Script::error(404, "invalid_request_error", "no such model"),
    );
    stage.upstream.always("next", Script::text("from the next"));
    let answer = stage.client()?.messages(&ask("claude-haiku-4-5", "Hi")).await?;
    assert_eq!(answer.text(), "from the next", "{answer:?}");
    assert_eq!(answer.header("x-bridge-model"), Some("next"));
    assert_eq!(answer.header("x-bridge-attempts"), Some("2"));
    Ok(())
}

#[tokio::test]
async fn a_failing_provider_hands_over_in_both_forms() -> Result<()> {
    let stage = Stage::start().await?;
    let _second = add_second(&stage, 2).await?;
    stage.admin.set_breaker_enabled(false).await?;
    stage.settle().await?;
    let failures = [
        Script::error(500, "server_error", "the engine is on fire"),
        Script::body(200, "text/html", "<html>welcome</html>"),
        Script::text("lost").cut(After::Nothing, End::Reset),
        // In a stream this is inside its first event.
        Script::text("lost").cut(After::Bytes(20), End::Reset),
    ];
    for script in failures {
        stage.upstream.always(MODEL, script);
        let transcript = stage.client()?.stream_to_end(&ask("opus", "Hi")).await?;
        assert_eq!(transcript.text(), "from the second");
        let answer = stage.client()?.messages(&ask("opus", "Hi")).await?;
        assert_eq!(answer.text(), "from the second", "{answer:?}");
        assert_eq!(answer.header("x-bridge-provider"), Some("second"));
    }
    Ok(())
}

#[tokio::test]
async fn a_dead_provider_hands_over() -> Result<()> {
    let stage = Stage::start().await?;
    let _second = add_second(&stage, 2).await?;
    stage.upstream.kill();
    let answer = stage
        .bridge
        .client(0, &stage.key)?
        .messages(&ask("opus", "Hi"))
        .await?;
    assert_eq!(answer.text(), "from the second", "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn nothing_hands_over_after_the_commit_point() -> Result<()> {
    let stage = Stage::start().await?;
    let second = add_second(&stage, 2).await?;
    let gate = Gate::closed();
    let script = Script::text("Once upon a time").cut(After::Events(3), End::Reset);
    stage.upstream.always(MODEL, script.hold_after(2, &gate));
    let mut stream = stage.client()?.stream(&ask("opus", "Hi")).await?;
    stream.next_of("content_block_delta").await?;
    gate.open();
    let transcript = stream.to_end().await?;
    assert_eq!(transcript.error_type(), "api_error");
    assert!(transcript.text().starts_with("Once upo"));
    assert!(second.requests().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_wrong_is_wrong_everywhere() -> Result<()> {
    let stage = Stage::start().await?;
    let second = add_second(&stage, 2).await?;
    stage.upstream.always(
        MODEL,
        Script::error(400, "invalid_request_error", "temperature is too hot"),
    );
    let answer = stage.client()?.messages(&ask("opus", "Hi")).await?;
    assert_eq!(
        (answer.status, answer.error_type()),
        (400, "invalid_request_error")
    );
    assert!(
        answer.error_message().contains("temperature is too hot"),
        "{answer:?}"
    );
    assert!(second.requests().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_short_failure_is_retried_at_the_same_provider() -> Result<()> {
    let stage = Stage::start().await?;
    stage
        .upstream
        .once(MODEL, Script::error(500, "server_error", "hiccup"));
    stage.upstream.once(MODEL, Script::text("better now"));
    let answer = stage.client()?.messages(&ask("haiku", "Hi")).await?;
    assert_eq!(answer.text(), "better now", "{answer:?}");
    assert_eq!(answer.header("x-bridge-attempts"), Some("2"));
    Ok(())
}

#[tokio::test]
async fn the_smaller_priority_goes_first_and_a_disabled_provider_never() -> Result<()> {
    let mut stage = Stage::start().await?;
    let second = add_second(&stage, 0).await?;
    stage.upstream.always(MODEL, Script::text("from the first"));
    let answer = stage.client()?.messages(&ask("opus", "Hi")).await?;
    assert_eq!(answer.text(), "from the second");

    stage.provider.enabled = false;
    let provider = stage.provider.clone();
    stage.admin.update_provider(provider, "enabled").await?;
    stage.settle().await?;
    second.always("second", Script::error(500, "server_error", "gone"));
    let answer = stage.client()?.messages(&ask("opus", "Hi")).await?;
    assert_eq!(answer.status, 502, "{answer:?}");
    assert!(stage.upstream.requests().is_empty());
    Ok(())
}

#[tokio::test]
async fn random_uses_every_provider() -> Result<()> {
    const REQUESTS: usize = 40;
    let stage = Stage::start().await?;
    let _second = add_second(&stage, 1).await?;
    stage.upstream.always(MODEL, Script::text("from the first"));
    let mut settings = stage.admin.get_settings().await?;
    settings.fallback_strategy = FallbackStrategy::Random.into();
    stage.admin.update_settings(settings, "fallback_strategy").await?;
    stage.settle().await?;

    let mut texts = HashSet::new();
    for _ in 0..REQUESTS {
        texts.insert(stage.client()?.messages(&ask("opus", "Hi")).await?.text());
    }
    assert_eq!(texts.len(), 2, "40 throws of a coin: {texts:?}");
    Ok(())
}
