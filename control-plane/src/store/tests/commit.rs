//! What a commit checks, and that it happens whole or not at all.

use super::*;
use crate::{
    domain::session::{Client, Session, SessionId},
    store::{Kind, SessionChange},
};

on_each_store!(
    expectations_are_checked_against_the_stored_revision,
    a_commit_that_fails_leaves_nothing,
    an_email_belongs_to_one_user,
    the_last_enabled_admin_stays_one,
    a_key_has_an_owner_who_is_there,
    sessions_are_kept_without_raising_the_revision,
    a_repeated_request_is_recognised_for_a_day,
);

async fn expectations_are_checked_against_the_stored_revision(home: Home) {
    let store = home.open();
    let put = |model: &str, expect| vec![Change::PutProvider(provider("a", model), expect)];
    let missing = commit(&store, put("m", Expect::Present)).await;
    assert!(matches!(
        missing,
        Err(CommitError::NotFound {
            kind: Kind::Provider,
            ..
        })
    ));
    let missing = commit(&store, put("m", Expect::Revision(0))).await;
    assert!(matches!(missing, Err(CommitError::NotFound { .. })));
    commit(&store, put("m", Expect::Absent)).await.unwrap();
    assert!(matches!(
        commit(&store, put("m", Expect::Absent)).await,
        Err(CommitError::Exists { .. })
    ));
    commit(&store, put("m2", Expect::Revision(1))).await.unwrap();
    let conflict = commit(&store, put("m3", Expect::Revision(1))).await;
    assert!(matches!(conflict, Err(CommitError::Conflict { current: 2, .. })));
    let name = provider("a", "m").spec.name;
    let delete = |expect| vec![Change::DeleteProvider(name.clone(), expect)];
    assert!(matches!(
        commit(&store, delete(Expect::Revision(1))).await,
        Err(CommitError::Conflict { .. })
    ));
    commit(&store, delete(Expect::Present)).await.unwrap();
    assert!(matches!(
        commit(&store, delete(Expect::Present)).await,
        Err(CommitError::NotFound { .. })
    ));
    assert_eq!(store.version().revision, 3);
}

async fn a_commit_that_fails_leaves_nothing(home: Home) {
    let store = home.open();
    commit(&store, vec![Change::PutUser(user(1), Expect::Absent)])
        .await
        .unwrap();
    let changes = vec![
        Change::PutUser(user(2), Expect::Absent),
        Change::PutProvider(provider("a", "m"), Expect::Absent),
        Change::PutProvider(provider("a", "m"), Expect::Absent),
    ];
    assert!(matches!(
        commit(&store, changes).await,
        Err(CommitError::Exists { .. })
    ));
    assert_eq!(store.version().revision, 1);
    assert_eq!(store.users().await.unwrap().len(), 1);
    assert!(store.providers().await.unwrap().is_empty());
    assert_eq!(store.audit(0, 10).await.unwrap().len(), 1);
}

async fn an_email_belongs_to_one_user(home: Home) {
    let store = home.open();
    commit(&store, vec![Change::PutUser(user(1), Expect::Absent)])
        .await
        .unwrap();
    let taken = user_with(2, "u1@example.com", Role::User);
    let refused = commit(&store, vec![Change::PutUser(taken.clone(), Expect::Absent)]).await;
    assert!(matches!(refused, Err(CommitError::Exists { kind: Kind::User, id }) if id == "u1@example.com"));
    let moved = user_with(1, "new@example.com", Role::Admin);
    let both = vec![
        Change::PutUser(moved, Expect::Present),
        Change::PutUser(taken, Expect::Absent),
    ];
    commit(&store, both).await.unwrap();
    let by_email = |text: &str| {
        let (store, email) = (store.clone(), Email::parse(text).unwrap());
        async move {
            store
                .user_by_email(&email)
                .await
                .unwrap()
                .map(|user| user.value.id)
        }
    };
    assert_eq!(by_email("u1@example.com").await, Some(id(2)));
    assert_eq!(by_email("new@example.com").await, Some(id(1)));
    commit(&store, vec![Change::DeleteUser(id(2), Expect::Present)])
        .await
        .unwrap();
    assert_eq!(by_email("u1@example.com").await, None);
}

async fn the_last_enabled_admin_stays_one(home: Home) {
    let store = home.open();
    commit(&store, vec![Change::PutUser(user(1), Expect::Absent)])
        .await
        .unwrap();
    let demoted = user_with(1, "u1@example.com", Role::Operator);
    let mut disabled = user(1);
    disabled.spec.enabled = false;
    for change in [
        Change::PutUser(demoted.clone(), Expect::Present),
        Change::PutUser(disabled, Expect::Present),
        Change::DeleteUser(id(1), Expect::Present),
    ] {
        assert!(matches!(
            commit(&store, vec![change]).await,
            Err(CommitError::LastAdmin)
        ));
    }
    let with_successor = vec![
        Change::PutUser(demoted, Expect::Present),
        Change::PutUser(user(2), Expect::Absent),
    ];
    commit(&store, with_successor).await.unwrap();
}

