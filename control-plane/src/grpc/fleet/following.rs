//! One admin who watches the fleet: all of it first, then what changes.

use std::collections::BTreeMap;
use std::time::Duration;

use bridge_proto::admin::v1 as admin;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::view::{self, View};
use crate::roster::Roster;
use crate::snapshot::feed::Feed;
use crate::snapshot::nodes::Nodes;

/// The contract's limit: at most one answer in this time.
const PACE: Duration = Duration::from_secs(1);
/// Whoever watches longer has to show a token that is still good.
const WATCH_MAX: Duration = Duration::from_secs(15 * 60);

pub(super) struct Following {
    nodes: Nodes,
    roster: Roster,
    feed: Feed,
    stopping: CancellationToken,
    nodes_changed: watch::Receiver<()>,
    feed_changed: watch::Receiver<()>,
    until: Instant,
    told: Option<Told>,
}

/// What was said last, and when.
struct Told {
    at: Instant,
    answer: admin::WatchFleetResponse,
    nodes: BTreeMap<String, admin::Node>,
}

impl Following {
    pub(super) fn new(nodes: Nodes, roster: Roster, feed: Feed, stopping: CancellationToken) -> Self {
        Self {
            nodes_changed: nodes.changes(),
            feed_changed: feed.subscribe(),
            nodes,
            roster,
            feed,
            stopping,
            until: Instant::now() + WATCH_MAX,
            told: None,
        }
    }

    pub(super) fn into_stream(self) -> BoxStream<'static, Result<admin::WatchFleetResponse, Status>> {
        stream::unfold(self, |mut following| async move {
            let answer = following.next().await?;
            Some((Ok(answer), following))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<admin::WatchFleetResponse> {
        loop {
            if let Some(told) = &self.told {
                let ready = told.at + PACE;
                tokio::select! {
                    // The end goes first.
                    biased;
                    () = self.stopping.cancelled() => return None,
                    () = sleep_until(self.until) => return None,
                    changed = self.nodes_changed.changed() => changed.ok()?,
                    changed = self.feed_changed.changed() => changed.ok()?,
                }
                tokio::select! {
                    biased;
                    () = self.stopping.cancelled() => return None,
                    () = sleep_until(ready) => {}
                }
            }
            self.nodes_changed.borrow_and_update();
            self.feed_changed.borrow_and_update();
            if let Some(answer) = self.look() {
                return Some(answer);
            }
        }
    }

    /// What is to be said, if anything is.
    fn look(&mut self) -> Option<admin::WatchFleetResponse> {
        let View {
            nodes,
            published_revision,
            connected,
            current,
            canary,
        } = view::of(&self.nodes, &self.roster, &self.feed);
        let now: BTreeMap<_, _> = nodes.into_iter().map(|node| (node.id.clone(), node)).collect();
        let before = self.told.as_ref().map(|told| &told.nodes);
        let differs = |node: &&admin::Node| before.and_then(|before| before.get(&node.id)) != Some(*node);
        let gone = before.into_iter().flat_map(BTreeMap::keys);
        let answer = admin::WatchFleetResponse {
            nodes: now.values().filter(differs).cloned().collect(),
            removed_node_ids: gone.filter(|id| !now.contains_key(*id)).cloned().collect(),
            published_revision,
            connected,
            current,
            canary,
        };
        let is_news = match &self.told {
            None => true,
            Some(told) => {
                let head = |answer: &admin::WatchFleetResponse| admin::WatchFleetResponse {
                    nodes: Vec::new(),
                    removed_node_ids: Vec::new(),
                    ..answer.clone()
                };
                !answer.nodes.is_empty()
                    || !answer.removed_node_ids.is_empty()
                    || head(&answer) != head(&told.answer)
            }
        };
        is_news.then(|| {
            self.told = Some(Told {
                at: Instant::now(),
                answer: answer.clone(),
                nodes: now,
            });
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::gauge::Gauge;

    use super::*;
    use crate::snapshot::index::Index;
    use crate::snapshot::ledger::Ledger;
    use crate::snapshot::point::Point;

    #[tokio::test(start_paused = true)]
    async fn all_first_and_then_what_changes_once_a_second() {
        let nodes = Nodes::new(Gauge::default());
        let feed = Feed::new(Ledger::new(Point::test(3).store, Index::default(), true));
        let stopping = CancellationToken::new();
        let dir = tempfile::tempdir().unwrap();
        let store = crate::store::Store::open(&dir.path().join("store")).unwrap();
        let roster = Roster::open(store).await.unwrap();
        let (one, two) = (
            nodes.join_test("one", false, Some(1)),
            nodes.join_test("two", false, Some(1)),
        );
        let mut watching = Following::new(nodes.clone(), roster, feed, stopping.clone()).into_stream();
        let ids = |answer: &admin::WatchFleetResponse| -> Vec<String> {
            answer.nodes.iter().map(|node| node.id.clone()).collect()
        };
        let first = watching.next().await.unwrap().unwrap();
        assert_eq!(
            (ids(&first), first.connected),
            (vec!["one".into(), "two".into()], 2)
        );
        let before = Instant::now();
        drop(two);
        let second = watching.next().await.unwrap().unwrap();
        assert_eq!((ids(&second), second.connected), (vec!["two".into()], 1));
        assert!(before.elapsed() >= PACE);
        nodes
            .forget(&crate::snapshot::nodes::NodeId::parse("two").unwrap())
            .unwrap();
        let third = watching.next().await.unwrap().unwrap();
        assert_eq!(
            (ids(&third), third.removed_node_ids),
            (vec![], vec!["two".to_owned()])
        );
        stopping.cancel();
        assert!(watching.next().await.is_none());
        drop(one);
    }
}
