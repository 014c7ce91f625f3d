//! What a commit checks, and that it happens whole or not at all.

use super::*;
use crate::{
    domain::{
        audit::{SUMMARY_BYTES_MAX, Summary},
        model::{self, ModelRule, RuleId},
        session::{Session, SessionId},
    },
    store::{Kind, SealedName, SessionChange, family::Family},
};

#[tokio::test]
async fn everything_is_read_back_as_it_was_written() {
    let home = Home::new();
    let store = home.open();
    let (pattern, target) = model::Draft {
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
fn value_on_disk(store: &Store, family: Family, key: &[u8]) -> serde_json::Map<String, serde_json::Value> {
    let row = store.trees.get(family, key).unwrap().unwrap();
    let mut row: serde_json::Value = serde_json::from_slice(&row).unwrap();
    serde_json::from_value(row["value"].take()).unwrap()
}

/// As when an older build runs for a while between two runs of a newer one.
#[tokio::test]
async fn what_another_build_wrote_into_a_record_survives_a_change_by_this_one() {
    const UNKNOWN: &str = "of_a_later_build";
    const OF_ANOTHER: &str = r#"{"a":[1,2.5]}"#;
    let home = Home::new();
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
    for (family, key) in &rows {
        let mut value = value_on_disk(&store, *family, key);
        value.insert(UNKNOWN.to_owned(), json(OF_ANOTHER));
        let value = serde_json::to_string(&value).unwrap();
        let row = format!(r#"{{"v":1,"revision":1,"value":{value}}}"#);
        store.trees.tree(*family).insert(key, row.as_bytes()).unwrap();
    }
    let read = store.configuration().await.unwrap();
    assert_eq!(
        read.settings.unwrap().value,
        settings(3),
        "it is read as if it were not there"
    );
    commit(&store, changes(4)).await.unwrap();
    for (family, key) in &rows {
        let value = value_on_disk(&store, *family, key);
        assert_eq!(value[UNKNOWN], json(OF_ANOTHER), "{family:?}");
    }
    assert_eq!(store.settings().await.unwrap().unwrap().value, settings(4));
    // A thing of the same name is another one.
    let anew = vec![
        Change::DeleteModelRule(RuleId::parse("r1").unwrap(), Expect::Present),
        Change::PutModelRule(rule("r1", "gpt-*", "a"), Expect::Absent),
    ];
    commit(&store, anew).await.unwrap();
    assert!(!value_on_disk(&store, Family::ModelRules, b"r1").contains_key(UNKNOWN));
}

#[tokio::test]
async fn expectations_are_checked_against_the_stored_revision() {
    let home = Home::new();
    let store = home.open();
    let put = |model: &str, expect| vec![Change::PutProvider(provider("a", model), expect)];
    let missing = commit(&store, put("m", Expect::Present)).await;
    assert!(matches!(
        missing,
        Err(CommitError::NotFound {
            kind: Kind::Provider,
            ..
        })
    ));
    let missing = commit(&store, put("m", Expect::Revision(0))).await;
    assert!(matches!(missing, Err(CommitError::NotFound { .. })));
    commit(&store, put("m", Expect::Absent)).await.unwrap();
    assert!(matches!(
        commit(&store, put("m", Expect::Absent)).await,
        Err(CommitError::Exists { .. })
    ));
    commit(&store, put("m2", Expect::Revision(1))).await.unwrap();
    let conflict = commit(&store, put("m3", Expect::Revision(1))).await;
    assert!(matches!(conflict, Err(CommitError::Conflict { current: 2, .. })));
    let name = provider("a", "m").spec.name;
    let delete = |expect| vec![Change::DeleteProvider(name.clone(), expect)];
    assert!(matches!(
        commit(&store, delete(Expect::Revision(1))).await,
        Err(CommitError::Conflict { .. })
    ));
    commit(&store, delete(Expect::Present)).await.unwrap();
    assert!(matches!(
        commit(&store, delete(Expect::Present)).await,
        Err(CommitError::NotFound { .. })
    ));
    assert_eq!(store.version().revision, 3);
}

#[tokio::test]
async fn a_commit_that_fails_leaves_nothing() {
    let home = Home::new();
    let store = home.open();
    commit(&store, vec![Change::PutUser(user(1), Expect::Absent)])
        .await
        .unwrap();
    let changes = vec![
        Change::PutUser(user(2), Expect::Absent),
        Change::PutProvider(provider("a", "m"), Expect::Absent),
        Change::PutProvider(provider("a", "m"), Expect::Absent),
    ];
    assert!(matches!(
        commit(&store, changes).await,
        Err(CommitError::Exists { .. })
    ));
    assert_eq!(store.version().revision, 1);
    assert_eq!(store.users().await.unwrap().len(), 1);
    assert!(store.providers().await.unwrap().is_empty());
    assert_eq!(store.audit(0, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_email_belongs_to_one_user() {
    let home = Home::new();
    let store = home.open();
    commit(&store, vec![Change::PutUser(user(1), Expect::Absent)])
        .await
        .unwrap();
    let taken = user_with(2, "u1@example.com", Role::User);
    let refused = commit(&store, vec![Change::PutUser(taken.clone(), Expect::Absent)]).await;
    assert!(matches!(refused, Err(CommitError::Exists { kind: Kind::User, id }) if id == "u1@example.com"));
    let moved = user_with(1, "new@example.com", Role::Admin);
    let both = vec![
        Change::PutUser(moved, Expect::Present),
        Change::PutUser(taken, Expect::Absent),
    ];
    commit(&store, both).await.unwrap();
    let by_email = |text: &str| {
        let (store, email) = (store.clone(), Email::parse(text).unwrap());
        async move {
            store
                .user_by_email(&email)
                .await
                .unwrap()
                .map(|user| user.value.id)
        }
    };
    assert_eq!(by_email("u1@example.com").await, Some(id(2)));
    assert_eq!(by_email("new@example.com").await, Some(id(1)));
    commit(&store, vec![Change::DeleteUser(id(2), Expect::Present)])
        .await
        .unwrap();
    assert_eq!(by_email("u1@example.com").await, None);
}

#[tokio::test]
async fn the_last_enabled_admin_stays_one() {
    let home = Home::new();
    let store = home.open();
    commit(&store, vec![Change::PutUser(user(1), Expect::Absent)])
        .await
        .unwrap();
    let demoted = user_with(1, "u1@example.com", Role::Operator);
    let mut disabled = user(1);
    disabled.spec.enabled = false;
    for change in [
        Change::PutUser(demoted.clone(), Expect::Present),
        Change::PutUser(disabled, Expect::Present),
        Change::DeleteUser(id(1), Expect::Present),
    ] {
        assert!(matches!(
            commit(&store, vec![change]).await,
            Err(CommitError::LastAdmin)
        ));
    }
    let with_successor = vec![
        Change::PutUser(demoted, Expect::Present),
        Change::PutUser(user(2), Expect::Absent),
    ];
    commit(&store, with_successor).await.unwrap();
}

#[tokio::test]
async fn a_key_has_an_owner_who_is_there() {
    let home = Home::new();
    let store = home.open();
    commit(
        &store,
        vec![
            Change::PutUser(user(1), Expect::Absent),
            Change::PutUser(user(2), Expect::Absent),
        ],
    )
    .await
    .unwrap();
    let orphan = commit(&store, vec![Change::PutApiKey(api_key(1, 9), Expect::Absent)]).await;
    assert!(matches!(
        orphan,
        Err(CommitError::NotFound { kind: Kind::User, .. })
    ));
    commit(&store, vec![Change::PutApiKey(api_key(1, 2), Expect::Absent)])
        .await
        .unwrap();
    let owner = commit(&store, vec![Change::DeleteUser(id(2), Expect::Present)]).await;
    assert!(matches!(owner, Err(CommitError::OwnsApiKeys { .. })));
    let both = vec![
        Change::DeleteApiKey(key_id(1), Expect::Present),
        Change::DeleteUser(id(2), Expect::Present),
    ];
    commit(&store, both).await.unwrap();
}

#[tokio::test]
async fn sessions_are_kept_without_raising_the_revision() {
    let home = Home::new();
    let store = home.open();
    commit(
        &store,
        vec![
            Change::PutUser(user(1), Expect::Absent),
            Change::PutUser(user(2), Expect::Absent),
        ],
    )
    .await
    .unwrap();
    let session = |n, user, generation| Session {
        id: SessionId::mint([n; 16]),
        user_id: id(user),
        generation,
        created_at: NOW,
        expires_at: NOW + Duration::from_millis(1),
    };
    let put = |session: Session| store.keep_sessions(vec![SessionChange::Put(session)]);
    assert!(
        matches!(put(session(1, 1, 1)).await, Err(CommitError::SessionConflict)),
        "it begins at 0"
    );
    put(session(1, 1, 0)).await.unwrap();
    put(session(2, 1, 0)).await.unwrap();
    put(session(3, 2, 0)).await.unwrap();
    put(session(1, 1, 1)).await.unwrap();
    assert!(
        matches!(put(session(1, 1, 1)).await, Err(CommitError::SessionConflict)),
        "the second of two loses"
    );
    assert!(
        matches!(put(session(4, 9, 0)).await, Err(CommitError::SessionConflict)),
        "nobody is there"
    );
    let login = SessionChange::RecordLogin(id(1), NOW + Duration::from_millis(5));
    store.keep_sessions(vec![login]).await.unwrap();
    assert_eq!(store.version().revision, 1);
    assert_eq!(
        store.session(&id(1), &SessionId::mint([1; 16])).await.unwrap(),
        Some(session(1, 1, 1))
    );
    assert_eq!(store.sessions_of(&id(1)).await.unwrap().len(), 2);
    assert_eq!(
        store.last_logins().await.unwrap()[&id(1)],
        NOW + Duration::from_millis(5)
    );
    assert_eq!(store.audit(0, 10).await.unwrap().len(), 1);
    commit(&store, vec![Change::DeleteUser(id(1), Expect::Present)])
        .await
        .unwrap();
    assert!(store.sessions_of(&id(1)).await.unwrap().is_empty());
    assert!(store.last_logins().await.unwrap().is_empty());
    assert_eq!(store.sessions_of(&id(2)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_repeated_request_is_recognised_for_a_day() {
    let home = Home::new();
    let store = home.open();
    let create = |name: &str| vec![Change::PutProvider(provider(name, "m"), Expect::Absent)];
    let hours = |hours: u64| NOW + Duration::from_secs(hours * 3600);
    commit_once(&store, create("a"), "k", 1, hours(0)).await.unwrap();
    let replayed = commit_once(&store, create("a"), "k", 1, hours(24)).await;
    assert!(matches!(replayed, Err(CommitError::Replayed { result }) if result == "made by k"));
    let other = commit_once(&store, create("b"), "k", 2, hours(1)).await;
    assert!(matches!(other, Err(CommitError::IdempotencyMismatch)));
    let failed = commit_once(&store, create("a"), "k2", 1, hours(1)).await;
    assert!(matches!(failed, Err(CommitError::Exists { .. })));
    commit_once(&store, create("b"), "k2", 2, hours(1)).await.unwrap();
    commit_once(&store, create("c"), "k", 3, hours(25)).await.unwrap();
    assert_eq!(store.version().revision, 3);
}

#[tokio::test]
async fn a_record_that_is_too_large_is_refused() {
    let home = Home::new();
    let store = home.open();
    let sealed = vec![0; crate::store::trees::RECORD_BYTES_MAX + 1];
    let refused = commit(&store, vec![Change::PutSealed(SealedName::KeyCheck, sealed)]).await;
    assert!(matches!(refused, Err(CommitError::TooLarge { .. })));
}

#[tokio::test]
async fn the_longest_audit_entry_fits() {
    let home = Home::new();
    let store = home.open();
    let longest = || Some(Summary::new("\"".repeat(SUMMARY_BYTES_MAX)));
    let commit = Commit {
        changes: vec![Change::PutUser(user(1), Expect::Absent)],
        audit: audit(NOW).with_summaries(longest(), longest()),
        idempotency: None,
    };
    store.commit(commit).await.unwrap();
}

#[tokio::test]
async fn the_largest_valid_records_fit_and_survive() {
    let home = Home::new();
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
    assert_ne!(
        std::fs::read_dir(home.path().join("blobs")).unwrap().count(),
        0,
        "sled puts these into files"
    );
    let image = home.crash_image();
    let survivor = image.open();
    assert_eq!(
        survivor.providers().await.unwrap(),
        store.providers().await.unwrap()
    );
    assert_eq!(survivor.api_keys().await.unwrap().len(), 40);
}

fn rule(id: &str, pattern: &str, provider: &str) -> ModelRule {
    let draft = model::Draft {
        pattern: pattern.into(),
        tier: None,
        provider: Some(provider.into()),
        model: Some("*".into()),
    };
    let (pattern, target) = draft.check().unwrap();
    ModelRule {
        id: RuleId::parse(id).unwrap(),
        position: 0,
        pattern,
        target,
    }
}

#[tokio::test]
async fn a_rule_leads_to_a_provider_that_is_there_and_stays() {
    let home = Home::new();
    let store = home.open();
    let put = |rule: ModelRule| vec![Change::PutModelRule(rule, Expect::Any)];
    let refused = commit(&store, put(rule("r", "gpt-*", "a"))).await;
    assert!(matches!(refused, Err(CommitError::NotFound { kind: Kind::Provider, id }) if id == "a"));
    let name = provider("a", "m").spec.name;
    let mut together = vec![Change::PutProvider(provider("a", "m"), Expect::Absent)];
    together.extend(put(rule("r", "gpt-*", "a")));
    commit(&store, together).await.unwrap();
    let delete = || Change::DeleteProvider(name.clone(), Expect::Present);
    let refused = commit(&store, vec![delete()]).await;
    assert!(matches!(refused, Err(CommitError::RulesLeadTo { rules, .. }) if rules == ["gpt-* (r)"]));
    let id = RuleId::parse("r").unwrap();
    commit(
        &store,
        vec![Change::DeleteModelRule(id, Expect::Present), delete()],
    )
    .await
    .unwrap();
    assert!(store.providers().await.unwrap().is_empty());
}

#[tokio::test]
async fn rules_are_placed_whatever_others_do() {
    let home = Home::new();
    let store = home.open();
    commit(
        &store,
        vec![Change::PutProvider(provider("a", "m"), Expect::Absent)],
    )
    .await
    .unwrap();
    let placed = |id: &str, index| {
        let rule = rule(id, id, "a");
        let place = Change::PlaceModelRule(rule.id.clone(), index);
        vec![Change::PutModelRule(rule, Expect::Any), place]
    };
    // They arrive together, and each is placed among those before it.
    let commits = ["a", "b", "c", "d"].map(|id| commit(&store, placed(id, 0)));
    futures_util::future::try_join_all(commits).await.unwrap();
    let order = async || {
        let rules = store.model_rules().await.unwrap();
        rules
            .iter()
            .map(|rule| rule.value.id.to_string())
            .collect::<String>()
    };
    assert_eq!(order().await, "dcba");
    commit(&store, placed("d", 2)).await.unwrap();
    assert_eq!(order().await, "cbda");
    let before = store.model_rules().await.unwrap();
    let place = Change::PlaceModelRule(RuleId::parse("a").unwrap(), 9);
    commit(&store, vec![place]).await.unwrap();
    assert_eq!(
        store.model_rules().await.unwrap(),
        before,
        "it was the last already"
    );
    let gone = Change::PlaceModelRule(RuleId::parse("gone").unwrap(), 0);
    assert!(matches!(
        commit(&store, vec![gone]).await,
        Err(CommitError::NotFound {
            kind: Kind::ModelRule,
            ..
        })
    ));
}
