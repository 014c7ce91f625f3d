//! What the file may look like, and what is said about it.

use secrecy::ExposeSecret;

use super::*;
use crate::domain::{
    LossPolicy,
    model::Tier,
    provider::{Dialect, KnobValue, ModelOptionsDraft},
    settings::{self, FallbackStrategy},
};

const SEED: &str = r#"{
  "providers": [{
    "name": "qwen", "enabled": true, "priority": 1, "api_key": "${QWEN_API_KEY}",
    "base_url": "https://dashscope.aliyuncs.com/compatible-mode/v1", "timeout": 60, "max_retries": 1,
    "models": {"big": ["qwen-plus", "qwen-max"], "middle": ["qwen-turbo"], "small": ["qwen-plus"]}
  }],
  "fallback_strategy": "priority",
  "circuit_breaker": {"failure_threshold": 5, "recovery_timeout": 60}
}"#;

fn lookup(name: &str) -> Option<String> {
    (name == "QWEN_API_KEY").then(|| "sk-0123456789abcdef".to_owned())
}

fn import(text: &str) -> Result<Imported, Vec<String>> {
    provider_json(text, &lookup).map_err(|violations| violations.iter().map(ToString::to_string).collect())
}

fn with_provider(fields: &str) -> String {
    format!(
        r#"{{"providers": [{{"name": "a", "base_url": "http://a.example", "models": {{"big": ["m"]}}, {fields}}}]}}"#
    )
}

#[test]
fn the_files_of_existing_installations_are_accepted() {
    let imported = import(SEED).unwrap();
    assert_eq!(imported.warnings, Vec::<String>::new());
    let ImportedProvider { spec, secrets, .. } = &imported.providers[0];
    assert_eq!(
        secrets.api_key.as_ref().unwrap().expose_secret(),
        "sk-0123456789abcdef"
    );
    assert_eq!(spec.endpoint.dialect(), Dialect::Qwen);
    assert_eq!(spec.models.by_tier.big.len(), 2);
    assert_eq!((spec.limits.timeout_s, spec.limits.max_retries), (60, Some(1)));
    let settings = imported
        .settings
        .on(&settings::Draft::default().check().unwrap())
        .unwrap()
        .to_draft();
    assert_eq!(settings, settings::Draft::default());
}

#[test]
fn everything_that_is_ours_is_read_too() {
    let text = r#"{
      "providers": [{
        "name": "Local LLM", "base_url": "http://127.0.0.1:8080/v1/", "dialect": "vllm", "max_tokens_limit": 4096.0,
        "custom_headers": {"X-Team": "${QWEN_API_KEY}"}, "models": {"small": ["m"]}, "api_key": null,
        "dialect_overrides": {"vision": false, "shape": "round", "extra_body": {"a": {"b": "${QWEN_API_KEY}"}}},
        "model_options": [{"model": "m", "context_window": 8192, "dialect_overrides": {"efforts": ["low"], "pdf": null}, "size": 7}],
        "colour": "red"
      }],
      "model_rules": [
        {"match": "claude-opus-*", "tier": "big"},
        {"match": "gpt-*", "provider": "Local LLM", "model": "*"}
      ],
      "fallback_strategy": "random", "circuit_breaker": {"enabled": false, "recovery_timeout": 5},
      "loss_policy": "strict", "default_tier": "middle", "version": 3,
      "currency": "EUR", "prices": [{"provider": "a", "model": "m-*", "input": 1, "output": 2, "cache_read": 3, "cache_creation": 4, "per": "token"}]
    }"#;
    let imported = import(text).unwrap();
    let provider = &imported.providers[0];
    assert_eq!(provider.spec.name.as_str(), "local-llm");
    assert_eq!(provider.spec.endpoint.chosen_dialect, Some(Dialect::Vllm));
    assert_eq!(provider.spec.limits.max_tokens_limit, Some(4096));
    assert_eq!(
        provider.secrets.custom_headers[0].1.expose_secret(),
        "sk-0123456789abcdef"
    );
    assert_eq!(imported.rules.len(), 2);
    let settings = imported
        .settings
        .on(&settings::Draft::default().check().unwrap())
        .unwrap()
        .to_draft();
    assert_eq!(settings.fallback_strategy, FallbackStrategy::Random);
    assert_eq!(
        (settings.loss_policy, settings.default_tier),
        (LossPolicy::Strict, Some(Tier::Middle))
    );
    assert_eq!(settings.currency, "EUR");
    assert_eq!(
        (
            &*settings.prices[0].model,
            settings.prices[0].rates.cache_creation
        ),
        ("m-*", 4)
    );
    assert_eq!(
        settings.breaker,
        settings::Breaker {
            enabled: false,
            failure_threshold: 5,
            recovery_timeout_s: 5
        }
    );
    for named in [
        "local-llm",
        "providers[0].dialect_overrides.shape",
        "providers[0].model_options[0].size",
        "providers[0].colour",
        "prices[0].per",
        "version",
    ] {
        assert!(
            imported.warnings.iter().any(|warning| warning.contains(named)),
            "{named}: {:?}",
            imported.warnings
        );
    }
    assert_eq!(imported.warnings.len(), 6);
}

