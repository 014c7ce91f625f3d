//! One data plane of a bridge.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{metric, status_of, wait_until_ready};
use crate::canary;
use crate::plain_http;
use crate::ports::free_port;
use crate::process::{Process, Program, binary};
use crate::wait;

pub struct Node {
    folder: PathBuf,
    pub(super) name: String,
    port: u16,
    ops_port: u16,
    pub(super) fleet_port: u16,
    pub(super) extra_environment: Vec<(&'static str, String)>,
    /// What it is started with, if not by itself.
    pub(super) prefix: Vec<String>,
    process: Option<Process>,
}

impl Node {
    pub(super) fn lay_out(folder: &Path, name: String, fleet_port: u16) -> Result<Self> {
        Ok(Self {
            folder: folder.to_owned(),
            name,
            port: free_port()?,
            ops_port: free_port()?,
            fleet_port,
            extra_environment: Vec::new(),
            prefix: Vec::new(),
            process: None,
        })
    }

    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Another way to the control plane, from its next start on.
    pub fn set_fleet_port(&mut self, fleet_port: u16) {
        self.fleet_port = fleet_port;
    }

    /// Another program that starts it, from its next start on; its last arguments are the node's.
    pub fn set_prefix(&mut self, prefix: Vec<String>) {
        self.prefix = prefix;
    }

    /// The variables that it is started with.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut environment = vec![
            ("HOST", "127.0.0.1".to_owned()),
            ("PORT", self.port.to_string()),
            ("OPS_LISTEN", format!("127.0.0.1:{}", self.ops_port)),
            (
                "CONTROL_PLANE_URL",
                format!("http://127.0.0.1:{}", self.fleet_port),
            ),
            (
                "NODE_TOKEN_FILE",
                self.folder.join("node-token").display().to_string(),
            ),
            ("NODE_ID", self.name.clone()),
            // No balancer stands in front that would have to notice first.
            ("DRAIN_DELAY_S", "0".to_owned()),
            ("LOG_LEVEL", "debug".to_owned()),
        ];
        environment.extend(self.extra_environment.iter().cloned());
        if canary::is_wanted() {
            environment.push(("LOG_LEVEL", "trace".to_owned()));
        }
        environment
    }

    /// Where it runs and keeps what it keeps.
    pub fn directory(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    pub fn process(&mut self) -> Result<&mut Process> {
        let name = &self.name;
        let process = self.process.as_mut();
        process.with_context(|| format!("{name} is not running"))
    }

    /// Starts it without waiting for anything.
    pub fn start(&mut self) -> Result<()> {
        let directory = self.directory();
        std::fs::create_dir_all(&directory)?;
        let environment = self.environment();
        let node = binary("bridge-data-plane")?;
        let mut words = self.prefix.clone();
        words.push(node.display().to_string());
        let program = words.remove(0);
        let process = Process::start(Program {
            name: &self.name,
            binary: Path::new(&program),
            arguments: words,
            environment,
            directory: &directory,
        })?;
        self.process = Some(process);
        Ok(())
    }

    pub async fn wait_until_ready(&mut self) -> Result<()> {
        let ops_port = self.ops_port;
        wait_until_ready(ops_port, self.process()?).await
    }

    /// Waits until it listens, ready or not.
    pub async fn wait_until_live(&mut self) -> Result<()> {
        let url = format!("http://127.0.0.1:{}/livez", self.ops_port);
        let what = format!("{} to be live", self.name);
        wait::until(&what, || async {
            status_of(&url).await.filter(|status| *status == 200)
        })
        .await?;
        Ok(())
    }

    /// The status of `/readyz`; `None` if nothing answers.
    pub async fn readiness(&self) -> Option<u16> {
        status_of(&self.ready_url()).await
    }

    /// Where it tells whether it is ready.
    pub fn ready_url(&self) -> String {
        format!("http://127.0.0.1:{}/readyz", self.ops_port)
    }

    /// One figure of its metrics, without labels.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        metric(self.ops_port, name).await
    }

    pub fn metrics_url(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.ops_port)
    }

    pub async fn metrics(&self) -> Result<String> {
        Ok(plain_http::get(self.metrics_url()).await?.text().await?)
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
