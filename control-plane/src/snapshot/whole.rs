//! A snapshot, encoded once and shared by all streams that send it.

use bridge_proto::fleet::v1 as fleet;
use bytes::Bytes;

use super::point::Point;

/// The contract's limit for one chunk, encoded.
const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// The whole of a version.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) point: Point,
    resource_count: u64,
    allow_empty: bool,
    chunks: Vec<fleet::SnapshotChunk>,
}

impl Whole {
    pub(crate) fn new<'a>(
        point: Point,
        allow_empty: bool,
        resources: impl Iterator<Item = &'a Bytes>,
    ) -> Self {
        let chunks = chunks(resources);
        Self {
            point,
            resource_count: chunks.iter().map(|chunk| chunk.resources.len() as u64).sum(),
            allow_empty,
            chunks,
        }
    }

    /// The messages of the snapshot by position; `None` after the last.
    pub(crate) fn message(&self, position: usize) -> Option<fleet::watch_response::Message> {
        use fleet::watch_response::Message::{SnapshotBegin, SnapshotChunk, SnapshotEnd};
        let version = Some(self.point.version());
        let last = self.chunks.len() + 1;
        if position == 0 {
            return Some(SnapshotBegin(fleet::SnapshotBegin {
                version,
                resource_count: self.resource_count,
                allow_empty: self.allow_empty,
            }));
        }
        if position == last {
            return Some(SnapshotEnd(fleet::SnapshotEnd {
                version,
                state_hash: self.point.hash.to_vec(),
            }));
        }
        self.chunks.get(position - 1).cloned().map(SnapshotChunk)
    }
}

fn chunks<'a>(resources: impl Iterator<Item = &'a Bytes>) -> Vec<fleet::SnapshotChunk> {
    let mut chunks = Vec::new();
    let mut chunk = fleet::SnapshotChunk::default();
    let mut chunk_bytes = 0;
    for resource in resources {
        let bytes = encoded_len(resource);
        if chunk_bytes + bytes > CHUNK_BYTES_MAX && !chunk.resources.is_empty() {
            chunks.push(std::mem::take(&mut chunk));
            chunk_bytes = 0;
        }
        chunk.resources.push(resource.clone());
        chunk_bytes += bytes;
    }
    if !chunk.resources.is_empty() {
        chunks.push(chunk);
    }
    chunks
}

/// What a resource adds to its chunk: a tag, its length and itself.
pub(crate) fn encoded_len(resource: &Bytes) -> usize {
    1 + prost::length_delimiter_len(resource.len()) + resource.len()
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn a_snapshot_begins_carries_everything_and_ends() {
        let point = Point::test(9);
        let whole = Whole::new(point, true, [Bytes::from_static(b"one")].iter());
        let messages: Vec<_> = (0..).map_while(|position| whole.message(position)).collect();
        let [
            fleet::watch_response::Message::SnapshotBegin(begin),
            fleet::watch_response::Message::SnapshotChunk(chunk),
            fleet::watch_response::Message::SnapshotEnd(end),
        ] = messages.as_slice()
        else {
            panic!("{messages:?}");
        };
        assert_eq!((begin.resource_count, chunk.resources.len()), (1, 1));
        assert!(begin.allow_empty);
        let version = Some(point.version());
        assert_eq!((&begin.version, &end.version), (&version, &version));
        assert_eq!(end.state_hash, point.hash.to_vec());
    }

    #[test]
    fn no_chunk_is_larger_than_the_contract_allows() {
        let resources: Vec<_> = (0..3_000)
            .map(|n| Bytes::from(vec![b'x'; 20 + n % 700]))
            .collect();
        let whole = Whole::new(Point::test(1), false, resources.iter());
        assert!(whole.chunks.len() > 1);
        assert_eq!(whole.resource_count, 3_000);
        for chunk in &whole.chunks {
            assert!(
                chunk.encoded_len() <= CHUNK_BYTES_MAX,
                "{} bytes",
                chunk.encoded_len()
            );
        }
    }
}
