//! Held breakers: one for each breaker, no more than there may be, gone with their provider.

use super::*;
use crate::domain::breaker_override::{BreakerOverride, Draft, HOLDS_MAX, Held, OverrideId};

const MINUTE: Duration = Duration::from_secs(60);

fn hold(provider: &str, model: &str, held: Held, at: SystemTime) -> BreakerOverride {
    let draft = Draft {
        provider: provider.into(),
        model: model.into(),
        held: Some(held),
        lifetime: Some(MINUTE),
        reason: "maintenance".into(),
    };
    BreakerOverride {
        id: OverrideId::mint(rand::random()),
        maker: id(1),
        spec: draft.check(at).unwrap(),
        created_at: at,
    }
}

async fn put(store: &Store, held: &BreakerOverride) -> Result<Committed, CommitError> {
    commit(store, vec![Change::PutBreakerOverride(held.clone())]).await
}

async fn held(store: &Store) -> Vec<BreakerOverride> {
    let mut held = store.breaker_overrides().await.unwrap();
    held.sort_by(|a, b| a.value.spec.model.cmp(&b.value.spec.model));
    held.into_iter().map(|held| held.value).collect()
}

async fn with_provider(home: &Home) -> Store {
    let store = home.open();
    commit(
        &store,
        vec![Change::PutProvider(provider("a", "m"), Expect::Absent)],
    )
    .await
    .unwrap();
    store
}

async fn the_latest_hold_of_a_breaker_is_the_one_and_survives(home: Home) {
    let store = with_provider(&home).await;
    let (all, model) = (hold("a", "", Held::Open, NOW), hold("a", "m", Held::Open, NOW));
    put(&store, &all).await.unwrap();
    put(&store, &model).await.unwrap();
    let later = hold("a", "m", Held::Closed, NOW);
    let revision = put(&store, &later).await.unwrap().revision;
    assert_eq!(held(&store).await, [all.clone(), later.clone()]);
    let changes = store.changes_since(revision - 1).await.unwrap().unwrap();
    assert!(changes.resources.iter().all(|change| change.urgent));
    assert_eq!(changes.resources.len(), 2, "one gone, one new");
    store.close().await;
    drop(store);
    let store = home.open();
    assert_eq!(held(&store).await, [all, later]);
    store.close().await;
}

async fn nobody_holds_what_is_not_there_or_more_than_there_may_be(home: Home) {
    let store = with_provider(&home).await;
    let stranger = put(&store, &hold("b", "m", Held::Open, NOW)).await;
    assert!(matches!(stranger, Err(CommitError::NotFound { .. })));
    let many =
        (0..HOLDS_MAX).map(|n| Change::PutBreakerOverride(hold("a", &format!("m-{n}"), Held::Open, NOW)));
    commit(&store, many.collect()).await.unwrap();
    let more = put(&store, &hold("a", "one-more", Held::Open, NOW)).await;
    assert!(matches!(more, Err(CommitError::TooMany { .. })));
    put(&store, &hold("a", "m-0", Held::Closed, NOW)).await.unwrap();
    // Those that are over make room.
    put(&store, &hold("a", "one-more", Held::Open, NOW + MINUTE))
        .await
        .unwrap();
    assert_eq!(held(&store).await.len(), 1);
    store.close().await;
}

async fn holds_go_with_their_provider_and_not_before_it(home: Home) {
    let store = with_provider(&home).await;
    let other = vec![Change::PutProvider(provider("b", "m"), Expect::Absent)];
    commit(&store, other).await.unwrap();
    let stays = hold("b", "", Held::Open, NOW);
    put(&store, &stays).await.unwrap();
    let before = put(&store, &hold("a", "m", Held::Open, NOW))
        .await
        .unwrap()
        .revision;
    let name = provider::ProviderName::parse("a").unwrap();
    commit(&store, vec![Change::DeleteProvider(name, Expect::Present)])
        .await
        .unwrap();
    assert_eq!(held(&store).await, [stays]);
    let changes = store.changes_since(before).await.unwrap().unwrap();
    assert_eq!(changes.resources.len(), 2);
    assert!(changes.resources.iter().all(|change| !change.urgent));
    store.close().await;
}

on_each_store![
    the_latest_hold_of_a_breaker_is_the_one_and_survives,
    nobody_holds_what_is_not_there_or_more_than_there_may_be,
    holds_go_with_their_provider_and_not_before_it,
];
