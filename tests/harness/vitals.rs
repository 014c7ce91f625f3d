//! What a process costs, read from `/proc`.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The kernel counts processor time in hundredths of a second.
const MS_PER_TICK: f64 = 10.0;
const NS_PER_MS: f64 = 1e6;

#[derive(Clone, Copy, Debug)]
pub struct Vitals {
    pub resident_bytes: u64,
    pub descriptors: usize,
    pub threads: usize,
    /// User and system time so far.
    pub processor_ms: f64,
}

impl Vitals {
    pub fn of(pid: u32) -> Result<Self> {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let status = std::fs::read_to_string(folder.join("status"))?;
        let resident_kibibytes: u64 = field(&status, "VmRSS:")?;
        Ok(Self {
            resident_bytes: resident_kibibytes * 1024,
            descriptors: std::fs::read_dir(folder.join("fd"))?.count(),
            threads: field(&status, "Threads:")?,
            processor_ms: processor_ms(&folder)?,
        })
    }

    pub fn resident_mebibytes(&self) -> f64 {
        mebibytes(self.resident_bytes)
    }
}

impl fmt::Display for Vitals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            resident_bytes: _,
            descriptors,
            threads,
            processor_ms,
        } = self;
        write!(
            f,
            "{:.1} MiB resident, {descriptors} descriptors, {threads} threads, {:.1} s of processor time",
            self.resident_mebibytes(),
            processor_ms / 1000.0
        )
    }
}

pub fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

/// The most memory that a process had at any time so far.
pub fn peak_resident_bytes(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kibibytes: u64 = field(&status, "VmHWM:")?;
    Ok(kibibytes * 1024)
}

/// For how long the threads that a process has wanted a processor so far, whether or not they got it: on a
/// busy machine even who spins gets little.
pub fn runnable_ms(pid: u32) -> Result<f64> {
    let mut sum_ns = 0.0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end while we look.
        let Ok(told) = std::fs::read_to_string(thread?.path().join("schedstat")) else {
            continue;
        };
        // On a processor, and in the queue for one.
        for time_ns in told.split_whitespace().take(2) {
            sum_ns += time_ns.parse::<f64>()?;
        }
    }
    Ok(sum_ns / NS_PER_MS)
}

/// The first word behind `name`.
fn field<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    status: &str,
    name: &str,
) -> Result<T> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|line| line.split_whitespace().next());
    let word = word.with_context(|| format!("no {name} in a process's status"))?;
    Ok(word.parse()?)
}

fn processor_ms(folder: &Path) -> Result<f64> {
    let stat = std::fs::read_to_string(folder.join("stat"))?;
    let (_, after_name) = stat.rsplit_once(')').context("a stat line")?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks =
        |index: usize| -> Result<f64> { Ok(fields.get(index).context("a stat field")?.parse::<f64>()?) };
    Ok((ticks(11)? + ticks(12)?) * MS_PER_TICK)
}
