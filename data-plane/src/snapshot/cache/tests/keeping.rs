//! What a keeper writes, and when.

use super::*;

/// A keeper at work, and its end.
struct Kept {
    node: Arc<Node>,
    inbox: Arc<Inbox>,
    over: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Kept {
    fn start(folder: &Path) -> Self {
        let (node, inbox, over) = (
            node::tests::node(),
            Arc::<Inbox>::default(),
            CancellationToken::new(),
        );
        let keeper = Keeper::new(
            cache_in(folder),
            Arc::clone(&node),
            Arc::clone(&inbox),
            over.clone(),
        );
        let tasks = tokio_util::task::TaskTracker::new();
        let task = tasks.spawn(keeper.run());
        Self {
            node,
            inbox,
            over,
            task,
        }
    }

    /// As the subscription does it.
    fn in_force(&self, revision: u64) {
        let received = fixture::received(revision, fixture::resources());
        let snapshot = Arc::new(decode::decode(&received, None, false).unwrap());
        self.node.live.swap(Arc::clone(&snapshot), Instant::now());
        self.inbox.put(snapshot);
    }

    async fn wait_for(&self, result: &'static str, at_least: u64) {
        timeout(DEADLINE, async {
            while count(&self.node, result) < at_least {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await
        .unwrap();
    }

    async fn end(self) {
        self.over.cancel();
        timeout(DEADLINE, self.task).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn many_changes_cost_few_writes_and_the_last_one_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let kept = Kept::start(dir.path());
    let files = Files::new(dir.path().to_owned());
    kept.in_force(1);
    kept.wait_for("written", 1).await;
    assert_eq!(newest(&files, TOKEN), Some(1), "the first one at once");
    for revision in 2..=100 {
        kept.in_force(revision);
    }
    let node = Arc::clone(&kept.node);
    kept.end().await;
    assert_eq!(newest(&files, TOKEN), Some(100));
    assert!(count(&node, "written") <= 4, "{}", count(&node, "written"));
}

#[tokio::test]
async fn a_disk_that_refuses_stops_nothing_and_may_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("cache");
    fs::write(&folder, "a file where the folder should be").unwrap();
    let kept = Kept::start(&folder);
    kept.in_force(1);
    kept.wait_for("failed", 1).await;
    assert!(kept.node.live.current(Instant::now()).is_ok());
    fs::remove_file(&folder).unwrap();
    kept.end().await;
    assert_eq!(
        newest(&Files::new(folder), TOKEN),
        Some(1),
        "it was not forgotten"
    );
}
