use rand::{SeedableRng, rngs::StdRng};

use super::*;
use crate::snapshot::{
    KeyId, ModelRule,
    decode::tests::{key, provider, snapshot},
};

fn open_key() -> ApiKey {
    key("abcDEF012345")
}

fn with_providers(providers: Vec<Provider>) -> Snapshot {
    Snapshot {
        providers: providers.into_iter().map(Arc::new).collect(),
        ..snapshot()
    }
}

/// Two providers of one priority and one behind them.
fn three() -> Snapshot {
    with_providers(vec![
        provider("first", 1, &["big-1", "big-2"], &["mid-1"]),
        provider("second", 2, &["big-3"], &[]),
        provider("third", 2, &["big-1"], &[]),
    ])
}

fn route(snapshot: &Snapshot, key: &ApiKey, asked: &str, seed: u64) -> Result<Vec<String>, Error> {
    plan(snapshot, key, asked, &mut StdRng::seed_from_u64(seed)).map(|plan| {
        plan.candidates
            .iter()
            .map(|candidate| format!("{}/{}", candidate.provider.name, candidate.model))
            .collect()
    })
}

fn rule(pattern: &str, target: RuleTarget) -> ModelRule {
    ModelRule {
        id: format!("rule of {pattern}").into(),
        position: 0,
        pattern: pattern.into(),
        target,
    }
}

#[test]
fn a_tier_tries_all_models_of_a_provider_before_the_next() {
    let orders: Vec<_> = (0..32)
        .map(|seed| route(&three(), &open_key(), "claude-opus-4-8", seed).unwrap())
        .collect();
    for order in &orders {
        assert_eq!(order[..2], ["first/big-1", "first/big-2"]);
        assert_eq!(order.len(), 4);
    }
    assert!(
        orders.iter().any(|order| order[2] == "second/big-3"),
        "equal priorities take turns"
    );
    assert!(
        orders.iter().any(|order| order[2] == "third/big-1"),
        "equal priorities take turns"
    );
}

#[test]
fn random_starts_anywhere() {
    let mut snapshot = three();
    snapshot.settings.fallback = Fallback::Random;
    let firsts: std::collections::HashSet<_> = (0..64)
        .map(|seed| route(&snapshot, &open_key(), "opus", seed).unwrap()[0].clone())
        .collect();
    assert_eq!(firsts.len(), 3, "{firsts:?}");
}

#[test]
fn a_listed_name_goes_to_those_who_list_it() {
    let order = route(&three(), &open_key(), "BIG-1", 1).unwrap();
    assert_eq!(order, ["first/big-1", "third/big-1"]);
    assert_eq!(
        route(&three(), &open_key(), "anthropic-mid-1", 1).unwrap(),
        ["first/mid-1"]
    );
}

#[test]
fn an_exact_name_beats_its_undated_form() {
    let snapshot = with_providers(vec![provider("p", 1, &["m", "m-20250101"], &[])]);
    assert_eq!(
        route(&snapshot, &open_key(), "m-20250101", 1).unwrap(),
        ["p/m-20250101"]
    );
    assert_eq!(route(&snapshot, &open_key(), "m-20260101", 1).unwrap(), ["p/m"]);
}

#[test]
fn the_first_rule_that_matches_wins_over_lists_and_words() {
    let mut snapshot = three();
    snapshot.rules = vec![
        rule("claude-opus-*", RuleTarget::Tier(Tier::Middle)),
        rule(
            "gpt-*",
            RuleTarget::Upstream {
                provider: "second".into(),
                model: None,
            },
        ),
        rule(
            "big-1",
            RuleTarget::Upstream {
                provider: "third".into(),
                model: Some("other".into()),
            },
        ),
        rule("*", RuleTarget::Unknown),
    ];
    assert_eq!(
        route(&snapshot, &open_key(), "claude-opus-4-8", 1).unwrap(),
        ["first/mid-1"]
    );
    assert_eq!(
        route(&snapshot, &open_key(), "GPT-9[1m]", 1).unwrap(),
        ["second/GPT-9"]
    );
    assert_eq!(
        route(&snapshot, &open_key(), "big-1", 1).unwrap(),
        ["third/other"]
    );
    assert_eq!(
        route(&snapshot, &open_key(), "haiku", 1),
        Err(Error::Unmapped("haiku".into()))
    );
}

