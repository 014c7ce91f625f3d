//! Requests as large as they may be, one after the other, beside many small ones: parsing
//! them must not hold up the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use bridge_tests::load::tally::SHED_STATUS;
use bridge_tests::load::{Ask, Client, LoadStage, Protocol, Tally, open_loop};
use bytes::Bytes;
use http_body_util::BodyExt;

use crate::report::{Plan, Report, Run};

pub(crate) const RUN: Run = Run {
    name: "bodies",
    rows: "F54",
    about: "bodies of 32 MiB beside small requests",
    start: |plan| Box::pin(run(plan)),
};

/// What a node takes at most, less the words around the prompt.
const PROMPT_BYTES: usize = (32 << 20) - 1024;
const SMALL_PER_SECOND: f64 = 100.0;
const FACTOR_MAX: f64 = 2.0;

async fn run(plan: Plan) -> Result<Report> {
    let time = Duration::from_secs(plan.pick(2, 30));
    let mut report = Report::new(plan);
    let mut stage = LoadStage::start(1, &[]).await?;
    let client = stage.client(0, Protocol::Http1)?;
    let quiet = small(&client, time).await?;

    let is_over = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicU64::new(0));
    let large = {
        let (client, is_over, sent) = (client.clone(), Arc::clone(&is_over), Arc::clone(&sent));
        let body = Ask::whole(Duration::ZERO).padded(PROMPT_BYTES).body();
        tokio::spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                let is_answered = send(&client, body.clone()).await?;
                sent.fetch_add(is_answered.into(), Ordering::Relaxed);
            }
            anyhow::Ok(())
        })
    };
    let beside = small(&client, time).await?;
    is_over.store(true, Ordering::Relaxed);
    large.await??;
    let node = stage.vitals(0)?;

    let sent = sent.load(Ordering::Relaxed);
    report.must(
        "F54",
        "bodies of 32 MiB are answered",
        format!("{sent}"),
        sent > 0,
    );
    report.must(
        "F54",
        "small requests are all answered",
        &beside,
        beside.bad() == 0,
    );
    let limit = quiet.good.p99().mul_f64(FACTOR_MAX);
    report.should(
        "F54",
        format!("p99 of small requests within {FACTOR_MAX} times the quiet one: {limit:?}"),
        format!("{:?}", beside.good.p99()),
        beside.good.p99() <= limit,
    );
    report.figure("quiet", &quiet);
    report.figure("node afterwards", node);
    Ok(report)
}

async fn small(client: &Client, time: Duration) -> Result<Tally> {
    let samples = open_loop(SMALL_PER_SECOND, time, |_, due| {
        let client = client.clone();
        async move { client.send_due(&Ask::whole(Duration::ZERO), due).await }
    })
    .await;
    Tally::of(&samples)
}

/// Whether it was answered; a node with too much to do may refuse it.
async fn send(client: &Client, body: Bytes) -> Result<bool> {
    let answer = client.post(body).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    ensure!(
        [200, SHED_STATUS].contains(&status.as_u16()),
        "{status}: {}",
        String::from_utf8_lossy(&body)
    );
    Ok(status == 200)
}
