//! Any message: refused by field, or something that can be stored, shown and sent to nodes, and
//! that is the same when it is written again as it was shown.

use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use bridge_campaign::{Material, Run, Target, check};
use bridge_proto::admin::v1 as admin;
use bridge_proto::fleet::v1::Dialect;
use prost::Message;

use crate::domain::provider::{Credentials, Provider, Spec};
use crate::domain::user::UserId;
use crate::domain::{FieldViolation, Times, Violations, api_key};
use crate::grpc::convert;
use crate::grpc::page::Ask;
use crate::snapshot::build;
use crate::store::Stored;

const INPUTS: u64 = 1000;
const SECRET: &str = "provider-secret-1";
const ORDERS: [&str; 2] = ["name", "created_at"];

fn reasons(violations: &[FieldViolation]) -> Result<()> {
    ensure!(!violations.is_empty(), "refused without a reason");
    let are_told = violations
        .iter()
        .all(|violation| !violation.description.is_empty());
    ensure!(are_told, "an empty reason");
    Ok(())
}

fn spec(wire: admin::Provider) -> Result<Spec, Vec<FieldViolation>> {
    let mut violations = Violations::default();
    let draft = violations.check("api_format", convert::provider_draft(wire));
    violations.finish(draft)?.check()
}

fn provider(input: &[u8]) -> Result<()> {
    let Ok(request) = admin::CreateProviderRequest::decode(input) else {
        return Ok(());
    };
    let secrets = convert::secrets_draft(request.secrets.unwrap_or_default()).check();
    if let Err(violations) = &secrets {
        reasons(violations)?;
        let shown = violations
            .iter()
            .any(|violation| violation.to_string().contains(SECRET));
        ensure!(!shown, "a reason shows a secret");
    }
    let spec = match spec(request.provider.unwrap_or_default()) {
        Ok(spec) => spec,
        Err(violations) => return reasons(&violations),
    };
    let stored = Stored {
        value: Provider {
            spec: spec.clone(),
            credentials: Credentials::default(),
            times: Times::new(SystemTime::UNIX_EPOCH),
        },
        revision: 1,
    };
    if let Ok(secrets) = secrets {
        let sent = build::provider(&stored, &secrets);
        ensure!(
            sent.is_some() == spec.enabled,
            "a disabled provider is sent, or an enabled one is not"
        );
    }
    let again = self::spec(convert::provider(stored))
        .ok()
        .context("what was stored is refused")?;
    let Spec {
        name,
        enabled,
        priority,
        endpoint,
        dialect_overrides,
        models,
        limits,
    } = spec;
    // A dialect that was guessed is shown by its name.
    ensure!(endpoint.dialect() == again.endpoint.dialect(), "another dialect");
    ensure!(endpoint.base_url == again.endpoint.base_url, "another address");
    ensure!(
        (name, enabled, priority, limits) == (again.name, again.enabled, again.priority, again.limits),
        "another provider"
    );
    ensure!(dialect_overrides == again.dialect_overrides, "other knobs");
    ensure!(models == again.models, "other models");
    Ok(())
}

fn key(input: &[u8]) -> Result<()> {
    let Ok(request) = admin::CreateApiKeyRequest::decode(input) else {
        return Ok(());
    };
    let mut violations = Violations::default();
    let expires_at = violations.check("expires_at", convert::time(request.expires_at));
    let loss_policy = violations.check("loss_policy", convert::loss_policy(request.loss_policy));
    let (Some(expires_at), Some(loss_policy)) = (expires_at, loss_policy) else {
        return Ok(());
    };
    let draft = api_key::Draft {
        limits: crate::domain::limits::Draft::default(),
        name: request.name,
        email: request.email,
        owner: UserId::from_bytes([1; 16]),
        enabled: true,
        expires_at,
        allowed_models: request.allowed_models,
        allowed_providers: request.allowed_providers,
        loss_policy,
    };
    match draft.check() {
        Ok(spec) => {
            let again = spec
                .to_draft()
                .check()
                .ok()
                .context("what was stored is refused")?;
            ensure!(again == spec, "another key");
            Ok(())
        }
        Err(violations) => reasons(&violations),
    }
}

