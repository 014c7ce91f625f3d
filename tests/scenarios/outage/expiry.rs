//! Keys end at their time, and never before it, whatever clocks show.

use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use bridge_proto::fleet::v1::ApiKey;
use bridge_proto::fleet::v1::resource::Kind;
use bridge_tests::fake_control_plane::{self as fake, Snapshot};
use bridge_tests::namespace::{monotonic_clock_ahead, wall_clock_by};
use bridge_tests::stage::MODEL;

use super::Bed;

fn in_seconds(seconds: u64) -> Option<prost_types::Timestamp> {
    Some((SystemTime::now() + Duration::from_secs(seconds)).into())
}

#[tokio::test]
async fn a_key_expires_without_the_control_plane() -> Result<()> {
    const LIFE_S: u64 = 3;
    let mut bed = Bed::start(1, None).await?;
    let (_, record) = fake::api_key(1);
    let mut resources = fake::resources(1, &bed.upstream.base_url(), MODEL, None);
    let expires_at = in_seconds(LIFE_S);
    resources.push(fake::encode(Kind::ApiKey(ApiKey { expires_at, ..record })));
    bed.control.publish(Snapshot::new(2, resources));
    bed.control.wait_for_ack().await?;
    let published = Instant::now();
    bed.control.stop();
    assert_eq!(bed.status(1).await?, 200);
    bed.wait_for_status(1, 401).await?;
    let lived = published.elapsed();
    assert!(lived < Duration::from_secs(LIFE_S + 1), "{lived:?}");
    assert_eq!(bed.status(0).await?, 200);
    Ok(())
}

/// A node with a key that expires in half an hour and one that expired half an hour ago.
async fn with_keys_near_their_end(prefix: Vec<String>) -> Result<Bed> {
    const HALF_AN_HOUR: Duration = Duration::from_secs(1800);
    let mut bed = Bed::new(1, None).await?;
    let mut resources = fake::resources(1, &bed.upstream.base_url(), MODEL, None);
    let now = SystemTime::now();
    for (number, expires_at) in [(1, now + HALF_AN_HOUR), (2, now - HALF_AN_HOUR)] {
        let (_, record) = fake::api_key(number);
        let expires_at = Some(expires_at.into());
        resources.push(fake::encode(Kind::ApiKey(ApiKey { expires_at, ..record })));
    }
    bed.control.publish(Snapshot::new(2, resources));
    bed.control.start()?;
    let port = bed.control.port();
    let node = bed.bridge.add_stopped_node_behind(port, Vec::new())?;
    node.set_prefix(prefix);
    node.start()?;
    node.wait_until_ready().await?;
    Ok(bed)
}

/// Over some heartbeats every request ends as it would with true clocks.
async fn assert_nothing_expires_falsely(bed: &Bed, what: &str) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        for (number, status) in [(0, 200), (1, 200), (2, 401)] {
            assert_eq!(bed.status(number).await?, status, "{what}: key {number}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn nothing_expires_because_the_machines_clock_jumps() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "+0\n")?;
    let Some(prefix) = wall_clock_by(&clock) else {
        return Ok(());
    };
    let bed = with_keys_near_their_end(prefix).await?;
    assert_nothing_expires_falsely(&bed, "true").await?;
    for jump in ["+3600\n", "-3600\n"] {
        std::fs::write(&clock, jump)?;
        assert_nothing_expires_falsely(&bed, jump).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_monotonic_clock_that_is_days_ahead_is_as_good() -> Result<()> {
    const TEN_DAYS: Duration = Duration::from_secs(864_000);
    let Some(prefix) = monotonic_clock_ahead(TEN_DAYS) else {
        return Ok(());
    };
    let bed = with_keys_near_their_end(prefix).await?;
    assert_nothing_expires_falsely(&bed, "ten days ahead").await
}
