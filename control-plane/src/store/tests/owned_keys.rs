//! How many keys somebody owns, counted where one is added; and users read in place of nobody.

use super::*;
use crate::store::KeyRoom;

on_each_store!(
    what_would_be_one_key_too_many_does_not_happen,
    nobody_is_read_like_somebody,
);

fn room(live_max: Option<usize>, at: SystemTime) -> Change {
    Change::OwnerHasRoom(id(1), KeyRoom { live_max, at })
}

fn put(n: u8) -> Change {
    Change::PutApiKey(api_key(n, 1), Expect::Absent)
}

async fn what_would_be_one_key_too_many_does_not_happen(home: Home) {
    let store = home.open();
    let others = Change::PutApiKey(api_key(9, 2), Expect::Absent);
    let users = vec![
        Change::PutUser(user(1), Expect::Absent),
        Change::PutUser(user(2), Expect::Absent),
        others,
    ];
    commit(&store, users).await.unwrap();
    for n in [1, 2] {
        commit(&store, vec![put(n), room(Some(2), NOW)]).await.unwrap();
    }
    let one_more = commit(&store, vec![put(3), room(Some(2), NOW)]).await;
    assert!(matches!(one_more, Err(CommitError::TooMany { max: 2, .. })));
    assert_eq!(store.api_keys().await.unwrap().len(), 3);
    // Each ends a minute later, and counts no longer.
    let later = NOW + Duration::from_secs(60);
    commit(&store, vec![room(Some(0), later)]).await.unwrap();
    commit(&store, vec![put(3), room(None, NOW)]).await.unwrap();
    store.close().await;
}

async fn nobody_is_read_like_somebody(home: Home) {
    let store = home.open();
    let users = [1, 2].map(|n| Change::PutUser(user(n), Expect::Absent));
    commit(&store, users.into()).await.unwrap();
    let read = async |email: &str, decoy: u8| {
        let found = store.user_or_decoy(email, id(decoy)).await.unwrap();
        found.map(|(user, is_known)| (user.value.id, is_known))
    };
    assert_eq!(read("u1@example.com", 2).await, Some((id(1), true)));
    assert_eq!(read("nobody@example.com", 2).await, Some((id(2), false)));
    assert_eq!(read("", 2).await, Some((id(2), false)));
    assert_eq!(read("nobody@example.com", 3).await, None);
    store.close().await;
}