#[test]
fn an_unmapped_name_needs_a_default_tier() {
    let mut snapshot = three();
    assert_eq!(
        route(&snapshot, &open_key(), "gpt-9", 1),
        Err(Error::Unmapped("gpt-9".into()))
    );
    snapshot.settings.default_tier = Some(Tier::Middle);
    assert_eq!(
        route(&snapshot, &open_key(), "gpt-9", 1).unwrap(),
        ["first/mid-1"]
    );
}

#[test]
fn who_is_passed_over_is_named_with_the_reason() {
    let mut newer = provider("newer", 1, &["big-1"], &[]);
    newer.format = ApiFormat::Unknown;
    let snapshot = with_providers(vec![newer, provider("empty", 1, &[], &["mid-1"])]);
    let Err(error) = route(&snapshot, &open_key(), "opus", 1) else {
        panic!("nobody can serve it")
    };
    let Error::NoCandidate { model, mut skipped } = error else {
        panic!("{error}")
    };
    skipped.sort_by(|one, other| one.provider.cmp(&other.provider));
    let reasons: Vec<_> = skipped.iter().map(|skip| skip.reason).collect();
    assert_eq!(model, "opus");
    assert_eq!(reasons, [Reason::NoModelOfTier, Reason::UnknownFormat]);
}

#[test]
fn a_plan_may_hold_both_kinds_of_providers() {
    let mut native = provider("native", 1, &["big-1"], &[]);
    native.format = ApiFormat::Anthropic;
    let snapshot = with_providers(vec![native, provider("translated", 2, &["big-2"], &[])]);
    let plan = plan(&snapshot, &open_key(), "opus", &mut StdRng::seed_from_u64(1)).unwrap();
    let kinds: Vec<_> = plan.candidates.iter().map(Candidate::is_native).collect();
    assert_eq!(kinds, [true, false]);
}

#[test]
fn a_key_is_held_to_its_models_and_providers() {
    let key = ApiKey {
        allowed_models: vec!["claude-opus-*".into()],
        allowed_providers: vec!["third".into()],
        ..open_key()
    };
    assert_eq!(
        route(&three(), &key, "claude-opus-4-8", 1).unwrap(),
        ["third/big-1"]
    );
    assert_eq!(
        route(&three(), &key, "haiku", 1),
        Err(Error::NotAllowed("haiku".into()))
    );
    assert_eq!(key.id, KeyId::parse(b"abcDEF012345").unwrap());
}

#[test]
fn a_model_that_is_listed_twice_is_tried_once() {
    let snapshot = with_providers(vec![provider("p", 1, &["m", "n", "m"], &[])]);
    assert_eq!(route(&snapshot, &open_key(), "opus", 1).unwrap(), ["p/m", "p/n"]);
}

fn with_sizes(provider: Provider, model: &str, window: u32, output: u32) -> Provider {
    let mut provider = provider;
    let sizes = ModelTraits {
        dialect: provider.traits.dialects.of_model(model).clone(),
        context_window: Some(window),
        max_output_tokens: Some(output),
        shrinks: None,
    };
    provider.traits.by_model.insert(model.to_owned(), sizes);
    provider
}

