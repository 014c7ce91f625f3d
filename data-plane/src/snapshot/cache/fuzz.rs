//! Any file: only what this node sealed is taken, to the byte; and what it sealed is judged like a
//! snapshot from a stream.

use anyhow::{Result, ensure};
use bridge_campaign::{Material, Target, check};

use super::{tests::sealer, *};
use crate::snapshot::decode::tests as fixture;

const INPUTS: u64 = 2000;
const TOKEN: &str = "node-token";

/// A file as the node writes it, of this content.
fn file(revision: u64, content: Vec<u8>) -> Vec<u8> {
    let received = fixture::received(revision, Vec::new());
    let header = Header {
        generation: revision,
        resources: fixture::resources().len() as u64,
        ..Header::new(Content::Snapshot, received.version, 1)
    };
    sealer(TOKEN).seal(&header, Zeroizing::new(content)).unwrap()
}

fn content() -> Vec<u8> {
    let Received {
        resources,
        state_hash,
        ..
    } = fixture::received(1, fixture::resources());
    let mut content = state_hash;
    content.extend(SnapshotChunk { resources }.encode_to_vec());
    content
}

fn check_any(name: &'static str, seeds: Vec<Vec<u8>>, run: bridge_campaign::Run) {
    let target = Target {
        name,
        material: Material::Bytes,
        seeds,
        run,
    };
    check(target, INPUTS).unwrap();
}

#[test]
fn fuzz_only_what_this_node_sealed_is_taken() {
    let genuine = [1, 2].map(|revision| file(revision, content()));
    let sealer = sealer(TOKEN);
    for file in &genuine {
        assert!(parse(file, &sealer).is_ok(), "a seed that gets nowhere");
    }
    let seeds = genuine.to_vec();
    let run = move |input: &[u8]| -> Result<()> {
        let is_genuine = genuine.iter().any(|file| file == input);
        ensure!(
            parse(input, &sealer).is_ok() == is_genuine,
            "damage is taken, or what is whole is not"
        );
        Ok(())
    };
    check_any("cache", seeds, Box::new(run));
}

#[test]
fn fuzz_sealed_nonsense_is_no_snapshot() {
    let (genuine, sealer) = (content(), sealer(TOKEN));
    let seeds = vec![genuine.clone()];
    let run = move |input: &[u8]| -> Result<()> {
        let Ok(kept) = parse(&file(1, input.to_vec()), &sealer) else {
            ensure!(input != genuine, "what is whole is not taken");
            return Ok(());
        };
        // Their order, and what the message around them says besides, is not what they say.
        ensure!(
            kept.snapshot.state_hash == genuine[..STATE_HASH_BYTES],
            "another content is taken for this one"
        );
        Ok(())
    };
    check_any("cache-content", seeds, Box::new(run));
}
