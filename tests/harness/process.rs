//! One child process: started with a clean environment, its output in a file, gone with its handle.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

use crate::wait;

/// How much of a log a failed test shows.
const LOG_TAIL_BYTES: usize = 12 * 1024;

pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// What to start; the environment holds these variables and no others.
pub struct Program<'a> {
    pub name: &'a str,
    pub binary: &'a Path,
    pub arguments: Vec<String>,
    pub environment: Vec<(&'static str, String)>,
    pub directory: &'a Path,
}

// === impl Process ===

impl Process {
    /// Starts a program; its output is appended to `NAME.log` in its directory.
    pub fn start(program: Program<'_>) -> Result<Self> {
        let Program {
            name,
            binary,
            arguments,
            environment,
            directory,
        } = program;
        let log = directory.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        let child = Command::new(binary)
            .args(arguments)
            .env_clear()
            .envs(environment)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    pub fn signal(&self, signal: &str) -> Result<()> {
        let pid = self.pid().to_string();
        let status = Command::new("kill").args(["-s", signal, &pid]).status()?;
        if !status.success() {
            bail!("cannot send {signal} to {}", self.name);
        }
        Ok(())
    }

    /// SIGTERM, and waits until it has ended by itself.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal("TERM")?;
        self.wait_for_exit().await
    }

    pub async fn wait_for_exit(&mut self) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        let child = std::sync::Mutex::new(&mut self.child);
        wait::until(&what, || async { child.lock().ok()?.try_wait().ok()? }).await
    }

    /// `Some` once it has ended.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    pub fn log_text(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn log_tail(&self) -> String {
        let text = self.log_text();
        let start = text.len().saturating_sub(LOG_TAIL_BYTES);
        let start = text.ceil_char_boundary(start);
        format!("--- log of {} ---\n{}", self.name, &text[start..])
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell about any other failure.
        self.child.kill().ok();
        self.child.wait().ok();
        // The test runner shows this only if the test fails.
        eprintln!("{}", self.log_tail());
    }
}

/// A built binary of this workspace: it lies where the test itself was built.
pub fn binary(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let candidates = test.ancestors().skip(1).take(2);
    let found = candidates.map(|directory| directory.join(name));
    found.into_iter().find(|path| path.is_file()).with_context(|| {
        format!("{name} is not built beside this test; run `cargo build --workspace` first (tests/run does)")
    })
}
