//! Bodies that do not fit into the memory: most are turned away, some are served, and the
//! process is not killed for it.

use std::time::Duration;

use anyhow::{Result, ensure};
use bridge_tests::cgroup::Cgroup;
use bridge_tests::load::{Ask, LoadStage, Protocol};
use bridge_tests::vitals::{Vitals, mebibytes};
use bytes::Bytes;

use crate::report::{Plan, Report, Run};

pub(crate) const RUN: Run = Run {
    name: "memory",
    rows: "F52",
    about: "64 bodies of 30 MiB in 256 MiB: some are served, the others told to come back",
    start: |plan| Box::pin(run(plan)),
};

const LIMIT_BYTES: u64 = 256 << 20;
/// What the node takes for bodies by itself under this limit.
const BODY_MEMORY_MIB: &str = "128";
const BODY_BYTES: usize = 30 << 20;

async fn run(plan: Plan) -> Result<Report> {
    let bodies = plan.pick(8, 64);
    let mut stage = LoadStage::start(1, &[("BODY_MEMORY_MIB", BODY_MEMORY_MIB)]).await?;
    let client = stage.client(0, Protocol::Http1)?;
    let warm = client.send(&Ask::whole(Duration::ZERO)).await;
    ensure!(warm.is_good(), "{warm:?}");
    let node = stage.bridge.node(0)?;
    let (url, pid) = (format!("{}/v1/messages", node.base_url()), node.process()?.pid());
    let group = Cgroup::memory(LIMIT_BYTES)?;
    group.add(pid)?;

    let padding = "x".repeat(BODY_BYTES);
    let body = format!(
        r#"{{"model":"whole@0","max_tokens":10,"messages":[{{"role":"user","content":"{padding}"}}]}}"#
    );
    let (body, sender) = (Bytes::from(body), reqwest::Client::new());
    let sending = (0..bodies).map(|_| {
        let request = sender
            .post(&url)
            .header("x-api-key", &stage.key)
            .body(body.clone());
        async move { Ok::<_, reqwest::Error>(request.send().await?.status().as_u16()) }
    });
    let answers = futures_util::future::join_all(sending).await;

    let mut report = Report::new(plan);
    let count = |wanted: &[u16]| {
        let matching = answers
            .iter()
            .filter(|it| matches!(it, Ok(status) if wanted.contains(status)));
        matching.count()
    };
    let (served, refused) = (count(&[200]), count(&[413, 529]));
    report.must(
        "F52",
        "every body is served or refused with 413 or 529",
        format!("{served} served, {refused} refused of {bodies}"),
        served + refused == bodies,
    );
    report.must("F52", "some are served", served, served > 0);
    let alive = client.send(&Ask::whole(Duration::ZERO)).await;
    report.must("F52", "the node lives", format!("{alive:?}"), alive.is_good());
    let peak = mebibytes(group.peak_bytes()?);
    report.figure("most that the control group held", format!("{peak:.1} MiB"));
    report.figure("node afterwards", Vitals::of(pid)?);
    Ok(report)
}
