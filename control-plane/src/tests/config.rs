//! History, differences and rollback, asked from outside.

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::api_key_service_client::ApiKeyServiceClient;
use bridge_proto::admin::v1::config_service_client::ConfigServiceClient;
use bridge_proto::admin::v1::model_service_client::ModelServiceClient;
use bridge_proto::admin::v1::provider_service_client::ProviderServiceClient;
use bridge_proto::admin::v1::settings_service_client::SettingsServiceClient;
use tonic::Code;

use super::requests::{code, create_key, mask, new_key, provider, secrets};
use super::{Bridge, EMAIL, SignedIn};

mod file;

const SECRET: &str = "sk-canary-of-the-provider";

/// An installation with the provider `qwen`, a rule to it and a key.
struct Stage {
    bridge: Bridge,
    admin: SignedIn,
    config: ConfigServiceClient<SignedIn>,
    key: admin::ApiKey,
    /// The newest revision when all of it was there.
    complete: u64,
}

impl Stage {
    async fn start() -> Self {
        let bridge = Bridge::start().await;
        let admin = bridge.admin().await;
        let mut stage = Self {
            config: ConfigServiceClient::new(admin.clone()),
            bridge,
            key: admin::ApiKey::default(),
            complete: 0,
            admin,
        };
        let request = admin::CreateProviderRequest {
            provider: Some(provider("qwen")),
            secrets: secrets(SECRET),
            ..Default::default()
        };
        stage.providers().create_provider(request).await.unwrap();
        let rule = admin::ModelRule {
            r#match: "gpt-*".to_owned(),
            target: Some(admin::model_rule::Target::Upstream(admin::UpstreamModel {
                provider: "qwen".to_owned(),
                model: "*".to_owned(),
            })),
            ..Default::default()
        };
        let request = admin::CreateModelRuleRequest {
            rule: Some(rule),
            ..Default::default()
        };
        let mut rules = ModelServiceClient::new(stage.admin.clone());
        rules.create_model_rule(request).await.unwrap();
        stage.key = create_key(&stage.admin, new_key("ci")).await.unwrap();
        stage.complete = stage.revisions("").await[0].revision;
        stage
    }

    fn providers(&self) -> ProviderServiceClient<SignedIn> {
        ProviderServiceClient::new(self.admin.clone())
    }

    async fn revisions(&mut self, target: &str) -> Vec<admin::Revision> {
        let request = admin::ListRevisionsRequest {
            target: target.to_owned(),
            ..Default::default()
        };
        let page = self.config.list_revisions(request).await.unwrap();
        page.into_inner().revisions
    }

    /// Changes since a revision as lines: what, which thing, which fields.
    async fn since(&mut self, from_revision: u64) -> Vec<String> {
        let request = admin::DiffRequest {
            from_revision,
            to_revision: 0,
        };
        lines(&self.config.diff(request).await.unwrap().into_inner().changes)
    }

    async fn set_priority(&self, priority: i32) {
        let request = admin::UpdateProviderRequest {
            provider: Some(admin::Provider {
                priority,
                ..provider("qwen")
            }),
            update_mask: mask(&["priority"]),
            ..Default::default()
        };
        self.providers().update_provider(request).await.unwrap();
    }

    async fn delete_provider(&self) {
        let request = admin::DeleteProviderRequest {
            name: "qwen".to_owned(),
            force: true,
            revision: 0,
        };
        self.providers().delete_provider(request).await.unwrap();
    }
}

fn lines(changes: &[admin::ConfigChange]) -> Vec<String> {
    let line = |change: &admin::ConfigChange| {
        let action = change.action().as_str_name().replace("CHANGE_ACTION_", "");
        let target = change.target.split_once('/').map_or("", |(kind, _)| kind);
        let target = if target.is_empty() { &change.target } else { target };
        let fields: Vec<_> = change
            .fields
            .iter()
            .map(|field| format!("{}:{}>{}", field.path, field.before, field.after))
            .collect();
        match action.as_str() {
            "UPDATE" => format!("{action} {target} {}", fields.join(" ")),
            _ => format!("{action} {target}"),
        }
    };
    changes.iter().map(line).collect()
}

fn back_to(to_revision: u64) -> admin::RollbackRequest {
    admin::RollbackRequest {
        to_revision,
        ..Default::default()
    }
}

