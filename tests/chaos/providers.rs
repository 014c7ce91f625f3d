//! Two providers, of which one or both fail for a while under load: what clients see of it, and
//! how often a provider in trouble is called.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bridge_proto::admin::v1::{Provider, TierModels};
use bridge_tests::admin::{self, Admin};
use bridge_tests::bridge::Bridge;
use bridge_tests::load::{Ask, Client, Protocol, Sample, Tally, Upstream, open_loop};
use bridge_tests::wait;

use crate::report::{Plan, Report, Run};

pub(crate) const RUN: Run = Run {
    name: "providers",
    rows: "E33 E36 E37 E39",
    about: "one provider of two fails under load, or both: clients, calls, recovery",
    start: |plan| Box::pin(run(plan)),
};

/// What the models of the tiers do.
const WHOLE_MODEL: &str = "whole@5";
const STREAM_MODEL: &str = "stream@20x50";
const PIECES: u32 = 20;
/// The pause of a breaker in the full form, and in the short one.
const RECOVERY_S: u32 = 5;
const RECOVERY_SHORT_S: u32 = 2;
/// Jitter makes the pause of a breaker this much longer at most.
const JITTER: f64 = 1.2;
const FALL_OVER_MAX: Duration = Duration::from_millis(300);
const CALLS_FACTOR_MAX: f64 = 1.1;
const CALLS_FREE_PER_PROVIDER: f64 = 3.0;
const CALLS_PER_SDK_CALL_MAX: u64 = 9;
/// Failures in a row that open a breaker, and requests that may be on their way then.
const OPENING: u64 = 5;
/// Nobody is refused a call before that.
const CALLS_TO_OPEN_BOTH: u64 = 2 * OPENING;
const ON_THEIR_WAY: u64 = 10;
const REFUSAL_MAX: Duration = Duration::from_millis(50);

/// Two providers in order, and a node that asks them.
struct Pair {
    _bridge: Bridge,
    client: Client,
    first: Upstream,
    second: Upstream,
}

async fn run(plan: Plan) -> Result<Report> {
    let mut report = Report::new(plan);
    killed(plan, &mut report).await?;
    failing(plan, &mut report).await?;
    both_failing(plan, &mut report).await?;
    Ok(report)
}

/// E33: the primary's process goes.
async fn killed(plan: Plan, report: &mut Report) -> Result<()> {
    let rate = plan.pick(50.0, 200.0);
    let time = Duration::from_secs(plan.pick(2, 20));
    let pair = Pair::start(RECOVERY_S).await?;
    let quiet = pair.load(rate, time, is_third).await;
    let (_, quiet_wholes) = Tally::apart(&quiet)?;
    let loading = tokio::spawn({
        let client = pair.client.clone();
        async move { load(&client, rate, time, is_third).await }
    });
    tokio::time::sleep(time / 2).await;
    let Pair {
        _bridge,
        client: _,
        first,
        second: _second,
    } = pair;
    let begun = first.open_streams();
    drop(first);
    let samples = loading.await?;
    let (streams, wholes) = Tally::apart(&samples)?;
    report.must(
        "E33",
        "no request without a stream fails",
        &wholes,
        wholes.bad() == 0,
    );
    report.must(
        "E33",
        format!("of streams, only those {begun} that had begun at the primary fail"),
        &streams,
        streams.bad() <= begun as u64 && streams.refusals.is_empty(),
    );
    let added = wholes.good.p99().saturating_sub(quiet_wholes.good.p99());
    report.should(
        "E33",
        format!("falling over adds at most {FALL_OVER_MAX:?} (p99)"),
        format!("{added:?}, {:?} before", quiet_wholes.good.p99()),
        added <= FALL_OVER_MAX,
    );
    Ok(())
}

