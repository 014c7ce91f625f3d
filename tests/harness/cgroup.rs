//! A control group of a test's own, so that a limit that a machine would set can be had on
//! any machine. Needs root and the first version of control groups, as containers have them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

const MOUNT: &str = "/sys/fs/cgroup";
/// Short, so that a process that has used up its share waits for milliseconds only.
const PERIOD_US: u64 = 4_000;
/// The largest weight there is.
const SHARES_MAX: u64 = 1 << 18;

/// Dropping it moves its processes to the root and removes it.
pub struct Cgroup {
    controller: &'static str,
    folder: PathBuf,
}

// === impl Cgroup ===

impl Cgroup {
    /// So much of one processor for all its processes together, which they have as soon as they
    /// want it: others wait, so that what is measured is this share and not the others' work.
    pub fn cpu(share: f64) -> Result<Self> {
        let group = Self::create("cpu")?;
        group.set("cpu.cfs_period_us", PERIOD_US)?;
        group.set("cpu.cfs_quota_us", (share * PERIOD_US as f64) as u64)?;
        group.set("cpu.shares", SHARES_MAX)?;
        Ok(group)
    }

    /// So much memory for all its processes together.
    pub fn memory(bytes: u64) -> Result<Self> {
        let group = Self::create("memory")?;
        group.set("memory.limit_in_bytes", bytes)?;
        Ok(group)
    }

    /// Whom to start a program with so that it is in the group from its first moment.
    pub fn entrance(&self) -> Vec<String> {
        let members = self.folder.join("cgroup.procs").display().to_string();
        let script = "echo $$ > \"$0\" && exec \"$@\"".to_owned();
        vec!["/bin/sh".to_owned(), "-c".to_owned(), script, members]
    }

    /// The most that a memory group has held.
    pub fn peak_bytes(&self) -> Result<u64> {
        let text = std::fs::read_to_string(self.folder.join("memory.max_usage_in_bytes"))?;
        Ok(text.trim().parse()?)
    }

    fn create(controller: &'static str) -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("bridge-tests-{}-{number}", std::process::id());
        let folder = PathBuf::from(MOUNT).join(controller).join(name);
        std::fs::create_dir(&folder).with_context(|| {
            format!("cannot make a {controller} control group: this needs root and the first version of them")
        })?;
        Ok(Self { controller, folder })
    }

    /// Moves a process into it, with all its threads.
    pub fn add(&self, pid: u32) -> Result<()> {
        self.set("cgroup.procs", pid.into())
    }

    fn set(&self, file: &str, value: u64) -> Result<()> {
        let path = self.folder.join(file);
        std::fs::write(&path, value.to_string()).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let members = std::fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        let root = PathBuf::from(MOUNT).join(self.controller).join("cgroup.procs");
        for pid in members.lines() {
            // It may have ended by itself.
            std::fs::write(&root, pid).ok();
        }
        if let Err(error) = std::fs::remove_dir(&self.folder) {
            eprintln!("{} stays behind: {error}", self.folder.display());
        }
    }
}
