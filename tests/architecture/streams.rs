//! That no scenario reads a client's stream past the judge of streams.
//!
//! Whoever reads bytes by itself hands them to the judge, or says here what it reads instead.

use std::fs;

use anyhow::Result;

use crate::source::{code_only, root, sources};

/// What reads bytes.
const READERS: &[&str] = &[
    "AsyncRead",
    "TcpStream",
    "Incoming",
    "bytes_stream",
    ".bytes().await",
    ".chunk()",
    ".frame()",
];
const JUDGES: &[&str] = &["Judge", "Transcript", "judge_stream"];
/// Files that have no stream to judge, and what they read.
const NO_STREAMS: &[(&str, &str)] = &[
    ("tests/scenarios/admin_listener.rs", "pages of the admin listener"),
    ("tests/scenarios/bad_input.rs", "documents of errors"),
    (
        "tests/scenarios/conformance/endpoints.rs",
        "answers without a body",
    ),
    ("tests/scenarios/faultd.rs", "what the scripted upstream says"),
    ("tests/scenarios/faults/connections.rs", "sockets of upstreams"),
    (
        "tests/scenarios/listeners.rs",
        "answers to requests that never get far",
    ),
    (
        "tests/scenarios/secrets/paths.rs",
        "any answer, for secrets that are in it",
    ),
    ("tests/chaos/cancel.rs", "as much as a client does that leaves"),
    ("tests/chaos/descriptors.rs", "nothing: they only connect"),
    ("tests/chaos/http2.rs", "frames"),
    ("tests/chaos/soak.rs", "as much as a client does that leaves"),
    (
        "tests/chaos/slow_readers.rs",
        "a stream of which no reader sees the end",
    ),
    ("tests/chaos/slowloris.rs", "answers to requests that never end"),
    ("tests/chaos/stock.rs", "answers of other servers"),
];

#[test]
fn every_stream_of_a_client_is_judged() -> Result<()> {
    let root = root();
    let mut past = Vec::new();
    let mut excused: Vec<&str> = NO_STREAMS.iter().map(|(file, _)| *file).collect();
    for place in ["tests/scenarios", "tests/chaos"] {
        for file in sources(&root, place)? {
            let code = code_only(&fs::read_to_string(root.join(&file))?);
            let reads = READERS.iter().any(|reader| code.contains(reader));
            let judges = JUDGES.iter().any(|judge| code.contains(judge));
            if !reads || judges {
                continue;
            }
            match excused.iter().position(|excuse| *excuse == file) {
                Some(at) => drop(excused.swap_remove(at)),
                None => past.push(file),
            }
        }
    }
    assert!(past.is_empty(), "these read past the judge: {past:?}");
    assert!(excused.is_empty(), "these need no excuse: {excused:?}");
    Ok(())
}
