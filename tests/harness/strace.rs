//! Looks at the system calls of a process, and does something at one of them: so it can be
//! killed between any two steps that it takes, or lose its disk, without a word of it in its
//! own code.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Result, ensure};

use crate::wait;

const PROGRAM: &str = "strace";
/// What it says once every thread is its own.
const ATTACHED: &str = "attached";

/// The process goes on alone when this is dropped.
pub struct Strace {
    child: Child,
    log: PathBuf,
}

/// What happens at a system call.
#[derive(Debug, Clone, Copy)]
pub enum Trouble<'a> {
    /// The process is killed before the call is done, at this one of those that one thread makes.
    Kill { call: &'a str, number: usize },
    /// All of them fail.
    Fail { call: &'a str, error: &'a str },
}

impl Strace {
    /// Looks at these calls of a process. `None`, and one line that says why, where nobody may.
    pub async fn attach(
        pid: u32,
        calls: &[&str],
        trouble: Option<Trouble<'_>>,
        folder: &Path,
    ) -> Result<Option<Self>> {
        let (log, said) = (folder.join("strace.log"), folder.join("strace.said"));
        let mut command = Command::new(PROGRAM);
        command
            .args(["-f", "-s", "0", "-p", &pid.to_string(), "-o"])
            .arg(&log);
        command.arg("-e").arg(format!("trace={}", calls.join(",")));
        let injected = trouble.map(|trouble| match trouble {
            Trouble::Kill { call, number } => format!("inject={call}:signal=KILL:when={number}"),
            Trouble::Fail { call, error } => format!("inject={call}:error={error}"),
        });
        if let Some(injected) = injected {
            command.args(["-e", &injected]);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&said)?);
        let Ok(child) = command.spawn() else {
            eprintln!("skipped: there is no {PROGRAM}");
            return Ok(None);
        };
        let mut strace = Self { child, log };
        let is_attached = wait::until("strace to look", || {
            let has_ended = strace.child.try_wait().ok().flatten().is_some();
            let is_attached = fs::read_to_string(&said).is_ok_and(|said| said.contains(ATTACHED));
            async move { (is_attached || has_ended).then_some(is_attached) }
        })
        .await?;
        if !is_attached {
            eprintln!("skipped: {}", fs::read_to_string(&said)?.trim());
            return Ok(None);
        }
        Ok(Some(strace))
    }

    /// How many of each call the busiest thread has made.
    pub fn counts(mut self) -> Result<BTreeMap<String, usize>> {
        self.end()?;
        let mut threads = BTreeMap::<(String, String), usize>::new();
        for line in fs::read_to_string(&self.log)?.lines() {
            let mut words = line.split_whitespace();
            let (Some(thread), Some(rest)) = (words.next(), words.next()) else {
                continue;
            };
            // Anything else tells of the end of a call, of a signal, or of a thread.
            let Some((call, _)) = rest.split_once('(') else {
                continue;
            };
            *threads.entry((call.to_owned(), thread.to_owned())).or_default() += 1;
        }
        let mut counts = BTreeMap::new();
        for ((call, _), count) in threads {
            let most: &mut usize = counts.entry(call).or_default();
            *most = count.max(*most);
        }
        Ok(counts)
    }

    fn end(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            // Asked, it lets go of the process; killed, it might take it along.
            let asked = Command::new("kill")
                .args(["-s", "INT", &self.child.id().to_string()])
                .status()?;
            ensure!(asked.success(), "{PROGRAM} cannot be ended");
            self.child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // Nobody is there to be told.
        self.end().ok();
    }
}
