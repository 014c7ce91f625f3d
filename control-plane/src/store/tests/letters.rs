//! Letters between control planes: each is read once, by whom it is for, and nothing is left
//! of who is gone.

use std::collections::BTreeSet;

use super::*;

const ONE: [u8; 16] = [1; 16];
const TWO: [u8; 16] = [2; 16];

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_read_once_by_whom_it_is_for() {
    let Some(home) = Home::in_database() else { return };
    let [a, b, c] = [home.open(), home.open(), home.open()];
    let mut told = b.presence_told().unwrap();
    told.mark_unchanged();
    a.send_letter(b.control_plane(), ONE, b"one".to_vec())
        .await
        .unwrap();
    a.send_letter(b.control_plane(), TWO, b"two".to_vec())
        .await
        .unwrap();
    let notice = tokio::time::timeout(Duration::from_secs(30), told.changed()).await;
    notice.expect("nobody told").unwrap();
    a.withdraw_letter(b.control_plane(), TWO).await.unwrap();
    assert_eq!(c.take_letters().await.unwrap(), Vec::<Vec<u8>>::new());
    assert_eq!(b.take_letters().await.unwrap(), [b"one".to_vec()]);
    assert_eq!(b.take_letters().await.unwrap(), Vec::<Vec<u8>>::new());
    assert_eq!(a.version().revision, 0, "it is no change");
    // Whoever comes verifies all that is there.
    a.send_letter(c.control_plane(), ONE, b"for nobody".to_vec())
        .await
        .unwrap();
    home.open().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_shows_the_others_see_until_it_is_gone() {
    let Some(home) = Home::in_database() else { return };
    let [a, b] = [home.open(), home.open()];
    a.show_nodes(b"first".to_vec()).await.unwrap();
    a.show_nodes(b"second".to_vec()).await.unwrap();
    assert_eq!(a.shown_nodes().await.unwrap(), []);
    let shown = b.shown_nodes().await.unwrap();
    assert_eq!(shown, [(a.control_plane(), b"second".to_vec())]);
    b.send_letter(a.control_plane(), ONE, b"too late".to_vec())
        .await
        .unwrap();
    a.leave().await.unwrap();
    assert_eq!(b.shown_nodes().await.unwrap(), []);
    assert_eq!(a.take_letters().await.unwrap(), Vec::<Vec<u8>>::new());
}

#[tokio::test]
async fn in_a_folder_there_is_nobody_to_write_to() {
    let home = Home::new();
    let store = home.open();
    store
        .send_letter(store.control_plane(), ONE, b"one".to_vec())
        .await
        .unwrap();
    store.show_nodes(b"me".to_vec()).await.unwrap();
    assert_eq!(store.take_letters().await.unwrap(), Vec::<Vec<u8>>::new());
    assert_eq!(store.shown_nodes().await.unwrap(), []);
    assert!(store.presence_told().is_none());
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_who_is_gone_however_much_it_was() {
    let Some(home) = Home::in_database() else { return };
    let [a, b] = [home.open(), home.open()];
    for n in 0..250_u128 {
        b.send_letter(a.control_plane(), n.to_be_bytes(), b"too late".to_vec())
            .await
            .unwrap();
    }
    a.leave().await.unwrap();
    assert_eq!(a.take_letters().await.unwrap(), Vec::<Vec<u8>>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_for_who_has_gone_before_is_dropped() {
    let Some(home) = Home::in_database() else { return };
    let [a, b, gone] = [home.open(), home.open(), home.open()];
    b.tell_presence(1, Vec::new()).await.unwrap();
    for to in [&a, &b, &gone] {
        a.send_letter(to.control_plane(), ONE, b"one".to_vec())
            .await
            .unwrap();
    }
    gone.show_nodes(b"too late".to_vec()).await.unwrap();
    let unheard = a.forget_strays(&BTreeSet::new()).await.unwrap();
    assert_eq!(unheard, [gone.control_plane()].into(), "it may just have come");
    assert_eq!(a.shown_nodes().await.unwrap().len(), 1);
    assert_eq!(a.forget_strays(&unheard).await.unwrap(), BTreeSet::new());
    assert_eq!(a.shown_nodes().await.unwrap(), []);
    let left = async |store: &Store| store.take_letters().await.unwrap().len();
    assert_eq!((left(&a).await, left(&b).await, left(&gone).await), (1, 1, 0));
}

#[tokio::test]
async fn in_a_folder_nothing_is_left_for_anybody() {
    let home = Home::new();
    let store = home.open();
    assert_eq!(
        store.forget_strays(&BTreeSet::new()).await.unwrap(),
        BTreeSet::new()
    );
    store.close().await;
}
