//! The whole fleet, at every control plane: each shows the others the data planes that are
//! connected to it, as an admin is shown them, within a second of what changes.

use std::time::Duration;

use bridge_proto::admin::v1 as admin;
use prost::Message;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::view;
use crate::snapshot::feed::Feed;
use crate::snapshot::nodes::{Nodes, Shown};
use crate::store::{self, Store};

/// At most one message and one look in this time.
const PACE: Duration = Duration::from_secs(1);
/// Shown again although nothing changed, for one that has just come.
const BEAT_EVERY: Duration = Duration::from_secs(5);

/// Shows others our nodes, and our registry theirs, until the shutdown.
pub(crate) async fn run(store: Store, nodes: Nodes, feed: Feed, stopping: CancellationToken) {
    let Some(mut told) = store.presence_told() else {
        return;
    };
    let (mut changed, mut published) = (nodes.changes(), feed.subscribe());
    let mut beats = interval(BEAT_EVERY);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = None;
    loop {
        tokio::select! {
            biased;
            () = stopping.cancelled() => return,
            _ = beats.tick() => {}
            Ok(()) = changed.changed() => {}
            Ok(()) = published.changed() => {}
            Ok(()) = told.changed() => {}
        }
        if let Err(error) = show_and_look(&store, &nodes, &feed, &mut said).await {
            // The next beat tries again.
            tracing::debug!(%error, "control planes cannot show each other their data planes");
        }
        tokio::select! {
            biased;
            () = stopping.cancelled() => return,
            () = sleep(PACE) => {}
        }
    }
}

async fn show_and_look(
    store: &Store,
    nodes: &Nodes,
    feed: &Feed,
    said: &mut Option<Vec<u8>>,
) -> Result<(), store::Error> {
    let list = admin::ListNodesResponse {
        nodes: view::here(nodes, feed),
        ..Default::default()
    };
    let list = list.encode_to_vec();
    if said.as_ref() != Some(&list) {
        store.show_nodes(list.clone()).await?;
        *said = Some(list);
    }
    let mut shown = Shown::new();
    for (place, list) in store.shown_nodes().await? {
        // What another build shows may be more than this one knows, and is read as far.
        if let Ok(list) = admin::ListNodesResponse::decode(list.as_slice()) {
            shown.insert(place, list.nodes);
        }
    }
    nodes.set_shown(shown);
    Ok(())
}
