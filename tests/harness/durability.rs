//! Kills the control plane at random moments of many writes of every kind, and counts what it forgot.
//!
//! An acknowledged write that is not there afterwards is a broken promise. A write whose answer
//! never came may be there or not, but not half of it: of each, all things that it changes are as
//! they were, or all are as they should be, and the revision has counted it once. That data,
//! change log, audit chain and digest agree is what the control plane's own `verify` says. What
//! was cut off is asked for again by its idempotency key, and is there once.

mod look;
mod write;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bridge_proto::admin::v1::ExportEntriesRequest;
use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::admin::Admin;
use crate::bridge::Bridge;

use look::{Known, look};
use writer::Writer;

/// Writers at the same time, so that commits are made of several writes.
const WRITERS: u64 = 4;

pub struct Plan {
    /// Kills, at least.
    pub rounds: usize,
    /// Rounds go on until so many writes are acknowledged, too.
    pub writes_min: usize,
    /// The kill comes at a random moment of this span after the first write of a round.
    pub kill_within: Duration,
    pub seed: u64,
}

#[derive(Debug, Default)]
pub struct Report {
    pub rounds: usize,
    pub acknowledged: usize,
    /// Writes that were cut off by the kill and were there all the same.
    pub unacknowledged_kept: usize,
    /// From a start after a kill to readiness, at most.
    pub slowest_start: Duration,
    /// What is not as it was acknowledged, and what is half there, in words.
    pub lost: Vec<String>,
}

pub async fn run(plan: Plan) -> Result<Report> {
    let mut random = StdRng::seed_from_u64(plan.seed);
    let mut bridge = Bridge::start(0).await?;
    let admin = bridge.admin().await?;
    let first_revision = last_revision(&admin).await?;
    let mut known = look(&admin).await?;
    let mut writers: Vec<_> = (0..WRITERS)
        .map(|number| Writer::new(number, StdRng::seed_from_u64(random.random())))
        .collect();
    for writer in &mut writers {
        writer.adopt(&mut known);
    }
    let of_nobody = known;
    let mut report = Report::default();
    while report.rounds < plan.rounds || report.acknowledged < plan.writes_min {
        let admin = bridge.admin().await?;
        let kill_after = plan.kill_within.mul_f64(random.random());
        let writing = join_all(
            writers
                .iter_mut()
                .map(|writer| writer.write_until_cut_off(&admin)),
        );
        let killing = async {
            tokio::time::sleep(kill_after).await;
            bridge.control().kill()
        };
        let (refused, killed) = tokio::join!(writing, killing);
        killed?;
        report.lost.extend(refused.into_iter().flatten());
        let verified = bridge.control().run(&["verify"], &[]).await?;
        ensure!(verified.is_good, "half of something is there: {verified:?}");

        let started = Instant::now();
        bridge.control().start().await?;
        report.slowest_start = report.slowest_start.max(started.elapsed());
        let mut found = look(&bridge.admin().await?).await?;
        for writer in &mut writers {
            writer.settle(&mut found, &mut report.lost);
        }
        if found != of_nobody {
            report.lost.push(format!("nobody has touched {found:?}"));
        }
        report.rounds += 1;
        report.acknowledged = writers.iter().map(|writer| writer.acknowledged).sum();
        report.unacknowledged_kept = writers.iter().map(|writer| writer.kept).sum();
    }
    let changes = (report.acknowledged + report.unacknowledged_kept) as u64;
    let expected = first_revision + 1..=first_revision + changes;
    let told = revisions_of_the_audit_log(&bridge.admin().await?, first_revision).await?;
    if !told.iter().copied().eq(expected.clone()) {
        let told = format!("revisions {expected:?} were made, the audit log tells of {told:?}");
        report.lost.push(told);
    }
    Ok(report)
}

/// Revisions of changes after this one, in the order of the audit log. Signing in is told there too,
/// and is no change.
async fn revisions_of_the_audit_log(admin: &Admin, after: u64) -> Result<Vec<u64>> {
    let mut entries = admin
        .audit()
        .export_entries(ExportEntriesRequest::default())
        .await?
        .into_inner();
    let mut revisions = Vec::new();
    while let Some(batch) = entries.message().await? {
        let changes = batch
            .entries
            .iter()
            .filter(|entry| !entry.method.starts_with("AuthService."));
        revisions.extend(
            changes
                .map(|entry| entry.revision)
                .filter(|revision| *revision > after),
        );
    }
    Ok(revisions)
}

async fn last_revision(admin: &Admin) -> Result<u64> {
    let told = revisions_of_the_audit_log(admin, 0).await?;
    told.into_iter().max().context("the audit log tells of nothing")
}

/// Which things differ.
fn differing(known: &BTreeMap<String, Known>, found: &BTreeMap<String, Known>) -> BTreeSet<String> {
    let labels = known.keys().chain(found.keys());
    let is_same = |label: &&String| match (known.get(*label), found.get(*label)) {
        (Some(known), Some(found)) => found.is_as(known),
        (Some(_), None) | (None, Some(_)) => false,
        (None, None) => true,
    };
    labels.filter(|label| !is_same(label)).cloned().collect()
}
