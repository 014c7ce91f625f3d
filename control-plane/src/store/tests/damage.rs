//! Damaged, missing and foreign files: everything comes back, or nothing starts.

use std::fs;

use super::*;
use crate::store::{
    AuditChain, OpenError, audit_chain,
    family::Family,
    head::SCHEMA,
    rows::Rows,
    sled::{
        folder::DATA_FILE,
        marker::{self, Mark},
        open::wait_until_released,
        trees::Trees,
    },
};

const USERS: u8 = 30;

/// A closed store with some users.
async fn filled() -> Home {
    let home = Home::new();
    let store = home.open();
    for n in 1..=USERS {
        commit(&store, vec![Change::PutUser(user(n), Expect::Absent)])
            .await
            .unwrap();
    }
    store.close().await;
    home
}

fn refused(home: &Home) -> OpenError {
    Store::open(&home.path()).err().unwrap()
}

/// Changes the files behind the store's back.
fn tamper(home: &Home, change: impl FnOnce(&Trees)) {
    wait_until_released(&home.path()).unwrap();
    let db = ::sled::open(home.path()).unwrap();
    let trees = Trees::open(&db).unwrap();
    change(&trees);
    trees.flush().unwrap();
}

#[tokio::test]
async fn a_broken_snapshot_does_not_hide_the_log() {
    for (name, bytes) in [
        ("snap.FFFFFFFFFFFFFFFF", b"".as_slice()),
        ("snap.FFFFFFFFFFFFFFFE.generating", b"half"),
    ] {
        let home = filled().await;
        fs::write(home.path().join(name), bytes).unwrap();
        let store = home.open();
        assert_eq!(store.users().await.unwrap().len(), usize::from(USERS));
        assert_eq!(store.version().revision, u64::from(USERS));
        let copies = fs::read_dir(home.dir()).unwrap().filter(|entry| {
            entry
                .as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .starts_with("store.damaged-")
        });
        assert_eq!(copies.count(), 1, "what was there is kept aside");
    }
}

#[tokio::test]
async fn a_store_that_should_have_data_never_starts_empty() {
    let home = filled().await;
    fs::remove_file(home.path().join(DATA_FILE)).unwrap();
    assert!(matches!(refused(&home), OpenError::DataMissing { .. }));
    fs::write(home.path().join(DATA_FILE), b"").unwrap();
    assert!(matches!(refused(&home), OpenError::DataMissing { .. }));
    fs::remove_file(home.path().join(DATA_FILE)).unwrap();
    drop(::sled::open(home.path()).unwrap());
    assert!(matches!(
        refused(&home),
        OpenError::DataMissing { .. } | OpenError::Damaged { .. }
    ));
}

#[tokio::test]
async fn a_store_without_its_marker_gets_a_new_one() {
    let home = filled().await;
    fs::remove_file(marker::path(&home.path())).unwrap();
    let store = home.open();
    let Mark { cluster_id, revision } = marker::read(&home.path()).unwrap().unwrap();
    assert_eq!(
        (cluster_id, revision),
        (store.version().cluster_id, u64::from(USERS))
    );
}

#[tokio::test]
async fn an_older_copy_of_the_data_is_refused() {
    let home = filled().await;
    let Mark { cluster_id, revision } = marker::read(&home.path()).unwrap().unwrap();
    assert_eq!(revision, u64::from(USERS));
    marker::Marker::write(
        &home.path(),
        Mark {
            cluster_id,
            revision: revision + 1,
        },
    )
    .unwrap();
    assert!(matches!(
        refused(&home),
        OpenError::ChangesLost {
            found: 30,
            acknowledged: 31,
            ..
        }
    ));
    marker::Marker::write(
        &home.path(),
        Mark {
            cluster_id: [9; 16],
            revision,
        },
    )
    .unwrap();
    assert!(matches!(refused(&home), OpenError::Damaged { .. }));
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let home = filled().await;
    tamper(&home, |trees| {
        trees
            .tree(Family::Meta)
            .insert(b"schema", &(SCHEMA + 1).to_be_bytes())
            .unwrap();
    });
    assert!(matches!(
        refused(&home),
        OpenError::NewerSchema {
            found: 2,
            known: 1,
            ..
        }
    ));
}

#[tokio::test]
async fn a_record_that_is_gone_or_changed_is_noticed() {
    let changes: [fn(&Trees); 5] = [
        |trees| drop(trees.tree(Family::Users).pop_max().unwrap()),
        |trees| drop(trees.tree(Family::UsersByEmail).pop_min().unwrap()),
        |trees| {
            drop(
                trees
                    .tree(Family::Users)
                    .insert([1; 16], b"{}".as_slice())
                    .unwrap(),
            )
        },
        |trees| drop(trees.tree(Family::ChangeLog).pop_max().unwrap()),
        |trees| drop(trees.tree(Family::Meta).remove(b"head").unwrap()),
    ];
    for change in changes {
        let home = filled().await;
        tamper(&home, change);
        assert!(matches!(refused(&home), OpenError::Damaged { .. }));
    }
}

