use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    auth,
    snapshot::{LossPolicy, Provider},
};

const CLUSTER: [u8; version::CLUSTER_ID_BYTES] = [7; version::CLUSTER_ID_BYTES];

/// A small sound configuration, read the way that a real one is.
pub(crate) fn snapshot() -> Snapshot {
    decode(&received(1, resources()), None, false).unwrap()
}

pub(crate) fn key(id: &str) -> ApiKey {
    api_key(key_message(id)).unwrap()
}

pub(crate) fn provider(name: &str, priority: i32, big: &[&str], middle: &[&str]) -> Provider {
    provider::read(provider_message(name, priority, big, middle)).unwrap()
}

/// A provider that speaks the dialect of a preset.
pub(crate) fn provider_of(preset: &str) -> Provider {
    let mut message = provider_message("p", 1, &["m"], &[]);
    message.dialect = preset.to_owned();
    provider::read(message).unwrap()
}

fn names(models: &[&str]) -> Vec<String> {
    models.iter().map(|model| (*model).to_owned()).collect()
}

fn provider_message(name: &str, priority: i32, big: &[&str], middle: &[&str]) -> proto::Provider {
    proto::Provider {
        name: name.into(),
        priority,
        api_format: proto::ApiFormat::Openai.into(),
        base_url: "http://127.0.0.1:9/v1".into(),
        api_key: "provider-secret-1".into(),
        models: Some(proto::TierModels {
            big: names(big),
            middle: names(middle),
            small: Vec::new(),
        }),
        ..Default::default()
    }
}

fn key_message(id: &str) -> proto::ApiKey {
    proto::ApiKey {
        id: id.into(),
        hash_algorithm: match id {
            "algorithm000" => 99,
            _ => proto::KeyHashAlgorithm::Sha256V1.into(),
        },
        hash: auth::tests::key(id).1.0.to_vec(),
        expires_at: (id == "expires00000").then_some(prost_types::Timestamp {
            seconds: 2_000,
            nanos: 0,
        }),
        ..Default::default()
    }
}

fn settings_message() -> proto::Settings {
    proto::Settings {
        fallback_strategy: proto::FallbackStrategy::Priority.into(),
        min_tokens_limit: 100,
        max_tokens_limit: 1_000_000,
        allow_query_api_key: true,
        ..Default::default()
    }
}

pub(super) fn encode(kind: proto::resource::Kind) -> Bytes {
    proto::Resource { kind: Some(kind) }.encode_to_vec().into()
}

pub(crate) fn resources() -> Vec<Bytes> {
    use proto::resource::Kind;
    let keys = [auth::tests::ID, "zzzzzzzzzzzz", "expires00000", "algorithm000"];
    let keys = keys.into_iter().map(|id| encode(Kind::ApiKey(key_message(id))));
    keys.chain([
        encode(Kind::Provider(provider_message(
            "alpha",
            1,
            &["big-1"],
            &["mid-1"],
        ))),
        encode(Kind::Settings(settings_message())),
    ])
    .collect()
}

pub(crate) fn received(revision: u64, resources: Vec<Bytes>) -> Received {
    Received {
        version: Version {
            cluster: CLUSTER,
            epoch: 1,
            revision,
        },
        state_hash: hash(&resources).to_vec(),
        resources,
        allow_empty: false,
    }
}

fn refusals(received: &Received, held: Option<&Snapshot>) -> String {
    let refusals = decode(received, held, false).expect_err("it must be refused");
    format!("{refusals:?}")
}

fn refused_resource(resource: proto::resource::Kind) -> String {
    let mut all = resources();
    all.push(encode(resource));
    refusals(&received(1, all), None)
}

#[test]
fn a_sound_configuration_is_read_whole() {
    let snapshot = snapshot();
    assert_eq!(snapshot.keys.len(), 4);
    assert_eq!(
        snapshot.providers[0].endpoint.url.as_str(),
        "http://127.0.0.1:9/v1/chat/completions"
    );
    assert_eq!(snapshot.settings.attempts.max_attempts, 4);
    assert_eq!(snapshot.settings.breaker.failure_threshold, 5);
    let printed = format!("{snapshot:?}");
    assert!(!printed.contains("provider-secret-1"), "{printed}");
}

#[test]
fn the_order_of_resources_does_not_matter() {
    let mut turned = resources();
    turned.reverse();
    assert_eq!(hash(&turned), hash(&resources()));
}

#[test]
fn a_wrong_hash_is_refused() {
    let mut wrong = received(1, resources());
    wrong.state_hash[0] ^= 1;
    assert!(refusals(&wrong, None).contains("state hash"));
}

#[test]
fn time_does_not_run_backwards() {
    let held = decode(&received(5, resources()), None, false).unwrap();
    assert!(refusals(&received(4, resources()), Some(&held)).contains("older"));
    assert!(decode(&received(5, resources()), Some(&held), false).is_ok());
    let mut restored = received(1, resources());
    restored.version.epoch = 2;
    assert!(
        decode(&restored, Some(&held), false).is_ok(),
        "a restore starts a new epoch"
    );
}

#[test]
fn another_cluster_needs_to_be_asked_for() {
    let held = snapshot();
    let mut foreign = received(9, resources());
    foreign.version.cluster = [8; version::CLUSTER_ID_BYTES];
    assert!(refusals(&foreign, Some(&held)).contains("cluster"));
    assert!(decode(&foreign, Some(&held), true).is_ok());
}

