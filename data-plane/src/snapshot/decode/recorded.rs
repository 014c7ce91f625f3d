//! What a control plane of the first schema really sent, kept as bytes: every later build has
//! to read it as it was meant, and to pass over what a newer schema adds to it.
//!
//! `recorded.binpb` is a `SnapshotChunk` as it came over the wire from a control plane with an
//! OpenAI-compatible provider (a preset, limits, options of a model), a native one, a rule, a key
//! that expires, one that does not, and the settings of a new installation. A held breaker, which no
//! command makes in that schema, was added. It is never made anew: a later schema gets a file of its own.

use super::{tests::received, *};
use crate::snapshot::{ApiFormat, Held};

const RECORDED: &[u8] = include_bytes!("recorded.binpb");
/// A field with the number 1000 that holds "y", and one with the number 1001 that holds 1.
const NEWER_FIELDS: &[u8] = &[0xc2, 0x3e, 0x01, b'y', 0xc8, 0x3e, 0x01];
/// A kind of resource with the number 99.
const NEWER_KIND: &[u8] = &[0x9a, 0x06, 0x01, b'x'];

fn of_today() -> Vec<Bytes> {
    proto::SnapshotChunk::decode(RECORDED).unwrap().resources
}

/// The same with unknown fields in every resource and around it, and a resource of an unknown kind.
pub(crate) fn of_tomorrow() -> Vec<Bytes> {
    let newer = of_today().into_iter().map(|resource| {
        let (tag, content) = (resource[0], content(&resource));
        let mut newer = vec![tag];
        let inner = [content, NEWER_FIELDS].concat();
        prost::encode_length_delimiter(inner.len(), &mut newer).unwrap();
        Bytes::from([&newer, &inner[..], NEWER_FIELDS].concat())
    });
    newer.chain([Bytes::from_static(NEWER_KIND)]).collect()
}

/// A resource is one field: a tag of one byte, the length, and what it holds.
fn content(resource: &[u8]) -> &[u8] {
    let length = prost::decode_length_delimiter(&resource[1..]).unwrap();
    &resource[resource.len() - length..]
}

fn assert_means_what_it_meant(snapshot: &Snapshot) {
    let [recorded, native] = &snapshot.providers[..] else {
        panic!("{:?}", snapshot.providers)
    };
    assert_eq!(
        (&*recorded.name, recorded.format),
        ("recorded", ApiFormat::OpenAi)
    );
    assert_eq!(
        recorded.endpoint.url.as_str(),
        "http://127.0.0.1:1/v1/chat/completions"
    );
    assert_eq!((&*native.name, native.format), ("native", ApiFormat::Anthropic));
    let id = |text: &str| KeyId::parse(text.as_bytes()).unwrap();
    assert_eq!(snapshot.keys.len(), 2);
    let expires = snapshot.keys.get(&id("FVM2r383B6zY")).unwrap();
    let end = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000);
    assert_eq!(expires.expires_at, Some(end));
    assert_eq!(snapshot.keys.get(&id("4M1lAu26H6M8")).unwrap().expires_at, None);
    assert_eq!(snapshot.rules.len(), 1);
    let [held] = &snapshot.overrides[..] else {
        panic!("{:?}", snapshot.overrides)
    };
    assert_eq!((&*held.provider, held.held), ("native", Held::Open));
    assert_eq!(snapshot.settings.breaker.failure_threshold, 5);
}

#[test]
fn what_was_recorded_is_read_as_it_was_meant() {
    let snapshot = decode(&received(1, of_today()), None, false).unwrap();
    assert_means_what_it_meant(&snapshot);
}

#[test]
fn what_a_newer_schema_adds_changes_nothing() {
    let newer = of_tomorrow();
    assert_eq!(newer.len(), of_today().len() + 1);
    let snapshot = decode(&received(1, newer), None, false).unwrap();
    assert_means_what_it_meant(&snapshot);
}
