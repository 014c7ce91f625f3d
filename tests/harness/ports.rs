//! Ports of loopback for processes that tests start, end and start again.
//!
//! A port has to stay with its test while nobody listens on it: a node that was killed comes
//! back to it, and must not find another test's process there. So each test process takes
//! blocks of ports, each with a lock on a file, which the system lets go of when it ends.

use std::fs::{File, TryLockError};
use std::net::TcpListener;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

/// Below the system's range for outgoing connections, so that none of those takes a port.
const FIRST: u16 = 20_000;
const BLOCKS: u16 = 500;
const PORTS_PER_BLOCK: u16 = 24;

/// Below the folder for temporary files.
const FOLDER: &str = "bridge-test-ports";

static BLOCKS_TAKEN: Mutex<Vec<Block>> = Mutex::new(Vec::new());

struct Block {
    ports: Range<u16>,
    /// Held until this process ends.
    _lock: File,
}

/// A port of loopback that is this process's alone.
pub fn free_port() -> Result<u16> {
    let mut taken = BLOCKS_TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(block) = taken.last_mut()
            // Somebody may listen there who knows nothing of blocks.
            && let Some(port) = block.ports.find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        {
            return Ok(port);
        }
        taken.push(Block::take(&std::env::temp_dir().join(FOLDER))?);
    }
}

impl Block {
    /// One that nobody has, and that nobody had a moment ago if it can be helped.
    fn take(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let start = (std::process::id() % u32::from(BLOCKS)) as u16;
        for block in (start..BLOCKS).chain(0..start) {
            let path = folder.join(block.to_string());
            let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
            match file.try_lock() {
                Ok(()) => {
                    let first = FIRST + block * PORTS_PER_BLOCK;
                    return Ok(Self {
                        ports: first..first + PORTS_PER_BLOCK,
                        _lock: file,
                    });
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", path.display()));
                }
            }
        }
        bail!("all {BLOCKS} blocks of ports from {FIRST} on are taken")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ports_stay_with_whoever_took_them() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (
            Block::take(folder.path()).unwrap(),
            Block::take(folder.path()).unwrap(),
        );
        assert_ne!(first.ports, second.ports);
        let were = first.ports.clone();
        drop(first);
        assert_eq!(Block::take(folder.path()).unwrap().ports, were);
    }

    #[test]
    fn no_port_is_given_twice() {
        let ports: Vec<u16> = (0..3 * PORTS_PER_BLOCK).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.iter().collect::<HashSet<_>>().len(), ports.len());
    }
}
