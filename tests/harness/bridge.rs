//! A whole bridge of real processes: one control plane, any number of nodes, one temporary folder.
//!
//! Each process can be killed, ended and started again on the same data and the same ports.

mod control_plane;
mod leaks;
mod node;
mod store;

use std::path::Path;

use anyhow::{Context, Result, bail};
use bridge_throwaway_postgres::Database;
use tempfile::TempDir;

use crate::admin::Admin;
use crate::anthropic::Client;
use crate::canary;
use crate::namespace;
use crate::plain_http;
use crate::process::Process;
use crate::wait;

pub use control_plane::ControlPlane;
pub use node::Node;
use store::Store;

pub struct Bridge {
    control: Box<ControlPlane>,
    replicas: Vec<ControlPlane>,
    nodes: Vec<Node>,
    store: Store,
    // Last, so that the processes are gone before their folder is.
    folder: TempDir,
}

impl Bridge {
    /// A ready control plane with `nodes` nodes that hold its first snapshot.
    pub async fn start(nodes: usize) -> Result<Self> {
        Self::start_with(nodes, Vec::new()).await
    }

    /// The same, with more variables for the control plane.
    pub async fn start_with(nodes: usize, extra_environment: Vec<(&'static str, String)>) -> Result<Self> {
        Box::pin(Self::start_on(Store::chosen()?, nodes, extra_environment)).await
    }

    /// One that keeps what it knows in a folder; `None`, and one line, where everything is tried on
    /// another store: for what is about the files themselves.
    pub async fn start_on_folder(nodes: usize) -> Result<Option<Self>> {
        let Store::Folder = Store::chosen()? else {
            eprintln!("skipped: it is about the files of a folder, and the store is PostgreSQL");
            return Ok(None);
        };
        Ok(Some(
            Box::pin(Self::start_on(Store::Folder, nodes, Vec::new())).await?,
        ))
    }

    /// One whose folder of data is a disk of so many KiB, which is gone with the process; `None` where there
    /// can be none.
    pub async fn start_on_small_disk(kib: u32) -> Result<Option<Self>> {
        let mut bridge = Self::lay_out(Store::Folder, Vec::new())?;
        let Some(prefix) = namespace::small_disk(&bridge.folder().join("data"), kib)? else {
            return Ok(None);
        };
        bridge.control.prefix = prefix;
        bridge.control.start().await?;
        Ok(Some(bridge))
    }

    /// The same on PostgreSQL, where further control planes can join it; `None` where there is none.
    pub async fn start_on_postgres(nodes: usize) -> Result<Option<Self>> {
        Self::start_on_postgres_with(nodes, Vec::new()).await
    }

    /// The same, with more variables for all control planes.
    pub async fn start_on_postgres_with(
        nodes: usize,
        extra_environment: Vec<(&'static str, String)>,
    ) -> Result<Option<Self>> {
        match Store::postgres()? {
            Some(store) => Ok(Some(
                Box::pin(Self::start_on(store, nodes, extra_environment)).await?,
            )),
            None => Ok(None),
        }
    }

    async fn start_on(
        store: Store,
        nodes: usize,
        extra_environment: Vec<(&'static str, String)>,
    ) -> Result<Self> {
        let mut bridge = Self::lay_out(store, extra_environment)?;
        bridge.control.start().await?;
        for _ in 0..nodes {
            bridge.add_node().await?;
        }
        Ok(bridge)
    }

    fn lay_out(store: Store, extra_environment: Vec<(&'static str, String)>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let name = "control-plane".to_owned();
        Ok(Self {
            control: Box::new(ControlPlane::lay_out(
                folder.path(),
                name,
                store.clone(),
                extra_environment,
            )?),
            replicas: Vec::new(),
            nodes: Vec::new(),
            store,
            folder,
        })
    }

    /// Starts one more control plane on the same database.
    pub async fn add_replica(&mut self) -> Result<&mut ControlPlane> {
        self.add_replica_with(Vec::new()).await
    }

    /// The same, with more variables for it alone.
    pub async fn add_replica_with(&mut self, more: Vec<(&'static str, String)>) -> Result<&mut ControlPlane> {
        let name = format!("control-plane-{}", self.replicas.len() + 2);
        let mut environment = self.control.extra_environment();
        environment.extend(more);
        let mut replica = ControlPlane::lay_out(self.folder.path(), name, self.store.clone(), environment)?;
        replica.start().await?;
        self.replicas.push(replica);
        self.replicas.last_mut().context("a replica was just added")
    }

    pub fn replica(&mut self, index: usize) -> Result<&mut ControlPlane> {
        self.replicas.get_mut(index).context("there is no such replica")
    }

    pub fn control(&mut self) -> &mut ControlPlane {
        &mut self.control
    }

    /// Its database, if it has one.
    pub fn database(&self) -> Option<&Database> {
        self.store.database()
    }

    /// What the control plane kept is out of its reach: at its next start it finds an empty place.
    pub fn set_store_aside(&mut self) -> Result<()> {
        self.store = self.store.set_aside(self.folder.path())?;
        self.control.keep_in(self.store.clone());
        Ok(())
    }

    /// Whether the control plane has made something of its place.
    pub fn is_store_made(&self) -> Result<bool> {
        self.store.is_made(self.folder.path())
    }

    /// Everything that the control plane keeps lies in the folder of the bridge, for whoever looks for something in it.
    pub fn show_store(&self) -> Result<()> {
        self.store.show(self.folder.path())
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

/// One figure of a process's metrics, without labels.
async fn metric(ops_port: u16, name: &str) -> Result<f64> {
    let url = format!("http://127.0.0.1:{ops_port}/metrics");
    let metrics = plain_http::get(url).await?.text().await?;
    let found = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let found = found.with_context(|| format!("there is no metric {name}"))?;
    Ok(found.trim().parse()?)
}

async fn status_of(url: &str) -> Option<u16> {
    Some(plain_http::get(url).await.ok()?.status().as_u16())
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

impl Drop for Bridge {
    fn drop(&mut self) {
        // A test that has failed has something else to say.
        if canary::is_wanted() && !std::thread::panicking() {
            leaks::search(self);
        }
    }
}
