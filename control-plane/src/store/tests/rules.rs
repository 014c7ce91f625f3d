//! Model rules: what they lead to is there, and their order is kept whoever changes it.

use super::*;
use crate::store::Kind;

on_each_store!(
    a_rule_leads_to_a_provider_that_is_there_and_stays,
    rules_are_placed_whatever_others_do,
);

async fn a_rule_leads_to_a_provider_that_is_there_and_stays(home: Home) {
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

async fn rules_are_placed_whatever_others_do(home: Home) {
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
