//! A name server that says what a test wants, and whom to run so that it asks this one.
//!
//! Resolvers ask port 53 of the addresses in `/etc/resolv.conf`, so the server has an address of
//! loopback to itself, and a process asks it inside a mount namespace with a file of its own. That
//! takes rights that not everybody has: `NameServer::start` tells.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

const PORT: u16 = 53;
const HEAD_BYTES: usize = 12;
const TYPE_A: [u8; 2] = [0, 1];
/// A pointer to the name of the question.
const SAME_NAME: [u8; 2] = [0xc0, HEAD_BYTES as u8];

/// What is said to whoever asks for an IPv4 address, whatever the name.
#[derive(Clone, Debug)]
pub enum Says {
    Address(Ipv4Addr),
    NoSuchName,
    Failure,
    Nothing,
}

pub struct NameServer {
    address: Ipv4Addr,
    says: Arc<Mutex<Says>>,
    asked: Arc<AtomicUsize>,
    answering: JoinHandle<()>,
}

impl NameServer {
    /// `None` where this may not be done; the reason is printed.
    pub async fn start(says: Says) -> Result<Option<Self>> {
        if !may_mount() {
            eprintln!("skipped: mount namespaces are not permitted here");
            return Ok(None);
        }
        // One for each, also in other test processes.
        static STARTED: AtomicU8 = AtomicU8::new(0);
        let nth = STARTED.fetch_add(1, Ordering::Relaxed);
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, 1 + nth % 250, high, low.max(1));
        let socket = match UdpSocket::bind((address, PORT)).await {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                eprintln!("skipped: port {PORT} is not permitted here");
                return Ok(None);
            }
            bound => bound.with_context(|| format!("cannot listen on {address}:{PORT}"))?,
        };
        let says = Arc::new(Mutex::new(says));
        let asked = Arc::new(AtomicUsize::new(0));
        let answering = tokio::spawn(answer(socket, Arc::clone(&says), Arc::clone(&asked)));
        Ok(Some(Self {
            address,
            says,
            asked,
            answering,
        }))
    }

    pub fn says(&self, says: Says) {
        *self.says.lock().unwrap_or_else(PoisonError::into_inner) = says;
    }

    /// Questions so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// What to start a program with so that it asks this server.
    pub fn prefix(&self, folder: &Path) -> Result<Vec<String>> {
        let file = folder.join("resolv.conf");
        std::fs::write(&file, format!("nameserver {}\n", self.address))?;
        let script = r#"mount --bind "$0" /etc/resolv.conf && exec "$@""#;
        let words = ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", script];
        let words = words.into_iter().map(str::to_owned);
        Ok(words.chain([file.display().to_string()]).collect())
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

fn may_mount() -> bool {
    let script = "mount --bind /etc/hosts /etc/hosts";
    let command = Command::new("/usr/bin/unshare")
        .args(["--mount", "/bin/sh", "-c", script])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    command.is_ok_and(|status| status.success())
}

async fn answer(socket: UdpSocket, says: Arc<Mutex<Says>>, asked: Arc<AtomicUsize>) {
    let mut buffer = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        asked.fetch_add(1, Ordering::Relaxed);
        let says = says.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(reply) = reply(&buffer[..length], &says) {
            // Whoever asked has gone if this fails.
            socket.send_to(&reply, from).await.ok();
        }
    }
}

/// `None`: the question is not answered, or is none.
fn reply(question: &[u8], says: &Says) -> Option<Vec<u8>> {
    let name_bytes = question.get(HEAD_BYTES..)?.iter().position(|byte| *byte == 0)? + 1;
    let asked = question.get(HEAD_BYTES..HEAD_BYTES + name_bytes + 4)?;
    let is_for_v4 = asked.get(name_bytes..name_bytes + 2)? == TYPE_A;
    let (code, address) = match says {
        Says::Nothing => return None,
        Says::NoSuchName => (3, None),
        Says::Failure => (2, None),
        Says::Address(address) => (0, Some(address).filter(|_| is_for_v4)),
    };
    let mut reply = question.get(..2)?.to_vec();
    // An answer, with recursion; one question, and what answers it.
    reply.extend([
        0x81,
        0x80 | code,
        0,
        1,
        0,
        u8::from(address.is_some()),
        0,
        0,
        0,
        0,
    ]);
    reply.extend(asked);
    if let Some(address) = address {
        reply.extend(SAME_NAME);
        reply.extend(TYPE_A);
        // Of the internet, good for no time at all, four bytes long.
        reply.extend([0, 1, 0, 0, 0, 0, 0, 4]);
        reply.extend(address.octets());
    }
    Some(reply)
}
