//! A way to a listener that can fall silent: connections stay open and new ones are taken,
//! and not a byte goes either way. That is how a half-open connection looks from both ends.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

const BUFFER_BYTES: usize = 16 << 10;

/// Dropping it closes every connection.
pub struct Hush {
    address: SocketAddr,
    silence: watch::Sender<Silence>,
    taken: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

#[derive(Clone)]
enum Target {
    Tcp(String),
    Unix(PathBuf),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Silence {
    None,
    All,
    /// So many connections, from the first one on.
    First(u64),
}

type Halves = (
    Box<dyn AsyncRead + Send + Unpin>,
    Box<dyn AsyncWrite + Send + Unpin>,
);

impl Hush {
    pub async fn start(target: String) -> Result<Self> {
        Self::before(Target::Tcp(target)).await
    }

    /// The same before a socket in a folder.
    pub async fn before_socket(path: PathBuf) -> Result<Self> {
        Self::before(Target::Unix(path)).await
    }

    async fn before(target: Target) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (silence, heard) = watch::channel(Silence::None);
        let taken = Arc::<AtomicU64>::default();
        let count = Arc::clone(&taken);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::Relaxed) + 1;
                let heard = Heard {
                    number,
                    silence: heard.clone(),
                };
                connections.spawn(pass(near, target.clone(), heard));
            }
        });
        Ok(Self {
            address,
            silence,
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
        self.silence
            .send_replace(if is_silent { Silence::All } else { Silence::None });
    }

    /// Those that are there fall silent for good; new ones are served.
    pub fn hush_those_there(&self) {
        self.silence.send_replace(Silence::First(self.connections()));
    }
}

impl Drop for Hush {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Target {
    async fn connect(self) -> std::io::Result<Halves> {
        Ok(match self {
            Self::Tcp(address) => {
                let (from, to) = TcpStream::connect(address).await?.into_split();
                (Box::new(from), Box::new(to))
            }
            Self::Unix(path) => {
                let (from, to) = UnixStream::connect(path).await?.into_split();
                (Box::new(from), Box::new(to))
            }
        })
    }
}

/// Whether one connection may say something.
#[derive(Clone)]
struct Heard {
    number: u64,
    silence: watch::Receiver<Silence>,
}

impl Heard {
    async fn wait(&mut self) -> Option<()> {
        let number = self.number;
        let may_speak = |silence: &Silence| match *silence {
            Silence::None => true,
            Silence::All => false,
            Silence::First(count) => number > count,
        };
        self.silence.wait_for(may_speak).await.ok().map(drop)
    }
}

/// `None`: one end is gone.
async fn pass(near: TcpStream, target: Target, mut heard: Heard) -> Option<()> {
    heard.wait().await?;
    let (far_in, far_out) = target.connect().await.ok()?;
    let (near_in, near_out) = near.into_split();
    let up = pump(near_in, far_out, heard.clone());
    let down = pump(far_in, near_out, heard);
    tokio::select! { ended = up => ended, ended = down => ended }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut heard: Heard,
) -> Option<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        heard.wait().await?;
        to.write_all(&buffer[..read]).await.ok()?;
    }
}