#[tokio::test]
async fn a_changed_or_dropped_audit_row_is_named() {
    let key = |sequence: u64| sequence.to_be_bytes();
    let check = |sequence: u64, change: fn(&Trees, [u8; 8])| async move {
        let home = filled().await;
        tamper(&home, |trees| change(trees, key(sequence)));
        assert!(
            refused(&home)
                .to_string()
                .contains(&format!("row {sequence} is missing or was changed"))
        );
    };
    check(7, |trees, key| {
        drop(trees.tree(Family::Audit).remove(key).unwrap())
    })
    .await;
    check(30, |trees, key| {
        drop(trees.tree(Family::Audit).remove(key).unwrap())
    })
    .await;
    check(31, |trees, key| {
        drop(trees.tree(Family::Audit).insert(key, b"{}".as_slice()).unwrap())
    })
    .await;
    check(12, |trees, key| {
        let row = trees.get(Family::Audit, &key).unwrap().unwrap();
        let text = String::from_utf8(row.to_vec())
            .unwrap()
            .replace("127.0.0.1", "127.0.0.2");
        trees.tree(Family::Audit).insert(key, text.as_bytes()).unwrap();
    })
    .await;
}

#[tokio::test]
async fn of_a_whole_audit_log_the_first_row_that_is_not_as_written_is_named() {
    type Tampering = fn(&Trees);
    let cases: [(u64, Tampering); 9] = [
        (5, |trees| rewrite(trees, 5, "127.0.0.1", "127.0.0.2")),
        (1, |trees| rewrite(trees, 1, "127.0.0.1", "127.0.0.2")),
        (30, |trees| rewrite(trees, 30, "127.0.0.1", "127.0.0.2")),
        (6, |trees| {
            let other = named_by(trees, 9);
            rewrite(trees, 6, &named_by(trees, 6), &other);
        }),
        (3, |trees| {
            rewrite(trees, 3, "127.0.0.1", "127.0.0.2");
            rewrite(trees, 7, "127.0.0.1", "127.0.0.2");
        }),
        (8, |trees| rewrite(trees, 8, "{", "")),
        (4, |trees| {
            trees.tree(Family::Audit).remove(4_u64.to_be_bytes()).unwrap();
        }),
        (30, |trees| {
            trees.tree(Family::Audit).remove(30_u64.to_be_bytes()).unwrap();
        }),
        (31, |trees| {
            let row = trees.get(Family::Audit, &30_u64.to_be_bytes()).unwrap().unwrap();
            trees
                .tree(Family::Audit)
                .insert(31_u64.to_be_bytes(), row)
                .unwrap();
        }),
    ];
    let pristine = filled().await;
    tamper(&pristine, |trees| {
        let whole = AuditChain::Whole { rows: USERS.into() };
        assert_eq!(audit_chain::walk(trees).unwrap(), whole);
    });
    for (expected, change) in cases {
        tamper(&pristine.crash_image(), |trees| {
            change(trees);
            let AuditChain::Broken { sequence, reason } = audit_chain::walk(trees).unwrap() else {
                panic!("row {expected} was changed and nobody noticed");
            };
            assert_eq!(sequence, expected, "{reason}");
        });
    }
}

/// The hash that a row names, as it is written there.
fn named_by(trees: &Trees, sequence: u64) -> String {
    let row = trees
        .get(Family::Audit, &sequence.to_be_bytes())
        .unwrap()
        .unwrap();
    let text = String::from_utf8(row).unwrap();
    let (_, named) = text.split_once("\"previous\":\"").unwrap();
    named.split_once('"').unwrap().0.to_owned()
}

fn rewrite(trees: &Trees, sequence: u64, from: &str, to: &str) {
    let key = sequence.to_be_bytes();
    let text = String::from_utf8(trees.get(Family::Audit, &key).unwrap().unwrap()).unwrap();
    let changed = text.replacen(from, to, 1);
    assert_ne!(text, changed);
    trees.tree(Family::Audit).insert(key, changed.as_bytes()).unwrap();
}

#[tokio::test]
async fn a_second_store_on_the_same_folder_is_refused() {
    let home = Home::new();
    let store = home.open();
    assert!(matches!(refused(&home), OpenError::InUse { .. }));
    commit(&store, vec![Change::PutUser(user(1), Expect::Absent)])
        .await
        .unwrap();
}

#[tokio::test]
async fn no_damage_to_a_file_starts_with_less_than_everything() {
    let home = filled().await;
    let pristine = home.crash_image();
    let bytes = fs::read(home.path().join(DATA_FILE)).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for ninth in 0..9 {
        let place = used * ninth / 9;
        let flipped = [&bytes[..place], &[bytes[place] ^ 0x40], &bytes[place + 1..]].concat();
        let page_end = (place + 4096).min(bytes.len());
        let zeroed = [&bytes[..place], &vec![0; page_end - place], &bytes[page_end..]].concat();
        for damaged in [flipped, zeroed, bytes[..place].to_vec()] {
            let image = pristine.crash_image();
            fs::write(image.path().join(DATA_FILE), damaged).unwrap();
            if let Ok(store) = Store::open(&image.path()) {
                assert_eq!(store.version().revision, u64::from(USERS), "at byte {place}");
                assert_eq!(
                    store.users().await.unwrap().len(),
                    usize::from(USERS),
                    "at byte {place}"
                );
            }
        }
    }
}
