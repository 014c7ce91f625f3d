//! Fuzzes translation on stable Rust, at any length:
//! `cargo run --release --bin fuzz -- --inputs 1000000`.
//!
//! An input is made from a seed and its number alone, so a failure can be made again
//! from two figures. Needs no sanitizer, since the code under test has no `unsafe`.

mod campaign;
mod fixtures;
mod mutate;
mod spans;
mod targets;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;

use campaign::{Campaign, Mark, Report, catch_panics, run_caught};
use fixtures::Fixtures;
use targets::{TARGETS, Target};

/// An input that is at work for so long will never end.
const HANG_TIME: Duration = Duration::from_secs(20);
/// The stack that translation has in the data plane's worker threads.
const STACK_BYTES: usize = 2 * 1024 * 1024;
const RESIDENT_MEBIBYTES_MAX: f64 = 512.0;

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
    let is_wanted = |target: &&Target| arguments.target.as_ref().is_none_or(|name| name == target.name);
    let targets: Vec<&'static Target> = TARGETS.iter().filter(is_wanted).collect();
    ensure!(!targets.is_empty(), "no such target");
    catch_panics();
    std::fs::create_dir_all(&arguments.folder)?;
    let mut is_clean = true;
    for target in targets {
        is_clean &= match &arguments.replay {
            Some(file) => replay(target, file)?,
            None => watch(target, &arguments)?,
        };
    }
    Ok(if is_clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs a campaign in a thread, so that one that hangs can be reported.
fn watch(target: &'static Target, arguments: &Arguments) -> Result<bool> {
    let mark = Arc::new(Mark::create(
        &arguments.folder.join(format!("{}.number", target.name)),
    )?);
    let (done, report) = mpsc::channel();
    let campaign = {
        let (mark, folder) = (mark.clone(), arguments.folder.clone());
        let (seed, first, inputs) = (arguments.seed, arguments.first, arguments.inputs);
        let time_max = Duration::from_secs(arguments.seconds_max);
        move || -> Result<Report> {
            let campaign = Campaign {
                target,
                fixtures: &Fixtures::load()?,
                seed,
                numbers: first..first.saturating_add(inputs),
                time_max,
                mark: &mark,
                folder: &folder,
            };
            campaign.run()
        }
    };
    thread::Builder::new()
        .stack_size(STACK_BYTES)
        // The receiver is gone only if this program is.
        .spawn(move || done.send(campaign()).ok())?;
    let mut before = None;
    let report = loop {
        match report.recv_timeout(HANG_TIME) {
            Ok(report) => break report?,
            Err(RecvTimeoutError::Timeout) => {
                let runs = mark.runs();
                ensure!(
                    before != Some(runs),
                    "{} hangs at input {}",
                    target.name,
                    mark.number()
                );
                before = Some(runs);
            }
            Err(RecvTimeoutError::Disconnected) => bail!("{} broke at input {}", target.name, mark.number()),
        }
    };
    let resident = resident_mebibytes_max()?;
    writeln!(std::io::stdout(), "{}: {report}", target.name)?;
    writeln!(
        std::io::stdout(),
        "{}: at most {resident:.0} MiB resident so far",
        target.name
    )?;
    Ok(report.failures.is_empty() && resident < RESIDENT_MEBIBYTES_MAX)
}

fn replay(target: &Target, file: &Path) -> Result<bool> {
    let input = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let result = run_caught(target, &Fixtures::load()?, &input);
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

/// The most memory that this process has had.
fn resident_mebibytes_max() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kibibytes.context("no VmHWM")?.parse::<f64>()? / 1024.0)
}
