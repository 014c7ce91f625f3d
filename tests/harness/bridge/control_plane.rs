//! The control plane of a bridge.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::store::Store;
use super::{metric, wait_until_ready};
use crate::admin;
use crate::canary;
use crate::ports::free_port;
use crate::process::{Process, Program, binary};

pub struct ControlPlane {
    folder: PathBuf,
    name: String,
    store: Store,
    admin_port: u16,
    pub(super) fleet_port: u16,
    ops_port: u16,
    extra_environment: Vec<(&'static str, String)>,
    /// What it is started with, if not by itself.
    pub(super) prefix: Vec<String>,
    process: Option<Process>,
}

/// How a subcommand ended.
#[derive(Debug)]
pub struct Ran {
    pub is_good: bool,
    /// Standard output.
    pub told: String,
    /// Standard error.
    pub log: String,
}

impl ControlPlane {
    pub(super) fn lay_out(
        folder: &Path,
        name: String,
        store: Store,
        extra_environment: Vec<(&'static str, String)>,
    ) -> Result<Self> {
        Ok(Self {
            folder: folder.to_owned(),
            name,
            store,
            admin_port: free_port()?,
            fleet_port: free_port()?,
            ops_port: free_port()?,
            extra_environment,
            prefix: Vec::new(),
            process: None,
        })
    }

    /// The variables that it has beside those of every control plane.
    pub(super) fn extra_environment(&self) -> Vec<(&'static str, String)> {
        self.extra_environment.clone()
    }

    /// From its next start on.
    pub(super) fn keep_in(&mut self, store: Store) {
        self.store = store;
    }

    /// Other variables for its next start.
    pub fn set_environment(&mut self, extra_environment: Vec<(&'static str, String)>) {
        self.extra_environment = extra_environment;
    }

    pub fn admin_address(&self) -> String {
        format!("127.0.0.1:{}", self.admin_port)
    }

    pub fn fleet_address(&self) -> String {
        format!("127.0.0.1:{}", self.fleet_port)
    }

    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("the control plane is not running")
    }

    /// Starts it, again on the same data if there is any, and waits until it is ready.
    pub async fn start(&mut self) -> Result<()> {
        self.spawn()?;
        self.wait_until_ready().await
    }

    /// Runs a subcommand to its end, with this installation's configuration and more.
    pub async fn run(&self, arguments: &[&str], more: &[(&'static str, &str)]) -> Result<Ran> {
        let mut command = Command::new(binary("bridge-control-plane")?);
        command.args(arguments).env_clear().current_dir(&self.folder);
        command.envs(self.environment()).envs(more.iter().copied());
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        Ok(Ran {
            is_good: output.status.success(),
            told: String::from_utf8(output.stdout)?,
            log: String::from_utf8(output.stderr)?,
        })
    }

    /// Starts it without waiting for anything.
    pub fn spawn(&mut self) -> Result<()> {
        let mut words = self.prefix.clone();
        words.push(binary("bridge-control-plane")?.display().to_string());
        let program = words.remove(0);
        let process = Process::start(Program {
            name: &self.name,
            binary: Path::new(&program),
            arguments: words,
            environment: self.environment(),
            directory: &self.folder,
        })?;
        self.process = Some(process);
        Ok(())
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let mut environment = vec![
            ("ADMIN_LISTEN", self.admin_address()),
            ("FLEET_LISTEN", self.fleet_address()),
            ("OPS_LISTEN", format!("127.0.0.1:{}", self.ops_port)),
            ("MASTER_KEY_FILE", file("master-key")),
            ("NODE_TOKEN_FILE", file("node-token")),
            ("PROVIDER_CONFIG_PATH", file("provider.json")),
            ("ADMIN_EMAIL", admin::EMAIL.to_owned()),
            ("ADMIN_PASSWORD", admin::PASSWORD.to_owned()),
            ("LOG_LEVEL", "debug".to_owned()),
        ];
        environment.push(self.store.variable(&self.folder));
        environment.extend(self.extra_environment.iter().cloned());
        if canary::is_wanted() {
            environment.push(("LOG_LEVEL", "trace".to_owned()));
        }
        environment
    }

    pub async fn wait_until_ready(&mut self) -> Result<()> {
        let ops_port = self.ops_port;
        wait_until_ready(ops_port, self.process()?).await
    }

    pub fn metrics_url(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.ops_port)
    }

    /// One figure of its metrics, without labels.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        metric(self.ops_port, name).await
    }

    /// Where its metrics are, if it runs.
    pub(super) fn running_at(&mut self) -> Option<u16> {
        let process = self.process.as_mut()?;
        matches!(process.exit_status(), Ok(None)).then_some(self.ops_port)
    }

    pub fn kill(&mut self) -> Result<()> {
        self.process()?.kill()?;
        self.process = None;
        Ok(())
    }
}
