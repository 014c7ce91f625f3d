use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::{
    auth,
    snapshot::decode::{decode, hash, recorded, tests as fixture},
};

fn provider(name: &str, base_url: &str) -> Bytes {
    fixture::encode(Content::Provider(proto::Provider {
        name: name.into(),
        base_url: base_url.into(),
        ..Default::default()
    }))
}

fn key(id: &str, name: &str) -> Bytes {
    fixture::encode(Content::ApiKey(proto::ApiKey {
        id: id.into(),
        hash_algorithm: proto::KeyHashAlgorithm::Sha256V1.into(),
        hash: vec![1; 32],
        name: name.into(),
        ..Default::default()
    }))
}

fn name(kind: proto::ResourceKind, id: &str) -> proto::ResourceKey {
    proto::ResourceKey {
        kind: kind.into(),
        id: id.into(),
    }
}

fn api_key(id: &str) -> proto::ResourceKey {
    name(proto::ResourceKind::ApiKey, id)
}

fn snapshot_of(resources: Vec<Bytes>) -> Snapshot {
    decode(&fixture::received(1, resources), None, false).unwrap()
}

/// From version 1 to 2, to what these resources are.
fn changed(upserts: Vec<Bytes>, removed: Vec<proto::ResourceKey>, then: &[Bytes]) -> Changed {
    let version = |revision| fixture::received(revision, Vec::new()).version;
    Changed {
        from: version(1),
        to: version(2),
        upserts,
        removed,
        state_hash: hash(then).to_vec(),
        allow_empty: false,
    }
}

fn refused(changed: &Changed, held: &Snapshot) -> String {
    match apply(changed, held) {
        Err(Misfit::Refused(refusals)) => format!("{refusals:?}"),
        other => panic!("{other:?}"),
    }
}

