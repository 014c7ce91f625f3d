//! A whole bridge of real processes: one control plane, any number of nodes, one temporary folder.
//!
//! Each process can be killed, ended and started again on the same data and the same ports.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::admin::{self, Admin};
use crate::anthropic::Client;
use crate::process::{Process, Program, binary, free_port};
use crate::wait;

pub struct Bridge {
    control: ControlPlane,
    nodes: Vec<Node>,
    // Last, so that the processes are gone before their folder is.
    folder: TempDir,
}

pub struct ControlPlane {
    folder: PathBuf,
    admin_port: u16,
    fleet_port: u16,
    ops_port: u16,
    extra_environment: Vec<(&'static str, String)>,
    process: Option<Process>,
}

pub struct Node {
    folder: PathBuf,
    name: String,
    port: u16,
    ops_port: u16,
    fleet_port: u16,
    extra_environment: Vec<(&'static str, String)>,
    /// What it is started with, if not by itself.
    prefix: Vec<String>,
    process: Option<Process>,
}

// === impl Bridge ===

impl Bridge {
    /// A ready control plane with `nodes` nodes that hold its first snapshot.
    pub async fn start(nodes: usize) -> Result<Self> {
        Self::start_with(nodes, Vec::new()).await
    }

    /// The same, with more variables for the control plane.
    pub async fn start_with(nodes: usize, extra_environment: Vec<(&'static str, String)>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut bridge = Self {
            control: ControlPlane::lay_out(folder.path(), extra_environment)?,
            nodes: Vec::new(),
            folder,
        };
        bridge.control.start().await?;
        for _ in 0..nodes {
            bridge.add_node().await?;
        }
        Ok(bridge)
    }

    pub fn control(&mut self) -> &mut ControlPlane {
        &mut self.control
    }

