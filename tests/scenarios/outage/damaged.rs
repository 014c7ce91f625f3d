//! Snapshots that are damaged in one of many ways: each is refused, and what is held stays.

use anyhow::Result;
use bridge_proto::fleet::v1::SnapshotChunk;
use bridge_proto::fleet::v1::watch_request::Message as Up;
use bridge_proto::fleet::v1::watch_response::Message as Down;
use bridge_tests::fake_control_plane::{self as fake, Snapshot};
use bridge_tests::stage::MODEL;
use bridge_tests::wait;
use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::Bed;

const SEED: u64 = 25;
/// How many damaged snapshots a node is sent.
const DAMAGED: u64 = 500;

/// Damages a sound snapshot in one of the ways that are known, by chance.
fn damaged(sound: &Snapshot, revision: u64, random: &mut StdRng) -> Snapshot {
    let mut snapshot = sound.clone();
    snapshot.version.revision = revision;
    let place = random.random_range(0..snapshot.resources.len());
    let mut bytes = snapshot.resources[place].to_vec();
    match random.random_range(0..9) {
        0 => snapshot.state_hash[random.random_range(0..32)] ^= 1,
        1 => drop(snapshot.resources.remove(place)),
        2 => snapshot.announced = 0,
        3 => snapshot.version.revision = 0,
        4 => snapshot.version.cluster_id = vec![9; 16],
        5 => snapshot.version.cluster_id = vec![7; 15],
        6 => {
            let bit = 1 << random.random_range(0..8);
            let byte = random.random_range(0..bytes.len());
            bytes[byte] ^= bit;
            snapshot.resources[place] = bytes.into();
        }
        7 => {
            // A length that leads beyond the end.
            bytes.truncate(bytes.len() - 1);
            snapshot.resources[place] = bytes.into();
            return snapshot.consistent();
        }
        _ => {
            let twice = snapshot.resources[place].clone();
            snapshot.resources.push(twice);
            return snapshot.consistent();
        }
    }
    snapshot
}

#[tokio::test]
async fn every_damaged_snapshot_is_refused_and_nothing_changes() -> Result<()> {
    let bed = Bed::start(20, None).await?;
    let sound = Snapshot::new(1, fake::resources(20, &bed.upstream.base_url(), MODEL, None));
    let mut random = StdRng::seed_from_u64(SEED);
    bed.control.forget();
    for number in 0..DAMAGED {
        bed.control
            .say(damaged(&sound, 2 + number, &mut random).messages());
    }
    let resync = vec![Down::SnapshotChunk(SnapshotChunk {
        resources: vec![Bytes::from_static(b"from nowhere")],
    })];
    bed.control.say(resync);
    wait::until("the node to answer the last one", || async {
        let mut seen = bed.control.seen().into_iter();
        seen.any(|message| matches!(message, Up::Resync(_))).then_some(())
    })
    .await?;
    let refused = bed.control.nacks();
    assert_eq!(refused.len() as u64, DAMAGED, "seed {SEED}");
    assert!(refused.iter().all(|nack| !nack.refusals.is_empty()));
    let seen = bed.control.seen();
    assert!(!seen.iter().any(|message| matches!(message, Up::Ack(_))));
    let held = wait::until("a status after the last one", || async {
        bed.control
            .seen()
            .into_iter()
            .rev()
            .find_map(|message| match message {
                Up::Status(status) => Some(status.state_hash),
                _ => None,
            })
    });
    assert_eq!(held.await?, sound.state_hash);
    assert_eq!(bed.status(19).await?, 200);

    let resources = fake::resources(21, &bed.upstream.base_url(), MODEL, None);
    bed.control.publish(Snapshot::new(DAMAGED + 2, resources));
    bed.control.wait_for_ack().await?;
    assert_eq!(bed.status(20).await?, 200, "the next sound one is taken");
    Ok(())
}
