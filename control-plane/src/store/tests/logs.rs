//! The change log and the audit log.

use super::*;
use crate::store::{
    Kind, Resource,
    change_log::CHANGE_LOG_REVISIONS,
    rows::{Order, Span},
};

on_each_store!(
    changes_are_told_once_per_thing_as_it_is_now,
    only_what_takes_rights_away_is_urgent,
    the_change_log_keeps_what_it_promises_and_no_more,
    every_commit_has_its_audit_row,
);

fn names(changes: &crate::store::Changes) -> Vec<(Kind, &str, bool, bool)> {
    changes
        .resources
        .iter()
        .map(|change| {
            (
                change.kind,
                change.id.as_str(),
                change.urgent,
                change.now.is_some(),
            )
        })
        .collect()
}

async fn changes_are_told_once_per_thing_as_it_is_now(home: Home) {
    let store = home.open();
    commit(&store, vec![Change::PutUser(user(1), Expect::Absent)])
        .await
        .unwrap();
    commit(
        &store,
        vec![Change::PutProvider(provider("a", "old"), Expect::Absent)],
    )
    .await
    .unwrap();
    commit(
        &store,
        vec![Change::PutProvider(provider("b", "m"), Expect::Absent)],
    )
    .await
    .unwrap();
    commit(&store, vec![Change::PutApiKey(api_key(1, 1), Expect::Absent)])
        .await
        .unwrap();
    commit(
        &store,
        vec![Change::PutProvider(provider("a", "new"), Expect::Present)],
    )
    .await
    .unwrap();
    commit(&store, vec![Change::PutSettings(settings(2), Expect::Any)])
        .await
        .unwrap();
    commit(
        &store,
        vec![Change::DeleteProvider(
            provider("b", "m").spec.name,
            Expect::Present,
        )],
    )
    .await
    .unwrap();
    let changes = store.changes_since(1).await.unwrap().unwrap();
    assert_eq!(changes.version, store.version());
    let expected = [
        (Kind::Provider, "a", false, true),
        (Kind::Provider, "b", false, false),
        (Kind::ApiKey, "key000000001", false, true),
        (Kind::Settings, "", false, true),
    ];
    assert_eq!(names(&changes), expected);
    assert!(
        matches!(&changes.resources[0].now, Some(Resource::Provider(stored)) if stored.value == provider("a", "new"))
    );
    assert_eq!(names(&store.changes_since(7).await.unwrap().unwrap()), []);
    assert!(
        store.changes_since(8).await.unwrap().is_none(),
        "that is yet to come"
    );
}

async fn only_what_takes_rights_away_is_urgent(home: Home) {
    let store = home.open();
    commit(&store, vec![Change::PutUser(user(1), Expect::Absent)])
        .await
        .unwrap();
    commit(&store, vec![Change::PutApiKey(api_key(1, 1), Expect::Absent)])
        .await
        .unwrap();
    commit(&store, vec![Change::PutApiKey(api_key(2, 1), Expect::Absent)])
        .await
        .unwrap();
    let mut disabled = api_key(1, 1);
    disabled.spec.enabled = false;
    commit(&store, vec![Change::PutApiKey(disabled, Expect::Present)])
        .await
        .unwrap();
    commit(&store, vec![Change::DeleteApiKey(key_id(2), Expect::Present)])
        .await
        .unwrap();
    let first = store.changes_since(2).await.unwrap().unwrap();
    assert_eq!(
        first
            .resources
            .iter()
            .map(|change| change.urgent)
            .collect::<Vec<_>>(),
        [true, true]
    );
}

async fn the_change_log_keeps_what_it_promises_and_no_more(home: Home) {
    const BEYOND: u64 = 5;
    let store = home.open();
    let commits = (0..CHANGE_LOG_REVISIONS + BEYOND).map(|n| {
        let changes = vec![Change::PutSettings(settings(1 + (n % 20) as u32), Expect::Any)];
        let store = store.clone();
        async move { commit(&store, changes).await.map(drop) }
    });
    // All at once, so that they share syncs.
    futures_util::future::try_join_all(commits).await.unwrap();
    assert_eq!(store.version().revision, CHANGE_LOG_REVISIONS + BEYOND);
    assert!(store.changes_since(BEYOND).await.unwrap().is_some());
    assert!(store.changes_since(BEYOND - 1).await.unwrap().is_none());
    let kept = store
        .blocking(|rows| {
            Ok(rows
                .scan(Family::ChangeLog, Span::all(), Order::Ascending)
                .count())
        })
        .await
        .unwrap();
    assert_eq!(kept as u64, CHANGE_LOG_REVISIONS);
}

async fn every_commit_has_its_audit_row(home: Home) {
    let store = home.open();
    for n in 1..=5 {
        commit(&store, vec![Change::PutSettings(settings(n), Expect::Any)])
            .await
            .unwrap();
    }
    let rows = store.audit(0, 100).await.unwrap();
    assert_eq!(
        rows.iter()
            .map(|row| (row.sequence, row.revision))
            .collect::<Vec<_>>(),
        [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]
    );
    assert_eq!(rows[0].entry, audit(NOW));
    let page = store.audit(2, 2).await.unwrap();
    assert_eq!(page.iter().map(|row| row.sequence).collect::<Vec<_>>(), [3, 4]);
}
