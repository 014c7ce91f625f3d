//! Where a node is: a version, and the hash that tells which of two sets of resources
//! under that version it holds.

use bridge_proto::fleet::v1 as fleet;

use super::index::StateHash;
use crate::store::StoreVersion;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) store: StoreVersion,
    pub(crate) hash: StateHash,
}

impl Point {
    /// What a node says that it holds; `None` unless it is a whole version with a hash.
    pub(crate) fn from_proto(version: Option<&fleet::StoreVersion>, hash: &[u8]) -> Option<Self> {
        let fleet::StoreVersion {
            cluster_id,
            epoch,
            revision,
        } = version?;
        let store = StoreVersion {
            cluster_id: cluster_id.as_slice().try_into().ok()?,
            epoch: *epoch,
            revision: *revision,
        };
        let hash = StateHash::from_wire(hash)?;
        Some(Self { store, hash })
    }

    pub(crate) fn version(&self) -> fleet::StoreVersion {
        let StoreVersion {
            cluster_id,
            epoch,
            revision,
        } = self.store;
        fleet::StoreVersion {
            cluster_id: cluster_id.to_vec(),
            epoch,
            revision,
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.store.revision
    }

    /// Whether both are versions of one history.
    pub(crate) fn is_of(&self, other: &StoreVersion) -> bool {
        (self.store.cluster_id, self.store.epoch) == (other.cluster_id, other.epoch)
    }
}

#[cfg(test)]
impl Point {
    /// With a hash of its own for each revision.
    pub(crate) fn test(revision: u64) -> Self {
        let store = StoreVersion {
            cluster_id: [1; 16],
            epoch: 0,
            revision,
        };
        let mut hash = [7; 32];
        hash[..8].copy_from_slice(&revision.to_be_bytes());
        let hash = StateHash::from_wire(&hash).expect("32 bytes");
        Self { store, hash }
    }
}
