//! Puts a snapshot together from the messages that it comes in.

use bridge_proto::fleet::v1 as proto;

use super::message;
use crate::snapshot::{
    SNAPSHOT_BYTES_MAX,
    decode::{self, Received},
};

/// What is known of the snapshot that comes in.
#[derive(Debug, Default)]
pub(super) enum Incoming {
    /// None is.
    #[default]
    Nothing,
    /// The rest of one that was refused or of which the beginning is missing.
    Ignored,
    Receiving {
        received: Received,
        resource_count: u64,
        bytes: usize,
    },
}

/// What a message makes of it.
#[derive(Debug)]
pub(super) enum Step {
    /// More has to come.
    Wait,
    Whole(Received),
    Refuse(Option<proto::StoreVersion>, &'static str),
    /// It was not announced, so that nobody can say what is missing.
    Lost,
}

impl Incoming {
    /// An unfinished one is dropped.
    pub(super) fn begin(&mut self, begin: proto::SnapshotBegin) -> Step {
        let proto::SnapshotBegin {
            version,
            resource_count,
            allow_empty,
        } = begin;
        let Some(read) = decode::version(version.as_ref()) else {
            *self = Self::Ignored;
            return Step::Refuse(version, "the version is not one");
        };
        *self = Self::Receiving {
            received: Received {
                version: read,
                resources: Vec::new(),
                state_hash: Vec::new(),
                allow_empty,
            },
            resource_count,
            bytes: 0,
        };
        Step::Wait
    }

    pub(super) fn add(&mut self, chunk: proto::SnapshotChunk) -> Step {
        let (received, resource_count, bytes) = match self {
            Self::Ignored => return Step::Wait,
            Self::Nothing => return self.lost(),
            Self::Receiving {
                received,
                resource_count,
                bytes,
            } => (received, *resource_count, bytes),
        };
        *bytes = chunk
            .resources
            .iter()
            .fold(*bytes, |sum, resource| sum.saturating_add(resource.len()));
        received.resources.extend(chunk.resources);
        if *bytes > SNAPSHOT_BYTES_MAX || received.resources.len() as u64 > resource_count {
            let version = Some(message::version(received.version));
            *self = Self::Ignored;
            return Step::Refuse(version, "it is larger than announced or allowed");
        }
        Step::Wait
    }

    pub(super) fn end(&mut self, end: proto::SnapshotEnd) -> Step {
        let proto::SnapshotEnd { version, state_hash } = end;
        match std::mem::take(self) {
            Self::Ignored => Step::Wait,
            Self::Nothing => Step::Lost,
            Self::Receiving {
                mut received,
                resource_count,
                bytes: _,
            } => {
                let announced = Some(message::version(received.version));
                if version != announced || received.resources.len() as u64 != resource_count {
                    return Step::Refuse(announced, "it is not what was announced");
                }
                received.state_hash = state_hash;
                Step::Whole(received)
            }
        }
    }

    /// Said once, not for every part.
    fn lost(&mut self) -> Step {
        *self = Self::Ignored;
        Step::Lost
    }
}