#[test]
fn removing_everything_must_be_meant() {
    let held = snapshot();
    let settings = vec![encode(proto::resource::Kind::Settings(settings_message()))];
    let mut empty = received(2, settings);
    let reasons = refusals(&empty, Some(&held));
    assert!(
        reasons.contains("every API key") && reasons.contains("every provider"),
        "{reasons}"
    );
    empty.allow_empty = true;
    assert!(decode(&empty, Some(&held), false).is_ok());
}

#[test]
fn each_bad_resource_is_named_with_its_reason() {
    use proto::resource::Kind;
    let twice = refused_resource(Kind::Provider(provider_message("alpha", 1, &[], &[])));
    assert!(twice.contains("alpha") && twice.contains("twice"), "{twice}");
    for base_url in [
        "ftp://a/",
        "http://user:word@a/",
        "http://a/?q",
        "http://a/#f",
        "nonsense",
        "",
    ] {
        let bad = proto::Provider {
            base_url: base_url.into(),
            ..provider_message("bad", 1, &[], &[])
        };
        let reasons = refused_resource(Kind::Provider(bad));
        assert!(
            reasons.contains("base URL") && !reasons.contains("word"),
            "{reasons}"
        );
    }
    for (header, value) in [
        ("host", "a"),
        ("content-length", "1"),
        ("a b", "c"),
        ("x-a", "b\r\nc: d"),
    ] {
        let mut bad = provider_message("bad", 1, &[], &[]);
        bad.custom_headers = [(header.to_owned(), value.to_owned())].into();
        let reasons = refused_resource(Kind::Provider(bad));
        assert!(reasons.contains("custom header"), "{reasons}");
    }
    let key = proto::ApiKey {
        hash: vec![1],
        ..key_message("shorthash000")
    };
    assert!(refused_resource(Kind::ApiKey(key)).contains("32 bytes"));
    assert!(refused_resource(Kind::ApiKey(proto::ApiKey::default())).contains("ApiKey"));
    assert!(refused_resource(Kind::Settings(settings_message())).contains("twice"));
}

#[test]
fn what_is_not_known_is_read_in_the_strictest_way() {
    use proto::resource::Kind;
    let mut all = resources();
    let newer = proto::Provider {
        api_format: 77,
        dialect: "newer".into(),
        ..provider_message("newer", 2, &["m"], &[])
    };
    let rule = proto::ModelRule {
        id: "r".into(),
        r#match: "x".into(),
        target: Some(proto::model_rule::Target::Tier(9)),
        ..Default::default()
    };
    let held = proto::BreakerOverride {
        id: "o".into(),
        provider: "newer".into(),
        state: 42,
        ..Default::default()
    };
    let strict = proto::ApiKey {
        loss_policy: 55,
        ..key_message("losspolicy00")
    };
    all.extend([
        encode(Kind::Provider(newer)),
        encode(Kind::ModelRule(rule)),
        encode(Kind::BreakerOverride(held)),
        encode(Kind::ApiKey(strict)),
        // A kind of resource that this build does not know: field 99 with a string.
        Bytes::from_static(&[0x9a, 0x06, 0x01, b'x']),
    ]);
    let snapshot = decode(&received(1, all), None, false).unwrap();
    assert_eq!(snapshot.providers[1].format, super::super::ApiFormat::Unknown);
    assert!(matches!(
        snapshot.rules[0].target,
        super::super::RuleTarget::Unknown
    ));
    assert_eq!(snapshot.overrides[0].held, super::super::Held::Open);
    let id = KeyId::parse(b"losspolicy00").unwrap();
    assert_eq!(
        snapshot.keys.get(&id).unwrap().loss_policy,
        Some(LossPolicy::Strict)
    );
}

#[test]
fn missing_settings_are_refused() {
    let mut all = resources();
    all.pop();
    assert!(refusals(&received(1, all), None).contains("settings"));
}

#[test]
fn a_duration_must_be_one() {
    let bad = prost_types::Duration {
        seconds: -5,
        nanos: 0,
    };
    assert!(value::duration(Some(bad)).is_err());
    assert_eq!(value::duration(Some(prost_types::Duration::default())), Ok(None));
    let good = prost_types::Duration {
        seconds: 1,
        nanos: 500_000_000,
    };
    assert_eq!(
        value::duration(Some(good)),
        Ok(Some(Duration::from_millis(1_500)))
    );
    let endless = prost_types::Duration {
        seconds: i64::MAX,
        nanos: 0,
    };
    let read = value::duration(Some(endless)).unwrap().unwrap();
    assert!(
        std::time::Instant::now().checked_add(read * 2).is_some(),
        "{read:?}"
    );
}

proptest! {
    #[test]
    fn no_damage_makes_it_panic(damage in prop::collection::vec((0_usize..6, any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut all = resources();
        for (resource, position, byte) in damage {
            let mut damaged = all[resource].to_vec();
            damaged[position.index(all[resource].len())] = byte;
            all[resource] = damaged.into();
        }
        let _ = decode(&received(1, all), None, false);
    }

    #[test]
    fn no_bytes_make_it_panic(all in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..4)) {
        let all = all.into_iter().map(Bytes::from).collect();
        let _ = decode(&received(1, all), None, false);
    }
}
