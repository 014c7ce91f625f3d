//! Processes die and come back: what goes on meanwhile, and what is there afterwards.

use anyhow::Result;
use bridge_tests::anthropic::ask;
use bridge_tests::bridge::Bridge;
use bridge_tests::faultd::script::{After, End};
use bridge_tests::faultd::{Gate, Script};
use bridge_tests::stage::{MODEL, Stage};

#[tokio::test]
async fn nodes_serve_on_without_the_control_plane_and_find_it_again() -> Result<()> {
    let mut stage = Stage::start().await?;
    stage.upstream.always(MODEL, Script::text("Hi"));
    stage.bridge.control().kill()?;
    for _ in 0..20 {
        assert_eq!(stage.client()?.messages(&ask("haiku", "Hi")).await?.status, 200);
    }
    assert_eq!(stage.bridge.node(0)?.readiness().await, Some(200));

    stage.bridge.control().start().await?;
    let admin = stage.bridge.admin().await?;
    let key = stage.bridge.accepted_key(&admin).await?;
    assert_eq!(
        stage
            .bridge
            .client(0, &key)?
            .messages(&ask("haiku", "Hi"))
            .await?
            .status,
        200
    );
    Ok(())
}

#[tokio::test]
async fn a_node_without_a_snapshot_says_503_and_never_401() -> Result<()> {
    let mut bridge = Bridge::start(0).await?;
    let admin = bridge.admin().await?;
    let (key, _) = admin.create_key("early").await?;
    bridge.control().kill()?;
    let node = bridge.add_stopped_node()?;
    node.start()?;
    node.wait_until_live().await?;
    assert_eq!(node.readiness().await, Some(503));
    for key in [key.as_str(), "sk-wrong"] {
        let answer = bridge.client(0, key)?.messages(&ask("haiku", "Hi")).await?;
        assert_eq!(
            (answer.status, answer.error_type()),
            (503, "api_error"),
            "{answer:?}"
        );
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    bridge.control().start().await?;
    bridge.node(0)?.wait_until_ready().await?;
    bridge.wait_until_accepted(&key).await?;
    Ok(())
}

#[tokio::test]
async fn a_killed_node_breaks_its_streams_and_serves_again() -> Result<()> {
    let mut stage = Stage::start().await?;
    stage.upstream.once(
        MODEL,
        Script::text("Once upon a time").cut(After::Events(2), End::Stall),
    );
    stage.upstream.always(MODEL, Script::text("Hi"));
    let mut stream = stage.client()?.stream(&ask("haiku", "A story")).await?;
    stream.next_of("content_block_delta").await?;
    stage.bridge.node(0)?.kill()?;
    assert!(
        stream.next_of("message_stop").await.is_err(),
        "a killed node cannot end a stream well"
    );
    stage.upstream.wait_for_client_gone(MODEL, 0).await?;

    stage.bridge.node(0)?.start()?;
    stage.bridge.node(0)?.wait_until_ready().await?;
    // What it kept on disk is up to two seconds older than what it held.
    stage.bridge.wait_until_accepted(&stage.key).await?;
    assert_eq!(stage.client()?.messages(&ask("haiku", "Hi")).await?.text(), "Hi");
    Ok(())
}

#[tokio::test]
async fn a_killed_upstream_ends_its_streams_in_an_error() -> Result<()> {
    let stage = Stage::start().await?;
    stage.upstream.always(
        MODEL,
        Script::text("Once upon a time").cut(After::Events(2), End::Stall),
    );
    let mut stream = stage.client()?.stream(&ask("haiku", "A story")).await?;
    stream.next_of("content_block_delta").await?;
    stage.upstream.kill();
    let error = stream.next_of("error").await?;
    assert_eq!(error.payload["error"]["type"], "api_error");
    assert!(stream.next().await?.is_none());
    Ok(())
}

#[tokio::test]
async fn sigterm_lets_a_running_stream_finish() -> Result<()> {
    let mut stage = Stage::start().await?;
    let gate = Gate::closed();
    stage
        .upstream
        .once(MODEL, Script::text("Once upon a time").hold_after(2, &gate));
    let mut stream = stage.client()?.stream(&ask("haiku", "A story")).await?;
    stream.next_of("content_block_delta").await?;
    stage.bridge.node(0)?.process()?.signal("TERM")?;
    gate.open();
    stream.next_of("message_stop").await?;
    let status = stage.bridge.node(0)?.process()?.wait_for_exit().await?;
    assert_eq!(status.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_control_plane_that_was_asked_to_end_keeps_everything() -> Result<()> {
    let mut stage = Stage::start().await?;
    let status = stage.bridge.control().process()?.terminate().await?;
    assert_eq!(status.code(), Some(0));
    stage.bridge.control().start().await?;
    let admin = stage.bridge.admin().await?;
    let keys = admin
        .keys()
        .list_api_keys(bridge_proto::admin::v1::ListApiKeysRequest::default())
        .await?
        .into_inner();
    assert_eq!(keys.total_size, 1);
    stage.bridge.wait_until_accepted(&stage.key).await?;
    Ok(())
}