#[test]
fn knobs_are_read_for_providers_and_for_single_models() {
    let imported = import(&with_provider(
        r#""dialect_overrides": {"vision": false, "max_stop": 2.0, "extra_body": {"a": [{"b": "${QWEN_API_KEY}"}]}},
           "model_options": [{"model": "m", "context_window": 8192, "dialect_overrides": {"efforts": ["low"], "pdf": null}}]"#,
    ))
    .unwrap();
    let draft = imported.providers[0].spec.to_draft();
    let expected = [
        (
            "extra_body".to_owned(),
            KnobValue::Text(r#"{"a":[{"b":"sk-0123456789abcdef"}]}"#.into()),
        ),
        ("max_stop".to_owned(), KnobValue::Number(2.0)),
        ("vision".to_owned(), KnobValue::Flag(false)),
    ];
    assert_eq!(draft.dialect_overrides, expected.into());
    let options = ModelOptionsDraft {
        model: "m".into(),
        context_window: Some(8_192),
        max_output_tokens: None,
        dialect_overrides: [("efforts".to_owned(), KnobValue::List(vec!["low".into()]))].into(),
    };
    assert_eq!(draft.model_options, [options]);
}

#[test]
fn mistakes_in_knobs_are_told_together_with_their_place() {
    let violations = import(&with_provider(
        r#""dialect_overrides": {"mid_system": "sideways", "vision": 1, "strip_betas": [1], "extra_body": {"stream": true}},
           "model_options": [7, {"model": "m", "max_output_tokens": -1, "dialect_overrides": {"auth": "bearer", "prefill": "guess"}}]"#,
    ))
    .unwrap_err();
    let expected = [
        "providers[0].dialect_overrides.strip_betas: must be a list of texts",
        "providers[0].model_options[0]: must be an object",
        "providers[0].model_options[1].max_output_tokens: must be a whole number in range",
        "providers[0].dialect_overrides.extra_body: must not set stream: the bridge decides about that",
        "providers[0].dialect_overrides.mid_system: must be one of: user, system, developer, top",
        "providers[0].dialect_overrides.vision: must be true or false",
        "providers[0].model_options[0].model: must not be empty",
        "providers[0].model_options[1].dialect_overrides.auth: can only be set for the whole provider",
        "providers[0].model_options[1].dialect_overrides.prefill: must be one of: reject, pass, continue",
    ];
    assert_eq!(violations, expected);
}

#[test]
fn the_example_is_accepted_without_a_warning() {
    let example = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../deploy/provider.example.json"
    ));
    let imported = provider_json(example, &|_| Some("a-secret".to_owned())).unwrap();
    assert_eq!(imported.warnings, Vec::<String>::new());
    let options = imported
        .providers
        .iter()
        .map(|provider| provider.spec.models.options.len());
    assert_eq!((imported.rules.len(), options.sum::<usize>()), (3, 2));
}