#[tokio::test]
async fn revisions_and_what_lies_between_them_are_told() {
    let mut stage = Stage::start().await;
    stage.set_priority(7).await;
    let revisions = stage.revisions("").await;
    let newest = &revisions[0];
    assert_eq!(newest.revision, stage.complete + 1);
    assert_eq!(
        (newest.actor.as_str(), newest.method.as_str(), &newest.targets[..]),
        (
            EMAIL,
            "ProviderService.UpdateProvider",
            &["provider/qwen".to_owned()][..]
        )
    );
    assert!(newest.is_kept);
    assert_eq!(newest.acknowledged_nodes, 0);
    assert_eq!(stage.revisions("provider/qwen").await.len(), 2);
    assert_eq!(stage.revisions("model_rule/").await.len(), 1);

    assert_eq!(
        stage.since(stage.complete).await,
        ["UPDATE provider priority:0>7"]
    );
    let all = stage.since(1).await;
    assert_eq!(all, ["CREATE provider", "CREATE api_key", "CREATE model_rule"]);
    for (from_revision, to_revision) in [(99, 0), (1, 99)] {
        let request = admin::DiffRequest {
            from_revision,
            to_revision,
        };
        assert_eq!(code(stage.config.diff(request).await), Code::InvalidArgument);
    }
    let other = admin::ListRevisionsRequest {
        page_token: "bm90IG9uZQ".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        code(stage.config.list_revisions(other).await),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn what_was_there_comes_back_and_what_was_taken_away_does_not() {
    let mut stage = Stage::start().await;
    let complete = stage.complete;
    stage.delete_provider().await;
    let revoke = admin::RevokeApiKeyRequest {
        id: stage.key.id.clone(),
        ..Default::default()
    };
    let mut keys = ApiKeyServiceClient::new(stage.admin.clone());
    keys.revoke_api_key(revoke).await.unwrap();
    create_key(&stage.admin, new_key("later")).await.unwrap();
    let before = stage.revisions("").await[0].revision;

    let dry = admin::RollbackRequest {
        dry_run: true,
        ..back_to(complete)
    };
    let planned = stage.config.rollback(dry).await.unwrap().into_inner();
    assert_eq!(planned.revision, before);
    assert_eq!(lines(&planned.changes), ["CREATE provider", "CREATE model_rule"]);
    assert_eq!(
        stage.revisions("").await[0].revision,
        before,
        "a dry run changes nothing"
    );

    let done = stage
        .config
        .rollback(back_to(complete))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((done.revision, &done.changes), (before + 1, &planned.changes));
    assert_eq!(done.notes.len(), 3, "{:?}", done.notes);
    let request = admin::GetProviderRequest {
        name: "qwen".to_owned(),
    };
    let qwen = stage.providers().get_provider(request).await.unwrap();
    let qwen = qwen.into_inner().provider.unwrap();
    assert!(!qwen.enabled && !qwen.has_api_key, "{qwen:?}");
    let left = stage.since(complete).await;
    let expected = [
        "UPDATE provider api_key:\"***\"> enabled:true>false",
        "UPDATE api_key enabled:true>false",
        "CREATE api_key",
    ];
    let mut left: Vec<&str> = left.iter().map(String::as_str).collect();
    left.sort_unstable();
    let mut expected = expected;
    expected.sort_unstable();
    assert_eq!(left, expected);
    let told = format!("{done:?}");
    assert!(!told.contains("canary"), "{told}");

    let again = stage
        .config
        .rollback(back_to(complete))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((again.revision, again.changes.len()), (before + 1, 0));
}

#[tokio::test]
async fn single_things_come_back_and_mistakes_are_told() {
    let mut stage = Stage::start().await;
    let complete = stage.complete;
    stage.delete_provider().await;
    let rule = stage.revisions("model_rule/").await[0].targets.clone();
    let rule = rule
        .into_iter()
        .find(|target| target.starts_with("model_rule/"))
        .unwrap();
    let only = |targets: &[&str]| admin::RollbackRequest {
        targets: targets.iter().map(|target| (*target).to_owned()).collect(),
        ..back_to(complete)
    };
    let alone = stage.config.rollback(only(&[&rule])).await.unwrap().into_inner();
    assert_eq!((alone.changes.len(), alone.notes.len()), (0, 1), "{alone:?}");
    let both = only(&[&rule, "provider/qwen"]);
    let both = stage.config.rollback(both).await.unwrap().into_inner();
    assert_eq!(both.changes.len(), 2);

    let unknown = stage.config.rollback(only(&["provider/gone"])).await;
    assert_eq!(code(unknown), Code::InvalidArgument);
    let stale = admin::RollbackRequest {
        revision: complete,
        ..back_to(complete)
    };
    assert_eq!(code(stage.config.rollback(stale).await), Code::Aborted);
    for revision in [0, 99] {
        assert_eq!(
            code(stage.config.rollback(back_to(revision)).await),
            Code::InvalidArgument
        );
    }
}

#[tokio::test]
async fn an_operator_turns_no_setting_of_security_back() {
    let mut stage = Stage::start().await;
    let complete = stage.complete;
    let update = admin::UpdateSettingsRequest {
        settings: Some(admin::Settings::default()),
        update_mask: mask(&["allow_query_api_key"]),
        ..Default::default()
    };
    let mut settings = SettingsServiceClient::new(stage.admin.clone());
    settings.update_settings(update).await.unwrap();
    let operator = "operator@example.com";
    stage
        .bridge
        .add_user(operator, admin::Role::Operator, false)
        .await;
    let mut config = ConfigServiceClient::new(stage.bridge.signed_in(operator).await);
    assert_eq!(
        code(config.rollback(back_to(complete)).await),
        Code::PermissionDenied
    );
    let done = stage
        .config
        .rollback(back_to(complete))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        lines(&done.changes),
        ["UPDATE settings allow_query_api_key:false>true"]
    );
}
