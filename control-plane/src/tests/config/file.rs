//! The whole configuration as one file, asked from outside.

use bridge_proto::admin::v1 as admin;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{SECRET, Stage, lines};
use crate::tests::requests::{code, create_key, new_key};

impl Stage {
    async fn exported(&mut self) -> serde_json::Value {
        let file = self.config.export(admin::ExportRequest {}).await.unwrap();
        let file = file.into_inner().file;
        assert!(!file.contains("canary"), "{file}");
        serde_json::from_str(&file).unwrap()
    }

    async fn plan(&mut self, file: &serde_json::Value, prune: bool) -> Result<admin::PlanResponse, Status> {
        let file = file.to_string();
        let answer = self.config.plan(admin::PlanRequest { file, prune }).await?;
        Ok(answer.into_inner())
    }

    async fn apply(&mut self, request: admin::ApplyRequest) -> Result<admin::ApplyResponse, Status> {
        self.config.apply(request).await.map(|answer| answer.into_inner())
    }

    async fn apply_file(&mut self, file: &serde_json::Value) -> admin::ApplyResponse {
        self.apply(request(file)).await.unwrap()
    }
}

fn request(file: &serde_json::Value) -> admin::ApplyRequest {
    admin::ApplyRequest {
        file: file.to_string(),
        ..Default::default()
    }
}

#[tokio::test]
async fn what_was_exported_changes_nothing() {
    let mut stage = Stage::start().await;
    let file = stage.exported().await;
    for prune in [false, true] {
        let plan = stage.plan(&file, prune).await.unwrap();
        assert_eq!((plan.changes.len(), plan.warnings.len()), (0, 0), "{plan:?}");
        assert_eq!(plan.revision, stage.complete);
    }
    let done = stage.apply_file(&file).await;
    assert_eq!((done.revision, done.changes.len()), (stage.complete, 0));
}

