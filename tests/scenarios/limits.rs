//! Limits of a key: on one node to the letter, over a fleet together.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bridge_proto::admin::v1::CreateApiKeyRequest;
use bridge_proto::fleet::v1::budget::Amount;
use bridge_proto::fleet::v1::{Budget, BudgetPeriod, KeyLimits};
use bridge_tests::anthropic::{Client, ask};
use bridge_tests::faultd::{Gate, Script};
use bridge_tests::stage::{MODEL, Stage};
use bridge_tests::wait;

/// Nodes of the fleet, and what its key may do in a minute.
const NODES: usize = 3;
const LIMIT: u32 = 60;
/// Dozens of times as often as the key may ask, and the machine has time for others.
const ASK_EVERY: Duration = Duration::from_millis(20);

async fn key(stage: &Stage, limits: KeyLimits) -> Result<String> {
    let request = CreateApiKeyRequest {
        name: "limited".into(),
        limits: Some(limits),
        ..CreateApiKeyRequest::default()
    };
    let key = stage.admin.keys().create_api_key(request).await?.into_inner().key;
    stage.bridge.wait_until_accepted(&key).await?;
    Ok(key)
}

#[tokio::test]
async fn requests_per_minute_end_in_an_honest_429() -> Result<()> {
    let stage = Stage::start().await?;
    stage.upstream.always(MODEL, Script::text("one two"));
    let limits = KeyLimits {
        requests_per_minute: Some(3),
        ..KeyLimits::default()
    };
    let client = stage.bridge.client(0, &key(&stage, limits).await?)?;
    for left in ["2", "1", "0"] {
        let answer = client.messages(&ask("opus", "Hi")).await?;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("anthropic-ratelimit-requests-limit"), Some("3"));
        assert_eq!(
            answer.header("anthropic-ratelimit-requests-remaining"),
            Some(left)
        );
    }
    let asked_before = stage.upstream.requests().len();
    let answer = client.messages(&ask("opus", "Hi")).await?;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.body["error"]["type"], "rate_limit_error");
    assert!(
        answer
            .error_message()
            .contains("3 requests per minute; 3 were used"),
        "{answer:?}"
    );
    assert_eq!(answer.header("x-bridge-error-source"), Some("bridge"));
    let wait_s: u64 = answer.header("retry-after").context("a wait")?.parse()?;
    assert!((1..=60).contains(&wait_s), "{wait_s}");
    assert_eq!(answer.header("x-should-retry"), None);
    let reset = answer
        .header("anthropic-ratelimit-requests-reset")
        .context("a reset")?;
    assert!(reset.ends_with('Z') && reset.contains('T'), "{reset}");
    assert_eq!(stage.upstream.requests().len(), asked_before, "nobody was asked");
    Ok(())
}

#[tokio::test]
async fn requests_at_once_wait_for_an_end() -> Result<()> {
    let stage = Stage::start().await?;
    stage.upstream.always(MODEL, Script::text("one two"));
    let limits = KeyLimits {
        concurrent_requests: Some(1),
        ..KeyLimits::default()
    };
    let key = key(&stage, limits).await?;
    let client = stage.bridge.client(0, &key)?;
    let gate = Gate::closed();
    stage
        .upstream
        .always(MODEL, Script::text("slow").hold_after(0, &gate));
    let other = stage.bridge.client(0, &key)?;
    let first = tokio::spawn(async move { other.messages(&ask("opus", "Hi")).await });
    wait::until("the first one to be asked for", || async {
        (!stage.upstream.requests().is_empty()).then_some(())
    })
    .await?;
    let refused = client.messages(&ask("opus", "Hi")).await?;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    gate.open();
    assert_eq!(first.await??.status, 200);
    stage.upstream.always(MODEL, Script::text("quick"));
    assert_eq!(client.messages(&ask("opus", "Hi")).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_budget_is_spent_once_for_the_whole_fleet() -> Result<()> {
    let stage = Stage::with_nodes(2).await?;
    stage.upstream.always(MODEL, Script::text("one two"));
    let budget = Budget {
        period: BudgetPeriod::Month.into(),
        amount: Some(Amount::Tokens(20)),
        ..Budget::default()
    };
    let limits = KeyLimits {
        budgets: vec![budget],
        ..KeyLimits::default()
    };
    let key = key(&stage, limits).await?;
    let (one, other) = (stage.bridge.client(0, &key)?, stage.bridge.client(1, &key)?);
    assert_eq!(other.messages(&ask("opus", "Hi")).await?.status, 200);
    let refused = wait::until("the first node to have spent it", || async {
        let answer = one.messages(&ask("opus", "Hi")).await.ok()?;
        (answer.status == 429).then_some(answer)
    })
    .await?;
    assert!(
        refused.error_message().contains("budget for the month is spent"),
        "{refused:?}"
    );
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    let wait_s: u64 = refused.header("retry-after").context("a wait")?.parse()?;
    assert!(wait_s <= 31 * 86_400, "{wait_s}");
    wait::until("the other node to hear of it", || async {
        let answer = other.messages(&ask("opus", "Hi")).await.ok()?;
        (answer.status == 429).then_some(())
    })
    .await
}

/// Asks all the time until the time is over; returns how many were granted.
async fn hammer(clients: &[Client], until: Instant, is_enough: impl Fn(u32) -> bool) -> Result<u32> {
    let mut granted = 0;
    while Instant::now() < until && !is_enough(granted) {
        for client in clients {
            let answer = client.messages(&ask("opus", "Hi")).await?;
            ensure!([200, 429].contains(&answer.status), "{answer:?}");
            granted += u32::from(answer.status == 200);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    Ok(granted)
}

/// Takes half a minute: so long the control plane waits before it gives one node what others
/// might still have used.
#[tokio::test]
async fn a_fleet_grants_what_one_node_would() -> Result<()> {
    let stage = Stage::with_nodes(NODES).await?;
    stage.upstream.always(MODEL, Script::text("one two"));
    let limits = KeyLimits {
        requests_per_minute: Some(LIMIT),
        ..KeyLimits::default()
    };
    let key = key(&stage, limits).await?;
    let clients = (0..NODES)
        .map(|node| stage.bridge.client(node, &key))
        .collect::<Result<Vec<_>>>()?;
    let nodes = u32::try_from(NODES)?;
    let started = Instant::now();
    let minute = started + Duration::from_secs(55);
    let more_than_its_part = LIMIT / nodes + 5;
    let on_one = hammer(&clients[..1], minute, |granted| granted > more_than_its_part).await?;
    ensure!(on_one > more_than_its_part, "the share did not move: {on_one}");
    let soon = Instant::now() + Duration::from_secs(5);
    let on_all = hammer(&clients, soon.min(minute), |_| false).await?;
    println!(
        "{on_one} by one node, {on_all} by all, in {:?}",
        started.elapsed()
    );
    ensure!(
        on_one + on_all <= LIMIT + nodes,
        "{on_one} and {on_all} in a minute"
    );
    Ok(())
}
