use super::*;
use crate::domain::provider_models::TIER_MODELS_MAX;

fn draft() -> Draft {
    Draft {
        dialect_overrides: [("vision".to_owned(), KnobValue::Flag(false))].into(),
        model_options: vec![ModelOptionsDraft {
            model: "m".into(),
            context_window: Some(32_768),
            max_output_tokens: None,
            dialect_overrides: [("vision".to_owned(), KnobValue::Flag(true))].into(),
        }],
        timeout_s: 60,
        max_retries: Some(1),
        ..Draft::plain("qwen", "https://dashscope.aliyuncs.com/compatible-mode/v1")
    }
}

#[test]
fn a_checked_draft_reads_back_as_it_was() {
    let spec = draft().check().unwrap();
    assert_eq!(spec.endpoint.dialect(), Dialect::Qwen);
    assert!(spec.endpoint.is_dialect_guessed());
    assert_eq!(spec.to_draft().check(), Ok(spec));
}

#[test]
fn a_native_provider_speaks_its_own_dialect_wherever_it_lives() {
    let native = Draft {
        api_format: ApiFormat::Anthropic,
        ..draft()
    };
    let endpoint = native.check().unwrap().endpoint;
    assert_eq!(endpoint.dialect(), Dialect::Anthropic);
    assert!(endpoint.is_dialect_guessed());
    let translated = Draft {
        dialect: "anthropic".into(),
        ..draft()
    };
    assert_eq!(translated.check().unwrap_err()[0].field, "dialect");
}

#[test]
fn a_draft_reports_all_its_violations() {
    let bad = Draft {
        name: "Q W".into(),
        priority: i32::MIN,
        base_url: "nowhere".into(),
        dialect: "cobol".into(),
        dialect_overrides: [("pdf".to_owned(), KnobValue::Flag(true))].into(),
        models: ModelsDraft {
            big: vec!["a b".into()],
            small: vec!["m".into(); TIER_MODELS_MAX + 1],
            ..ModelsDraft::default()
        },
        model_options: vec![ModelOptionsDraft::default()],
        timeout_s: TIMEOUT_S_MAX + 1,
        max_retries: Some(RETRIES_MAX + 1),
        max_tokens_limit: Some(0),
        ..draft()
    };
    let fields: Vec<_> = bad
        .check()
        .unwrap_err()
        .into_iter()
        .map(|violation| violation.field)
        .collect();
    let expected = [
        "name",
        "priority",
        "base_url",
        "dialect",
        "dialect_overrides.pdf",
        "models.small",
        "models.big[0]",
        "model_options[0].model",
        "timeout",
        "max_retries",
        "max_tokens_limit",
    ];
    assert_eq!(fields, expected);
    let without_models = Draft {
        models: ModelsDraft::default(),
        ..draft()
    };
    assert_eq!(without_models.check().unwrap_err()[0].field, "models");
}

#[test]
fn only_a_native_provider_knows_the_callers_credential() {
    let forwarding = Draft {
        dialect_overrides: [("auth".to_owned(), KnobValue::Text(CLIENT_AUTH.into()))].into(),
        ..draft()
    };
    let said = forwarding.check().unwrap_err();
    assert_eq!(said[0].field, "dialect_overrides.auth");
    let native = Draft {
        api_format: ApiFormat::Anthropic,
        ..forwarding
    };
    assert!(native.check().is_ok());
}

#[test]
fn what_does_not_fit_into_a_record_is_refused() {
    let passed_on = |list: usize| {
        let texts = (0..28).map(|text| format!("{list}-{text}{}", "x".repeat(250)));
        KnobValue::List(texts.collect())
    };
    let heavy = Draft {
        dialect_overrides: [("strip_betas".to_owned(), passed_on(0))].into(),
        ..draft()
    };
    let said = heavy.check().unwrap_err();
    assert_eq!((said.len(), said[0].field.as_str()), (1, "model_options"));
}

#[test]
fn a_moved_provider_needs_its_secrets_again() {
    let now = SystemTime::UNIX_EPOCH;
    let sealed = SealedSecrets {
        master_key_id: "k".into(),
        wrapped_key: vec![],
        fields: vec![],
    };
    let credentials = Credentials {
        sealed: Some(sealed),
        ..Credentials::default()
    };
    let provider = Provider {
        spec: draft().check().unwrap(),
        credentials,
        times: Times::new(now),
    };
    let same_origin = Draft {
        base_url: "https://dashscope.aliyuncs.com/other".into(),
        ..draft()
    }
    .check()
    .unwrap();
    assert!(provider.clone().with_spec(same_origin, None, now).is_ok());
    let moved = Draft {
        base_url: "https://evil.example/v1".into(),
        ..draft()
    }
    .check()
    .unwrap();
    assert!(provider.clone().with_spec(moved.clone(), None, now).is_err());
    assert!(
        provider
            .with_spec(moved, Some(Credentials::default()), now)
            .is_ok()
    );
}