async fn a_key_has_an_owner_who_is_there(home: Home) {
    let store = home.open();
    commit(
        &store,
        vec![
            Change::PutUser(user(1), Expect::Absent),
            Change::PutUser(user(2), Expect::Absent),
        ],
    )
    .await
    .unwrap();
    let orphan = commit(&store, vec![Change::PutApiKey(api_key(1, 9), Expect::Absent)]).await;
    assert!(matches!(
        orphan,
        Err(CommitError::NotFound { kind: Kind::User, .. })
    ));
    commit(&store, vec![Change::PutApiKey(api_key(1, 2), Expect::Absent)])
        .await
        .unwrap();
    let owner = commit(&store, vec![Change::DeleteUser(id(2), Expect::Present)]).await;
    assert!(matches!(owner, Err(CommitError::OwnsApiKeys { .. })));
    let both = vec![
        Change::DeleteApiKey(key_id(1), Expect::Present),
        Change::DeleteUser(id(2), Expect::Present),
    ];
    commit(&store, both).await.unwrap();
}

async fn sessions_are_kept_without_raising_the_revision(home: Home) {
    let store = home.open();
    commit(
        &store,
        vec![
            Change::PutUser(user(1), Expect::Absent),
            Change::PutUser(user(2), Expect::Absent),
        ],
    )
    .await
    .unwrap();
    let session = |n, user, generation| Session {
        id: SessionId::mint([n; 16]),
        user_id: id(user),
        generation,
        created_at: NOW,
        refreshed_at: NOW,
        session_epoch: 0,
        client: Client::default(),
        expires_at: NOW + Duration::from_millis(1),
    };
    let put = |session: Session| store.keep_sessions(vec![SessionChange::Put(session)]);
    assert!(
        matches!(put(session(1, 1, 1)).await, Err(CommitError::SessionConflict)),
        "it begins at 0"
    );
    put(session(1, 1, 0)).await.unwrap();
    put(session(2, 1, 0)).await.unwrap();
    put(session(3, 2, 0)).await.unwrap();
    put(session(1, 1, 1)).await.unwrap();
    assert!(
        matches!(put(session(1, 1, 1)).await, Err(CommitError::SessionConflict)),
        "the second of two loses"
    );
    assert!(
        matches!(put(session(4, 9, 0)).await, Err(CommitError::SessionConflict)),
        "nobody is there"
    );
    let login = SessionChange::RecordLogin(id(1), NOW + Duration::from_millis(5));
    store.keep_sessions(vec![login]).await.unwrap();
    assert_eq!(store.version().revision, 1);
    assert_eq!(
        store.session(&id(1), &SessionId::mint([1; 16])).await.unwrap(),
        Some(session(1, 1, 1))
    );
    assert_eq!(store.sessions_of(&id(1)).await.unwrap().len(), 2);
    assert_eq!(
        store.last_logins().await.unwrap()[&id(1)],
        NOW + Duration::from_millis(5)
    );
    assert_eq!(store.audit(0, 10).await.unwrap().len(), 1);
    commit(&store, vec![Change::DeleteUser(id(1), Expect::Present)])
        .await
        .unwrap();
    assert!(store.sessions_of(&id(1)).await.unwrap().is_empty());
    assert!(store.last_logins().await.unwrap().is_empty());
    assert_eq!(store.sessions_of(&id(2)).await.unwrap().len(), 1);
}

async fn a_repeated_request_is_recognised_for_a_day(home: Home) {
    let store = home.open();
    let create = |name: &str| vec![Change::PutProvider(provider(name, "m"), Expect::Absent)];
    let hours = |hours: u64| NOW + Duration::from_secs(hours * 3600);
    commit_once(&store, create("a"), "k", 1, hours(0)).await.unwrap();
    let replayed = commit_once(&store, create("a"), "k", 1, hours(24)).await;
    assert!(matches!(replayed, Err(CommitError::Replayed { result }) if result == "made by k"));
    let other = commit_once(&store, create("b"), "k", 2, hours(1)).await;
    assert!(matches!(other, Err(CommitError::IdempotencyMismatch)));
    let failed = commit_once(&store, create("a"), "k2", 1, hours(1)).await;
    assert!(matches!(failed, Err(CommitError::Exists { .. })));
    commit_once(&store, create("b"), "k2", 2, hours(1)).await.unwrap();
    commit_once(&store, create("c"), "k", 3, hours(25)).await.unwrap();
    assert_eq!(store.version().revision, 3);
}
