//! Model rules of a file: which of those that are there they are, and their order.

use std::collections::{BTreeMap, BTreeSet};

use super::Planner;
use crate::configuration::{Places, order, places};
use crate::domain::model::{ModelRule, RULES_MAX, RuleId};
use crate::domain::provider::ProviderName;
use crate::import::ImportedRule;
use crate::store::{Kind, Thing};

/// `None`: the file says nothing of rules.
pub(super) fn plan(planner: &mut Planner<'_>, rules: Option<Vec<ImportedRule>>) -> Places {
    let stored = planner.configuration.model_rules.iter();
    let current: Vec<ModelRule> = stored.map(|stored| stored.value.clone()).collect();
    let order: Vec<RuleId> = current.iter().map(|rule| rule.id.clone()).collect();
    let Some(rules) = rules else {
        check_providers(planner, &BTreeMap::new(), &current);
        return places([order.clone(), order]);
    };
    let rules = identified(rules, &current);
    let named: Vec<RuleId> = rules.iter().map(|rule| rule.id.clone()).collect();
    let wanted = if planner.prune {
        named.clone()
    } else {
        order::merged(&order, &named)
    };
    if wanted.len() > RULES_MAX {
        let reason = format!("there would be more than {RULES_MAX}");
        planner.violations.add("model_rules", reason);
    }
    let paths: BTreeMap<RuleId, String> = named
        .into_iter()
        .enumerate()
        .map(|(index, id)| (id, format!("model_rules[{index}]")))
        .collect();
    let before: BTreeMap<&RuleId, &ModelRule> = current.iter().map(|rule| (&rule.id, rule)).collect();
    let mut after: BTreeMap<&RuleId, ModelRule> =
        current.iter().map(|rule| (&rule.id, rule.clone())).collect();
    after.extend(rules.iter().map(|rule| (&rule.id, rule.clone())));
    let positions: Vec<Option<u32>> = wanted
        .iter()
        .map(|id| before.get(id).map(|rule| rule.position))
        .collect();
    let mut wanted_rules = Vec::with_capacity(wanted.len());
    for (id, position) in wanted.iter().zip(order::positions(&positions)) {
        let Some(rule) = after.get(id) else { continue };
        let rule = ModelRule {
            position,
            ..rule.clone()
        };
        wanted_rules.push(rule.clone());
        let before = before.get(id).copied();
        if before != Some(&rule) {
            let before = before.cloned().map(Thing::ModelRule);
            planner.edit(Kind::ModelRule, id.as_str(), before, Some(Thing::ModelRule(rule)));
        }
    }
    let wanted_ids: BTreeSet<&RuleId> = wanted.iter().collect();
    for gone in current.iter().filter(|rule| !wanted_ids.contains(&rule.id)) {
        let before = Some(Thing::ModelRule(gone.clone()));
        planner.edit(Kind::ModelRule, gone.id.as_str(), before, None);
    }
    check_providers(planner, &paths, &wanted_rules);
    places([order, wanted])
}

/// Finds the rule that each of the file is: by its id, or else by its pattern.
fn identified(rules: Vec<ImportedRule>, current: &[ModelRule]) -> Vec<ModelRule> {
    let mut taken: BTreeSet<RuleId> = rules.iter().filter_map(|rule| rule.id.clone()).collect();
    let mut identified = Vec::with_capacity(rules.len());
    for ImportedRule { id, pattern, target } in rules {
        let id = id.unwrap_or_else(|| {
            let same = current
                .iter()
                .find(|rule| rule.pattern == pattern && !taken.contains(&rule.id));
            same.map_or_else(|| RuleId::mint(rand::random()), |rule| rule.id.clone())
        });
        taken.insert(id.clone());
        identified.push(ModelRule {
            id,
            position: 0,
            pattern,
            target,
        });
    }
    identified
}

/// `paths`: of rules that are in the file.
fn check_providers(planner: &mut Planner<'_>, paths: &BTreeMap<RuleId, String>, rules: &[ModelRule]) {
    let stored = planner.configuration.providers.iter();
    let mut providers: BTreeSet<ProviderName> = stored.map(|stored| stored.value.spec.name.clone()).collect();
    for edit in &planner.edits {
        match (&edit.before, &edit.after) {
            (_, Some(Thing::Provider(provider))) => {
                providers.insert(provider.spec.name.clone());
            }
            (Some(Thing::Provider(provider)), None) => {
                providers.remove(&provider.spec.name);
            }
            (_, _) => {}
        }
    }
    for rule in rules {
        let Some(name) = rule.provider().filter(|name| !providers.contains(*name)) else {
            continue;
        };
        match paths.get(&rule.id) {
            Some(path) => {
                let reason = format!("there is no provider {name}");
                planner.violations.add(format!("{path}.provider"), reason);
            }
            None => {
                let reason = format!("{name} cannot go: model rule {} leads to it", rule.id);
                planner.violations.add("providers", reason);
            }
        }
    }
}
