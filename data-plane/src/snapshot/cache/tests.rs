mod keeping;

use std::{fs, sync::Arc, time::Duration, time::Instant};

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    metrics::ResultLabel,
    node::{self, Node},
    snapshot::{
        decode::{recorded, tests as fixture},
        live::Unavailable,
    },
};

const TOKEN: &str = "node-token";
const NOON: i64 = 1_800_000_000_000;
const DEADLINE: Duration = Duration::from_secs(10);

pub(super) fn sealer(token: &str) -> Sealer {
    Sealer::new(&token.to_owned().into())
}

/// A folder with revisions 1 and 2, the older one in the first slot.
fn two_generations() -> (TempDir, Files) {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::new(dir.path().to_owned());
    for revision in [1, 2] {
        put(&files, &fixture::received(revision, fixture::resources()));
    }
    (dir, files)
}

fn put(files: &Files, received: &Received) {
    let sealer = sealer(TOKEN);
    write(files, &sealer, next(files, &sealer), received, NOON).unwrap();
}

/// The revision that a node would start with.
fn newest(files: &Files, token: &str) -> Option<u64> {
    let found = generations(files, &sealer(token)).into_iter();
    let kept = found.filter_map(|(_, found)| found.ok().flatten());
    kept.max_by_key(|kept| kept.generation)
        .map(|kept| kept.snapshot.version.revision)
}

fn cache_in(folder: &Path) -> Cache {
    let place = SnapshotCache {
        folder: Some(folder.to_owned()),
        bootstrap: None,
    };
    Cache::new(place, TokenSource::Given(TOKEN.to_owned().into()))
}

fn count(node: &Node, result: &'static str) -> u64 {
    let config = &node.metrics.config;
    let label = ResultLabel { result };
    config.cache_loads.get_or_create(&label).get() + config.cache_writes.get_or_create(&label).get()
}

#[test]
fn the_older_generation_makes_room_for_the_new_one() {
    let (_dir, files) = two_generations();
    assert_eq!(newest(&files, TOKEN), Some(2));
    let older = fs::read(files.slot(Slot::B)).unwrap();
    put(&files, &fixture::received(3, fixture::resources()));
    assert_eq!(newest(&files, TOKEN), Some(3));
    assert_eq!(
        fs::read(files.slot(Slot::B)).unwrap(),
        older,
        "the second newest stays"
    );
}

#[test]
fn a_generation_counts_and_not_its_revision() {
    let (_dir, files) = two_generations();
    let mut restored = fixture::received(1, fixture::resources());
    restored.version.epoch = 2;
    put(&files, &restored);
    assert_eq!(
        newest(&files, TOKEN),
        Some(1),
        "the control plane was restored from a backup"
    );
}

#[test]
fn what_this_build_does_not_know_is_kept_as_it_came() {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::new(dir.path().to_owned());
    let received = fixture::received(7, recorded::of_tomorrow());
    put(&files, &received);
    assert_eq!(newest(&files, TOKEN), Some(7));

    let file = fs::read(files.slot(Slot::A)).unwrap();
    let (header, content) = sealer(TOKEN).open(Content::Snapshot, &file).unwrap();
    assert_eq!(header.version(), received.version);
    let (hash, resources) = content.split_at(STATE_HASH_BYTES);
    assert_eq!(hash, received.state_hash);
    assert_eq!(
        SnapshotChunk::decode(resources).unwrap().resources,
        received.resources
    );
}

#[test]
fn nothing_of_it_can_be_read_without_the_token() {
    let (_dir, files) = two_generations();
    let file = fs::read(files.slot(Slot::A)).unwrap();
    let holds = |text: &[u8]| file.windows(text.len()).any(|window| window == text);
    assert!(holds(b"\"revision\":1"));
    for secret in [
        &b"provider-secret-1"[..],
        b"alpha",
        crate::auth::tests::ID.as_bytes(),
    ] {
        assert!(!holds(secret));
    }
    assert_eq!(newest(&files, "another token"), None);
}

