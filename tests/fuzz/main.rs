//! Fuzzes translation on stable Rust, at any length:
//! `cargo run --release --bin fuzz -- --inputs 1000000`.
//!
//! What the planes read besides has its targets beside the code, as tests.

mod fixtures;
mod targets;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bridge_campaign::{Plan, RESIDENT_MEBIBYTES_MAX, Target, resident_mebibytes_max, run_caught, watch};
use clap::Parser;

use fixtures::Fixtures;
use targets::VERBS;

#[derive(Parser)]
struct Arguments {
    /// request, response, stream, sse, native or error; all of them without it.
    #[arg(long)]
    target: Option<String>,

    #[arg(long, default_value_t = 100_000)]
    inputs: u64,

    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// The number of the first input.
    #[arg(long, default_value_t = 0)]
    first: u64,

    /// Seconds for each target.
    #[arg(long, default_value_t = 3600)]
    seconds_max: u64,

    /// Where failing inputs go, and the slowest one of each target.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/artifacts"))]
    folder: PathBuf,

    /// Runs the target over this file and nothing else.
    #[arg(long, requires = "target")]
    replay: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let fixtures = Arc::new(Fixtures::load()?);
    let wanted = VERBS
        .iter()
        .filter(|verb| arguments.target.as_ref().is_none_or(|name| name == verb.name));
    let targets: Vec<Target> = wanted.map(|verb| verb.target(&fixtures)).collect();
    ensure!(!targets.is_empty(), "no such target");
    let mut is_clean = true;
    for target in targets {
        is_clean &= match &arguments.replay {
            Some(file) => replay(&target, file)?,
            None => run(target, &arguments)?,
        };
    }
    Ok(if is_clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn run(target: Target, arguments: &Arguments) -> Result<bool> {
    let name = target.name;
    let plan = Plan {
        seed: arguments.seed,
        first: arguments.first,
        inputs: arguments.inputs,
        time_max: Duration::from_secs(arguments.seconds_max),
        folder: arguments.folder.clone(),
    };
    let report = watch(target, plan)?;
    let resident = resident_mebibytes_max()?;
    let mut out = std::io::stdout();
    writeln!(out, "{name}: {report}")?;
    writeln!(out, "{name}: at most {resident:.0} MiB resident so far")?;
    Ok(report.failures.is_empty() && resident < RESIDENT_MEBIBYTES_MAX)
}

fn replay(target: &Target, file: &Path) -> Result<bool> {
    let input = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let result = run_caught(&target.run, &input);
    match &result {
        Ok(()) => writeln!(std::io::stdout(), "{}: nothing wrong", target.name)?,
        Err(fault) => writeln!(
            std::io::stdout(),
            "{}: {}: {}",
            target.name,
            fault.what,
            fault.details
        )?,
    }
    Ok(result.is_ok())
}
