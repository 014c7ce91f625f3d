//! Any file: refused with every reason, or taken over as something that the admin API would take too.

use anyhow::{Context, Result, anyhow, ensure};
use bridge_campaign::{Material, Target, check};

use super::*;
use crate::domain::settings;

const INPUTS: u64 = 1000;
const SECRET: &str = "sk-0123456789abcdef";
const EXAMPLE: &str = include_str!("../../../deploy/provider.example.json");
const RICH: &str = r#"{
    "providers": [{
        "name": "Local LLM", "base_url": "http://127.0.0.1:8080/v1/", "dialect": "vllm", "max_tokens_limit": 4096.0,
        "custom_headers": {"X-Team": "${KEY}"}, "models": {"small": ["m"]}, "api_key": null,
        "dialect_overrides": {"vision": false, "shape": "round", "extra_body": {"a": {"b": "${KEY}"}}},
        "model_options": [{"model": "m", "context_window": 8192, "dialect_overrides": {"efforts": ["low"]}, "size": 7}],
        "colour": "red"
    }],
    "model_rules": [
        {"match": "claude-opus-*", "tier": "big"},
        {"match": "gpt-*", "provider": "Local LLM", "model": "*"}
    ],
    "fallback_strategy": "random", "circuit_breaker": {"enabled": false, "recovery_timeout": 5},
    "loss_policy": "strict", "default_tier": "middle", "version": 3
}"#;
const SECRETIVE: &str = r#"{"providers": [{"name": "a", "base_url": "https://a.example/v1", "api_key": "${KEY}",
    "custom_headers": {"authorization": "Bearer ${KEY}", "x-b": "${KEY}"}, "models": {"big": ["m"]}}]}"#;

fn lookup(name: &str) -> Option<String> {
    (name == "KEY").then(|| SECRET.to_owned())
}

/// Whoever makes a name of a secret wants it to be known.
fn is_secret(field: &str) -> bool {
    ["api_key", "custom_headers", "extra_body"]
        .iter()
        .any(|name| field.contains(name))
}

fn run(input: &[u8]) -> Result<()> {
    let Ok(text) = std::str::from_utf8(input) else {
        return Ok(());
    };
    let imported = match provider_json(text, &lookup) {
        Ok(imported) => imported,
        Err(violations) => {
            ensure!(!violations.is_empty(), "refused without a reason");
            let shown = violations
                .iter()
                .find(|violation| is_secret(&violation.field) && violation.description.contains(SECRET));
            if let Some(shown) = shown {
                return Err(anyhow!("{shown}").context("a reason shows a secret"));
            }
            return Ok(());
        }
    };
    let Imported {
        providers,
        settings,
        rules,
        api_keys: _,
        lists: _,
        warnings: _,
    } = imported;
    ensure!(
        providers.len() <= PROVIDERS_MAX && rules.len() <= crate::domain::model::RULES_MAX,
        "too many"
    );
    for ImportedProvider { spec, .. } in &providers {
        let again = spec
            .to_draft()
            .check()
            .ok()
            .context("what was taken over is refused")?;
        ensure!(
            again == *spec,
            "what was taken over is changed when it is written again"
        );
        let same = providers.iter().filter(|other| other.spec.name == spec.name);
        ensure!(same.count() == 1, "a name twice");
    }
    for rule in rules {
        let rule = ModelRule {
            id: RuleId::imported(1),
            position: 1,
            pattern: rule.pattern,
            target: rule.target,
        };
        let (pattern, target) = rule
            .to_draft()
            .check()
            .ok()
            .context("a rule that is refused later")?;
        ensure!(
            (&pattern, &target) == (&rule.pattern, &rule.target),
            "a rule that changes"
        );
    }
    let base = settings::Draft::default()
        .check()
        .ok()
        .context("the first settings")?;
    if let Ok(changed) = settings.on(&base) {
        let again = changed
            .to_draft()
            .check()
            .ok()
            .context("settings that are refused later")?;
        ensure!(again == changed, "settings that change");
    }
    Ok(())
}

#[test]
fn fuzz_any_file_is_refused_with_reasons_or_taken_over() {
    for seed in [RICH, SECRETIVE] {
        assert!(
            provider_json(seed, &lookup).is_ok(),
            "a seed that gets nowhere: {seed}"
        );
    }
    let target = Target {
        name: "import",
        material: Material::Json,
        seeds: [EXAMPLE, RICH, SECRETIVE]
            .map(|seed| seed.as_bytes().to_vec())
            .into(),
        run: Box::new(run),
    };
    check(target, INPUTS).unwrap();
}
