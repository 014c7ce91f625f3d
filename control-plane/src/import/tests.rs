//! What the file may look like, and what is said about it.

use secrecy::ExposeSecret;

use super::*;
use crate::domain::provider::Dialect;

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
    let ImportedProvider { spec, secrets } = &imported.providers[0];
    assert_eq!(
        secrets.api_key.as_ref().unwrap().expose_secret(),
        "sk-0123456789abcdef"
    );
    assert_eq!(spec.endpoint.dialect(), Dialect::Qwen);
    assert_eq!(spec.models.big.len(), 2);
    assert_eq!((spec.limits.timeout_s, spec.limits.max_retries), (60, Some(1)));
    let settings = imported
        .settings_on(settings::Draft::default().check().unwrap())
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
        "dialect_overrides": {"vision": false}, "colour": "red"
      }],
      "model_rules": [
        {"match": "claude-opus-*", "tier": "big"},
        {"match": "gpt-*", "provider": "local-llm", "model": "*"},
        {"match": "x", "provider": "gone", "model": "y"}
      ],
      "fallback_strategy": "random", "circuit_breaker": {"enabled": false, "recovery_timeout": 5}, "version": 3
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
    assert_eq!(imported.rules.len(), 3);
    let settings = imported
        .settings_on(settings::Draft::default().check().unwrap())
        .unwrap()
        .to_draft();
    assert_eq!(settings.fallback_strategy, FallbackStrategy::Random);
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
        "dialect_overrides",
        "providers[0].colour",
        "gone",
        "version",
    ] {
        assert!(
            imported.warnings.iter().any(|warning| warning.contains(named)),
            "{named}: {:?}",
            imported.warnings
        );
    }
    assert_eq!(imported.warnings.len(), 5);
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
}

#[test]
fn a_native_anthropic_provider_is_left_out_with_a_warning() {
    let imported = import(&with_provider(
        r#""api_format": "anthropic", "api_key": "${NOT_SET}""#,
    ))
    .unwrap();
    assert!(imported.providers.is_empty());
    assert!(
        imported.warnings[0].contains("provider a is left out"),
        "{:?}",
        imported.warnings
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
      "fallback_strategy": "best", "model_rules": [{"match": "x"}], "circuit_breaker": 5
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