#[test]
fn damage_at_any_place_falls_back_to_the_older_generation() {
    let (_dir, files) = two_generations();
    let path = files.slot(Slot::B);
    let whole = fs::read(&path).unwrap();
    let mut damaged = 0;
    let mut check = |file: &[u8]| {
        fs::write(&path, file).unwrap();
        assert_eq!(newest(&files, TOKEN), Some(1));
        damaged += 1;
    };
    for end in (0..whole.len()).step_by(64).chain([whole.len() - 1]) {
        check(&whole[..end]);
    }
    for place in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[place] ^= 1 << (place % 8);
        check(&flipped);
    }
    check(&[&whole[..], b"more"].concat());
    check(&vec![0; whole.len()]);
    check(&fs::read(files.slot(Slot::A)).unwrap()[..64]);
    assert!(damaged > whole.len(), "{damaged}");
    fs::write(&path, &whole).unwrap();
    assert_eq!(newest(&files, TOKEN), Some(2), "the whole file opens");
}

#[test]
fn a_file_in_another_place_or_of_another_kind_is_refused() {
    let (_dir, files) = two_generations();
    let sealer = sealer(TOKEN);
    confirm(
        &files,
        &sealer,
        fixture::received(2, Vec::new()).version,
        NOON + 5,
    )
    .unwrap();
    fs::copy(files.confirmation(), files.slot(Slot::B)).unwrap();
    let [_, (_, found)] = generations(&files, &sealer);
    assert!(
        matches!(found, Err(Unusable::Damaged(Damage::Other))),
        "{found:?}"
    );

    let header = Header::new(Content::Snapshot, fixture::received(9, Vec::new()).version, NOON);
    let newer = String::from_utf8_lossy(&sealer.seal(&header, Zeroizing::default()).unwrap())
        .replacen(" 1 ", " 2 ", 1);
    fs::write(files.slot(Slot::B), newer).unwrap();
    let [_, (_, found)] = generations(&files, &sealer);
    assert!(
        matches!(found, Err(Unusable::Damaged(Damage::Newer(2)))),
        "{found:?}"
    );
    assert_eq!(newest(&files, TOKEN), Some(1));
}

#[test]
fn content_is_judged_like_a_stream() {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::new(dir.path().to_owned());
    let mut wrong_hash = fixture::received(1, fixture::resources());
    wrong_hash.state_hash[0] ^= 1;
    let mut without_settings = fixture::resources();
    without_settings.pop();
    let mut twice = fixture::resources();
    twice.push(twice[0].clone());
    for received in [
        wrong_hash,
        fixture::received(1, without_settings),
        fixture::received(1, twice),
        fixture::received(1, vec![Bytes::from_static(b"\xff")]),
    ] {
        put(&files, &received);
        let [(_, found), _] = generations(&files, &sealer(TOKEN));
        assert!(matches!(found, Err(Unusable::Refused(_))), "{found:?}");
    }
}

#[test]
fn a_confirmation_counts_for_its_version_alone() {
    let (_dir, files) = two_generations();
    let sealer = sealer(TOKEN);
    let confirmed =
        || generations(&files, &sealer).map(|(_, found)| found.unwrap().unwrap().confirmed_unix_ms);
    assert_eq!(confirmed(), [NOON, NOON]);
    confirm(
        &files,
        &sealer,
        fixture::received(2, Vec::new()).version,
        NOON + 60_000,
    )
    .unwrap();
    assert_eq!(confirmed(), [NOON, NOON + 60_000]);
    fs::write(files.confirmation(), b"damaged").unwrap();
    assert_eq!(confirmed(), [NOON, NOON], "it only looks older");
}

