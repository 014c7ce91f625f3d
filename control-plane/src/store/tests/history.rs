//! What lies between two revisions, and what is not kept of it.

use super::*;
use crate::domain::provider::{SealedField, SealedSecrets};
use crate::store::{
    Changed, Kind, RevisionAsk, Thing,
    family::Family,
    rows::{Order, Span},
    target,
};

on_each_store!(
    what_lies_between_two_revisions_is_told_both_ways,
    secrets_are_not_in_the_history,
    a_change_that_is_based_on_another_revision_is_refused,
    revisions_are_listed_by_what_they_changed,
);

fn model_of(thing: Option<&Thing>) -> Option<&str> {
    match thing {
        Some(Thing::Provider(provider)) => provider.spec.models.by_tier.first().map(|model| model.as_str()),
        Some(Thing::ApiKey(_) | Thing::ModelRule(_) | Thing::Settings(_)) | None => None,
    }
}

/// Targets with the models of providers before and after.
fn told(changed: &[Changed]) -> Vec<(String, Option<&str>, Option<&str>)> {
    changed
        .iter()
        .map(|changed| {
            let [before, after] = &changed.states;
            (
                target(changed.kind, &changed.id),
                model_of(before.as_ref()),
                model_of(after.as_ref()),
            )
        })
        .collect()
}

async fn what_lies_between_two_revisions_is_told_both_ways(home: Home) {
    let store = home.open();
    let put = |name: &str, model: &str| vec![Change::PutProvider(provider(name, model), Expect::Any)];
    commit(&store, put("a", "one")).await.unwrap();
    commit(&store, put("b", "one")).await.unwrap();
    commit(&store, put("a", "two")).await.unwrap();
    let mut both = put("a", "three");
    both.push(Change::DeleteProvider(
        provider("b", "one").spec.name,
        Expect::Present,
    ));
    both.push(Change::PutUser(user(1), Expect::Absent));
    commit(&store, both).await.unwrap();

    let a = |before, after| ("provider/a".to_owned(), before, after);
    let b = |before, after| ("provider/b".to_owned(), before, after);
    for (from, to, expected) in [
        (0, Some(4), vec![a(None, Some("three")), b(None, None)]),
        (1, Some(2), vec![b(None, Some("one"))]),
        (2, Some(1), vec![b(Some("one"), None)]),
        (2, Some(3), vec![a(Some("one"), Some("two"))]),
        (3, None, vec![a(Some("two"), Some("three")), b(Some("one"), None)]),
        (
            4,
            Some(3),
            vec![a(Some("three"), Some("two")), b(None, Some("one"))],
        ),
        (2, Some(2), vec![]),
    ] {
        let between = store.between(from, to).await.unwrap().unwrap();
        assert_eq!(told(&between.changed), expected, "{from} to {to:?}");
        assert_eq!(between.current, 4);
    }
    assert!(store.between(1, Some(5)).await.unwrap().is_none());
    assert_eq!(store.kept_revisions().await.unwrap(), (0, 4));
}

async fn secrets_are_not_in_the_history(home: Home) {
    let store = home.open();
    let mut sealed = provider("a", "m");
    sealed.credentials = Credentials {
        sealed: Some(SealedSecrets {
            master_key_id: "k".into(),
            wrapped_key: b"canary-wrapped-canary".to_vec(),
            fields: vec![SealedField {
                field: "api_key".into(),
                sealed: b"canary-sealed-canary!".to_vec(),
            }],
        }),
        has_api_key: true,
        api_key_hint: "hint-canary".into(),
        custom_header_names: Vec::new(),
    };
    let put = vec![
        Change::PutUser(user(1), Expect::Absent),
        Change::PutProvider(sealed.clone(), Expect::Absent),
        Change::PutApiKey(api_key(7, 1), Expect::Absent),
    ];
    commit(&store, put).await.unwrap();
    let delete = vec![
        Change::DeleteProvider(sealed.spec.name.clone(), Expect::Present),
        Change::DeleteApiKey(key_id(7), Expect::Present),
    ];
    commit(&store, delete).await.unwrap();
    let rows = store
        .blocking(|rows| {
            rows.scan(Family::History, Span::all(), Order::Ascending)
                .map(|row| Ok(String::from_utf8(row?.value).unwrap()))
                .collect::<Result<String, _>>()
        })
        .await
        .unwrap();
    assert!(rows.contains(r#""has_api_key":true"#), "{rows}");
    // "canary" in base64 at each of the three offsets, and the hash of the key.
    for secret in [
        "Y2FuYXJ5",
        "NhbmFye",
        "jYW5hcn",
        "hint-canary",
        "BwcHBwcH",
        "argon2",
    ] {
        assert!(!rows.contains(secret), "{secret}: {rows}");
    }
    let between = store.between(1, None).await.unwrap().unwrap();
    let kinds: Vec<Kind> = between.changed.iter().map(|changed| changed.kind).collect();
    assert_eq!(kinds, [Kind::Provider, Kind::ApiKey]);
}

async fn a_change_that_is_based_on_another_revision_is_refused(home: Home) {
    let store = home.open();
    let put = |based_on: u64, model: &str| {
        vec![
            Change::BasedOn(based_on),
            Change::PutProvider(provider("a", model), Expect::Any),
        ]
    };
    commit(&store, put(0, "one")).await.unwrap();
    // They arrive together and are planned on top of each other.
    let (first, second) = tokio::join!(commit(&store, put(1, "two")), commit(&store, put(1, "three")));
    assert_eq!(first.unwrap(), Committed { revision: 2 });
    assert!(matches!(second, Err(CommitError::Moved { current: 2 })));
    assert!(matches!(
        commit(&store, put(3, "four")).await,
        Err(CommitError::Moved { current: 2 })
    ));
    assert_eq!(store.providers().await.unwrap()[0].value, provider("a", "two"));
}

async fn revisions_are_listed_by_what_they_changed(home: Home) {
    let store = home.open();
    let put = |name: &str| vec![Change::PutProvider(provider(name, "m"), Expect::Any)];
    for name in ["a", "b", "a"] {
        commit(&store, put(name)).await.unwrap();
        // Raises no revision, but has a row in the audit log.
        let sealed = Change::PutSealed(crate::store::SealedName::SigningKey, vec![1]);
        commit(&store, vec![sealed]).await.unwrap();
    }
    let listed = async |below, target: &str| {
        let ask = RevisionAsk {
            below,
            size: 2,
            target: target.to_owned(),
        };
        let page = store.list_revisions(ask).await.unwrap();
        let revisions = page.revisions.iter();
        let told: Vec<_> = revisions
            .map(|one| (one.revision, one.targets.join(" "), one.is_kept))
            .collect();
        (told, page.next)
    };
    let told = |revision, target: &str| (revision, target.to_owned(), true);
    let (first, next) = listed(None, "").await;
    assert_eq!(first, [told(3, "provider/a"), told(2, "provider/b")]);
    assert_eq!(listed(next, "").await, (vec![told(1, "provider/a")], None));
    let (of_a, _) = listed(None, "provider/a").await;
    assert_eq!(of_a, [told(3, "provider/a"), told(1, "provider/a")]);
    assert_eq!(listed(None, "provider/").await.0.len(), 2);
    assert_eq!(listed(None, "api_key/").await, (vec![], None));
}
