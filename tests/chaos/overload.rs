//! Three times what a node can do: what it does must stay what it could do at most, the rest
//! must hear so at once, and a moment after the storm everything must be as before.
//!
//! The node gets a part of one processor, so that the generator and the upstream can outdo it.

use std::time::{Duration, Instant};

use anyhow::Result;
use bridge_tests::cgroup::Cgroup;
use bridge_tests::load::tally::SHED_STATUS;
use bridge_tests::load::{Ask, Client, LoadStage, Protocol, Sample, Tally, closed_loop, open_loop};

use crate::report::{Plan, Report, Run};

pub(crate) const RUN: Run = Run {
    name: "overload",
    rows: "F49",
    about: "three times the capacity: goodput stays, the rest is refused at once",
    start: |plan| Box::pin(run(plan)),
};

/// Of one processor.
const NODE_SHARE: f64 = 0.25;
/// The numbers of clients that are tried to find the capacity.
const CLIENTS: [usize; 3] = [8, 32, 128];
const LOAD: f64 = 3.0;
const GOODPUT_MIN: f64 = 0.9;
const REFUSAL_MAX: Duration = Duration::from_millis(20);
const RECOVERY_MAX: Duration = Duration::from_secs(2);
/// How often the node is looked at after the storm, and when it counts as quiet again.
const PROBES_PER_SECOND: f64 = 50.0;
const QUIET_FACTOR: u32 = 3;
/// What an upstream takes to answer.
const UPSTREAM_TIME: Duration = Duration::from_millis(5);
/// A conversation of usual length; a refusal has to be much cheaper than it.
const PROMPT_BYTES: usize = 64 << 10;

async fn run(plan: Plan) -> Result<Report> {
    let mut stage = LoadStage::start(1, &[("LOG_LEVEL", "warning")]).await?;
    let client = stage.client(0, Protocol::Http1)?;
    let group = Cgroup::cpu(NODE_SHARE)?;
    group.add(stage.bridge.node(0)?.process()?.pid())?;
    let mut report = Report::new(plan);

    let quiet = Tally::of(&probe(&client, plan.pick(1, 5)).await)?;
    report.figure("quiet", &quiet);
    let mut peak = 0.0_f64;
    for clients in CLIENTS {
        let time = Duration::from_secs(plan.pick(1, 10));
        let client = client.clone();
        let samples = closed_loop(clients, time, move |_| {
            let client = client.clone();
            async move { client.send(&ask()).await }
        })
        .await;
        let tally = Tally::of(&samples)?;
        let rate = tally.good.count() as f64 / time.as_secs_f64();
        report.figure(format!("{clients} clients"), format!("{rate:.0}/s, {tally}"));
        peak = peak.max(rate);
    }

    let time = Duration::from_secs(plan.pick(3, 60));
    let before = stage.vitals(0)?;
    let started = Instant::now();
    let storm = storm(&client, peak * LOAD, time).await;
    // What was good within the time; late answers do not count.
    let in_time = storm
        .iter()
        .filter(|sample| sample.is_good() && sample.sent_at + sample.took <= started + time);
    let goodput = in_time.count() as f64 / time.as_secs_f64();
    let tally = Tally::of(&storm)?;
    let after = stage.vitals(0)?;
    report.figure("storm", &tally);
    report.figure("node before the storm", before);
    report.figure("node after the storm", after);

    let calm = probe(&client, plan.pick(3, 10)).await;
    let recovery = recovery(&calm, quiet.good.p99() * QUIET_FACTOR);
    report.figure("afterwards", Tally::of(&calm)?);

    report.should(
        "F49",
        format!(
            "goodput of {:.0} % of the peak of {peak:.0}/s at {LOAD} times as much",
            GOODPUT_MIN * 100.0
        ),
        format!("{goodput:.0}/s, {:.0} %", goodput / peak * 100.0),
        goodput >= peak * GOODPUT_MIN,
    );
    let other = tally.all() - tally.good.count() - tally.shed();
    report.must(
        "F49",
        format!("every request is answered or refused with {SHED_STATUS}"),
        format!("{other} of {} otherwise", tally.all()),
        other == 0,
    );
    report.should(
        "F49",
        format!("refused within {REFUSAL_MAX:?} (p99)"),
        format!("{} refused, {}", tally.refused.count(), tally.refused),
        tally.refused.count() > 0 && tally.refused.p99() <= REFUSAL_MAX,
    );
    report.should(
        "F49",
        format!("as before within {RECOVERY_MAX:?}"),
        recovery.map_or("never".to_owned(), |time| format!("{time:.1?}")),
        recovery.is_some_and(|time| time <= RECOVERY_MAX),
    );
    Ok(report)
}

fn ask() -> Ask {
    Ask::whole(UPSTREAM_TIME).padded(PROMPT_BYTES)
}

async fn storm(client: &Client, rate: f64, time: Duration) -> Vec<Sample> {
    open_loop(rate, time, |_, due| {
        let client = client.clone();
        async move { client.send_due(&ask(), due).await }
    })
    .await
}

/// A few requests each second, which disturb nobody.
async fn probe(client: &Client, seconds: u64) -> Vec<Sample> {
    storm(client, PROBES_PER_SECOND, Duration::from_secs(seconds)).await
}

/// From the first of these samples on until all were good and quick; `None` if that never was.
fn recovery(samples: &[Sample], quick: Duration) -> Option<Duration> {
    let mut by_time: Vec<&Sample> = samples.iter().collect();
    by_time.sort_by_key(|sample| sample.sent_at);
    let first = by_time.first()?.sent_at;
    let is_disturbed = |sample: &&&Sample| !sample.is_good() || sample.took > quick;
    let Some(last) = by_time.iter().rposition(|sample| is_disturbed(&sample)) else {
        return Some(Duration::ZERO);
    };
    let next = by_time.get(last + 1)?;
    Some(next.sent_at - first)
}
