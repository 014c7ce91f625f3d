//! What the audit trail says about a thing before and after a change.

use serde_json::Value;

use crate::configuration::view;
use crate::document::{self, Document};
use crate::domain::api_key::ApiKey;
use crate::domain::audit::Summary;
use crate::domain::breaker_override::BreakerOverride;
use crate::domain::join_token::JoinToken;
use crate::domain::model::ModelRule;
use crate::domain::node::FleetNode;
use crate::domain::provider::Provider;
use crate::domain::service_token::ServiceToken;
use crate::domain::settings::Settings;
use crate::domain::user::User;
use crate::store::Stored;

pub(crate) fn user(user: &User) -> Summary {
    document::summary(document::user(user))
}

pub(crate) fn api_key(key: &ApiKey) -> Summary {
    of(view::api_key(key))
}

pub(crate) fn service_token(token: &ServiceToken) -> Summary {
    document::summary(document::service_token(token))
}

pub(crate) fn breaker_override(held: &BreakerOverride) -> Summary {
    document::summary(document::breaker_override(held))
}

pub(crate) fn fleet_node(node: &FleetNode) -> Summary {
    document::summary(document::fleet_node(node))
}

pub(crate) fn join_token(token: &JoinToken) -> Summary {
    document::summary(document::join_token(token))
}

pub(crate) fn provider(provider: &Provider) -> Summary {
    of(view::provider(provider))
}

/// A provider that is deleted together with rules.
pub(crate) fn provider_and_rules(provider: &Provider, rules: &[Stored<ModelRule>]) -> Summary {
    let mut said = members(view::provider(provider));
    let rules: Vec<Value> = rules
        .iter()
        .map(|rule| view::model_rule(&rule.value, None))
        .collect();
    if !rules.is_empty() {
        said.insert("model_rules".to_owned(), rules.into());
    }
    document::summary(said)
}

pub(crate) fn model_rule(rule: &ModelRule) -> Summary {
    of(view::model_rule(rule, None))
}

pub(crate) fn settings(settings: &Settings) -> Summary {
    document::summary(view::settings(settings))
}

fn of(thing: Value) -> Summary {
    document::summary(members(thing))
}

fn members(thing: Value) -> Document {
    match thing {
        Value::Object(members) => members,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            document::note(&thing.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Times;
    use crate::domain::model::{self, RuleId};
    use crate::domain::provider;

    #[test]
    fn rules_that_go_with_a_provider_are_named() {
        let plain = provider::Draft::plain("qwen", "http://a.example");
        let qwen = Provider {
            spec: plain.check().unwrap(),
            credentials: provider::Credentials::default(),
            times: Times::new(std::time::UNIX_EPOCH),
        };
        let draft = model::Draft {
            pattern: "gpt-*".into(),
            tier: None,
            provider: Some("qwen".into()),
            model: Some("*".into()),
        };
        let (pattern, target) = draft.check().unwrap();
        let rule = ModelRule {
            id: RuleId::imported(1),
            position: 1,
            pattern,
            target,
        };
        let stored = Stored {
            value: rule,
            revision: 3,
        };
        let said = provider_and_rules(&qwen, &[stored]);
        let expected = r#""model_rules":[{"id":"import-1","match":"gpt-*","model":"*","provider":"qwen"}]"#;
        assert!(said.as_str().contains(expected), "{}", said.as_str());
        assert_eq!(provider_and_rules(&qwen, &[]), super::provider(&qwen));
    }
}
