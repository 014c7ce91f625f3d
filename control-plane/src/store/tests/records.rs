//! What is read back: all that was written, by whichever build, and as large as it may be.

use super::*;
use crate::{
    domain::audit::{SUMMARY_BYTES_MAX, Summary},
    store::SealedName,
};

on_each_store!(
    everything_is_read_back_as_it_was_written,
    what_another_build_wrote_into_a_record_survives_a_change_by_this_one,
    a_record_that_is_too_large_is_refused,
    the_longest_audit_entry_fits,
    the_largest_valid_records_fit_and_survive,
);

async fn everything_is_read_back_as_it_was_written(home: Home) {
    let store = home.open();
    let (pattern, target) = models::Draft {
        pattern: "gpt-*".into(),
        tier: None,
        provider: Some("a".into()),
        model: Some("*".into()),
    }
    .check()
    .unwrap();
    let rule = ModelRule {
        id: RuleId::parse("r1").unwrap(),
        position: 9,
        pattern,
        target,
    };
    let changes = vec![
        Change::PutUser(user(1), Expect::Absent),
        Change::PutProvider(provider("a", "m"), Expect::Absent),
        Change::PutApiKey(api_key(1, 1), Expect::Absent),
        Change::PutModelRule(rule.clone(), Expect::Absent),
        Change::PutSettings(settings(3), Expect::Any),
        Change::PutSealed(SealedName::SigningKey, vec![1, 2, 3]),
    ];
    assert_eq!(commit(&store, changes).await.unwrap(), Committed { revision: 1 });
    store.close().await;
    drop(store);
    let store = home.open();
    assert_eq!(store.user(&id(1)).await.unwrap().unwrap().value, user(1));
    assert_eq!(
        store
            .user_by_email(&user(1).spec.email)
            .await
            .unwrap()
            .unwrap()
            .value,
        user(1)
    );
    let configuration = store.configuration().await.unwrap();
    assert_eq!(configuration.version.revision, 1);
    assert_eq!(configuration.providers[0].value, provider("a", "m"));
    assert_eq!(configuration.api_keys[0].value, api_key(1, 1));
    assert_eq!(configuration.api_keys[0].revision, 1);
    assert_eq!(configuration.model_rules[0].value, rule);
    assert_eq!(configuration.settings.unwrap().value, settings(3));
    assert_eq!(
        store.sealed(SealedName::SigningKey).await.unwrap(),
        Some(vec![1, 2, 3])
    );
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

/// What a row says of the thing.
async fn value_on_disk(
    store: &Store,
    family: Family,
    key: &[u8],
) -> serde_json::Map<String, serde_json::Value> {
    let row = store.backend.get(family, key).await.unwrap().unwrap();
    let mut row: serde_json::Value = serde_json::from_slice(&row).unwrap();
    serde_json::from_value(row["value"].take()).unwrap()
}

/// As when an older build runs for a while between two runs of a newer one.
async fn what_another_build_wrote_into_a_record_survives_a_change_by_this_one(home: Home) {
    const UNKNOWN: &str = "of_a_later_build";
    const OF_ANOTHER: &str = r#"{"a":[1,2.5]}"#;
    let store = home.open();
    let changes = |attempts| {
        vec![
            Change::PutUser(user(1), Expect::Any),
            Change::PutProvider(provider("a", "m"), Expect::Any),
            Change::PutApiKey(api_key(1, 1), Expect::Any),
            Change::PutModelRule(rule("r1", "gpt-*", "a"), Expect::Any),
            Change::PutSettings(settings(attempts), Expect::Any),
        ]
    };
    commit(&store, changes(3)).await.unwrap();
    let rows = [
        (Family::Users, id(1).as_bytes().to_vec()),
        (Family::Providers, b"a".to_vec()),
        (Family::ApiKeys, key_id(1).as_str().as_bytes().to_vec()),
        (Family::ModelRules, b"r1".to_vec()),
        (Family::Settings, b"settings".to_vec()),
    ];
    let mut changed = Vec::new();
    for (family, key) in &rows {
        let mut value = value_on_disk(&store, *family, key).await;
        value.insert(UNKNOWN.to_owned(), json(OF_ANOTHER));
        let value = serde_json::to_string(&value).unwrap();
        let row = format!(r#"{{"v":1,"revision":1,"value":{value}}}"#);
        changed.push((*family, key.clone(), row.into_bytes()));
    }
    store.close().await;
    drop(store);
    home.write_rows(changed);
    let store = home.open();
    let read = store.configuration().await.unwrap();
    assert_eq!(
        read.settings.unwrap().value,
        settings(3),
        "it is read as if it were not there"
    );
    commit(&store, changes(4)).await.unwrap();
    for (family, key) in &rows {
        let value = value_on_disk(&store, *family, key).await;
        assert_eq!(value[UNKNOWN], json(OF_ANOTHER), "{family:?}");
    }
    assert_eq!(store.settings().await.unwrap().unwrap().value, settings(4));
    // A thing of the same name is another one.
    let anew = vec![
        Change::DeleteModelRule(RuleId::parse("r1").unwrap(), Expect::Present),
        Change::PutModelRule(rule("r1", "gpt-*", "a"), Expect::Absent),
    ];
    commit(&store, anew).await.unwrap();
    assert!(
        !value_on_disk(&store, Family::ModelRules, b"r1")
            .await
            .contains_key(UNKNOWN)
    );
}

async fn a_record_that_is_too_large_is_refused(home: Home) {
    let store = home.open();
    let sealed = vec![0; crate::store::rows::RECORD_BYTES_MAX + 1];
    let refused = commit(&store, vec![Change::PutSealed(SealedName::KeyCheck, sealed)]).await;
    assert!(matches!(refused, Err(CommitError::TooLarge { .. })));
}

async fn the_longest_audit_entry_fits(home: Home) {
    let store = home.open();
    let longest = || Some(Summary::new("\"".repeat(SUMMARY_BYTES_MAX)));
    let commit = Commit {
        changes: vec![Change::PutUser(user(1), Expect::Absent)],
        audit: audit(NOW).with_summaries(longest(), longest()),
        idempotency: None,
    };
    store.commit(commit).await.unwrap();
}

async fn the_largest_valid_records_fit_and_survive(home: Home) {
    let store = home.open();
    commit(&store, vec![Change::PutUser(user(1), Expect::Absent)])
        .await
        .unwrap();
    let mut changes = Vec::new();
    for n in 0..40_u8 {
        let mut largest = provider(&format!("{n:0>64}"), "m");
        let models: Vec<String> = (0..16).map(|m| format!("{m:0>128}")).collect();
        let mut draft = largest.spec.to_draft();
        draft.models = ModelsDraft {
            big: models.clone(),
            middle: models.clone(),
            small: models,
        };
        draft.base_url = format!("http://a.example/{}", "x".repeat(490));
        let quotes = (0..3).map(|text| format!("{text}{}", "\"".repeat(116)));
        draft.dialect_overrides = [("strip_fields".to_owned(), KnobValue::List(quotes.collect()))].into();
        largest.spec = draft.check().unwrap();
        let field = |name: &str, bytes: usize| provider::SealedField {
            field: name.into(),
            sealed: vec![7; bytes + 40],
        };
        let headers = (0..8).map(|h| field(&format!("header/{h:0>64}"), 2 * 1024 / 8));
        let fields = std::iter::once(field("api_key", 2 * 1024))
            .chain(headers)
            .collect();
        let sealed = provider::SealedSecrets {
            master_key_id: "0".repeat(16),
            wrapped_key: vec![7; 72],
            fields,
        };
        let custom_header_names = (0..8)
            .map(|h| provider::HeaderName::parse(&format!("{h:0>64}")).unwrap())
            .collect();
        largest.credentials = Credentials {
            sealed: Some(sealed),
            has_api_key: true,
            api_key_hint: "abcd".into(),
            custom_header_names,
        };
        changes.push(Change::PutProvider(largest, Expect::Absent));
        let mut key = api_key(n, 1);
        let mut draft = key.spec.to_draft();
        draft.allowed_models = (0..64).map(|m| format!("{m:0>128}")).collect();
        draft.allowed_providers = (0..64).map(|m| format!("{m:0>64}")).collect();
        key.spec = draft.check().unwrap();
        changes.push(Change::PutApiKey(key, Expect::Absent));
    }
    commit(&store, changes).await.unwrap();
    let providers = store.providers().await.unwrap();
    let survivor = match &home {
        Home::Folder(_) => {
            let blobs = std::fs::read_dir(home.path().join("blobs")).unwrap();
            assert_ne!(blobs.count(), 0, "sled puts these into files");
            home.crash_image()
        }
        Home::Database(_) => home,
    };
    let survivor = survivor.open();
    assert_eq!(survivor.providers().await.unwrap(), providers);
    assert_eq!(survivor.api_keys().await.unwrap().len(), 40);
}
