//! Which versions may follow which.

use bridge_proto::fleet::v1 as proto;

use crate::snapshot::{Snapshot, Version};

/// What a cluster is named by.
pub(super) const CLUSTER_ID_BYTES: usize = 16;

/// Reads a version; `None` unless it names a whole cluster id.
pub(crate) fn version(message: Option<&proto::StoreVersion>) -> Option<Version> {
    let proto::StoreVersion {
        cluster_id,
        epoch,
        revision,
    } = message?;
    let cluster: [u8; CLUSTER_ID_BYTES] = cluster_id.as_slice().try_into().ok()?;
    Some(Version {
        cluster,
        epoch: *epoch,
        revision: *revision,
    })
}

/// Time does not run backwards, and nobody else's configuration slips in.
pub(super) fn check(next: Version, held: Option<&Snapshot>, accept_new_cluster: bool) -> Result<(), String> {
    let Some(held) = held.map(|held| held.version) else {
        return Ok(());
    };
    if next.cluster != held.cluster {
        return if accept_new_cluster {
            Ok(())
        } else {
            Err("it belongs to another cluster".into())
        };
    }
    if (next.epoch, next.revision) < (held.epoch, held.revision) {
        return Err(format!(
            "epoch {} revision {} is older than epoch {} revision {}",
            next.epoch, next.revision, held.epoch, held.revision
        ));
    }
    Ok(())
}
