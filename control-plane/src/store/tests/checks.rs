//! What checks have shown: kept, and forgotten with what it was about.

use super::*;
use crate::domain::health::{Check, Failure};

fn check(name: &str, model: &str) -> Check {
    Check {
        provider: provider::ProviderName::parse(name).unwrap(),
        model: models::ModelName::parse(model).unwrap(),
        at: NOW + Duration::from_secs(5),
        latency: Duration::from_micros(1_234),
        node: "node-1".into(),
        http_status: 503,
        failure: Some(Failure::new("server_error".into(), "no")),
    }
}

async fn kept(store: &Store) -> Vec<Check> {
    store.checks().await.unwrap()
}

#[tokio::test]
async fn what_checks_have_shown_survives_and_raises_no_revision() {
    let home = Home::new();
    let store = home.open();
    let changes = vec![
        Change::PutProvider(provider("a", "m"), Expect::Absent),
        Change::PutProvider(provider("a-b", "m"), Expect::Absent),
    ];
    commit(&store, changes).await.unwrap();
    store
        .keep_checks(vec![(check("a", "m"), 1), (check("a-b", "m"), 1)])
        .await
        .unwrap();
    store.close().await;
    drop(store);
    let store = home.open();
    assert_eq!(store.version().revision, 1);
    assert_eq!(kept(&store).await, [check("a", "m"), check("a-b", "m")]);
    let of_a = store.checks_of(&check("a", "m").provider).await.unwrap();
    assert_eq!(of_a, [check("a", "m")], "a name that begins alike is another");
}

#[tokio::test]
async fn a_check_of_what_is_different_by_now_is_not_kept() {
    let home = Home::new();
    let store = home.open();
    let put = |expect| vec![Change::PutProvider(provider("a", "m"), expect)];
    commit(&store, put(Expect::Absent)).await.unwrap();
    commit(&store, put(Expect::Present)).await.unwrap();
    let late = vec![
        (check("a", "m"), 1),
        (check("a", "unlisted"), 2),
        (check("gone", "m"), 1),
    ];
    store.keep_checks(late).await.unwrap();
    assert_eq!(kept(&store).await, []);
}

#[tokio::test]
async fn what_a_change_makes_untrue_is_forgotten_with_it() {
    let home = Home::new();
    let store = home.open();
    let mut one = provider("a", "m");
    one.spec.models.by_tier.small = vec![models::ModelName::parse("n").unwrap()];
    commit(&store, vec![Change::PutProvider(one.clone(), Expect::Absent)])
        .await
        .unwrap();
    let both = |revision| vec![(check("a", "m"), revision), (check("a", "n"), revision)];
    store.keep_checks(both(1)).await.unwrap();

    one.spec.priority += 1;
    one.spec.enabled = false;
    commit(&store, vec![Change::PutProvider(one.clone(), Expect::Present)])
        .await
        .unwrap();
    assert_eq!(kept(&store).await.len(), 2, "where it is tried does not matter");

    one.spec.models.by_tier.small.clear();
    commit(&store, vec![Change::PutProvider(one.clone(), Expect::Present)])
        .await
        .unwrap();
    assert_eq!(kept(&store).await, [check("a", "m")]);

    one.spec.endpoint.base_url = provider::BaseUrl::parse("https://elsewhere.example/v1").unwrap();
    commit(&store, vec![Change::PutProvider(one.clone(), Expect::Present)])
        .await
        .unwrap();
    assert_eq!(kept(&store).await, []);

    store.keep_checks(vec![(check("a", "m"), 4)]).await.unwrap();
    assert_eq!(kept(&store).await.len(), 1);
    commit(&store, vec![Change::DeleteProvider(one.spec.name, Expect::Any)])
        .await
        .unwrap();
    assert_eq!(kept(&store).await, []);
}

#[tokio::test]
async fn another_master_key_makes_no_check_untrue_and_other_secrets_do() {
    let home = Home::new();
    let store = home.open();
    let sealed = |wrapped_by: u8, secret: u8| provider::SealedSecrets {
        master_key_id: format!("key-{wrapped_by}"),
        wrapped_key: vec![wrapped_by; 72],
        fields: vec![provider::SealedField {
            field: "api_key".into(),
            sealed: vec![secret; 40],
        }],
    };
    let with = |wrapped_by, secret| {
        let mut provider = provider("a", "m");
        provider.credentials.sealed = Some(sealed(wrapped_by, secret));
        provider
    };
    let put = |provider| vec![Change::PutProvider(provider, Expect::Any)];
    let revision = commit(&store, put(with(1, 1))).await.unwrap().revision;
    store
        .keep_checks(vec![(check("a", "m"), revision)])
        .await
        .unwrap();
    commit(&store, put(with(2, 1))).await.unwrap();
    assert_eq!(kept(&store).await, [check("a", "m")]);
    commit(&store, put(with(2, 2))).await.unwrap();
    assert_eq!(kept(&store).await, []);
    store.close().await;
}
