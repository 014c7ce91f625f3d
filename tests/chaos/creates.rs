//! Keys made one after the other over gRPC: what an acknowledged write costs, its sync included.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Result;
use bridge_tests::bridge::Bridge;
use bridge_tests::load::tally::Times;

use crate::report::{Plan, Report, Run};

pub(crate) const RUN: Run = Run {
    name: "creates",
    rows: "A9",
    about: "keys made one after the other: how long an acknowledged write takes",
    start: |plan| Box::pin(run(plan)),
};

const P99_MAX: Duration = Duration::from_millis(20);

async fn run(plan: Plan) -> Result<Report> {
    let creates = plan.pick(300, 5_000);
    let bridge = Bridge::start(0).await?;
    let admin = bridge.admin().await?;
    let (mut times, mut ids, mut keys) = (Times::new()?, BTreeSet::new(), BTreeSet::new());
    for n in 0..creates {
        let began = Instant::now();
        let (key, record) = admin.create_key(&format!("key {n}")).await?;
        times.add(began.elapsed());
        ids.insert(record.id);
        keys.insert(key);
    }
    let mut report = Report::new(plan);
    report.must(
        "A9",
        "0 duplicates",
        format!("{creates} keys, {} ids, {} secrets", ids.len(), keys.len()),
        ids.len() == creates && keys.len() == creates,
    );
    report.should(
        "A9",
        format!("p99 within {P99_MAX:?}"),
        &times,
        times.p99() <= P99_MAX,
    );
    Ok(report)
}
