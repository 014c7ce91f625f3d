//! What is acknowledged survives, and what may not survive is not told to anybody.

use std::{
    fs::File,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use futures_util::FutureExt;

use super::*;

/// A disk that fails when it is told to.
struct Failing {
    disk: Disk,
    fails: Arc<AtomicBool>,
    is_full: Arc<AtomicBool>,
}

impl Durability for Failing {
    fn make_durable(&mut self, revision: u64) -> Result<(), ::sled::Error> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(::sled::Error::Io(std::io::ErrorKind::Other.into()));
        }
        self.disk.make_durable(revision)
    }

    fn has_space(&self) -> bool {
        !self.is_full.load(Ordering::SeqCst)
    }
}

fn failing(home: &Home) -> (Store, Arc<AtomicBool>, Arc<AtomicBool>) {
    let (fails, is_full) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (disk_fails, disk_is_full) = (Arc::clone(&fails), Arc::clone(&is_full));
    let store = home.open_on(|disk| Failing {
        disk,
        fails: disk_fails,
        is_full: disk_is_full,
    });
    (store, fails, is_full)
}

/// A disk that syncs when it is let.
struct Waiting {
    disk: Disk,
    began: mpsc::Sender<()>,
    let_go: Mutex<mpsc::Receiver<()>>,
}

impl Durability for Waiting {
    fn make_durable(&mut self, revision: u64) -> Result<(), ::sled::Error> {
        self.began.send(()).unwrap();
        self.let_go.lock().unwrap().recv().unwrap();
        self.disk.make_durable(revision)
    }

    fn has_space(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_before_it_is_durable() {
    let home = Home::new();
    let ((began, has_begun), (go, let_go)) = (mpsc::channel(), mpsc::channel());
    let store = home.open_on(|disk| Waiting {
        disk,
        began,
        let_go: Mutex::new(let_go),
    });
    let mut committing = Box::pin(commit(&store, vec![Change::PutUser(user(1), Expect::Absent)]));
    assert!(committing.as_mut().now_or_never().is_none());
    has_begun.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(store.version().revision, 0);
    assert!(!store.revisions().has_changed().unwrap());
    assert!(store.user(&id(1)).now_or_never().is_none(), "a read waits");
    assert!(committing.as_mut().now_or_never().is_none());
    go.send(()).unwrap();
    assert_eq!(committing.await.unwrap(), Committed { revision: 1 });
    assert_eq!(store.version().revision, 1);
    assert!(store.user(&id(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_written_and_reads_go_on() {
    let home = Home::new();
    let (store, fails, _) = failing(&home);
    commit(&store, vec![Change::PutUser(user(1), Expect::Absent)])
        .await
        .unwrap();
    fails.store(true, Ordering::SeqCst);
    let put = || vec![Change::PutProvider(provider("a", "m"), Expect::Any)];
    assert!(matches!(commit(&store, put()).await, Err(CommitError::Broken)));
    fails.store(false, Ordering::SeqCst);
    assert!(
        matches!(commit(&store, put()).await, Err(CommitError::Broken)),
        "it stays so"
    );
    assert!(!store.is_writable());
    assert_eq!(store.version().revision, 1);
    assert!(store.user(&id(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_full_disk_is_told_and_forgotten_when_there_is_space() {
    let home = Home::new();
    let (store, _, is_full) = failing(&home);
    is_full.store(true, Ordering::SeqCst);
    let put = || vec![Change::PutUser(user(1), Expect::Any)];
    assert!(matches!(commit(&store, put()).await, Err(CommitError::Full)));
    assert!(store.is_writable());
    is_full.store(false, Ordering::SeqCst);
    assert_eq!(commit(&store, put()).await.unwrap(), Committed { revision: 1 });
}

#[tokio::test]
async fn a_crash_after_the_answer_loses_nothing() {
    let home = Home::new();
    let store = home.open();
    for n in 1..=20_u8 {
        commit(&store, vec![Change::PutUser(user(n), Expect::Absent)])
            .await
            .unwrap();
        let image = home.crash_image();
        let survivor = image.open();
        assert_eq!(survivor.version(), store.version());
        assert_eq!(survivor.users().await.unwrap().len(), usize::from(n));
        assert_eq!(survivor.audit(0, 100).await.unwrap().len(), usize::from(n));
    }
}

#[tokio::test]
async fn a_closed_store_refuses_changes_and_can_be_opened_again() {
    let home = Home::new();
    let store = home.open();
    commit(&store, vec![Change::PutUser(user(1), Expect::Absent)])
        .await
        .unwrap();
    store.close().await;
    assert!(matches!(commit(&store, vec![]).await, Err(CommitError::Broken)));
    store.close().await;
    assert!(store.user(&id(1)).await.unwrap().is_some());
    drop(store);
    assert_eq!(home.open().version().revision, 1);
}

/// sled lets go of its file in a thread of its own, after whoever closed it was told.
#[tokio::test]
async fn a_store_whose_file_is_not_released_yet_is_waited_for() {
    // Asked of the system: whoever tries a lock has it for a moment.
    let is_locked = |path: PathBuf| {
        let inode = format!(":{} ", std::fs::metadata(path).unwrap().ino());
        std::fs::read_to_string("/proc/locks").unwrap().contains(&inode)
    };
    let home = Home::new();
    // Closed first, so that our own lock is not the writer's any more.
    let store = home.open();
    store.close().await;
    drop(store);
    let data = File::open(home.path().join("db")).unwrap();
    data.lock().unwrap();
    thread::scope(|threads| {
        let opening = threads.spawn(|| home.try_open().map(drop));
        // It is on its way as soon as it has our own lock.
        while !is_locked(home.path().join("lock")) && !opening.is_finished() {
            thread::yield_now();
        }
        data.unlock().unwrap();
        opening.join().unwrap().unwrap();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_come_together_share_syncs() {
    struct Counting(Disk, Arc<std::sync::atomic::AtomicU64>);
    impl Durability for Counting {
        fn make_durable(&mut self, revision: u64) -> Result<(), ::sled::Error> {
            self.1.fetch_add(1, Ordering::SeqCst);
            self.0.make_durable(revision)
        }
        fn has_space(&self) -> bool {
            true
        }
    }
    const COMMITS: u64 = 1_000;
    let home = Home::new();
    let syncs = Arc::default();
    let store = home.open_on(|disk| Counting(disk, Arc::clone(&syncs)));
    let commits = (0..COMMITS).map(|_| commit(&store, vec![Change::PutSettings(settings(1), Expect::Any)]));
    let mut revisions: Vec<u64> = futures_util::future::try_join_all(commits)
        .await
        .unwrap()
        .into_iter()
        .map(|committed| committed.revision)
        .collect();
    revisions.sort_unstable();
    assert!(
        revisions.into_iter().eq(1..=COMMITS),
        "each has a revision of its own"
    );
    assert!(syncs.load(Ordering::SeqCst) < COMMITS / 4, "{syncs:?} syncs");
}
