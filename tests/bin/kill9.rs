//! The long form of the durability scenario: `kill9 --rounds 50`.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use bridge_tests::durability::{Plan, run};
use clap::Parser;

/// Kills the control plane in a loop of acknowledged creates and counts the lost ones.
#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value_t = 50)]
    rounds: usize,

    /// Repeats the moments of an earlier run; by default they are new.
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let Arguments { rounds, seed } = Arguments::parse();
    let seed = seed.unwrap_or_else(rand::random);
    let started = Instant::now();
    let report = run(Plan { rounds, seed }).await?;
    writeln!(
        std::io::stdout(),
        "seed {seed}: {rounds} kills in {:.1} s, {} creates acknowledged, {} lost, {} kept without an acknowledgement {:?}",
        started.elapsed().as_secs_f32(),
        report.acknowledged,
        report.lost.len(),
        report.unacknowledged_kept,
        report.lost,
    )?;
    match report.lost.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(ExitCode::FAILURE),
    }
}
