//! A key is taken away while many streams run with it: all of them end, and no other does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bridge_proto::admin::v1::{Provider, RevokeApiKeyRequest};
use bridge_tests::anthropic::{Stream, ask};
use bridge_tests::faultd::{Gate, Script};
use bridge_tests::stage::{MODEL, Stage};

use crate::report::{Plan, Report, Run};

pub(crate) const RUN: Run = Run {
    name: "ended",
    rows: "B12",
    about: "a key is revoked with everything that runs: its streams end in time, others are not touched",
    start: |plan| Box::pin(run(plan)),
};

const NODES: usize = 2;
const ENDED_MAX: Duration = Duration::from_secs(2);
const TEXT: &str = "Once upon a time";
/// Longer than it takes to open all streams, in seconds: none may end because it is silent.
const PATIENCE_S: u32 = 600;

async fn run(plan: Plan) -> Result<Report> {
    let (streams, others) = plan.pick((20, 6), (200, 50));
    let stage = Stage::with_nodes(NODES).await?;
    let patient = Provider {
        timeout: PATIENCE_S,
        ..stage.provider.clone()
    };
    stage.admin.update_provider(patient, "timeout").await?;
    stage.settle().await?;
    let (key, record) = stage.admin.create_key("to be ended").await?;
    stage.bridge.wait_until_accepted(&key).await?;
    let gate = Gate::closed();
    stage
        .upstream
        .always(MODEL, Script::text(TEXT).hold_after(2, &gate));
    let ending = open(&stage, &key, streams).await?;
    let staying = open(&stage, &stage.key, others).await?;
    let request = RevokeApiKeyRequest {
        id: record.id,
        timeout: None,
        terminate_streams: true,
    };
    let began = Instant::now();
    let answer = stage.admin.keys().revoke_api_key(request).await?.into_inner();
    let ends = futures_util::future::try_join_all(ending.into_iter().map(|stream| async {
        let transcript = stream.to_end().await?;
        anyhow::Ok((began.elapsed(), transcript))
    }))
    .await?;
    let slowest = ends.iter().map(|(took, _)| *took).max().context("a stream")?;
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    for (_, transcript) in &ends {
        *told.entry(transcript.error_type().to_owned()).or_default() += 1;
    }
    gate.open();
    let whole = futures_util::future::try_join_all(staying.into_iter().map(Stream::to_end)).await?;
    let untouched = whole
        .iter()
        .filter(|transcript| transcript.text() == TEXT)
        .count();

    let mut report = Report::new(plan);
    report.must(
        "B12",
        "every data plane acknowledges",
        format!("{:?} did not", answer.pending_nodes),
        answer.pending_nodes.is_empty(),
    );
    report.must(
        "B12",
        "all streams of the key end with permission_error",
        format!("{told:?} of {streams}"),
        told.get("permission_error") == Some(&streams),
    );
    report.must(
        "B12",
        "no stream of another key does",
        format!("{untouched} of {others} whole"),
        untouched == others,
    );
    report.should(
        "B12",
        format!("within {ENDED_MAX:?}"),
        format!("{slowest:?}"),
        slowest <= ENDED_MAX,
    );
    Ok(report)
}

/// Streams in their middle, on all nodes.
async fn open(stage: &Stage, key: &str, count: usize) -> Result<Vec<Stream>> {
    let mut open = Vec::new();
    for n in 0..count {
        let client = stage.bridge.client(n % NODES, key)?;
        let mut stream = client.stream(&ask("haiku", "A story")).await?;
        ensure!(stream.status == 200, "status {}", stream.status);
        stream.next_of("content_block_delta").await?;
        open.push(stream);
    }
    Ok(open)
}
