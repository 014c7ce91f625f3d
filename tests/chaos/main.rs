//! Runs bridges of real processes under load and faults, and holds what it measures against
//! what was promised: `cargo build --release --workspace && target/release/chaos roll`.
//!
//! Each run has a seed and a bound in count and time, and takes the binaries that lie beside
//! it. `--short` is the form in the suite: the same steps, smaller figures.

mod bodies;
mod cancel;
mod creates;
mod cuts;
mod descriptors;
mod ended;
mod faults;
mod frozen;
mod http2;
mod keys;
mod kills;
mod logins;
mod many_keys;
mod memory;
mod outage;
mod overload;
mod providers;
mod report;
mod revoke;
mod roll;
mod slow_readers;
mod slowloris;
mod soak;
mod stock;
mod streams;
mod tampered;
mod timing;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use report::{Plan, Run, Scale};

const RUNS: &[Run] = &[
    bodies::RUN,
    cancel::RUN,
    creates::RUN,
    cuts::RUN,
    descriptors::RUN,
    ended::RUN,
    faults::RUN,
    frozen::RUN,
    http2::RUN,
    kills::RUN,
    logins::RUN,
    many_keys::RUN,
    memory::RUN,
    outage::RUN,
    overload::RUN,
    providers::RUN,
    revoke::RUN,
    roll::RUN,
    slow_readers::RUN,
    slowloris::RUN,
    soak::RUN,
    stock::RUN,
    streams::RUN,
    tampered::RUN,
    timing::RUN,
];

/// Without it the first of the runs is as good as any.
const SEED: u64 = 1;

#[derive(Parser)]
#[command(name = "chaos")]
struct Arguments {
    /// Which run; `list` names them.
    run: String,

    #[arg(long, default_value_t = SEED)]
    seed: u64,

    /// Seconds instead of minutes, and limits of time are told but do not decide.
    #[arg(long)]
    short: bool,

    /// Minutes instead of the usual time, for the runs without an end of their own.
    #[arg(long)]
    minutes: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let Arguments {
        run,
        seed,
        short,
        minutes,
    } = Arguments::parse();
    let mut out = std::io::stdout();
    if run == "list" {
        for run in RUNS {
            writeln!(out, "{:14} {:12} {}", run.name, run.rows, run.about)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let run = RUNS
        .iter()
        .find(|known| known.name == run)
        .context("no such run; `chaos list` names them")?;
    let scale = if short { Scale::Short } else { Scale::Full };
    let plan = Plan { scale, seed, minutes };
    let report = (run.start)(plan).await?;
    writeln!(out, "chaos {}: seed {seed}, {scale}", run.name)?;
    write!(out, "{report}")?;
    Ok(if report.is_passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
