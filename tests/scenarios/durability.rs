//! What was acknowledged is there after `kill -9`.

use anyhow::Result;
use bridge_tests::durability::{Plan, run};

#[tokio::test]
async fn acknowledged_writes_survive_kill_9() -> Result<()> {
    let report = run(Plan {
        rounds: 5,
        seed: 20_260_101,
    })
    .await?;
    assert_eq!(report.lost, Vec::<String>::new());
    assert!(report.acknowledged > 0);
    Ok(())
}