    pub fn node(&mut self, index: usize) -> Result<&mut Node> {
        self.nodes.get_mut(index).context("there is no such node")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts one more node and waits until it holds a snapshot.
    pub async fn add_node(&mut self) -> Result<()> {
        self.add_node_behind(self.control.fleet_port).await
    }

    /// The same, with another way to the control plane.
    pub async fn add_node_behind(&mut self, fleet_port: u16) -> Result<()> {
        Box::pin(self.add(fleet_port, Vec::new(), Vec::new())).await
    }

    /// The same, with more variables for the node.
    pub async fn add_node_with(&mut self, extra_environment: Vec<(&'static str, String)>) -> Result<()> {
        Box::pin(self.add(self.control.fleet_port, extra_environment, Vec::new())).await
    }

    /// The same, started by another program whose last arguments are the node's.
    pub async fn add_node_by(&mut self, prefix: Vec<String>) -> Result<()> {
        Box::pin(self.add(self.control.fleet_port, Vec::new(), prefix)).await
    }

    async fn add(
        &mut self,
        fleet_port: u16,
        extra_environment: Vec<(&'static str, String)>,
        prefix: Vec<String>,
    ) -> Result<()> {
        let name = format!("node-{}", self.nodes.len());
        let mut node = Node::lay_out(self.folder.path(), name, fleet_port)?;
        node.extra_environment = extra_environment;
        node.prefix = prefix;
        node.start()?;
        node.wait_until_ready().await?;
        self.nodes.push(node);
        Ok(())
    }

    /// Lays out one more node without starting it.
    pub fn add_stopped_node(&mut self) -> Result<&mut Node> {
        let name = format!("node-{}", self.nodes.len());
        let node = Node::lay_out(self.folder.path(), name, self.control.fleet_port)?;
        self.nodes.push(node);
        self.nodes.last_mut().context("a node was just added")
    }

    /// The same, with another way to the control plane and more variables.
    pub fn add_stopped_node_behind(
        &mut self,
        fleet_port: u16,
        extra_environment: Vec<(&'static str, String)>,
    ) -> Result<&mut Node> {
        let node = self.add_stopped_node()?;
        node.fleet_port = fleet_port;
        node.extra_environment = extra_environment;
        Ok(node)
    }

    pub async fn admin(&self) -> Result<Admin> {
        Admin::login(&self.control.admin_address()).await
    }

    /// A client of one node; without a key it sends none.
    pub fn client(&self, node: usize, key: &str) -> Result<Client> {
        let node = self.nodes.get(node).context("there is no such node")?;
        Ok(Client::new(&node.base_url(), key))
    }

    /// A new key that every node already accepts: whatever was changed before it is there too.
    pub async fn accepted_key(&self, admin: &Admin) -> Result<String> {
        let (key, _) = admin.create_key("scenario").await?;
        self.wait_until_accepted(&key).await?;
        Ok(key)
    }

    pub async fn wait_until_accepted(&self, key: &str) -> Result<()> {
        // Whatever else is wrong with the request: the key was not.
        self.wait_for_key("accept", key, |status| ![401, 503].contains(&status))
            .await
    }

    pub async fn wait_until_refused(&self, key: &str) -> Result<()> {
        self.wait_for_key("refuse", key, |status| status == 401).await
    }

    async fn wait_for_key(&self, verb: &str, key: &str, is_done: impl Fn(u16) -> bool) -> Result<()> {
        for node in &self.nodes {
            let client = Client::new(&node.base_url(), key);
            let what = format!("{} to {verb} a key", node.name);
            wait::until(&what, || async {
                let answer = client.try_key().await.ok()?;
                is_done(answer.status).then_some(())
            })
            .await?;
        }
        Ok(())
    }
}

// === impl ControlPlane ===

impl ControlPlane {
    fn lay_out(folder: &Path, extra_environment: Vec<(&'static str, String)>) -> Result<Self> {
        Ok(Self {
            folder: folder.to_owned(),
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
            ("DATABASE_PATH", file("data/control-plane")),
            ("MASTER_KEY_FILE", file("master-key")),
            ("NODE_TOKEN_FILE", file("node-token")),
            ("PROVIDER_CONFIG_PATH", file("provider.json")),
            ("ADMIN_EMAIL", admin::EMAIL.to_owned()),
            ("ADMIN_PASSWORD", admin::PASSWORD.to_owned()),
            ("LOG_LEVEL", "debug".to_owned()),
        ];
        environment.extend(self.extra_environment.iter().cloned());
        let process = Process::start(Program {
            name: "control-plane",
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

    pub fn kill(&mut self) -> Result<()> {
        self.process()?.kill()?;
        self.process = None;
        Ok(())
    }
}

// === impl Node ===

impl Node {
    fn lay_out(folder: &Path, name: String, fleet_port: u16) -> Result<Self> {
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
        let metrics = self.metrics().await?;
        let found = metrics
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let found = found.with_context(|| format!("there is no metric {name}"))?;
        Ok(found.trim().parse()?)
    }

    pub fn metrics_url(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.ops_port)
    }

    pub async fn metrics(&self) -> Result<String> {
        Ok(reqwest::get(self.metrics_url()).await?.text().await?)
    }

    pub fn kill(&mut self) -> Result<()> {
        self.process()?.kill()?;
        self.process = None;
        Ok(())
    }
}

async fn status_of(url: &str) -> Option<u16> {
    Some(reqwest::get(url).await.ok()?.status().as_u16())
}

async fn wait_until_ready(ops_port: u16, process: &mut Process) -> Result<()> {
    let url = format!("http://127.0.0.1:{ops_port}/readyz");
    let started = std::time::Instant::now();
    while status_of(&url).await != Some(200) {
        if let Some(status) = process.exit_status()? {
            bail!("ended at start with {status}\n{}", process.log_tail());
        }
        if started.elapsed() > wait::DEADLINE {
            bail!("never became ready\n{}", process.log_tail());
        }
        tokio::time::sleep(wait::POLL_INTERVAL).await;
    }
    Ok(())
}
