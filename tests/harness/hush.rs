//! A way to a listener that can fall silent: connections stay open and new ones are taken,
//! and not a byte goes either way. That is how a half-open connection looks from both ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

const BUFFER_BYTES: usize = 16 << 10;

/// Dropping it closes every connection.
pub struct Hush {
    address: SocketAddr,
    is_silent: watch::Sender<bool>,
    taken: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Hush {
    pub async fn start(target: String) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (is_silent, heard) = watch::channel(false);
        let taken = Arc::<AtomicU64>::default();
        let count = Arc::clone(&taken);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                connections.spawn(pass(near, target.clone(), heard.clone()));
            }
        });
        Ok(Self {
            address,
            is_silent,
            taken,
            accepting,
        })
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Connections that were taken so far.
    pub fn connections(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    pub fn set_silent(&self, is_silent: bool) {
        self.is_silent.send_replace(is_silent);
    }
}

impl Drop for Hush {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// `None`: one end is gone.
async fn pass(near: TcpStream, target: String, mut heard: watch::Receiver<bool>) -> Option<()> {
    heard.wait_for(|is_silent| !is_silent).await.ok()?;
    let far = TcpStream::connect(target).await.ok()?;
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let up = pump(near_in, far_out, heard.clone());
    let down = pump(far_in, near_out, heard);
    tokio::select! { ended = up => ended, ended = down => ended }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut heard: watch::Receiver<bool>,
) -> Option<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        heard.wait_for(|is_silent| !is_silent).await.ok()?;
        to.write_all(&buffer[..read]).await.ok()?;
    }
}
