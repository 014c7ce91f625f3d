//! As many keys as a large installation has: how long a new data plane takes, a revocation with
//! many data planes, and all of them coming back at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bridge_proto::admin::v1::RevokeApiKeyRequest;
use bridge_tests::admin::Admin;
use bridge_tests::bridge::Bridge;
use bridge_tests::load::tally::Times;
use bridge_tests::vitals::{Vitals, mebibytes, peak_resident_bytes};
use bridge_tests::watcher::{Gauge, Watcher};

use crate::keys::fill;
use crate::report::{Plan, Report, Run};

pub(crate) const RUN: Run = Run {
    name: "many-keys",
    rows: "B11,B16,B17",
    about: "100,000 keys: a cold data plane, revocations with 32 data planes, 50 that come back at once",
    start: |plan| Box::pin(run(plan)),
};

const REVOKED_MAX: Duration = Duration::from_secs(2);
const GROWTH_MIB_MAX: f64 = 150.0;
const READY_MAX: Duration = Duration::from_secs(3);
const NODE_MIB_MAX: f64 = 120.0;
const MESSAGE_BYTES_MAX: usize = 256 * 1024;
const CONVERGED_MAX: Duration = Duration::from_secs(10);
const PEAK_MAX: f64 = 2.0;

async fn run(plan: Plan) -> Result<Report> {
    let (keys, few, many, repeats) = plan.pick((2_000, 4, 8, 5), (100_000, 32, 50, 50));
    let mut report = Report::new(plan);
    let mut bridge = Bridge::start(0).await?;
    let admin = bridge.admin().await?;
    let began = Instant::now();
    let filled = fill(&admin, keys).await?;
    report.figure(
        "keys made",
        format!("{keys} in {:.1} s", began.elapsed().as_secs_f64()),
    );
    cold_node(&mut bridge, &mut report).await?;
    revocations(&mut bridge, &admin, filled, (few, repeats), &mut report).await?;
    reconnections(&mut bridge, many, &mut report).await?;
    Ok(report)
}

async fn watchers(bridge: &mut Bridge, count: usize, gauge: &Arc<Gauge>) -> Result<Vec<Watcher>> {
    let token = std::fs::read_to_string(bridge.folder().join("node-token"))?;
    let address = bridge.control().fleet_address();
    let start = |n| Watcher::start(format!("watcher-{n}"), address.clone(), token.trim(), gauge);
    (0..count).map(start).collect()
}

async fn cold_node(bridge: &mut Bridge, report: &mut Report) -> Result<()> {
    let node = bridge.add_stopped_node()?;
    let began = Instant::now();
    node.start()?;
    node.wait_until_ready().await?;
    let took = began.elapsed();
    let vitals = Vitals::of(node.process()?.pid())?;
    report.should(
        "B16",
        format!("ready within {READY_MAX:?}"),
        format!("{took:?}"),
        took <= READY_MAX,
    );
    report.should(
        "B16",
        format!("at most {NODE_MIB_MAX} MiB"),
        vitals,
        vitals.resident_mebibytes() <= NODE_MIB_MAX,
    );
    node.kill()
}

async fn revocations(
    bridge: &mut Bridge,
    admin: &Admin,
    filled: u64,
    (count, repeats): (usize, usize),
    report: &mut Report,
) -> Result<()> {
    let pid = bridge.control().process()?.pid();
    let gauge = Arc::default();
    let watchers = watchers(bridge, count, &gauge).await?;
    for watcher in &watchers {
        watcher.wait_for(filled).await?;
    }
    let before = Vitals::of(pid)?;
    let (mut times, mut pending) = (Times::new()?, 0);
    for _ in 0..repeats {
        let (_, record) = admin.create_key("to be revoked").await?;
        for watcher in &watchers {
            watcher.wait_for(record.revision).await?;
        }
        let request = RevokeApiKeyRequest {
            id: record.id,
            ..RevokeApiKeyRequest::default()
        };
        let began = Instant::now();
        let answer = admin.keys().revoke_api_key(request).await?.into_inner();
        times.add(began.elapsed());
        pending += answer.pending_nodes.len() + count - answer.acknowledged_nodes.len();
    }
    let growth = Vitals::of(pid)?.resident_mebibytes() - before.resident_mebibytes();
    report.must(
        "B11",
        "every data plane acknowledges",
        format!("{pending} did not"),
        pending == 0,
    );
    report.should(
        "B11",
        format!("at most {REVOKED_MAX:?}"),
        format!("{count} data planes: {times}"),
        times.max() <= REVOKED_MAX,
    );
    report.should(
        "B11",
        format!("at most {GROWTH_MIB_MAX} MiB more"),
        format!("{growth:.1} MiB more than {before}"),
        growth <= GROWTH_MIB_MAX,
    );
    judge(&watchers, "B11", report);
    let largest = watchers
        .iter()
        .map(|watcher| watcher.seen().largest_message)
        .max();
    let largest = largest.context("a watcher")?;
    report.must(
        "B16",
        format!("messages of at most {MESSAGE_BYTES_MAX} bytes, and what frames them"),
        largest,
        // Tag and length of the one resource that ends a chunk.
        largest <= MESSAGE_BYTES_MAX + 16,
    );
    Ok(())
}

/// They hold nothing, which is the most that they can ask for.
async fn reconnections(bridge: &mut Bridge, count: usize, report: &mut Report) -> Result<()> {
    let before = Vitals::of(bridge.control().process()?.pid())?;
    bridge.control().kill()?;
    let gauge = Arc::default();
    let watchers = watchers(bridge, count, &gauge).await?;
    bridge.control().start().await?;
    let began = Instant::now();
    let (_, last) = bridge.admin().await?.create_key("after it").await?;
    for watcher in &watchers {
        watcher.wait_for(last.revision).await?;
    }
    let took = began.elapsed();
    let peak = peak_resident_bytes(bridge.control().process()?.pid())?;
    report.should(
        "B17",
        format!("{count} converged within {CONVERGED_MAX:?}"),
        format!("{took:?}"),
        took <= CONVERGED_MAX,
    );
    // More than are being sent, by what the transport holds.
    report.figure("snapshots that were being received at once", gauge.most());
    report.should(
        "B17",
        format!("peak at most {PEAK_MAX} times what it had before"),
        format!("{:.1} MiB, {before} before", mebibytes(peak)),
        mebibytes(peak) <= PEAK_MAX * before.resident_mebibytes(),
    );
    judge(&watchers, "B17", report);
    Ok(())
}

fn judge(watchers: &[Watcher], row: &'static str, report: &mut Report) {
    let faults: Vec<_> = watchers
        .iter()
        .flat_map(|watcher| watcher.seen().faults)
        .collect();
    report.must(row, "every hash fits", format!("{faults:?}"), faults.is_empty());
}
