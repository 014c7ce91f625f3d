//! Whether a key may do more than another one may: what its owner may make of a key whose
//! bounds somebody else has set.

use std::time::SystemTime;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Scope, Spec};
use crate::domain::{FieldViolation, Violations, limits, model_name};

/// Where `asked` grants what `stands` does not; empty: nowhere.
///
/// Names, loss policy and whether the key is enabled are its owner's business.
#[must_use]
pub fn wider(asked: &Spec, stands: &Spec) -> Vec<FieldViolation> {
    let mut violations = Violations::default();
    if let Some(end) = stands.expires_at
        && asked.expires_at.is_none_or(|asked| asked > end)
    {
        violations.add("expires_at", until(end));
    }
    check_scope(&asked.scope, &stands.scope, &mut violations);
    violations.nest("limits", limits::wider(&asked.limits, &stands.limits));
    violations.into_vec()
}

fn until(end: SystemTime) -> String {
    match OffsetDateTime::from(end).format(&Rfc3339) {
        Ok(end) => format!("must be there and at most {end}"),
        Err(_) => "must be there and no later than it is".to_owned(),
    }
}

fn check_scope(asked: &Scope, stands: &Scope, violations: &mut Violations) {
    let Scope {
        allowed_models: models,
        allowed_providers: providers,
    } = stands;
    let is_model_within = |asked: &str| models.iter().any(|wide| model_name::covers(wide.as_str(), asked));
    let asked_models = asked.allowed_models.iter().map(|model| model.as_str());
    if !models.is_empty() {
        check_list("allowed_models", asked_models, is_model_within, violations);
    }
    let is_provider_within = |asked: &str| providers.iter().any(|name| name.as_str() == asked);
    let asked_providers = asked.allowed_providers.iter().map(|name| name.as_str());
    if !providers.is_empty() {
        check_list(
            "allowed_providers",
            asked_providers,
            is_provider_within,
            violations,
        );
    }
}

/// An empty list is everything.
fn check_list<'a>(
    field: &str,
    asked: impl ExactSizeIterator<Item = &'a str>,
    is_within: impl Fn(&str) -> bool,
    violations: &mut Violations,
) {
    if asked.len() == 0 {
        violations.add(field, "must name some of what the key may reach");
    }
    for (index, asked) in asked.enumerate() {
        if !is_within(asked) {
            violations.add(format!("{field}[{index}]"), "is more than the key may reach");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::api_key::Draft;
    use crate::domain::limits::any_limits;
    use crate::domain::user::UserId;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// Whether a request for a model at a provider goes through.
    fn grants(spec: &Spec, model: &str, provider: &str, now: SystemTime) -> bool {
        let Scope {
            allowed_models,
            allowed_providers,
        } = &spec.scope;
        let mut models = allowed_models.iter();
        spec.expires_at.is_none_or(|end| now < end)
            && (allowed_models.is_empty()
                || models.any(|pattern| model_name::matched(pattern.as_str(), model).is_some()))
            && (allowed_providers.is_empty() || allowed_providers.iter().any(|it| it.as_str() == provider))
    }

    prop_compose! {
        fn spec()(
            expires_at in proptest::option::of(1..4_u64),
            allowed_models in proptest::collection::vec("[abA*]{1,4}", 0..3),
            allowed_providers in proptest::collection::vec("[ab]", 0..3),
            limits in any_limits(),
        ) -> Spec {
            let draft = Draft {
                name: "ci".into(),
                email: String::new(),
                owner: UserId::from_bytes([1; 16]),
                enabled: true,
                expires_at: expires_at.map(at),
                allowed_models,
                allowed_providers,
                loss_policy: None,
                limits: limits.to_draft(),
            };
            draft.check().unwrap()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn what_is_no_wider_lets_nothing_more_through(
            asked in spec(),
            stands in spec(),
            model in "[abB]{1,5}",
            provider in "[ab]",
            now in 0..5_u64,
        ) {
            if wider(&asked, &stands).is_empty() && grants(&asked, &model, &provider, at(now)) {
                prop_assert!(grants(&stands, &model, &provider, at(now)));
            }
        }

        #[test]
        fn nothing_is_wider_than_itself(spec in spec()) {
            prop_assert_eq!(wider(&spec, &spec), vec![]);
        }

        #[test]
        fn no_wider_than_what_is_no_wider_is_no_wider(a in spec(), b in spec(), c in spec()) {
            if wider(&a, &b).is_empty() && wider(&b, &c).is_empty() {
                prop_assert_eq!(wider(&a, &c), vec![]);
            }
        }
    }

    #[test]
    fn lists_may_become_shorter_and_patterns_narrower() {
        let spec = |models: &[&str], providers: &[&str]| {
            let draft = Draft {
                name: "ci".into(),
                email: String::new(),
                owner: UserId::from_bytes([1; 16]),
                enabled: true,
                expires_at: None,
                allowed_models: models.iter().map(ToString::to_string).collect(),
                allowed_providers: providers.iter().map(ToString::to_string).collect(),
                loss_policy: None,
                limits: limits::Draft::default(),
            };
            draft.check().unwrap()
        };
        let stands = spec(&["claude-*", "gpt-9"], &["qwen", "vllm"]);
        let told = |asked: &Spec| -> Vec<String> {
            let violations = wider(asked, &stands);
            violations.into_iter().map(|violation| violation.field).collect()
        };
        assert_eq!(told(&spec(&["claude-opus-*", "GPT-9"], &["vllm"])), [""; 0]);
        assert_eq!(told(&spec(&[], &[])), ["allowed_models", "allowed_providers"]);
        let more = spec(&["gpt-*", "claude-haiku", "*"], &["qwen", "openai"]);
        assert_eq!(
            told(&more),
            ["allowed_models[0]", "allowed_models[2]", "allowed_providers[1]"]
        );
    }
}
