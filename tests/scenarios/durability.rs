//! What was acknowledged is there after `kill -9`.

use std::time::Duration;

use anyhow::Result;
use bridge_tests::durability::{Plan, run};

#[tokio::test]
async fn acknowledged_writes_survive_kill_9() -> Result<()> {
    let report = run(Plan {
        rounds: 5,
        writes_min: 60,
        kill_within: Duration::from_millis(1500),
        seed: 20_260_101,
    })
    .await?;
    assert_eq!(report.lost, Vec::<String>::new());
    eprintln!(
        "figure: {} acknowledged writes of every kind under {} kills, 0 lost, slowest start {} ms",
        report.acknowledged,
        report.rounds,
        report.slowest_start.as_millis()
    );
    Ok(())
}