/// E36 and E39: the primary answers every request with 500, and then is well again.
async fn failing(plan: Plan, report: &mut Report) -> Result<()> {
    let rate = 100.0;
    let recovery_s = plan.pick(RECOVERY_SHORT_S, RECOVERY_S);
    let time = Duration::from_secs(plan.pick(4, 60));
    let pair = Pair::start(recovery_s).await?;
    pair.first.fail_with(Some(500));
    let (first_before, second_before) = (pair.first.calls(), pair.second.calls());
    let samples = pair.load(rate, time, |_| false).await;
    let (first, second) = (
        pair.first.calls() - first_before,
        pair.second.calls() - second_before,
    );
    let tally = Tally::of(&samples)?;
    report.must("E36", "every request is answered", &tally, tally.bad() == 0);
    let calls_max = tally.all() as f64 * CALLS_FACTOR_MAX + 2.0 * CALLS_FREE_PER_PROVIDER;
    report.must(
        "E36",
        format!(
            "at most {calls_max:.0} calls to both for {} requests",
            tally.all()
        ),
        format!("{first} + {second}"),
        (first + second) as f64 <= calls_max,
    );
    // What opened the breaker, and was on its way then; then one probe for each pause.
    let probes = time.as_secs_f64() / f64::from(recovery_s) + 1.0;
    let opening = OPENING + ON_THEIR_WAY;
    report.must(
        "E36",
        format!("the primary gets one probe each {recovery_s} s at most"),
        format!("{first} calls in {time:?}, of which up to {opening} opened its breaker"),
        first as f64 <= probes + opening as f64,
    );

    pair.first.fail_with(None);
    let well_at = Instant::now();
    let calls = pair.first.calls();
    let ask = ask(false);
    let mut transitions = 0;
    let mut was_first = false;
    let pause = Duration::from_secs(recovery_s.into()).mul_f64(JITTER);
    let mut back_after = None;
    while well_at.elapsed() < pause * 2 {
        let before = pair.first.calls();
        ensure!(pair.client.send(&ask).await.is_good(), "a request failed");
        let is_first = pair.first.calls() > before;
        transitions += u32::from(is_first != was_first);
        was_first = is_first;
        if is_first {
            back_after.get_or_insert(well_at.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let served = pair.first.calls() - calls;
    report.must(
        "E39",
        format!("traffic is back within one pause of up to {pause:?}, and stays"),
        format!(
            "after {:?}, {served} requests since, {transitions} change of provider",
            back_after.unwrap_or(Duration::MAX)
        ),
        back_after.is_some_and(|after| after <= pause + Duration::from_secs(1))
            && transitions <= 2
            && was_first,
    );
    Ok(())
}

/// E37: nobody is well.
async fn both_failing(plan: Plan, report: &mut Report) -> Result<()> {
    let pair = Pair::start(RECOVERY_S).await?;
    pair.first.fail_with(Some(500));
    pair.second.fail_with(Some(500));
    let ask = ask(false);
    let sdk_calls = plan.pick(3, 10);
    let mut calls = Vec::new();
    for _ in 0..sdk_calls {
        let before = pair.first.calls() + pair.second.calls();
        let sample = pair.client.send_patiently(&ask, Instant::now()).await;
        ensure!(!sample.is_good(), "answered by nobody");
        calls.push(pair.first.calls() + pair.second.calls() - before);
    }
    report.must(
        "E37",
        format!(
            "at most {CALLS_PER_SDK_CALL_MAX} calls for a call of an SDK with its default retries, \
             {CALLS_TO_OPEN_BOTH} for the one that opens both breakers"
        ),
        format!("{calls:?}"),
        calls.iter().enumerate().all(|(nth, calls)| match nth {
            0 => *calls <= CALLS_TO_OPEN_BOTH,
            _ => *calls <= CALLS_PER_SDK_CALL_MAX,
        }),
    );
    let samples = pair
        .load(50.0, Duration::from_secs(plan.pick(2, 20)), |_| false)
        .await;
    let tally = Tally::of(&samples)?;
    report.must(
        "E37",
        "once open, every client is told 502 or 503",
        &tally,
        tally
            .refusals
            .keys()
            .all(|(status, _)| [502, 503].contains(status))
            && tally.good.count() + tally.failed == 0,
    );
    report.should(
        "E37",
        format!("within {REFUSAL_MAX:?} (p99)"),
        &tally.refused,
        tally.refused.p99() <= REFUSAL_MAX,
    );
    Ok(())
}

// === impl Pair ===

impl Pair {
    async fn start(recovery_s: u32) -> Result<Self> {
        let mut bridge = Bridge::start(0).await?;
        bridge
            .add_node_with(vec![("LOG_LEVEL", "error".to_owned())])
            .await?;
        let admin = bridge.admin().await?;
        recover_soon(&admin, recovery_s).await?;
        let (first, second) = (Upstream::start().await?, Upstream::start().await?);
        for (priority, name, upstream) in [(1, "first", &first), (2, "second", &second)] {
            let models = TierModels {
                small: vec![WHOLE_MODEL.to_owned()],
                middle: vec![STREAM_MODEL.to_owned()],
                big: Vec::new(),
            };
            let provider = Provider {
                priority,
                models: Some(models),
                ..admin::provider(name, &upstream.base_url(), WHOLE_MODEL)
            };
            admin.create_provider(provider).await?;
        }
        let key = bridge.accepted_key(&admin).await?;
        let client = Client::new(&bridge.node(0)?.base_url(), &key, Protocol::Http1);
        let pair = Self {
            _bridge: bridge,
            client,
            first,
            second,
        };
        wait::until("an answer", || async {
            pair.client.send(&ask(false)).await.is_good().then_some(())
        })
        .await?;
        Ok(pair)
    }

    async fn load(&self, rate: f64, time: Duration, is_stream: fn(u64) -> bool) -> Vec<Sample> {
        load(&self.client, rate, time, is_stream).await
    }
}

/// Every third request.
fn is_third(number: u64) -> bool {
    number.is_multiple_of(3)
}

fn ask(is_stream: bool) -> Ask {
    let tier = if is_stream { "sonnet" } else { "haiku" };
    Ask::of(tier, is_stream.then_some(PIECES))
}

async fn load(client: &Client, rate: f64, time: Duration, is_stream: fn(u64) -> bool) -> Vec<Sample> {
    open_loop(rate, time, |number, due| {
        let (client, ask) = (client.clone(), ask(is_stream(number)));
        async move { client.send_due(&ask, due).await }
    })
    .await
}

async fn recover_soon(admin: &Admin, recovery_s: u32) -> Result<()> {
    let mut settings = admin.get_settings().await?;
    settings.circuit_breaker.get_or_insert_default().recovery_timeout = recovery_s;
    admin.update_settings(settings, "circuit_breaker").await?;
    Ok(())
}
