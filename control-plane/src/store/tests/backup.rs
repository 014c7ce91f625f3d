//! Backups: everything comes back, and nothing that is damaged.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::*;
use crate::{
    domain::session::{Client, Session, SessionId},
    store::{BackupError, OpenError, SealedName, SessionChange, Sessions, StoreVersion, inspect},
};

/// What is written, for others to read.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn backup(store: &Store) -> Vec<u8> {
    let sink = Sink::default();
    store.backup(sink.clone()).await.unwrap();
    sink.0.lock().unwrap().clone()
}

async fn restore(place: &Home, bytes: &[u8], sessions: Sessions) -> Result<Store, BackupError> {
    let (path, bytes) = (place.path(), bytes.to_vec());
    tokio::task::spawn_blocking(move || Store::restore(&path, &bytes[..], sessions))
        .await
        .unwrap()
}

fn session() -> Session {
    Session {
        id: SessionId::mint([7; 16]),
        user_id: id(1),
        generation: 0,
        created_at: NOW,
        refreshed_at: NOW,
        expires_at: NOW + Duration::from_secs(60),
        session_epoch: 0,
        client: Client::default(),
    }
}

/// A store with a bit of everything.
async fn furnished(home: &Home) -> Store {
    let store = home.open();
    let changes = vec![
        Change::PutUser(user(1), Expect::Absent),
        Change::PutProvider(provider("a", "m"), Expect::Absent),
        Change::PutApiKey(api_key(1, 1), Expect::Absent),
        Change::PutSettings(settings(3), Expect::Any),
        Change::PutSealed(SealedName::KeyCheck, vec![1, 2, 3]),
    ];
    commit(&store, changes).await.unwrap();
    commit(&store, vec![Change::DeleteApiKey(key_id(1), Expect::Any)])
        .await
        .unwrap();
    store
        .keep_sessions(vec![SessionChange::Put(session())])
        .await
        .unwrap();
    store
}

#[tokio::test]
async fn everything_comes_back_in_the_next_epoch_and_sessions_only_if_wanted() {
    let home = Home::new();
    let store = furnished(&home).await;
    let bytes = backup(&store).await;
    let inspected = inspect(&bytes[..]).unwrap();
    assert_eq!(inspected.key_check(), Some(&[1, 2, 3][..]));
    assert_eq!(inspected.header.revision, 2);
    for (sessions, expected) in [(Sessions::Keep, vec![session()]), (Sessions::End, vec![])] {
        let place = Home::new();
        let restored = restore(&place, &bytes, sessions).await.unwrap();
        let StoreVersion {
            cluster_id,
            epoch,
            revision,
        } = restored.version();
        assert_eq!((cluster_id, revision), (store.version().cluster_id, 2));
        assert_eq!(epoch, store.version().epoch + 1);
        commit(&restored, vec![Change::PutUser(user(2), Expect::Absent)])
            .await
            .unwrap();
        restored.close().await;
        drop(restored);
        let again = place.open();
        assert_eq!(again.sessions_of(&id(1)).await.unwrap(), expected);
        assert_eq!(again.version().revision, 3);
        assert_eq!(
            again.configuration().await.unwrap().providers,
            store.configuration().await.unwrap().providers
        );
        assert_eq!(
            again.audit(0, 10).await.unwrap()[..2],
            store.audit(0, 10).await.unwrap()[..]
        );
        assert!(again.changes_since(1).await.unwrap().is_some());
        again.verify().await.unwrap();
    }
}

#[tokio::test]
async fn a_backup_is_of_one_moment_while_others_write() {
    let home = Home::new();
    let store = furnished(&home).await;
    let writing = async {
        for n in 2..40 {
            commit(&store, vec![Change::PutUser(user(n), Expect::Absent)])
                .await
                .unwrap();
        }
    };
    let (bytes, ()) = tokio::join!(backup(&store), writing);
    let place = Home::new();
    let restored = restore(&place, &bytes, Sessions::End).await.unwrap();
    restored.verify().await.unwrap();
    let revision = restored.version().revision;
    let users = restored.users().await.unwrap();
    assert_eq!(users.len() as u64, revision - 1, "as many as were made by then");
}

#[tokio::test]
async fn no_damaged_backup_is_restored() {
    let home = Home::new();
    let bytes = backup(&furnished(&home).await).await;
    for length in 0..bytes.len() {
        let error = inspect(&bytes[..length]).unwrap_err();
        assert!(matches!(error, BackupError::CutOff { .. }), "{length}: {error}");
    }
    for place in 0..bytes.len() {
        for bit in [0x01, 0x80] {
            let mut damaged = bytes.clone();
            damaged[place] ^= bit;
            assert!(inspect(&damaged[..]).is_err(), "byte {place}");
        }
    }
    let longer = [&bytes[..], b"\0"].concat();
    assert!(matches!(inspect(&longer[..]), Err(BackupError::Damaged { .. })));
    let place = Home::new();
    let half = &bytes[..bytes.len() / 2];
    assert!(restore(&place, half, Sessions::End).await.is_err());
    assert!(Store::open(&place.path()).is_err(), "half of it is no store");
}

#[tokio::test]
async fn what_is_there_is_never_replaced() {
    let home = Home::new();
    let store = furnished(&home).await;
    let bytes = backup(&store).await;
    store.close().await;
    drop(store);
    let refused = restore(&home, &bytes, Sessions::End).await;
    assert!(matches!(
        refused.err(),
        Some(BackupError::Open(OpenError::NotEmpty { .. }))
    ));
    assert_eq!(home.open().version().revision, 2);
}
