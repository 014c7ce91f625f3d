//! What requests cost is known at the control plane, by key, provider and model.

use std::time::Duration;

use anyhow::{Context, Result};
use bridge_proto::admin::v1::{
    GetApiKeyRequest, GetSummaryRequest, GetSummaryResponse, ListRequestsRequest, RequestRecord,
};
use bridge_proto::fleet::v1::ModelPrice;
use bridge_tests::admin::Admin;
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::Script;
use bridge_tests::faultd::script::{After, End};
use bridge_tests::stage::{MODEL, Stage};
use bridge_tests::wait;
use futures_util::StreamExt;

/// Sooner than a node reports by itself twice.
const SOON: Duration = Duration::from_secs(3);

async fn summary(admin: &Admin) -> Option<GetSummaryResponse> {
    let answer = admin.stats().get_summary(GetSummaryRequest::default()).await;
    answer.ok().map(tonic::Response::into_inner)
}

/// Waits until this many requests are counted.
async fn counted(admin: &Admin, requests: u64) -> Result<GetSummaryResponse> {
    wait::until("the requests to be counted", || async {
        let summary = summary(admin).await?;
        (summary.sums.as_ref()?.requests >= requests).then_some(summary)
    })
    .await
}

async fn log(admin: &Admin) -> Result<Vec<RequestRecord>> {
    let answer = admin
        .stats()
        .list_requests(ListRequestsRequest::default())
        .await?;
    Ok(answer.into_inner().requests)
}

async fn set_price(stage: &Stage) -> Result<()> {
    let mut settings = stage.admin.get_settings().await?;
    settings.prices = vec![ModelPrice {
        model: MODEL.into(),
        input: 1_000_000,
        output: 2_000_000,
        ..ModelPrice::default()
    }];
    stage.admin.update_settings(settings, "prices").await?;
    stage.settle().await
}

#[tokio::test]
async fn every_end_of_a_request_is_counted_once() -> Result<()> {
    let stage = Stage::start().await?;
    stage.upstream.always(MODEL, Script::text("one two"));
    set_price(&stage).await?;
    let client = stage.client()?;
    client.messages(&ask("opus", "Hi")).await?;
    client.stream_to_end(&ask("opus", "Hi")).await?;
    let refused = client.messages(&ask("no-such-model", "Hi")).await?;
    assert_eq!(refused.status, 404, "{refused:?}");
    stage.upstream.always(
        MODEL,
        Script::text("one two three").cut(After::Events(2), End::Reset),
    );
    client.stream_to_end(&ask("opus", "Hi")).await?;
    stage
        .bridge
        .client(0, "nonsense")?
        .messages(&ask("opus", "Hi"))
        .await?;

    let summary = counted(&stage.admin, 5).await?;
    let sums = summary.sums.context("there are sums")?;
    let classes: Vec<_> = {
        let mut classes: Vec<_> = sums.errors_by_class.iter().collect();
        classes.sort();
        classes
            .into_iter()
            .map(|(class, count)| (class.as_str(), *count))
            .collect()
    };
    assert_eq!((sums.requests, summary.dropped_reports), (5, 0));
    assert_eq!(
        classes,
        [
            ("api_error", 1),
            ("authentication_error", 1),
            ("not_found_error", 1)
        ]
    );
    let tokens = sums.tokens.context("tokens")?;
    assert!(tokens.input > 0 && tokens.output > 0, "{tokens:?}");
    assert!(sums.cost_micros >= tokens.input + tokens.output, "{sums:?}");

    let log = log(&stage.admin).await?;
    // A stream is counted a moment after its client has all of it, so that others may overtake it.
    let seen: Vec<_> = log
        .iter()
        .filter_map(|record| record.entry.as_ref())
        .map(|entry| (entry.http_status, &*entry.stop_reason, entry.attempts.len()))
        .collect();
    assert_eq!(seen.len(), 5, "{seen:?}");
    let whole = (200, "end_turn", 1);
    assert_eq!(
        seen.iter().filter(|entry| **entry == whole).count(),
        2,
        "{seen:?}"
    );
    let broken = log.iter().filter_map(|record| record.entry.as_ref());
    let broken: Vec<_> = broken.filter(|entry| entry.error_type == "api_error").collect();
    assert_eq!(broken[0].attempts[0].outcome, "reset");
    let text = format!("{log:?}");
    assert!(!text.contains("one two") && !text.contains("sk-"), "{text}");

    let asked = GetApiKeyRequest {
        id: broken[0].key_id.clone(),
    };
    let key = stage.admin.keys().get_api_key(asked).await?.into_inner().api_key;
    assert!(key.context("the key")?.last_used_at.is_some());
    Ok(())
}

#[tokio::test]
async fn what_happens_while_the_control_plane_is_away_is_told_later() -> Result<()> {
    let mut stage = Stage::start().await?;
    stage.upstream.always(MODEL, Script::text("one two"));
    let client = stage.client()?;
    client.messages(&ask("opus", "Hi")).await?;
    counted(&stage.admin, 1).await?;
    stage.bridge.control().kill()?;
    let many = futures_util::stream::iter(0..50).map(|_| {
        let client = &client;
        async move { client.messages(&ask("opus", "Hi")).await }
    });
    let answers: Vec<_> = many.buffer_unordered(4).collect().await;
    assert!(
        answers
            .into_iter()
            .all(|answer| answer.is_ok_and(|answer| answer.status == 200))
    );
    stage.bridge.control().start().await?;
    let admin = stage.bridge.admin().await?;
    let summary = counted(&admin, 51).await?;
    assert_eq!(
        summary.sums.context("sums")?.requests,
        51,
        "nothing is counted twice"
    );
    Ok(())
}

#[tokio::test]
async fn a_node_tells_what_it_knows_before_it_ends() -> Result<()> {
    let mut stage = Stage::start().await?;
    stage.upstream.always(MODEL, Script::text("one two"));
    let client = stage.client()?;
    for _ in 0..10 {
        client.messages(&ask("opus", "Hi")).await?;
    }
    stage.bridge.node(0)?.process()?.terminate().await?;
    let found = tokio::time::timeout(SOON, counted(&stage.admin, 10)).await;
    assert_eq!(found??.sums.context("sums")?.requests, 10);
    Ok(())
}
