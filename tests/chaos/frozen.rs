//! One of three data planes stands still while much is changed: the others do not notice, nothing
//! piles up for it, and it catches up at once.

use std::time::{Duration, Instant};

use anyhow::Result;
use bridge_tests::anthropic::Client;
use bridge_tests::load::tally::Times;
use bridge_tests::stage::Stage;
use bridge_tests::vitals::Vitals;
use bridge_tests::wait;

use crate::report::{Plan, Report, Run};

pub(crate) const RUN: Run = Run {
    name: "frozen",
    rows: "B13",
    about: "a data plane stands still during many changes: the others are not held up, it catches up",
    start: |plan| Box::pin(run(plan)),
};

const CAUGHT_UP_MAX: Duration = Duration::from_secs(2);
/// How much longer a change may take to the others.
const SLOWER_MAX: f64 = 1.1;
/// What is kept for who stands still is one version, however much was changed.
const GROWTH_MIB_MAX: f64 = 16.0;
/// Of so many changes the way of one is timed.
const TIMED_ONE_OF: usize = 10;

async fn run(plan: Plan) -> Result<Report> {
    let changes = plan.pick(100, 2_000);
    let time = plan.time(Duration::from_secs(4), Duration::from_secs(60));
    let mut stage = Stage::with_nodes(3).await?;
    let pid = stage.bridge.control().process()?.pid();
    let before = change(&stage, changes, time).await?;
    let vitals = Vitals::of(pid)?;
    stage.bridge.node(2)?.process()?.signal("STOP")?;
    let meanwhile = change(&stage, changes, time).await;
    stage.bridge.node(2)?.process()?.signal("CONT")?;
    let meanwhile = meanwhile?;
    let growth = Vitals::of(pid)?.resident_mebibytes() - vitals.resident_mebibytes();
    let began = Instant::now();
    arrived(&stage.bridge.client(2, &meanwhile.last)?).await?;
    let caught_up = began.elapsed();

    let mut report = Report::new(plan);
    let (usual, now) = (before.times.p99(), meanwhile.times.p99());
    report.should(
        "B13",
        format!("a change takes the others at most {SLOWER_MAX} times as long at p99"),
        format!(
            "{changes} changes in {time:?}: {}; before it {}",
            meanwhile.times, before.times
        ),
        now.as_secs_f64() <= SLOWER_MAX * usual.as_secs_f64(),
    );
    report.should(
        "B13",
        format!("it catches up within {CAUGHT_UP_MAX:?}"),
        format!("{caught_up:?}"),
        caught_up <= CAUGHT_UP_MAX,
    );
    report.should(
        "B13",
        format!("the control plane keeps at most {GROWTH_MIB_MAX} MiB more"),
        format!("{growth:.1} MiB more than {vitals}"),
        growth <= GROWTH_MIB_MAX,
    );
    Ok(report)
}

struct Changed {
    /// From the answer until another node takes the key.
    times: Times,
    last: String,
}

async fn change(stage: &Stage, changes: usize, time: Duration) -> Result<Changed> {
    let began = Instant::now();
    let mut changed = Changed {
        times: Times::new()?,
        last: String::new(),
    };
    for n in 0..changes {
        let due = time.mul_f64(n as f64 / changes as f64);
        tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
        let (key, _) = stage.admin.create_key("one of many").await?;
        if n % TIMED_ONE_OF == 0 {
            let answered = Instant::now();
            arrived(&stage.bridge.client(0, &key)?).await?;
            changed.times.add(answered.elapsed());
        }
        changed.last = key;
    }
    arrived(&stage.bridge.client(0, &changed.last)?).await?;
    Ok(changed)
}

async fn arrived(client: &Client) -> Result<()> {
    wait::until("a key to be good", || async {
        let answer = client.try_key().await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await
}
