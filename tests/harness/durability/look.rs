//! All that there is, as the admin API tells it.

use std::collections::BTreeMap;
use std::fmt::Debug;

use anyhow::{Result, ensure};
use bridge_proto::admin::v1::{
    ApiKey, ListApiKeysRequest, ListModelRulesRequest, ListProvidersRequest, ListUsersRequest, ModelRule,
    Provider, Settings, User,
};

use crate::admin::Admin;

/// Everything fits on a page.
const PAGE_SIZE: u32 = 1000;
pub(super) const SETTINGS: &str = "settings";

/// A thing as it was acknowledged, or as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// Empty while nobody has told it.
    pub(super) id: String,
    pub(super) is_enabled: bool,
    pub(super) revision: u64,
    /// Every field that only a change changes; `None` while nobody has told them.
    fields: Option<String>,
}

impl Known {
    fn new(id: &str, is_enabled: bool, revision: u64, fields: impl Debug) -> Self {
        Self {
            id: id.to_owned(),
            is_enabled,
            revision,
            fields: Some(format!("{fields:?}")),
        }
    }

    /// Of an answer that tells the revision only.
    pub(super) fn at(revision: u64) -> Self {
        Self {
            id: String::new(),
            is_enabled: true,
            revision,
            fields: None,
        }
    }

    /// Whether what was found is this.
    pub(super) fn is_as(&self, known: &Self) -> bool {
        let has_fields = known.fields.is_none() || known.fields == self.fields;
        self.revision == known.revision && has_fields
    }
}

pub(super) fn of_key(key: ApiKey) -> (String, Known) {
    let key = ApiKey {
        last_used_at: None,
        ..key
    };
    let known = Known::new(&key.id, key.enabled, key.revision, &key);
    (format!("key/{}", key.name), known)
}

pub(super) fn of_user(user: User) -> (String, Known) {
    let user = User {
        last_login_at: None,
        ..user
    };
    let known = Known::new(&user.id, user.enabled, user.revision, &user);
    (format!("user/{}", user.email), known)
}

pub(super) fn of_provider(provider: Provider) -> (String, Known) {
    let known = Known::new(&provider.name, provider.enabled, provider.revision, &provider);
    (format!("provider/{}", provider.name), known)
}

/// Its place in the list changes with the rules before it.
pub(super) fn of_rule(rule: ModelRule) -> (String, Known) {
    let rule = ModelRule { position: 0, ..rule };
    let known = Known::new(&rule.id, true, rule.revision, &rule);
    (format!("rule/{}", rule.r#match), known)
}

pub(super) fn of_settings(settings: Settings) -> (String, Known) {
    let known = Known::new(SETTINGS, true, settings.revision, &settings);
    (SETTINGS.to_owned(), known)
}

/// Every thing by what it is called. Two of one name would be a write that was done twice.
pub(super) async fn look(admin: &Admin) -> Result<BTreeMap<String, Known>> {
    let mut all: Vec<(String, Known)> = Vec::new();
    let request = ListApiKeysRequest {
        page_size: PAGE_SIZE,
        ..ListApiKeysRequest::default()
    };
    let keys = admin.keys().list_api_keys(request).await?.into_inner();
    let request = ListUsersRequest {
        page_size: PAGE_SIZE,
        ..ListUsersRequest::default()
    };
    let users = admin.users().list_users(request).await?.into_inner();
    let request = ListProvidersRequest {
        page_size: PAGE_SIZE,
        ..ListProvidersRequest::default()
    };
    let providers = admin.providers().list_providers(request).await?.into_inner();
    let request = ListModelRulesRequest {
        page_size: PAGE_SIZE,
        ..ListModelRulesRequest::default()
    };
    let rules = admin.models().list_model_rules(request).await?.into_inner();
    for next in [
        &keys.next_page_token,
        &users.next_page_token,
        &providers.next_page_token,
        &rules.next_page_token,
    ] {
        ensure!(next.is_empty(), "more than a page of something");
    }
    all.extend(keys.api_keys.into_iter().map(of_key));
    all.extend(users.users.into_iter().map(of_user));
    all.extend(providers.providers.into_iter().map(of_provider));
    all.extend(rules.rules.into_iter().map(of_rule));
    all.push(of_settings(admin.get_settings().await?));
    let count = all.len();
    let by_label: BTreeMap<_, _> = all.into_iter().collect();
    ensure!(by_label.len() == count, "a thing is there twice");
    Ok(by_label)
}
