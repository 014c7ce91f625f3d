//! Pauses of providers are as long as they say, whatever the machine's clock shows meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bridge_proto::admin::v1::{Provider, TierModels};
use bridge_tests::admin;
use bridge_tests::anthropic::ask;
use bridge_tests::bridge::Bridge;
use bridge_tests::faultd::{Faultd, Script};
use bridge_tests::namespace::wall_clock_by;
use bridge_tests::stage::Stage;
use bridge_tests::wait;

/// Of a breaker and of a rate limit.
const PAUSE: Duration = Duration::from_secs(2);
/// By how much a breaker's pause may be longer, by chance.
const JITTER: f64 = 1.2;
/// Requests come one after the other; the machine is busy.
const NOTICED: Duration = Duration::from_secs(1);
/// Answers 500, so that its breaker opens; every probe fails.
const BROKEN: &str = "broken";
/// Answers 429, and how long to wait.
const LIMITED: &str = "limited";
const JUMPS: [&str; 3] = ["+3600\n", "-3600\n", "+7200\n"];

/// When a model of the first provider was called.
fn calls(stage: &Stage, model: &str) -> Vec<Instant> {
    let calls = stage.upstream.requests_for(model);
    calls.iter().map(|call| call.received_at).collect()
}

/// Asks for both models, which somebody else answers, until the first provider was called for each.
async fn until_both_are_called(stage: &Stage) -> Result<()> {
    let client = stage.client()?;
    let counts = || [BROKEN, LIMITED].map(|model| calls(stage, model).len());
    let before = counts();
    let deadline = Instant::now() + wait::DEADLINE;
    while counts().iter().zip(before).any(|(now, before)| *now == before) {
        for model in [BROKEN, LIMITED] {
            let answer = client.messages(&ask(model, "Hi")).await?;
            ensure!(answer.text() == "from the second", "{answer:?}");
        }
        ensure!(
            Instant::now() < deadline,
            "the first provider is never asked again"
        );
    }
    Ok(())
}

#[tokio::test]
async fn pauses_of_providers_do_not_follow_the_machines_clock() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "+0\n")?;
    let Some(prefix) = wall_clock_by(&clock) else {
        return Ok(());
    };
    let mut bridge = Bridge::start(0).await?;
    bridge.add_node_by(prefix).await?;
    let mut stage = Stage::behind(bridge).await?;
    let second = Faultd::start().await?;
    let mut settings = stage.admin.get_settings().await?;
    settings.circuit_breaker.get_or_insert_default().recovery_timeout = u32::try_from(PAUSE.as_secs())?;
    stage.admin.update_settings(settings, "circuit_breaker").await?;
    let models = [BROKEN, LIMITED];
    let provider = Provider {
        priority: 2,
        models: Some(TierModels {
            small: models.map(str::to_owned).to_vec(),
            ..TierModels::default()
        }),
        ..admin::provider("second", &second.base_url(), BROKEN)
    };
    stage.admin.create_provider(provider).await?;
    stage.offer(&models).await?;
    for model in models {
        second.always(model, Script::text("from the second"));
    }
    stage.upstream.always(
        BROKEN,
        Script::error(500, "server_error", "the engine is on fire"),
    );
    let limit = Script::error(429, "rate_limit_error", "slow down")
        .header("retry-after", &PAUSE.as_secs().to_string());
    stage.upstream.always(LIMITED, limit);

    let client = stage.client()?;
    wait::until("the breaker to open", || async {
        let answer = client.messages(&ask(BROKEN, "Hi")).await.ok()?;
        (answer.header("x-bridge-attempts") == Some("1")).then_some(())
    })
    .await?;
    let opened = calls(&stage, BROKEN).len();
    client.messages(&ask(LIMITED, "Hi")).await?;
    for jump in JUMPS {
        std::fs::write(&clock, jump)?;
        until_both_are_called(&stage).await?;
    }
    for (model, first, longest) in [(BROKEN, opened - 1, PAUSE.mul_f64(JITTER)), (LIMITED, 0, PAUSE)] {
        let pauses: Vec<Duration> = calls(&stage, model)[first..]
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .collect();
        println!("figure: pauses of {model} while the clock jumps {JUMPS:?}: {pauses:?}");
        ensure!(pauses.len() >= JUMPS.len(), "{model}: {pauses:?}");
        for pause in pauses {
            ensure!(
                pause >= PAUSE && pause <= longest + NOTICED,
                "{model} was left alone for {pause:?}"
            );
        }
    }
    Ok(())
}
