//! Model rules: their order, and the providers that they lead to.

use super::{CommitError, Expect, Kind, family::Family, plan::Planner, record, rows::Rows};
use crate::domain::{
    model::{self, ModelRule, RuleId},
    provider::ProviderName,
};

/// Rules that a refusal names; more would only make it longer.
const RULES_NAMED_MAX: usize = 20;

impl Planner<'_> {
    fn model_rules(&self) -> Result<Vec<ModelRule>, CommitError> {
        let rows = self.writes.scan_prefix(Family::ModelRules, b"")?;
        let rules = rows
            .values()
            .map(|row| Ok(record::decode::<ModelRule>(row)?.value));
        let mut rules: Vec<_> = rules.collect::<Result<_, CommitError>>()?;
        rules.sort_by(|a, b| (a.position, &a.id).cmp(&(b.position, &b.id)));
        Ok(rules)
    }

    pub(super) fn check_provider_is_there(&self, rule: &ModelRule) -> Result<(), CommitError> {
        let Some(provider) = rule.provider() else {
            return Ok(());
        };
        match self.writes.get(Family::Providers, provider.as_str().as_bytes())? {
            Some(_) => Ok(()),
            None => Err(CommitError::NotFound {
                kind: Kind::Provider,
                id: provider.to_string(),
            }),
        }
    }

    pub(super) fn check_no_rule_leads_to(&self, provider: &ProviderName) -> Result<(), CommitError> {
        let mut rules = self.model_rules()?;
        rules.retain(|rule| rule.provider() == Some(provider));
        if rules.is_empty() {
            return Ok(());
        }
        let named = rules.iter().take(RULES_NAMED_MAX);
        Err(CommitError::RulesLeadTo {
            provider: provider.to_string(),
            rules: named
                .map(|rule| format!("{} ({})", rule.pattern.as_str(), rule.id))
                .collect(),
        })
    }

    pub(super) fn place_model_rule(&mut self, id: &RuleId, index: usize) -> Result<(), CommitError> {
        let mut rules = self.model_rules()?;
        let at = rules.iter().position(|rule| rule.id == *id);
        let Some(at) = at else {
            return Err(CommitError::NotFound {
                kind: Kind::ModelRule,
                id: id.to_string(),
            });
        };
        let rule = rules.remove(at);
        for moved in model::place(rules, rule, index) {
            self.put(Kind::ModelRule, moved.id.as_str(), &moved, Expect::Present)?;
            self.note(Kind::ModelRule, moved.id.to_string(), false);
        }
        Ok(())
    }
}
