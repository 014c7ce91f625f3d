//! Thousands of changes over a line that loses, doubles and damages them: whatever goes wrong is
//! found and healed, and in the end the data plane holds what the model says.

use std::time::{Duration, Instant};

use anyhow::Result;
use bridge_proto::admin::v1::ListNodesRequest;
use bridge_proto::admin::v1::{ApiKey, DeleteApiKeyRequest};
use bridge_tests::admin::Admin;
use bridge_tests::bridge::Bridge;
use bridge_tests::fleet_proxy::{Diet, FleetProxy, Tamper};
use bridge_tests::load::tally::Times;
use bridge_tests::{admin, wait};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::report::{Plan, Report, Run};

pub(crate) const RUN: Run = Run {
    name: "tampered",
    rows: "B14",
    about: "changes over a line that loses, doubles and damages them: all is healed, the end is as the model says",
    start: |plan| Box::pin(run(plan)),
};

const HEALED_MAX: Duration = Duration::from_secs(10);
const CHANGES_PER_BATCH: usize = 20;
const KEYS_MAX: usize = 60;
const TAMPERS: [Tamper; 7] = [
    Tamper::Nothing,
    Tamper::WrongHash,
    Tamper::LostResource,
    Tamper::WrongHashOfChange,
    Tamper::LostResourceOfChange,
    Tamper::LostChange,
    Tamper::TwiceChanged,
];

/// What the data plane should accept and refuse.
#[derive(Default)]
struct Model {
    there: Vec<(String, ApiKey)>,
    gone: Vec<String>,
}

async fn run(plan: Plan) -> Result<Report> {
    let changes = plan.pick(100, 10_000);
    let mut random = StdRng::seed_from_u64(plan.seed);
    let mut bridge = Bridge::start(0).await?;
    let proxy = FleetProxy::start(&bridge.control().fleet_address(), Diet::Changes).await?;
    bridge.add_node_behind(proxy.port()).await?;
    let admin = bridge.admin().await?;
    let provider = admin::provider("unused", "http://127.0.0.1:1/v1", "m");
    admin.create_provider(provider).await?;
    bridge.accepted_key(&admin).await?;
    let (mut model, mut times, mut wrong) = (Model::default(), Times::new()?, 0);
    let mut made = 0;
    while made < changes {
        let tamper = *TAMPERS.choose(&mut random).unwrap_or(&Tamper::Nothing);
        proxy.tamper(tamper);
        for _ in 0..CHANGES_PER_BATCH {
            model.change(&admin, &mut random).await?;
        }
        made += CHANGES_PER_BATCH;
        proxy.tamper(Tamper::Nothing);
        let began = Instant::now();
        current(&admin).await?;
        times.add(began.elapsed());
        wrong += model.differences(&bridge).await?;
    }

    let mut report = Report::new(plan);
    report.must(
        "B14",
        "the data plane holds what the model says, after every batch",
        format!("{wrong} differences after {made} changes, seed {}", plan.seed),
        wrong == 0,
    );
    report.should(
        "B14",
        format!("healed within {HEALED_MAX:?}"),
        &times,
        times.max() <= HEALED_MAX,
    );
    Ok(report)
}

/// Waits until the data plane has acknowledged the newest version.
async fn current(admin: &Admin) -> Result<()> {
    // Published a moment after it is answered.
    let (_, last) = admin.create_key("a mark").await?;
    wait::until("the data plane to be current", || async {
        let answer = admin.fleet().list_nodes(ListNodesRequest {}).await.ok()?;
        let nodes = answer.into_inner().nodes;
        let is_current = |node: &bridge_proto::admin::v1::Node| node.acknowledged_revision >= last.revision;
        nodes.iter().all(is_current).then_some(())
    })
    .await
}

impl Model {
    async fn change(&mut self, admin: &Admin, random: &mut StdRng) -> Result<()> {
        let is_full = self.there.len() >= KEYS_MAX;
        let kind = if is_full { 2 } else { random.random_range(0..4) };
        let place = random.random_range(0..self.there.len().max(1));
        match (self.there.get(place), kind) {
            (Some((_, record)), 1) => {
                let changed = admin.set_key_enabled(record, !record.enabled).await?;
                self.there[place].1 = changed;
            }
            (Some(_), 2) => {
                let (key, record) = self.there.swap_remove(place);
                let request = DeleteApiKeyRequest {
                    id: record.id,
                    revision: 0,
                };
                admin.keys().delete_api_key(request).await?;
                self.gone.push(key);
            }
            _ => {
                let name = format!("key {}", random.random::<u32>());
                self.there.push(admin.create_key(&name).await?);
            }
        }
        Ok(())
    }

    /// Keys that the data plane judges otherwise. Of those that are gone the last few are asked for.
    async fn differences(&mut self, bridge: &Bridge) -> Result<usize> {
        self.gone.drain(..self.gone.len().saturating_sub(KEYS_MAX));
        let there = self.there.iter().map(|(key, record)| (key, record.enabled));
        let gone = self.gone.iter().map(|key| (key, false));
        let mut differences = 0;
        for (key, is_good) in there.chain(gone) {
            let status = bridge.client(0, key)?.try_key().await?.status;
            differences += usize::from((status != 401) != is_good);
        }
        Ok(differences)
    }
}