#[tokio::test]
async fn what_was_kept_is_in_force_at_the_age_that_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::new(dir.path().to_owned());
    let node = node::tests::node();
    let hour_ago = node.clock.at_unix_ms(Instant::now()) - 3_600_000;
    let received = fixture::received(4, fixture::resources());
    write(
        &files,
        &sealer(TOKEN),
        next(&files, &sealer(TOKEN)),
        &received,
        hour_ago,
    )
    .unwrap();

    assert_eq!(cache_in(dir.path()).restore(&node).await, Restored::Done);
    let now = Instant::now();
    assert_eq!(node.live.current(now).unwrap().version, received.version);
    let age_s = node.live.age(now).as_secs();
    assert!((3_600..3_610).contains(&age_s), "{age_s}");
    assert_eq!(count(&node, "cache"), 1);
}

#[tokio::test]
async fn a_clock_before_the_kept_time_is_set_right() {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::new(dir.path().to_owned());
    let node = node::tests::node();
    let ahead = node.clock.at_unix_ms(Instant::now()) + 3_600_000;
    let received = fixture::received(4, fixture::resources());
    write(
        &files,
        &sealer(TOKEN),
        next(&files, &sealer(TOKEN)),
        &received,
        ahead,
    )
    .unwrap();
    cache_in(dir.path()).restore(&node).await;
    let now = Instant::now();
    assert!(node.clock.at_unix_ms(now) >= ahead);
    assert!(node.live.age(now) < DEADLINE);
}

#[tokio::test]
async fn nothing_good_leaves_the_node_unready() {
    let (dir, files) = two_generations();
    for slot in Slot::ALL {
        fs::write(files.slot(slot), b"garbage").unwrap();
    }
    let node = node::tests::node();
    assert_eq!(cache_in(dir.path()).restore(&node).await, Restored::Done);
    assert_eq!(node.live.current(Instant::now()).err(), Some(Unavailable::Empty));
    assert_eq!((count(&node, "refused"), count(&node, "nothing")), (2, 1));
}

#[tokio::test]
async fn without_a_token_there_will_be_another_look() {
    let (dir, _files) = two_generations();
    let token_file = dir.path().join("node-token");
    let cache = Cache {
        token: TokenSource::File(token_file.clone()),
        ..cache_in(dir.path())
    };
    let node = node::tests::node();
    assert_eq!(cache.restore(&node).await, Restored::NoToken);
    fs::write(&token_file, "\n").unwrap();
    assert_eq!(
        cache.restore(&node).await,
        Restored::NoToken,
        "an empty one opens nothing"
    );
    fs::write(&token_file, format!("{TOKEN}\n")).unwrap();
    assert_eq!(cache.restore(&node).await, Restored::Done);
    assert_eq!(node.live.held().unwrap().version.revision, 2);
}

#[tokio::test]
async fn a_file_of_another_node_serves_a_first_start() {
    let (dir, files) = two_generations();
    let node = node::tests::node();
    let place = SnapshotCache {
        folder: Some(dir.path().join("not there yet")),
        bootstrap: Some(files.slot(Slot::A)),
    };
    let cache = Cache::new(place, TokenSource::Given(TOKEN.to_owned().into()));
    cache.restore(&node).await;
    assert_eq!(node.live.held().unwrap().version.revision, 1);
    assert_eq!(count(&node, "bootstrap"), 1);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(file in prop::collection::vec(any::<u8>(), 0..400), with_magic: bool) {
        let file = if with_magic { [b"bridge-snapshot-cache 1 ", &file[..]].concat() } else { file };
        prop_assert!(parse(&file, &sealer(TOKEN)).is_err());
    }

    #[test]
    fn no_sealed_content_makes_it_panic(content in prop::collection::vec(any::<u8>(), 0..400), resources in 0_u64..4) {
        let header = Header {
            resources,
            ..Header::new(Content::Snapshot, fixture::received(1, Vec::new()).version, NOON)
        };
        let sealer = sealer(TOKEN);
        let file = sealer.seal(&header, Zeroizing::new(content)).unwrap();
        prop_assert!(parse(&file, &sealer).is_err());
    }
}
