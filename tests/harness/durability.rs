//! Kills the control plane at random moments of a loop of creates, and counts what it forgot.
//!
//! An acknowledged create that is gone afterwards is a broken promise. A create whose answer
//! never came may be there or not; twice would be wrong.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use bridge_proto::admin::v1::ListApiKeysRequest;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::admin::Admin;
use crate::bridge::Bridge;

/// The kill comes at a random moment of this span after the first create of a round.
const KILL_AFTER_MS_MAX: u64 = 120;

const PAGE_SIZE: u32 = 200;

pub struct Plan {
    pub rounds: usize,
    pub seed: u64,
}

#[derive(Debug, Default)]
pub struct Report {
    pub acknowledged: usize,
    /// Creates that were cut off by the kill and were there all the same.
    pub unacknowledged_kept: usize,
    /// Names of acknowledged keys that are gone.
    pub lost: Vec<String>,
}

pub async fn run(plan: Plan) -> Result<Report> {
    let mut random = StdRng::seed_from_u64(plan.seed);
    let mut bridge = Bridge::start(0).await?;
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..plan.rounds {
        let admin = bridge.admin().await?;
        let kill_after = Duration::from_millis(random.random_range(0..KILL_AFTER_MS_MAX));
        tokio::select! {
            () = create_until_refused(&admin, round, &mut acknowledged) => {}
            () = tokio::time::sleep(kill_after) => {}
        }
        bridge.control().kill()?;
        bridge.control().start().await?;
    }
    judge(&bridge.admin().await?, acknowledged).await
}

async fn create_until_refused(admin: &Admin, round: usize, acknowledged: &mut Vec<String>) {
    for number in 0.. {
        let name = format!("round-{round}-key-{number}");
        match admin.create_key(&name).await {
            Ok(_) => acknowledged.push(name),
            Err(_) => return,
        }
    }
}

async fn judge(admin: &Admin, acknowledged: Vec<String>) -> Result<Report> {
    let mut found: HashMap<String, usize> = HashMap::new();
    let mut request = ListApiKeysRequest {
        page_size: PAGE_SIZE,
        ..ListApiKeysRequest::default()
    };
    loop {
        let page = admin.keys().list_api_keys(request.clone()).await?.into_inner();
        for key in page.api_keys {
            *found.entry(key.name).or_default() += 1;
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    ensure!(
        found.values().all(|count| *count == 1),
        "a key is there twice: {found:?}"
    );
    let lost: Vec<String> = acknowledged
        .iter()
        .filter(|name| !found.contains_key(*name))
        .cloned()
        .collect();
    Ok(Report {
        acknowledged: acknowledged.len(),
        unacknowledged_kept: found.len() + lost.len() - acknowledged.len(),
        lost,
    })
}
