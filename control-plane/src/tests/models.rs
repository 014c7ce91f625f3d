//! Rules, and the names that come of them, asked from outside.

use bridge_proto::admin::v1::model_service_client::ModelServiceClient;
use bridge_proto::admin::v1::provider_service_client::ProviderServiceClient;
use bridge_proto::admin::v1::{self as admin, Role, model_rule::Target};
use tonic::Code;
use tonic_types::StatusExt;

use super::requests::{code, mask, provider};
use super::{Bridge, SignedIn};

fn upstream(provider: &str, model: &str) -> Option<Target> {
    Some(Target::Upstream(admin::UpstreamModel {
        provider: provider.to_owned(),
        model: model.to_owned(),
    }))
}

fn rule(pattern: &str, position: u32, target: Option<Target>) -> admin::ModelRule {
    admin::ModelRule {
        r#match: pattern.to_owned(),
        position,
        target,
        ..Default::default()
    }
}

/// The services of a bridge with the provider `qwen`.
struct Stage {
    _bridge: Bridge,
    rules: ModelServiceClient<SignedIn>,
    providers: ProviderServiceClient<SignedIn>,
}

impl Stage {
    async fn start() -> Self {
        let bridge = Bridge::start().await;
        let admin = bridge.admin().await;
        let mut providers = ProviderServiceClient::new(admin.clone());
        let request = admin::CreateProviderRequest {
            provider: Some(admin::Provider {
                model_options: vec![admin::ModelOptions {
                    model: "m".to_owned(),
                    context_window: Some(32_768),
                    max_output_tokens: Some(8_192),
                    dialect_overrides: None,
                }],
                ..provider("qwen")
            }),
            ..Default::default()
        };
        providers.create_provider(request).await.unwrap();
        Self {
            _bridge: bridge,
            rules: ModelServiceClient::new(admin),
            providers,
        }
    }

    async fn create(&mut self, rule: admin::ModelRule) -> Result<admin::ModelRule, tonic::Status> {
        let request = admin::CreateModelRuleRequest {
            rule: Some(rule),
            idempotency_key: String::new(),
        };
        let answer = self.rules.create_model_rule(request).await?;
        Ok(answer.into_inner().rule.unwrap())
    }

    async fn update(
        &mut self,
        rule: admin::ModelRule,
        paths: &[&str],
        revision: u64,
    ) -> Result<admin::ModelRule, tonic::Status> {
        let request = admin::UpdateModelRuleRequest {
            rule: Some(rule),
            update_mask: mask(paths),
            revision,
        };
        let answer = self.rules.update_model_rule(request).await?;
        Ok(answer.into_inner().rule.unwrap())
    }