fn gap(changed: &Changed, held: &Snapshot) -> &'static str {
    match apply(changed, held) {
        Err(Misfit::Gap(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_key_more_leaves_everything_else_as_it_is() {
    let held = snapshot_of(fixture::resources());
    let added = key("added0000000", "ci");
    let then = [fixture::resources(), vec![added.clone()]].concat();
    let next = apply(&changed(vec![added], vec![], &then), &held).unwrap();
    assert_eq!((next.version.revision, next.keys.len()), (2, held.keys.len() + 1));
    assert!(Arc::ptr_eq(&next.providers[0], &held.providers[0]));
    assert_eq!(next.resources.len(), then.len());
    assert_eq!(held.keys.len(), 4, "what is held is not touched");
}

#[test]
fn what_is_taken_away_is_gone() {
    let all = fixture::resources();
    let held = snapshot_of(all.clone());
    let delta = changed(
        vec![],
        vec![api_key(auth::tests::ID), api_key("unheardof000")],
        &all[1..],
    );
    let next = apply(&delta, &held).unwrap();
    let id = KeyId::parse(auth::tests::ID.as_bytes()).unwrap();
    assert!(held.keys.get(&id).is_some() && next.keys.get(&id).is_none());
}

#[test]
fn a_changed_provider_is_read_with_all_that_is_no_key() {
    let all = [fixture::resources(), vec![provider("beta", "http://127.0.0.1:1")]].concat();
    let held = snapshot_of(all.clone());
    let moved = provider("beta", "http://127.0.0.1:2");
    let then = [&all[..all.len() - 1], std::slice::from_ref(&moved)].concat();
    let next = apply(&changed(vec![moved], vec![], &then), &held).unwrap();
    let url_of = |snapshot: &Snapshot| {
        let mut providers = snapshot.providers.iter();
        let beta = providers.find(|provider| &*provider.name == "beta").unwrap();
        beta.endpoint.url.clone()
    };
    assert_eq!((url_of(&held).port(), url_of(&next).port()), (Some(1), Some(2)));
    assert_eq!(next.providers.len(), 2);
}

#[test]
fn what_does_not_lead_on_asks_for_the_whole() {
    let all = fixture::resources();
    let held = snapshot_of(all.clone());
    let later = Changed {
        from: fixture::received(2, vec![]).version,
        ..changed(vec![], vec![], &all)
    };
    assert!(gap(&later, &held).contains("begin"));
    let lost = changed(vec![], vec![], &all[1..]);
    assert!(gap(&lost, &held).contains("hash"));
    let unknown = changed(
        vec![],
        vec![proto::ResourceKey {
            kind: 99,
            id: "x".into(),
        }],
        &all,
    );
    assert!(gap(&unknown, &held).contains("kind"));
}

#[test]
fn what_is_wrong_is_refused_like_a_snapshot() {
    let all = fixture::resources();
    let held = snapshot_of(all.clone());
    let with = |bad: Bytes| {
        let then = [all.clone(), vec![bad.clone()]].concat();
        refused(&changed(vec![bad], vec![], &then), &held)
    };
    assert!(with(provider("bad", "nowhere")).contains("bad"));
    assert!(with(key("short", "")).contains("12 letters"));
    assert!(with(Bytes::from_static(b"\xff")).contains("not a valid message"));
    let back = Changed {
        to: fixture::received(0, vec![]).version,
        ..changed(vec![], vec![], &all)
    };
    assert!(refused(&back, &held).contains("older"));
    let settings = changed(vec![], vec![name(proto::ResourceKind::Settings, "")], &all[..5]);
    assert!(refused(&settings, &held).contains("settings"));
}

#[test]
fn the_last_key_and_the_last_provider_go_only_if_that_is_meant() {
    let all = fixture::resources();
    let held = snapshot_of(all.clone());
    let keys = held.keys.values().map(|key| api_key(&key.id.to_string()));
    let no_keys = changed(vec![], keys.collect(), &all[4..]);
    assert!(refused(&no_keys, &held).contains("every API key"));
    let alpha = vec![name(proto::ResourceKind::Provider, "alpha")];
    let kept = [&all[..4], &all[5..]].concat();
    let no_provider = changed(vec![], alpha, &kept);
    assert!(refused(&no_provider, &held).contains("every provider"));
    for meant in [no_keys, no_provider] {
        let meant = Changed {
            allow_empty: true,
            ..meant
        };
        assert!(apply(&meant, &held).is_ok());
    }
}

#[test]
fn what_this_build_does_not_know_stays_through_changes() {
    let all = recorded::of_tomorrow();
    let held = snapshot_of(all.clone());
    let added = key("added0000000", "");
    let then = [all, vec![added.clone()]].concat();
    let next = apply(&changed(vec![added], vec![], &then), &held).unwrap();
    let mut kept: Vec<_> = next.resources.all().cloned().collect();
    let mut expected = then;
    kept.sort();
    expected.sort();
    assert_eq!(kept, expected);
}

/// The figure is printed; that it does not grow with the number of keys is what is held.
#[test]
fn one_key_costs_the_same_among_many() {
    let cost = |keys: usize| {
        let all: Vec<_> = (0..keys).map(|n| key(&format!("{n:012}"), "")).collect();
        let all = [fixture::resources(), all].concat();
        let held = snapshot_of(all);
        let mut state_hash = held.state_hash;
        let added = key("added0000000", "");
        toggle(&mut state_hash, &added);
        let delta = Changed {
            state_hash: state_hash.to_vec(),
            ..changed(vec![added], vec![], &[])
        };
        let mut times: Vec<Duration> = (0..20)
            .map(|_| {
                let begun = Instant::now();
                apply(&delta, &held).unwrap();
                begun.elapsed()
            })
            .collect();
        times.sort();
        times[times.len() / 2]
    };
    let (few, many) = (cost(100), cost(50_000));
    println!("figure: one key among 100: {few:?}, among 50,000: {many:?}");
    assert!(
        many < few * 10 + Duration::from_millis(5),
        "{few:?} became {many:?}"
    );
}

proptest! {
    /// Changes, one after the other or merged, lead to what the whole would be.
    #[test]
    fn changes_lead_to_the_same_as_the_whole(
        steps in prop::collection::vec((0_u8..8, prop::option::of(0_u8..4)), 1..30)
    ) {
        let mut model: BTreeMap<String, Bytes> = BTreeMap::new();
        let base = fixture::resources();
        let whole = |model: &BTreeMap<String, Bytes>| [base.clone(), model.values().cloned().collect()].concat();
        let mut held = snapshot_of(base.clone());
        for (n, (id, value)) in steps.into_iter().enumerate() {
            let is_key = id < 5;
            let id = if is_key { format!("{id:012}") } else { format!("p{id}") };
            let kind = if is_key { proto::ResourceKind::ApiKey } else { proto::ResourceKind::Provider };
            let (mut upserts, mut removed) = (vec![], vec![]);
            match value {
                Some(value) if is_key => upserts.push(key(&id, &format!("n{value}"))),
                Some(value) => upserts.push(provider(&id, &format!("http://127.0.0.1:{}", u16::from(value) + 1))),
                None => removed.push(name(kind, &id)),
            }
            match upserts.first() {
                Some(resource) => model.insert(id, resource.clone()),
                None => model.remove(&id),
            };
            let version = |revision| fixture::received(revision, Vec::new()).version;
            let then = whole(&model);
            let delta = Changed {
                from: version(n as u64 + 1),
                to: version(n as u64 + 2),
                ..changed(upserts, removed, &then)
            };
            held = apply(&delta, &held).unwrap();
            let fresh = decode(&fixture::received(n as u64 + 2, then), None, false).unwrap();
            prop_assert_eq!(held.state_hash, fresh.state_hash);
            prop_assert_eq!(held.keys.len(), fresh.keys.len());
            prop_assert_eq!(format!("{:?}", held.providers), format!("{:?}", fresh.providers));
        }
    }
}