/// Whatever is asked for: every item is on exactly one page, in order.
fn page(input: &[u8]) -> Result<()> {
    let Ok(request) = admin::ListApiKeysRequest::decode(input) else {
        return Ok(());
    };
    let items: Vec<u32> = (0..70).collect();
    let place = |item: &u32| (format!("{:02}", item / 3), item.to_string());
    let mut token = request.page_token;
    let mut seen = 0;
    loop {
        let Ok(ask) = Ask::parse(request.page_size, &token, &request.order_by, &ORDERS) else {
            ensure!(seen == 0, "our own token is refused");
            return Ok(());
        };
        let page = ask.cut(items.clone(), place);
        seen += page.items.len();
        ensure!(seen <= items.len(), "an item twice");
        ensure!(page.total_size == 70, "another total");
        if page.next_page_token.is_empty() {
            return Ok(());
        }
        ensure!(!page.items.is_empty(), "an empty page that is not the last");
        token = page.next_page_token;
    }
}

fn check_any(name: &'static str, seeds: Vec<Vec<u8>>, run: Run) {
    let target = Target {
        name,
        material: Material::Messages,
        seeds,
        run,
    };
    check(target, INPUTS).unwrap();
}

#[test]
fn fuzz_any_provider_is_refused_by_field_or_the_same_when_written_again() {
    let models = admin::TierModels {
        big: vec!["big-1".to_owned(), "vendor/big-2:free".to_owned()],
        middle: vec!["mid-1".to_owned()],
        small: Vec::new(),
    };
    let knobs = Dialect {
        auth: Some("api-key".to_owned()),
        url_template: Some("/deployments/{model}/chat".to_owned()),
        extra_body: Some(r#"{"a":[1]}"#.to_owned()),
        temperature_max: Some(1.5),
        hold_head_ms: Some(500),
        ..Dialect::default()
    };
    let options = admin::ModelOptions {
        model: "big-1".to_owned(),
        context_window: Some(8192),
        max_output_tokens: Some(1024),
        dialect_overrides: Some(Dialect {
            vision: Some(true),
            ..Dialect::default()
        }),
    };
    let plain = admin::Provider {
        name: "plain".to_owned(),
        enabled: true,
        base_url: "https://llm.example/v1".to_owned(),
        models: Some(models),
        ..Default::default()
    };
    let rich = admin::Provider {
        priority: -3,
        api_format: admin::ApiFormat::Openai.into(),
        timeout: 60,
        max_retries: Some(2),
        max_tokens_limit: Some(4096),
        dialect: "azure-openai".to_owned(),
        dialect_overrides: Some(knobs),
        model_options: vec![options],
        ..plain.clone()
    };
    let secrets = admin::ProviderSecrets {
        api_key: SECRET.to_owned(),
        custom_headers: [("x-team".to_owned(), "provider-secret-1".to_owned())].into(),
    };
    for seed in [&plain, &rich] {
        assert_eq!(spec(seed.clone()).err(), None, "a seed that gets nowhere");
    }
    let seeds = [plain, rich].map(|provider| {
        let request = admin::CreateProviderRequest {
            provider: Some(provider),
            secrets: Some(secrets.clone()),
            idempotency_key: "i".to_owned(),
        };
        request.encode_to_vec()
    });
    check_any("provider-message", seeds.into(), Box::new(provider));
}

#[test]
fn fuzz_any_key_is_refused_by_field_or_the_same_when_written_again() {
    let request = admin::CreateApiKeyRequest {
        name: "ci".to_owned(),
        email: "ci@example.com".to_owned(),
        expires_at: Some(prost_types::Timestamp {
            seconds: 2_000,
            nanos: 5,
        }),
        allowed_models: vec!["claude-*".to_owned(), "opus".to_owned()],
        allowed_providers: vec!["plain".to_owned()],
        loss_policy: admin::LossPolicy::Strict.into(),
        ..Default::default()
    };
    check_any("key-message", vec![request.encode_to_vec()], Box::new(key));
}

#[test]
fn fuzz_any_page_that_is_asked_for_holds_each_item_once() {
    let request = |page_size, order_by: &str| admin::ListApiKeysRequest {
        page_size,
        order_by: order_by.to_owned(),
        ..Default::default()
    };
    let first = Ask::parse(7, "", "name desc", &ORDERS).unwrap();
    let token = first.cut((0..70).collect(), |item: &u32| {
        (format!("{:02}", item / 3), item.to_string())
    });
    let seeds = [
        request(0, ""),
        request(9, "name"),
        admin::ListApiKeysRequest {
            page_token: token.next_page_token,
            ..request(7, "name desc")
        },
    ];
    check_any(
        "page",
        seeds.map(|seed| seed.encode_to_vec()).into(),
        Box::new(page),
    );
}