    /// Patterns in their order; their positions have to be 1, 2, 3 …
    async fn listed(&mut self) -> Vec<String> {
        let request = admin::ListModelRulesRequest::default();
        let rules = self
            .rules
            .list_model_rules(request)
            .await
            .unwrap()
            .into_inner()
            .rules;
        for (place, rule) in (1..).zip(&rules) {
            assert_eq!(rule.position, place, "{rule:?}");
        }
        rules.into_iter().map(|rule| rule.r#match).collect()
    }
}

#[tokio::test]
async fn rules_are_made_moved_changed_and_deleted() {
    let mut stage = Stage::start().await;
    let big = || Some(Target::Tier(admin::Tier::Big.into()));
    stage.create(rule("a", 0, big())).await.unwrap();
    let last = stage.create(rule("b-*", 0, upstream("qwen", "*"))).await.unwrap();
    let first = stage.create(rule("c", 1, big())).await.unwrap();
    assert_eq!((last.position, first.position), (2, 1));
    assert_eq!(stage.listed().await, ["c", "a", "b-*"]);

    let moved = rule("", 2, None);
    let moved = admin::ModelRule {
        id: first.id.clone(),
        ..moved
    };
    let moved = stage.update(moved, &["position"], first.revision).await.unwrap();
    assert_eq!((moved.position, moved.r#match.as_str()), (2, "c"));
    assert_eq!(stage.listed().await, ["a", "c", "b-*"]);
    let stale = stage.update(moved.clone(), &["position"], first.revision).await;
    assert_eq!(code(stale), Code::Aborted);

    let changed = admin::ModelRule {
        id: moved.id.clone(),
        ..rule("d", 0, upstream("qwen", "m"))
    };
    let changed = stage.update(changed, &["match", "upstream"], 0).await.unwrap();
    assert_eq!((changed.position, &changed.target), (2, &upstream("qwen", "m")));
    let get = admin::GetModelRuleRequest {
        id: changed.id.clone(),
    };
    let read = stage.rules.get_model_rule(get).await.unwrap().into_inner().rule;
    assert_eq!(
        read.as_ref(),
        Some(&changed),
        "what a change answers is what is read"
    );

    let delete = admin::DeleteModelRuleRequest {
        id: changed.id.clone(),
        revision: 0,
    };
    stage.rules.delete_model_rule(delete.clone()).await.unwrap();
    assert_eq!(code(stage.rules.delete_model_rule(delete).await), Code::NotFound);
    assert_eq!(stage.listed().await, ["a", "b-*"]);
    let of_provider = admin::ListModelRulesRequest {
        provider: "qwen".to_owned(),
        page_size: 1,
        ..Default::default()
    };
    let page = stage
        .rules
        .list_model_rules(of_provider)
        .await
        .unwrap()
        .into_inner();
    assert_eq!((page.total_size, page.rules[0].position), (1, 2));
}

#[tokio::test]
async fn a_rule_that_makes_no_sense_is_told_by_field() {
    let mut stage = Stage::start().await;
    for (bad, field) in [
        (rule("", 0, upstream("qwen", "m")), "rule.match"),
        (rule("a", 0, None), "rule.tier"),
        (rule("a", 0, Some(Target::Tier(0))), "rule.tier"),
        (rule("a", 0, Some(Target::Tier(9))), "rule.tier"),
        (rule("a", 0, upstream("Q W", "m")), "rule.upstream.provider"),
        (rule("a", 0, upstream("gone", "m")), "rule.upstream.provider"),
        (rule("a", 0, upstream("qwen", "")), "rule.upstream.model"),
    ] {
        let status = stage.create(bad).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{field}");
        let details = status.get_error_details();
        let violations = &details.bad_request().unwrap().field_violations;
        assert_eq!((violations.len(), violations[0].field.as_str()), (1, field));
    }
    let good = stage.create(rule("a", 0, upstream("qwen", "m"))).await.unwrap();
    let nowhere = admin::ModelRule {
        position: 0,
        ..good.clone()
    };
    for (rule, path) in [(nowhere, "position"), (good.clone(), "tier"), (good, "id")] {
        assert_eq!(
            code(stage.update(rule, &[path], 0).await),
            Code::InvalidArgument,
            "{path}"
        );
    }
    assert_eq!(stage.listed().await, ["a"]);
}

#[tokio::test]
async fn a_repeated_create_makes_one_rule() {
    let mut stage = Stage::start().await;
    let request = admin::CreateModelRuleRequest {
        rule: Some(rule("a", 0, upstream("qwen", "m"))),
        idempotency_key: "once".to_owned(),
    };
    let first = stage
        .rules
        .create_model_rule(request.clone())
        .await
        .unwrap()
        .into_inner();
    let again = stage
        .rules
        .create_model_rule(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(first, again);
    let other = admin::CreateModelRuleRequest {
        rule: Some(rule("b", 0, upstream("qwen", "m"))),
        ..request
    };
    assert_eq!(
        code(stage.rules.create_model_rule(other).await),
        Code::AlreadyExists
    );
    assert_eq!(stage.listed().await, ["a"]);
}

#[tokio::test]
async fn a_provider_goes_only_with_the_rules_that_lead_to_it() {
    let mut stage = Stage::start().await;
    stage
        .create(rule("gpt-*", 0, upstream("qwen", "m")))
        .await
        .unwrap();
    stage
        .create(rule("x", 0, Some(Target::Tier(admin::Tier::Small.into()))))
        .await
        .unwrap();
    let delete = admin::DeleteProviderRequest {
        name: "qwen".to_owned(),
        ..Default::default()
    };
    let refused = stage.providers.delete_provider(delete.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("gpt-*"), "{}", refused.message());
    assert_eq!(stage.listed().await, ["gpt-*", "x"]);
    let delete = admin::DeleteProviderRequest {
        force: true,
        ..delete
    };
    stage.providers.delete_provider(delete).await.unwrap();
    assert_eq!(stage.listed().await, ["x"]);
}

#[tokio::test]
async fn names_say_where_they_lead() {
    let mut stage = Stage::start().await;
    let made = stage
        .create(rule("my-alias", 0, upstream("qwen", "m")))
        .await
        .unwrap();
    let request = admin::ListModelsRequest::default();
    let models = stage
        .rules
        .list_models(request)
        .await
        .unwrap()
        .into_inner()
        .models;
    let names: Vec<_> = models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(
        names,
        ["fable", "haiku", "m", "my-alias", "mythos", "opus", "sonnet"]
    );
    let of = |name: &str| models.iter().find(|model| model.name == name).unwrap();
    let alias = of("my-alias");
    assert_eq!(alias.source, Some(admin::model::Source::RuleId(made.id)));
    let destination = admin::Destination {
        provider: "qwen".to_owned(),
        model: "m".to_owned(),
    };
    assert_eq!(alias.destinations, [destination]);
    assert_eq!(
        (alias.context_window, alias.max_output_tokens),
        (Some(32_768), Some(8_192))
    );
    assert_eq!(of("m").source, Some(admin::model::Source::IsListed(true)));
    assert_eq!(
        of("haiku").source,
        Some(admin::model::Source::Tier(admin::Tier::Small.into()))
    );
    assert!(of("haiku").destinations.is_empty() && of("opus").context_window == Some(32_768));
    let page = admin::ListModelsRequest {
        page_size: 1,
        query: "MY".to_owned(),
        ..Default::default()
    };
    let page = stage.rules.list_models(page).await.unwrap().into_inner();
    assert_eq!((page.total_size, page.models[0].name.as_str()), (2, "my-alias"));
}

#[tokio::test]
async fn an_auditor_reads_rules_and_changes_none() {
    let bridge = Bridge::start().await;
    bridge.add_user("auditor@example.com", Role::Auditor, false).await;
    let mut rules = ModelServiceClient::new(bridge.signed_in("auditor@example.com").await);
    rules
        .list_model_rules(admin::ListModelRulesRequest::default())
        .await
        .unwrap();
    rules
        .list_models(admin::ListModelsRequest::default())
        .await
        .unwrap();
    let create = admin::CreateModelRuleRequest::default();
    assert_eq!(
        code(rules.create_model_rule(create).await),
        Code::PermissionDenied
    );
}
