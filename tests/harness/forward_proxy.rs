//! The proxy that a company has before the internet: HTTP with `CONNECT`, or SOCKS 5. It passes
//! everything on, and remembers where it was asked to go, by whom, and what it could read.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// As clients are told: in the URL of the proxy.
pub const USER: &str = "bridge";
pub const PASSWORD: &str = "s3cret";

const SOCKS: u8 = 5;
const SOCKS_BY_PASSWORD: u8 = 2;
const SOCKS_IPV4: u8 = 1;
const SOCKS_NAME: u8 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Http,
    Socks,
}

/// What a proxy was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Where to go: host and port, or the URL of a plain request.
    pub target: String,
    /// Everything it could read of a call, in lower case.
    pub lines: Vec<String>,
}

/// A running proxy; dropping it ends its connections.
pub struct ForwardProxy {
    kind: Kind,
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    accepting: JoinHandle<()>,
}

impl ForwardProxy {
    pub async fn start(kind: Kind) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let asked = Arc::default();
        let accepting = tokio::spawn(accept(listener, kind, Arc::clone(&asked)));
        Ok(Self {
            kind,
            address,
            asked,
            accepting,
        })
    }

    /// With name and password.
    pub fn url(&self) -> String {
        let scheme = match self.kind {
            Kind::Http => "http",
            Kind::Socks => "socks5",
        };
        format!("{scheme}://{USER}:{PASSWORD}@{}", self.address)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for ForwardProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, kind: Kind, asked: Arc<Mutex<Vec<Asked>>>) {
    // They end with this task.
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        let asked = Arc::clone(&asked);
        connections.spawn(async move {
            // Whoever is refused, or hangs up, sees it.
            let _ = match kind {
                Kind::Http => http(client, &asked).await,
                Kind::Socks => socks(client, &asked).await,
            };
        });
    }
}

fn note(asked: &Mutex<Vec<Asked>>, target: &str, lines: Vec<String>) {
    let target = target.to_owned();
    let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
    asked.push(Asked { target, lines });
}

/// One connection, and what it is first asked for decides where all of it goes.
async fn http(client: TcpStream, asked: &Mutex<Vec<Asked>>) -> Result<()> {
    let mut client = BufReader::new(client);
    let (mut head, mut lines) = (String::new(), Vec::new());
    loop {
        let mut line = String::new();
        ensure!(client.read_line(&mut line).await? > 0, "no whole head");
        head += &line;
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_lowercase());
    }
    let mut words = head.split_whitespace();
    let (method, target) = (words.next(), words.next().context("no target")?);
    note(asked, target, lines);
    let is_tunnel = method == Some("CONNECT");
    let place = match target.strip_prefix("http://") {
        Some(url) => url.split('/').next().context("no host")?,
        None => target,
    };
    let mut server = TcpStream::connect(place).await?;
    if is_tunnel {
        client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await?;
    } else {
        server.write_all(head.as_bytes()).await?;
    }
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// RFC 1928, with names and passwords by RFC 1929.
async fn socks(mut client: TcpStream, asked: &Mutex<Vec<Asked>>) -> Result<()> {
    ensure!(client.read_u8().await? == SOCKS, "another protocol");
    let methods = counted(&mut client).await?;
    ensure!(methods.contains(&SOCKS_BY_PASSWORD), "nobody unknown gets out");
    client.write_all(&[SOCKS, SOCKS_BY_PASSWORD]).await?;
    ensure!(client.read_u8().await? == 1, "another sub-negotiation");
    let user = counted(&mut client).await?;
    let password = counted(&mut client).await?;
    let is_known = user == USER.as_bytes() && password == PASSWORD.as_bytes();
    client.write_all(&[1, u8::from(!is_known)]).await?;
    ensure!(is_known, "nobody unknown gets out");
    let mut request = [0; 4];
    client.read_exact(&mut request).await?;
    let host = match request[3] {
        SOCKS_NAME => String::from_utf8(counted(&mut client).await?)?,
        SOCKS_IPV4 => std::net::Ipv4Addr::from(client.read_u32().await?).to_string(),
        other => anyhow::bail!("addresses of kind {other}"),
    };
    let place = format!("{host}:{}", client.read_u16().await?);
    note(asked, &place, Vec::new());
    let mut server = TcpStream::connect(&place).await?;
    client
        .write_all(&[SOCKS, 0, 0, SOCKS_IPV4, 0, 0, 0, 0, 0, 0])
        .await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// Bytes behind their count.
async fn counted(client: &mut TcpStream) -> Result<Vec<u8>> {
    let count = client.read_u8().await?;
    let mut bytes = vec![0; count.into()];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}
