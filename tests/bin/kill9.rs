//! The long form of the durability scenario: `kill9 --rounds 50`.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use bridge_tests::durability::{Plan, run};
use clap::Parser;

/// Kills the control plane in a loop of acknowledged writes of every kind and counts the lost ones;
/// after every kill the store is verified.
#[derive(Parser)]
struct Arguments {
    /// Kills, at least.
    #[arg(long, default_value_t = 50)]
    rounds: usize,

    /// Acknowledged writes, at least.
    #[arg(long, default_value_t = 0)]
    writes: usize,

    /// The kill comes at a random moment of so many milliseconds after the first write of a round.
    #[arg(long, default_value_t = 400)]
    within_ms: u64,

    /// Runs, each on an installation of its own, with seeds that follow each other.
    #[arg(long, default_value_t = 1)]
    seeds: u64,

    /// Repeats the moments of an earlier run; by default they are new.
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let Arguments {
        rounds,
        writes: writes_min,
        within_ms,
        seeds,
        seed,
    } = Arguments::parse();
    let first = seed.unwrap_or_else(rand::random);
    let mut ended = ExitCode::SUCCESS;
    for seed in (0..seeds).map(|nth| first.wrapping_add(nth)) {
        let started = Instant::now();
        let plan = Plan {
            rounds,
            writes_min,
            kill_within: Duration::from_millis(within_ms),
            seed,
        };
        let report = run(plan).await?;
        writeln!(
            std::io::stdout(),
            "seed {seed}: {} kills in {:.1} s, slowest start {} ms, {} writes acknowledged, {} lost, {} kept without an acknowledgement {:?}",
            report.rounds,
            started.elapsed().as_secs_f32(),
            report.slowest_start.as_millis(),
            report.acknowledged,
            report.lost.len(),
            report.unacknowledged_kept,
            report.lost,
        )?;
        if !report.lost.is_empty() {
            ended = ExitCode::FAILURE;
        }
    }
    Ok(ended)
}
