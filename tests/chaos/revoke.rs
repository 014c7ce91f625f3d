//! Keys are revoked while every node is asked with them all the time: how long it takes until
//! all nodes have acknowledged, and that nobody accepts the key afterwards.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bridge_proto::admin::v1::RevokeApiKeyRequest;
use bridge_tests::load::tally::Times;
use bridge_tests::stage::Stage;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::keys::fill;
use crate::report::{Plan, Report, Run};

pub(crate) const RUN: Run = Run {
    name: "revoke",
    rows: "B10",
    about: "keys are revoked under load: acknowledged everywhere in time, and accepted nowhere after that",
    start: |plan| Box::pin(run(plan)),
};

const P99_MAX: Duration = Duration::from_millis(250);
const MAX: Duration = Duration::from_secs(1);
const UNAUTHORIZED: u16 = 401;
/// How long nodes are asked on after the acknowledgement.
const AFTERWARDS: Duration = Duration::from_millis(100);

async fn run(plan: Plan) -> Result<Report> {
    let (nodes, keys, repeats) = plan.pick((3, 200, 10), (8, 10_000, 200));
    let stage = Stage::with_nodes(nodes).await?;
    fill(&stage.admin, keys).await?;
    stage.settle().await?;
    let (mut times, mut accepted_after, mut asked, mut unacknowledged) = (Times::new()?, 0, 0, 0);
    for _ in 0..repeats {
        let one = revoke_one(&stage, nodes).await?;
        times.add(one.took);
        accepted_after += one.accepted_after;
        asked += one.asked;
        unacknowledged += one.pending;
    }
    let mut report = Report::new(plan);
    report.must(
        "B10",
        "every node acknowledges",
        format!("{unacknowledged} did not"),
        unacknowledged == 0,
    );
    report.must(
        "B10",
        "0 requests accepted that were sent after the answer",
        format!("{accepted_after} of {asked}"),
        accepted_after == 0,
    );
    report.should(
        "B10",
        format!("p99 within {P99_MAX:?}"),
        format!("{keys} keys, {nodes} nodes: {times}"),
        times.p99() <= P99_MAX,
    );
    report.should(
        "B10",
        format!("at most {MAX:?}"),
        format!("{:?}", times.max()),
        times.max() <= MAX,
    );
    Ok(report)
}

struct One {
    took: Duration,
    /// Requests that were sent after the answer, and those of them that were let in.
    asked: usize,
    accepted_after: usize,
    pending: usize,
}

async fn revoke_one(stage: &Stage, nodes: usize) -> Result<One> {
    let (key, record) = stage.admin.create_key("to be revoked").await?;
    stage.bridge.wait_until_accepted(&key).await?;
    let (tell_enough, enough) = watch::channel(false);
    let mut asking = JoinSet::new();
    for node in 0..nodes {
        let (client, enough) = (stage.bridge.client(node, &key)?, enough.clone());
        asking.spawn(async move {
            let mut answers = Vec::new();
            while !*enough.borrow() {
                let sent = Instant::now();
                answers.push((sent, client.try_key().await?.status));
            }
            anyhow::Ok(answers)
        });
    }
    let request = RevokeApiKeyRequest {
        id: record.id,
        timeout: None,
        terminate_streams: false,
    };
    let begun = Instant::now();
    let answer = stage.admin.keys().revoke_api_key(request).await?.into_inner();
    let acknowledged = Instant::now();
    tokio::time::sleep(AFTERWARDS).await;
    tell_enough.send_replace(true);
    let (mut asked, mut accepted_after) = (0, 0);
    while let Some(answers) = asking.join_next().await {
        let after = answers??.into_iter().filter(|(sent, _)| *sent > acknowledged);
        for (_, status) in after {
            asked += 1;
            accepted_after += usize::from(status != UNAUTHORIZED);
        }
    }
    ensure!(asked > 0, "nobody was asked after the answer");
    answer.api_key.context("a revoked key has no record")?;
    Ok(One {
        took: acknowledged - begun,
        asked,
        accepted_after,
        pending: answer.pending_nodes.len(),
    })
}
