//! What a data plane says of itself when its stream begins, and what follows from it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use bridge_proto::fleet::v1 as fleet;
use bridge_proto::fleet::v1::watch_request::Message as Up;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use crate::snapshot::feed::Feed;
use crate::snapshot::nodes::{Facts, Identity, short};
use crate::snapshot::point::Point;
use crate::snapshot::reader;
use crate::store::Store;

/// How long a new stream may stay silent.
const SUBSCRIBE_WAIT: Duration = Duration::from_secs(10);

/// In which form a node takes the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Changes,
    WholeOnly,
    /// It could not read it.
    Nothing,
}

impl Takes {
    pub(super) fn of(facts: &Facts) -> Self {
        if !facts.is_compatible() {
            Self::Nothing
        } else if facts.can(fleet::Capability::Delta) {
            Self::Changes
        } else {
            Self::WholeOnly
        }
    }
}

/// What a node says that it holds, if it is a version of ours. Whether the hash fits
/// shows once something is added to it; for the newest version it shows at once.
pub(super) fn held(subscribe: &fleet::Subscribe, newest: &Point) -> Option<Point> {
    let held = Point::from_proto(subscribe.held.as_ref(), &subscribe.held_state_hash)?;
    (held.is_of(&newest.store) && held.revision() <= newest.revision()).then_some(held)
}

/// Finds out what changed before this process began.
pub(super) async fn reach_back(store: &Store, feed: &Feed, revision: u64) {
    if feed.reaches(revision) {
        return;
    }
    match store.changes_since(revision).await {
        Ok(Some(changes)) => {
            let keys: BTreeSet<_> = changes
                .resources
                .iter()
                .filter_map(|change| reader::key_of(change.kind, &change.id))
                .collect();
            feed.reach_back(revision, keys);
        }
        // Then the node gets the whole.
        Ok(None) => {}
        Err(error) => tracing::warn!(error = %error, "the change log cannot be read"),
    }
}

pub(super) fn facts(subscribe: &fleet::Subscribe, remote: Option<SocketAddr>, identity: Identity) -> Facts {
    Facts {
        build: short(subscribe.build.clone()),
        public_address: short(subscribe.public_address.clone()),
        remote_address: remote,
        schema_max: subscribe.schema_max,
        capabilities: subscribe.capabilities().collect(),
        identity,
    }
}

/// The first message, which has to be this one.
pub(super) async fn first(inbound: &mut Streaming<fleet::WatchRequest>) -> Result<fleet::Subscribe, Status> {
    let came = timeout(SUBSCRIBE_WAIT, inbound.message())
        .await
        .map_err(|_| Status::deadline_exceeded("the first message did not come in time"))??;
    match came.and_then(|request| request.message) {
        Some(Up::Subscribe(subscribe)) => Ok(subscribe),
        Some(
            Up::Ack(_) | Up::Nack(_) | Up::Status(_) | Up::ProbeResult(_) | Up::Resync(_) | Up::Explained(_),
        )
        | None => Err(Status::invalid_argument("the first message must be subscribe")),
    }
}
