//! A TCP balancer as one stands before every fleet: it asks each node's `/readyz`, gives new
//! connections to ready nodes in turn, passes bytes, and leaves open connections where they are.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle};

use crate::{plain_http, wait};

const PROBE_INTERVAL: Duration = Duration::from_millis(100);
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
const SILENCES_MAX: u32 = 3;

/// Where a node serves, and where it says whether it is ready.
#[derive(Clone, Debug)]
pub struct Backend {
    pub address: String,
    pub ready_url: String,
}

/// Dropping it closes its port and every connection.
pub struct Balancer {
    address: SocketAddr,
    pool: Arc<Pool>,
    tasks: Vec<JoinHandle<()>>,
}

struct Pool {
    backends: Vec<(Backend, AtomicBool)>,
    next: AtomicUsize,
    /// New connections that no node took.
    turned_away: AtomicUsize,
    connections: Mutex<Vec<AbortHandle>>,
}

// === impl Balancer ===

impl Balancer {
    pub async fn start(backends: Vec<Backend>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("the balancer cannot listen")?;
        let address = listener.local_addr()?;
        let backends = backends.into_iter();
        let pool = Arc::new(Pool {
            backends: backends
                .map(|backend| (backend, AtomicBool::new(false)))
                .collect(),
            next: AtomicUsize::new(0),
            turned_away: AtomicUsize::new(0),
            connections: Mutex::default(),
        });
        let probes = (0..pool.backends.len()).map(|index| tokio::spawn(probe(Arc::clone(&pool), index)));
        let mut tasks: Vec<_> = probes.collect();
        tasks.push(tokio::spawn(accept(listener, Arc::clone(&pool))));
        Ok(Self { address, pool, tasks })
    }

    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn turned_away(&self) -> usize {
        self.pool.turned_away.load(Ordering::Relaxed)
    }

    /// Waits until it sees exactly so many nodes ready.
    pub async fn wait_for_ready(&self, nodes: usize) -> Result<()> {
        wait::until(&format!("the balancer to see {nodes} nodes ready"), || async {
            let is_ready = |(_, is_ready): &&(Backend, AtomicBool)| is_ready.load(Ordering::Relaxed);
            (self.pool.backends.iter().filter(is_ready).count() == nodes).then_some(())
        })
        .await
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        for connection in self.pool.connections().drain(..) {
            connection.abort();
        }
    }
}

// === impl Pool ===

impl Pool {
    fn connections(&self) -> std::sync::MutexGuard<'_, Vec<AbortHandle>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next ready node that takes a connection.
    async fn connect(&self) -> Option<TcpStream> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.backends.len();
        for turn in 0..count {
            let Some((backend, is_ready)) = self.backends.get((first + turn) % count) else {
                continue;
            };
            if !is_ready.load(Ordering::Relaxed) {
                continue;
            }
            if let Ok(stream) = TcpStream::connect(&backend.address).await {
                return Some(stream);
            }
            // Until the next probe says otherwise.
            is_ready.store(false, Ordering::Relaxed);
        }
        None
    }
}

/// Looks after one node for ever.
async fn probe(pool: Arc<Pool>, index: usize) {
    let http = plain_http::client();
    let Some((backend, is_ready)) = pool.backends.get(index) else {
        return;
    };
    let mut silences = 0;
    loop {
        let answer = http.get(&backend.ready_url).timeout(PROBE_TIMEOUT).send().await;
        match answer {
            Ok(answer) => {
                silences = 0;
                is_ready.store(answer.status().is_success(), Ordering::Relaxed);
            }
            // A busy node is late; several times in a row, or refused, it is gone.
            Err(error) => {
                silences += 1;
                if error.is_connect() || silences >= SILENCES_MAX {
                    is_ready.store(false, Ordering::Relaxed);
                }
            }
        }
        tokio::time::sleep(PROBE_INTERVAL).await;
    }
}

async fn accept(listener: TcpListener, pool: Arc<Pool>) {
    loop {
        // An accept error concerns one connection; the next may be fine.
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        let connection = tokio::spawn(pass(client, Arc::clone(&pool)));
        let mut connections = pool.connections();
        connections.retain(|running| !running.is_finished());
        connections.push(connection.abort_handle());
    }
}

async fn pass(mut client: TcpStream, pool: Arc<Pool>) {
    let Some(mut node) = pool.connect().await else {
        pool.turned_away.fetch_add(1, Ordering::Relaxed);
        return;
    };
    // Without it small events wait for one another; the bytes pass all the same.
    client.set_nodelay(true).ok();
    node.set_nodelay(true).ok();
    // A side that breaks off ends the connection, and that is all there is to tell.
    tokio::io::copy_bidirectional(&mut client, &mut node).await.ok();
}