#[test]
fn p64_the_smallest_window_of_a_route_is_told() {
    let mut snapshot = with_providers(vec![
        with_sizes(provider("one", 1, &["b"], &["m"]), "b", 200_000, 8000),
        with_sizes(provider("two", 2, &["c"], &[]), "c", 40_000, 32_000),
        provider("three", 3, &["d"], &[]),
    ]);
    snapshot.rules = vec![
        rule("my-alias", RuleTarget::Tier(Tier::Big)),
        rule("claude-*", RuleTarget::Tier(Tier::Big)),
        rule(
            "gone",
            RuleTarget::Upstream {
                provider: "nobody".into(),
                model: None,
            },
        ),
    ];
    let found = reachable(&snapshot, &open_key());
    let sizes = |name: &str| {
        let reach = found.iter().find(|reach| reach.name == name)?;
        Some((reach.limits.context_window, reach.limits.max_output_tokens))
    };
    assert_eq!(sizes("b"), Some((Some(200_000), Some(8000))));
    for name in ["opus", "my-alias", "anthropic-my-alias"] {
        assert_eq!(sizes(name), Some((Some(40_000), Some(8000))), "{name}");
    }
    assert_eq!(sizes("d"), Some((None, None)));
    for name in ["claude-*", "gone", "anthropic-gone"] {
        assert_eq!(sizes(name), None, "{name}");
    }
}

#[test]
fn a_rule_to_a_provider_that_is_not_there_says_so() {
    let mut snapshot = three();
    snapshot.rules = vec![rule(
        "gpt-*",
        RuleTarget::Upstream {
            provider: "off".into(),
            model: None,
        },
    )];
    snapshot.settings.default_tier = Some(Tier::Big);
    let error = route(&snapshot, &open_key(), "gpt-9", 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "model: gpt-9: no provider can serve it; off: a rule names it, but it does not exist or is disabled"
    );
}

#[test]
fn p63_every_spelling_of_a_name_finds_its_model() {
    let snapshot = with_providers(vec![
        provider("p", 1, &["Qwen/Qwen3-Max"], &["m-20250101"]),
        provider("q", 2, &["claude-opus-4-8"], &[]),
    ]);
    for (asked, target) in [
        ("qwen/qwen3-max", "p/Qwen/Qwen3-Max"),
        ("anthropic-Qwen/Qwen3-Max[1m]", "p/Qwen/Qwen3-Max"),
        ("claude-qwen/qwen3-max", "p/Qwen/Qwen3-Max"),
        ("M", "p/m-20250101"),
        ("anthropic-m-20250101", "p/m-20250101"),
        ("vendor/m", "p/m-20250101"),
        ("CLAUDE-OPUS-4-8[1M]", "q/claude-opus-4-8"),
        ("claude-opus-4-8-20260101", "q/claude-opus-4-8"),
        ("anthropic/claude-opus-4-8", "q/claude-opus-4-8"),
        ("us.anthropic.claude-opus-4-8-20260101", "q/claude-opus-4-8"),
        ("claude-opus-4-8@20260101", "q/claude-opus-4-8"),
    ] {
        assert_eq!(
            route(&snapshot, &open_key(), asked, 1).as_deref(),
            Ok(&[target.to_owned()][..]),
            "{asked}"
        );
    }
    for (asked, first) in [
        ("us.anthropic.claude-opus-9-20300101-v1:0", "p/Qwen/Qwen3-Max"),
        ("claude-fable-5-2", "p/Qwen/Qwen3-Max"),
        ("Sonnet", "p/m-20250101"),
    ] {
        let found = route(&snapshot, &open_key(), asked, 1).unwrap();
        assert_eq!(found.first().map(String::as_str), Some(first), "{asked}");
    }
}

#[test]
fn what_decides_is_told() {
    let mut snapshot = three();
    snapshot.rules = vec![
        rule("claude-opus-*", RuleTarget::Tier(Tier::Middle)),
        rule(
            "gpt-*",
            RuleTarget::Upstream {
                provider: "first".into(),
                model: None,
            },
        ),
    ];
    for (asked, rule, tier) in [
        (
            "claude-opus-4-8",
            Some("rule of claude-opus-*"),
            Some(Tier::Middle),
        ),
        ("gpt-5", Some("rule of gpt-*"), None),
        ("opus", None, Some(Tier::Big)),
        ("big-1", None, None),
        ("nothing", None, None),
    ] {
        assert_eq!(lead(&snapshot, asked), Lead { rule, tier }, "{asked}");
    }
}