#[tokio::test]
async fn a_file_changes_what_it_names_and_prunes_if_it_is_told_to() {
    let mut stage = Stage::start().await;
    create_key(&stage.admin, new_key("other")).await.unwrap();
    let mut file = stage.exported().await;
    file["providers"][0]["priority"] = 7.into();
    file["providers"][0]["api_key"] = "sk-new-canary".into();
    file["max_attempts"] = 2.into();
    file["model_rules"] = serde_json::from_str(
        r#"[{"match": "claude-*", "tier": "big"}, {"match": "gpt-*", "provider": "qwen", "model": "m"}]"#,
    )
    .unwrap();
    let id = stage.key.id.clone();
    let keys = file["api_keys"].as_array_mut().unwrap();
    keys.retain(|key| key["id"] == *id);
    keys[0]["name"] = "renamed".into();
    let plan = stage.plan(&file, true).await.unwrap();
    let mut planned = lines(&plan.changes);
    planned.sort();
    let expected = [
        "CREATE model_rule",
        "DELETE api_key",
        "UPDATE api_key name:\"ci\">\"renamed\"",
        "UPDATE model_rule model:\"*\">\"m\"",
        "UPDATE provider priority:0>7 api_key:\"***\">\"***\"",
        "UPDATE settings max_attempts:4>2",
    ];
    assert_eq!(planned, expected);
    assert!(!format!("{plan:?}").contains("canary"), "{plan:?}");
    let based = admin::ApplyRequest {
        prune: true,
        revision: plan.revision,
        ..request(&file)
    };
    let done = stage.apply(based.clone()).await.unwrap();
    assert_eq!(done.revision, plan.revision + 1);
    // But for the id of the new rule.
    assert_eq!(lines(&done.changes), lines(&plan.changes));
    assert_eq!(code(stage.apply(based).await), Code::Aborted);

    let after = stage.exported().await;
    let patterns: Vec<_> = after["model_rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| &rule["match"])
        .collect();
    assert_eq!(patterns, ["claude-*", "gpt-*"]);
    assert_eq!(after["api_keys"].as_array().unwrap().len(), 1);
    // Without pruning, what is not named stays.
    file["providers"] = serde_json::Value::Array(vec![]);
    file["api_keys"] = serde_json::Value::Array(vec![]);
    assert_eq!(stage.plan(&file, false).await.unwrap().changes.len(), 0);
    let refused = stage.plan(&file, true).await.unwrap_err();
    let details = refused.get_error_details();
    let violation = &details.bad_request().unwrap().field_violations[0];
    assert_eq!(violation.field, "file.model_rules[1].provider", "{refused:?}");
}

#[tokio::test]
async fn secrets_of_a_file_are_kept_set_and_taken_away() {
    let mut stage = Stage::start().await;
    let file = stage.exported().await;
    let mut moved = file.clone();
    moved["providers"][0]["base_url"] = "https://elsewhere.example/v1".into();
    let refused = stage.plan(&moved, false).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(
        refused.message().contains("file.providers[0].base_url"),
        "{}",
        refused.message()
    );
    moved["providers"][0]["api_key"] = SECRET.into();
    moved["providers"][0]["custom_headers"] = serde_json::from_str(r#"{"x-team": "canary-header"}"#).unwrap();
    let done = stage.apply_file(&moved).await;
    assert_eq!(done.changes.len(), 1);
    let now = stage.exported().await;
    assert_eq!(now["providers"][0]["custom_headers"]["x-team"], "***");
    // Each is kept beside a change of the other.
    let mut other = now.clone();
    other["providers"][0]["custom_headers"] =
        serde_json::from_str(r#"{"x-team": "***", "x-b": "canary"}"#).unwrap();
    stage.apply_file(&other).await;
    let mut without = stage.exported().await;
    assert_eq!(
        without["providers"][0]["custom_headers"]
            .as_object()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(without["providers"][0]["api_key"], "***");
    without["providers"][0]["api_key"] = "".into();
    without["providers"][0]["custom_headers"] = serde_json::Value::Object(serde_json::Map::new());
    stage.apply_file(&without).await;
    let bare = stage.exported().await;
    assert!(bare["providers"][0].get("api_key").is_none(), "{bare}");
    assert!(bare["providers"][0].get("custom_headers").is_none(), "{bare}");
    // What nobody has cannot be kept.
    let done = stage.apply_file(&file).await;
    let lacking = stage.exported().await;
    assert!(done.warnings[0].contains("qwen"), "{:?}", done.warnings);
    assert_eq!(lacking["providers"][0]["enabled"], false);
}

#[tokio::test]
async fn a_file_with_mistakes_is_refused_with_all_of_them() {
    let mut stage = Stage::start().await;
    let key = stage.key.id.clone();
    let text = format!(
        r#"{{"providers": [{{"name": "a", "base_url": "nowhere", "api_key": "${{HOME}}", "models": {{"big": ["m"]}}}}],
            "api_keys": [{{"id": "{key}", "name": "ci", "expires_at": "soon"}}, {{"id": "?"}}],
            "circuit_breaker": {{"failure_threshold": "many"}}}}"#
    );
    let file = serde_json::from_str(&text).unwrap();
    let refused = stage.plan(&file, false).await.unwrap_err();
    let details = refused.get_error_details();
    let mut fields: Vec<_> = details
        .bad_request()
        .unwrap()
        .field_violations
        .iter()
        .map(|one| one.field.as_str())
        .collect();
    fields.sort_unstable();
    let expected = [
        "file.api_keys[0].expires_at",
        "file.api_keys[1].id",
        "file.api_keys[1].name",
        "file.circuit_breaker.failure_threshold",
        "file.providers[0]",
        "file.providers[0].base_url",
    ];
    assert_eq!(fields, expected, "{refused:?}");
    let home = std::env::var("HOME").unwrap_or_default();
    assert!(home.is_empty() || !refused.message().contains(&home));
    for (file, field) in [
        (
            r#"{"model_rules": [{"match": "x", "provider": "gone", "model": "*"}]}"#,
            "file.model_rules[0].provider",
        ),
        (r#"{"max_attempts": 0}"#, "file.max_attempts"),
        (r#"[]"#, "file.provider.json"),
    ] {
        let refused = stage
            .plan(&serde_json::from_str(file).unwrap(), false)
            .await
            .unwrap_err();
        assert!(refused.message().starts_with(field), "{}", refused.message());
    }
    let strange =
        serde_json::from_str(r#"{"colour": 1, "api_keys": [{"id": "aaaaaaaaaaaa", "name": "x"}]}"#).unwrap();
    let plan = stage.plan(&strange, false).await.unwrap();
    assert_eq!((plan.changes.len(), plan.warnings.len()), (0, 2), "{plan:?}");
}

#[tokio::test]
async fn a_repeated_apply_is_done_once() {
    let mut stage = Stage::start().await;
    let mut file = stage.exported().await;
    file["providers"][0]["api_key"] = SECRET.into();
    let once = admin::ApplyRequest {
        revision: stage.complete,
        idempotency_key: "once".to_owned(),
        ..request(&file)
    };
    let first = stage.apply(once.clone()).await.unwrap();
    let again = stage.apply(once.clone()).await.unwrap();
    assert_eq!(
        (first.revision, again.revision),
        (stage.complete + 1, stage.complete + 1)
    );
    assert_eq!((first.changes.len(), again.changes.len()), (1, 0));
    file["max_attempts"] = 3.into();
    let other = admin::ApplyRequest {
        file: file.to_string(),
        ..once
    };
    assert_eq!(code(stage.apply(other).await), Code::AlreadyExists);
    assert_eq!(stage.revisions("").await[0].revision, stage.complete + 1);
}
