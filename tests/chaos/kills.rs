//! The control plane is killed again and again while keys come and go, and data planes watch: what
//! they see only ever goes forward, and in the end all of them hold the same.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bridge_proto::admin::v1::RevokeApiKeyRequest;
use bridge_tests::admin::Admin;
use bridge_tests::bridge::Bridge;
use bridge_tests::watcher::{Gauge, Watcher};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::report::{Plan, Report, Run};

pub(crate) const RUN: Run = Run {
    name: "kills",
    rows: "A2",
    about: "the control plane is killed while keys come and go: no data plane ever goes back, all end with the same",
    start: |plan| Box::pin(run(plan)),
};

/// The kill comes at a random moment of this span.
const KILL_WITHIN: Duration = Duration::from_millis(300);
/// Of so many changes one takes a key away.
const REVOKE_ONE_OF: u32 = 3;

async fn run(plan: Plan) -> Result<Report> {
    let (watchers, rounds) = plan.pick((4, 6), (8, 200));
    let mut random = StdRng::seed_from_u64(plan.seed);
    let mut bridge = Bridge::start(0).await?;
    let token = std::fs::read_to_string(bridge.folder().join("node-token"))?;
    let address = bridge.control().fleet_address();
    let gauge = Arc::new(Gauge::default());
    let watchers: Vec<_> = (0..watchers)
        .map(|n| Watcher::start(format!("watcher-{n}"), address.clone(), token.trim(), &gauge))
        .collect::<Result<_>>()?;
    let mut changes = 0;
    for _ in 0..rounds {
        let admin = bridge.admin().await?;
        let kill_after = KILL_WITHIN.mul_f64(random.random());
        let killing = async {
            tokio::time::sleep(kill_after).await;
            bridge.control().kill()
        };
        let (made, killed) = tokio::join!(change_until_cut_off(&admin, &mut random), killing);
        killed?;
        changes += made;
        bridge.control().start().await?;
    }
    let (_, last) = bridge.admin().await?.create_key("the last").await?;
    for watcher in &watchers {
        watcher.wait_for(last.revision).await?;
    }

    let mut report = Report::new(plan);
    let seen: Vec<_> = watchers.iter().map(Watcher::seen).collect();
    let faults: Vec<_> = seen.iter().flat_map(|seen| &seen.faults).collect();
    report.must(
        "A2",
        "no data plane goes back, and every hash fits",
        format!(
            "{rounds} kills, {changes} changes, {} data planes: {faults:?}",
            watchers.len()
        ),
        faults.is_empty() && changes > 0,
    );
    let is_same = seen
        .windows(2)
        .all(|two| (two[0].version, two[0].hash) == (two[1].version, two[1].hash));
    let versions: Vec<_> = seen.iter().map(|seen| seen.version).collect();
    report.must(
        "A2",
        "all hold the same in the end",
        format!("{versions:?}"),
        is_same,
    );
    let sum = |count: fn(&bridge_tests::watcher::Seen) -> usize| seen.iter().map(count).sum::<usize>();
    report.figure("snapshots", sum(|seen| seen.snapshots));
    report.figure("deltas", sum(|seen| seen.deltas));
    Ok(report)
}

/// How many changes were acknowledged.
async fn change_until_cut_off(admin: &Admin, random: &mut StdRng) -> usize {
    let mut keys: Vec<String> = Vec::new();
    for made in 0.. {
        let revoked = (random.random_ratio(1, REVOKE_ONE_OF))
            .then(|| keys.pop())
            .flatten();
        let done = match revoked {
            Some(id) => {
                let request = RevokeApiKeyRequest {
                    id,
                    ..RevokeApiKeyRequest::default()
                };
                admin.keys().revoke_api_key(request).await.is_ok()
            }
            None => {
                let created = admin.create_key("comes and goes").await;
                created.map(|(_, record)| keys.push(record.id)).is_ok()
            }
        };
        if !done {
            return made;
        }
    }
    0
}