#[test]
fn a_missing_variable_names_provider_and_variable() {
    let violations = import(&with_provider(r#""api_key": "${NOT_SET}""#)).unwrap_err();
    assert_eq!(
        violations,
        ["providers[0]: provider a needs the variable NOT_SET, which is not set"]
    );
    let disabled = import(&with_provider(r#""api_key": "${NOT_SET}", "enabled": false"#)).unwrap();
    assert_eq!(
        disabled.warnings,
        ["provider a is disabled and its variable NOT_SET is not set"]
    );
    assert!(disabled.providers[0].secrets.api_key.is_none());
    let outside = r#"{"model_rules": [{"match": "x-${NOT_SET}", "tier": "big"}]}"#;
    assert_eq!(
        import(outside).unwrap_err(),
        ["provider.json: the file needs the variable NOT_SET, which is not set"]
    );
}

#[test]
fn a_provider_without_a_format_keeps_its_mistakes_to_itself() {
    let text = r#"{"providers": [
        {"name": "a", "base_url": "ftp://a", "api_format": "smtp", "api_key": "${NOT_SET}", "models": {"big": ["m"]}},
        {"name": "b", "base_url": "http://b.example", "models": {"big": ["m"]}}
    ]}"#;
    let violations = import(text).unwrap_err();
    let expected = [
        "providers[0].api_format: must be openai or anthropic",
        "providers[0]: provider a needs the variable NOT_SET, which is not set",
    ];
    assert_eq!(violations[..2], expected);
    assert!(
        violations[2].starts_with("providers[0].base_url: "),
        "{violations:?}"
    );
    assert_eq!(violations.len(), 3);
}

#[test]
fn a_native_anthropic_provider_is_imported_as_one() {
    let imported = import(&with_provider(r#""api_format": "anthropic""#)).unwrap();
    let endpoint = &imported.providers[0].spec.endpoint;
    assert_eq!(endpoint.api_format, ApiFormat::Anthropic);
    assert_eq!(endpoint.dialect(), Dialect::Anthropic);
    assert!(imported.warnings.is_empty(), "{:?}", imported.warnings);
}

#[test]
fn a_rule_leads_to_a_provider_of_the_file() {
    let text = r#"{"providers": [{"name": "a", "base_url": "http://a.example", "models": {"big": ["m"]}}],
        "model_rules": [{"match": "x", "provider": "a", "model": "y"}, {"match": "z", "provider": "gone", "model": "y"}]}"#;
    assert_eq!(
        import(text).unwrap_err(),
        ["model_rules[1].provider: the file has no provider gone"]
    );
}

#[test]
fn violations_are_reported_together_and_without_values() {
    let text = r#"{
      "providers": [
        {"name": "a", "base_url": "ftp://a", "models": {"big": "secret-text"}, "timeout": -1, "enabled": "yes", "priority": 1.5},
        {"name": "b", "base_url": "http://b.example", "models": {"big": ["m"]}, "custom_headers": "secret-text"},
        {"name": "b", "base_url": "http://b.example", "models": {"big": ["m"]}},
        "secret-text"
      ],
      "fallback_strategy": "best", "loss_policy": "loud", "default_tier": "huge", "model_rules": [{"match": "x"}], "circuit_breaker": 5
    }"#;
    let violations = import(text).unwrap_err();
    let fields = [
        "providers[0].enabled",
        "providers[0].priority",
        "providers[0].models.big",
        "providers[0].timeout",
        "providers[0].base_url",
        "providers[1].custom_headers",
        "providers[2].name",
        "providers[3]",
        "fallback_strategy",
        "loss_policy",
        "default_tier",
        "model_rules[0].tier",
        "circuit_breaker",
    ];
    for field in fields {
        assert!(
            violations
                .iter()
                .any(|violation| violation.starts_with(&format!("{field}: "))),
            "{field}: {violations:#?}"
        );
    }
    assert!(!format!("{violations:?}").contains("secret-text"));
}

#[test]
fn what_is_not_json_says_where() {
    assert_eq!(
        import("{\n  \"providers\": [,]\n}").unwrap_err(),
        ["provider.json: is not JSON: line 2, column 17"]
    );
    assert_eq!(
        import("[]").unwrap_err(),
        ["provider.json: must be a JSON object"]
    );
    assert!(import("\u{feff}{}").unwrap().providers.is_empty());
}

#[test]
fn a_budget_counts_tokens_or_money() {
    let both =
        r#"{"user_keys": {"limits": {"budgets": [{"period": "day", "tokens": 7, "cost_micros": 9}]}}}"#;
    let refused = configuration_file(both).unwrap_err();
    let told: Vec<_> = refused.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["user_keys.limits.budgets[0]: must have either `tokens` or `cost_micros`"]
    );
}

#[test]
fn a_variable_in_any_text_is_resolved_or_refused() {
    let text = r#"{"currency": "${MONEY}", "prices": [{"provider": "a", "model": "${MODEL}",
        "input": 1, "output": 2, "cache_read": 3, "cache_creation": 4}]}"#;
    let lookup = |name: &str| Some(name.to_lowercase());
    let imported = operators_file(text, &lookup).unwrap();
    let base = settings::Draft::default().check().unwrap();
    let settings = imported.settings.on(&base).unwrap().to_draft();
    assert_eq!(
        (&*settings.currency, &*settings.prices[0].model),
        ("money", "model")
    );
    assert_eq!(configuration_file(text).unwrap_err().len(), 2);
}
