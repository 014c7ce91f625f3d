//! At the end of a bridge: is a secret that was used somewhere it does not belong? Looked
//! for in everything that its processes have written, all of it at their most talkative,
//! and in what they say when they are scraped.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::Bridge;
use crate::canary::Canaries;

/// Files that hold a secret because it is theirs, or because a test has put it there.
const OWN: [&str; 6] = [
    "master-key",
    "master-key.old",
    "master-key.next",
    "node-token",
    "node-token.next",
    "provider.json",
];
/// A process that hangs because a test wants it to says nothing.
const SCRAPE_MAX: Duration = Duration::from_secs(2);

/// Fails the test that had the bridge.
pub(super) fn search(bridge: &mut Bridge) {
    let found = look(bridge);
    assert!(
        matches!(&found, Ok(found) if found.is_empty()),
        "secrets were found: {found:?}"
    );
}

fn look(bridge: &mut Bridge) -> Result<Vec<String>> {
    let mut canaries = Canaries::known()?;
    for own in ["master-key", "node-token"] {
        if let Ok(secret) = std::fs::read_to_string(bridge.folder().join(own)) {
            canaries.plant(own, secret.trim())?;
        }
    }
    let control_planes = std::iter::once(&mut *bridge.control).chain(&mut bridge.replicas);
    let mut ports: Vec<_> = control_planes.filter_map(|it| it.running_at()).collect();
    ports.extend(bridge.nodes.iter_mut().filter_map(|node| node.running_at()));
    let mut found = Vec::new();
    for port in ports {
        // It may be about to end, or hang.
        let metrics = scrape(port).unwrap_or_default();
        found.extend(canaries.found_in("metrics", &metrics));
    }
    bridge.show_store()?;
    let (in_files, bytes) = canaries.found_below(bridge.folder(), &OWN)?;
    found.extend(in_files);
    ensure!(bytes > 0, "nothing was written");
    eprintln!(
        "figure: canaries: {} writings looked for in {bytes} bytes: {} found",
        canaries.len(),
        found.len()
    );
    Ok(found)
}

fn scrape(port: u16) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(SCRAPE_MAX))?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}
