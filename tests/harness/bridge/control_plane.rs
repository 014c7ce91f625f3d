//! The control plane of a bridge.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{metric, wait_until_ready};
use crate::admin;
use crate::process::{Process, Program, binary, free_port};

pub struct ControlPlane {
    folder: PathBuf,
    name: String,
    database: Database,
    admin_port: u16,
    pub(super) fleet_port: u16,
    ops_port: u16,
    extra_environment: Vec<(&'static str, String)>,
    process: Option<Process>,
}

/// Where a control plane keeps what it knows.
#[derive(Clone)]
pub(super) enum Database {
    /// In the folder of the bridge.
    Folder,
    Postgres {
        url: String,
    },
}

impl ControlPlane {
    pub(super) fn lay_out(
        folder: &Path,
        name: String,
        database: Database,
        extra_environment: Vec<(&'static str, String)>,
    ) -> Result<Self> {
        Ok(Self {
            folder: folder.to_owned(),
            name,
            database,
            admin_port: free_port()?,
            fleet_port: free_port()?,
            ops_port: free_port()?,
            extra_environment,
            process: None,
        })
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

    /// Starts it without waiting for anything.
    pub fn spawn(&mut self) -> Result<()> {
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
        environment.push(match &self.database {
            Database::Folder => ("DATABASE_PATH", file("data/control-plane")),
            Database::Postgres { url } => ("DATABASE_URL", url.clone()),
        });
        environment.extend(self.extra_environment.iter().cloned());
        let process = Process::start(Program {
            name: &self.name,
            binary: &binary("bridge-control-plane")?,
            arguments: Vec::new(),
            environment,
            directory: &self.folder,
        })?;
        self.process = Some(process);
        Ok(())
    }

    pub async fn wait_until_ready(&mut self) -> Result<()> {
        let ops_port = self.ops_port;
        wait_until_ready(ops_port, self.process()?).await
    }

    /// One figure of its metrics, without labels.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        metric(self.ops_port, name).await
    }

    pub fn kill(&mut self) -> Result<()> {
        self.process()?.kill()?;
        self.process = None;
        Ok(())
    }
}
