//! Fuzzing on stable Rust: runs a target over inputs that are made of its seeds, catches
//! what breaks, reduces it and keeps it.
//!
//! A crate of its own, so that targets can stand beside the private code that they are
//! about: as tests of its crate, in a short form in the suite and at any length by hand.
//! An input is made from a seed and its number alone, so a failure can be made again
//! from two figures. Needs no sanitizer, since the code under test has no `unsafe`.

mod campaign;
mod mutate;
mod suite;

use std::hash::{DefaultHasher, Hasher as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use campaign::{Campaign, Mark};
pub use campaign::{Fault, Report, run_caught};
pub use mutate::Material;
pub use suite::check;

/// An input that is at work for so long will never end.
const HANG_TIME: Duration = Duration::from_secs(20);
/// The stack that the planes' worker threads have.
const STACK_BYTES: usize = 2 * 1024 * 1024;
pub const RESIDENT_MEBIBYTES_MAX: f64 = 512.0;

/// Hands any bytes to some code and checks what must hold for all of them. Fails by an error
/// or by a panic.
pub type Run = Box<dyn Fn(&[u8]) -> Result<()> + Send>;

pub struct Target {
    pub name: &'static str,
    pub material: Material,
    /// Inputs that are sound, or telling, of which others are made.
    pub seeds: Vec<Vec<u8>>,
    pub run: Run,
}

/// Which inputs, and for how long.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    /// The number of the first input.
    pub first: u64,
    pub inputs: u64,
    pub time_max: Duration,
    /// Where failing inputs go, and the slowest one.
    pub folder: PathBuf,
}

/// Runs a campaign in a thread of its own, so that one that hangs can be reported.
pub fn watch(target: Target, plan: Plan) -> Result<Report> {
    let name = target.name;
    std::fs::create_dir_all(&plan.folder)?;
    let mark = Arc::new(Mark::create(&plan.folder.join(format!("{name}.number")))?);
    let (done, report) = mpsc::channel();
    let campaign = {
        let mark = Arc::clone(&mark);
        move || Campaign { target, plan, mark }.run()
    };
    thread::Builder::new()
        .stack_size(STACK_BYTES)
        // The receiver is gone only if it gave up waiting.
        .spawn(move || done.send(campaign()).ok())?;
    let mut before = None;
    loop {
        match report.recv_timeout(HANG_TIME) {
            Ok(report) => return report,
            Err(RecvTimeoutError::Timeout) => {
                let runs = mark.runs();
                ensure!(before != Some(runs), "{name} hangs at input {}", mark.number());
                before = Some(runs);
            }
            Err(RecvTimeoutError::Disconnected) => bail!("{name} broke at input {}", mark.number()),
        }
    }
}

/// For choices beside the input (a dialect, where to cut): the same for the same input.
pub fn dice(input: &[u8]) -> SmallRng {
    let mut hasher = DefaultHasher::new();
    hasher.write(input);
    SmallRng::seed_from_u64(hasher.finish())
}

/// The most memory that this process has had.
pub fn resident_mebibytes_max() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kibibytes.context("no VmHWM")?.parse::<f64>()? / 1024.0)
}
