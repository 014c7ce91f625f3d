//! One who writes until nobody answers any more, and knows what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use bridge_proto::admin::v1::model_rule::Target;
use bridge_proto::admin::v1::{
    ApiKey, ApplyRequest, CreateApiKeyRequest, CreateModelRuleRequest, CreateProviderRequest,
    CreateUserRequest, DeleteApiKeyRequest, DeleteModelRuleRequest, DeleteProviderRequest, DeleteUserRequest,
    ModelRule, Provider, RevokeApiKeyRequest, Role, Settings, Tier, UpdateApiKeyRequest,
    UpdateProviderRequest, UpdateSettingsRequest, UpdateUserRequest, User,
};
use rand::RngExt;
use rand::rngs::StdRng;
use tonic::{Code, Status};

use super::differing;
use super::look::{Known, SETTINGS, of_key, of_provider, of_rule, of_settings, of_user};
use crate::admin::{self, Admin, PASSWORD};

/// Who may touch what there is only once.
const FIRST: u64 = 0;

pub(super) struct Writer {
    number: u64,
    random: StdRng,
    known: BTreeMap<String, Known>,
    under_way: Option<Attempt>,
    pub(super) acknowledged: usize,
    pub(super) kept: usize,
}

#[derive(Debug, Clone)]
struct Attempt {
    write: Write,
    /// It is known to have happened: asking for it again changes nothing.
    is_done: bool,
}

#[derive(Debug, Clone)]
enum Write {
    CreateKey(String),
    SetKeyEnabled(String, bool),
    RevokeKey(String),
    DeleteKey(String),
    CreateUser(String),
    SetUserEnabled(String, bool),
    DeleteUser(String),
    CreateProvider(String),
    SetPriority(String, i32),
    DeleteProvider(String),
    CreateRule(String),
    DeleteRule(String),
    SetCurrency(String),
    /// A provider and a rule of this name, and a currency, in one change.
    Import {
        name: String,
        currency: String,
    },
}

impl Writer {
    pub(super) fn new(number: u64, random: StdRng) -> Self {
        Self {
            number,
            random,
            known: BTreeMap::new(),
            under_way: None,
            acknowledged: 0,
            kept: 0,
        }
    }

    fn is_mine(&self, label: &str) -> bool {
        let (_, name) = label.split_once('/').unwrap_or_default();
        let is_named_so = name.starts_with(&self.prefix());
        is_named_so || (self.number == FIRST && label == SETTINGS)
    }

    fn prefix(&self) -> String {
        format!("w{}-", self.number)
    }

    /// Takes what is its own, and takes it as it is.
    pub(super) fn adopt(&mut self, found: &mut BTreeMap<String, Known>) {
        self.known = found.extract_if(.., |label, _| self.is_mine(label)).collect();
    }

    /// Writes until nobody answers; says what was refused, which nothing should be.
    pub(super) async fn write_until_cut_off(&mut self, admin: &Admin) -> Option<String> {
        loop {
            // What was cut off is asked for again first.
            let attempt = self.under_way.take().unwrap_or_else(|| Attempt {
                write: self.choose(),
                is_done: false,
            });
            let Attempt { write, is_done } = attempt.clone();
            self.under_way = Some(attempt);
            match self.make(admin, &write).await {
                Ok(changed) => {
                    for (label, known) in changed {
                        match known {
                            Some(known) => self.known.insert(label, known),
                            None => self.known.remove(&label),
                        };
                    }
                    self.under_way = None;
                    self.acknowledged += usize::from(!is_done);
                }
                Err(status) if is_cut_off(&status) => return None,
                Err(status) => return Some(format!("{write:?} was refused: {status:?}")),
            }
        }
    }

    /// Holds what is there against what was acknowledged. What was under way is taken as it is,
    /// if it is there as a whole or not at all.
    pub(super) fn settle(&mut self, found: &mut BTreeMap<String, Known>, lost: &mut Vec<String>) {
        let before = std::mem::take(&mut self.known);
        self.adopt(found);
        let differing = differing(&before, &self.known);
        let mut under_way = self.under_way.take();
        match &mut under_way {
            Some(attempt) if !attempt.is_done && self.is_whole(&attempt.write, &differing) => {
                attempt.is_done = true;
                self.kept += 1;
            }
            Some(_) | None => lost.extend(differing.iter().map(|label| {
                let (was, is) = (before.get(label), self.known.get(label));
                format!("{label}: acknowledged {was:?}, found {is:?}, under way {under_way:?}")
            })),
        }
        self.under_way = under_way.filter(|attempt| attempt.write.can_be_repeated());
    }

    /// Whether all that a write changes was changed at once, and nothing else.
    fn is_whole(&self, write: &Write, differing: &BTreeSet<String>) -> bool {
        let revisions: BTreeSet<_> = differing.iter().map(|label| self.revision(label)).collect();
        write.labels() == *differing && revisions.len() == 1 && write.deletes() == revisions.contains(&None)
    }

    fn revision(&self, label: &str) -> Option<u64> {
        self.known.get(label).map(|known| known.revision)
    }

    fn choose(&mut self) -> Write {
        let name = format!("{}{:016x}", self.prefix(), self.random.random::<u64>());
        let currency: String = name.chars().rev().take(6).collect();
        let kinds = if self.number == FIRST { 18 } else { 16 };
        match self.random.random_range(0..kinds) {
            0..=3 => Write::CreateKey(name),
            4 => match self.pick("key/", |_| true) {
                Some((key, known)) => Write::SetKeyEnabled(key, !known.is_enabled),
                None => Write::CreateKey(name),
            },
            5 => match self.pick("key/", |known| known.is_enabled) {
                Some((key, _)) => Write::RevokeKey(key),
                None => Write::CreateKey(name),
            },
            6 => self
                .pick("key/", |_| true)
                .map_or(Write::CreateKey(name), |(key, _)| Write::DeleteKey(key)),
            7 => Write::CreateUser(format!("{name}@example.com")),
            8 => match self.pick("user/", |_| true) {
                Some((user, known)) => Write::SetUserEnabled(user, !known.is_enabled),
                None => Write::CreateUser(format!("{name}@example.com")),
            },
            9 => {
                let user = self.pick("user/", |_| true);
                user.map_or(Write::CreateUser(format!("{name}@example.com")), |(user, _)| {
                    Write::DeleteUser(user)
                })
            }
            10 | 11 => Write::CreateProvider(name),
            12 => {
                let priority = self.random.random_range(0..1_000_000);
                let provider = self.pick("provider/", |_| true);
                provider.map_or(Write::CreateProvider(name), |(provider, _)| {
                    Write::SetPriority(provider, priority)
                })
            }
            13 => {
                let provider = self.pick("provider/", |_| true);
                provider.map_or(Write::CreateProvider(name), |(provider, _)| {
                    Write::DeleteProvider(provider)
                })
            }
            14 => Write::CreateRule(name),
            15 => {
                let rule = self.pick("rule/", |known| !known.id.is_empty());
                rule.map_or(Write::CreateRule(name), |(rule, _)| Write::DeleteRule(rule))
            }
            16 => Write::SetCurrency(currency),
            _ => Write::Import { name, currency },
        }
    }

    /// One of a kind, and its name.
    fn pick(&mut self, kind: &str, is_fit: impl Fn(&Known) -> bool) -> Option<(String, Known)> {
        let of_kind: Vec<_> = self
            .known
            .iter()
            .filter_map(|(label, known)| Some((label.strip_prefix(kind)?, known)))
            .filter(|(_, known)| is_fit(known))
            .collect();
        let place = self.random.random_range(0..of_kind.len().max(1));
        let (name, known) = of_kind.get(place)?;
        Some(((*name).to_owned(), (*known).clone()))
    }

    fn id(&self, label: String) -> String {
        self.known
            .get(&label)
            .map(|known| known.id.clone())
            .unwrap_or_default()
    }

    /// Makes a change, and says what is known after it; `None`: it is gone.
    async fn make(&self, admin: &Admin, write: &Write) -> Result<Vec<(String, Option<Known>)>, Status> {
        let changed = match write.clone() {
            Write::CreateKey(name) => {
                let request = CreateApiKeyRequest {
                    idempotency_key: name.clone(),
                    name,
                    ..CreateApiKeyRequest::default()
                };
                let made = admin.keys().create_api_key(request).await?.into_inner();
                made.api_key.map(of_key)
            }
            Write::SetKeyEnabled(name, enabled) => {
                let id = self.id(format!("key/{name}"));
                let request = UpdateApiKeyRequest {
                    api_key: Some(ApiKey {
                        id,
                        enabled,
                        ..ApiKey::default()
                    }),
                    update_mask: Some(admin::mask("enabled")),
                    revision: 0,
                };
                let made = admin.keys().update_api_key(request).await?.into_inner();
                made.api_key.map(of_key)
            }
            Write::RevokeKey(name) => {
                let id = self.id(format!("key/{name}"));
                let request = RevokeApiKeyRequest {
                    id,
                    ..RevokeApiKeyRequest::default()
                };
                let made = admin.keys().revoke_api_key(request).await?.into_inner();
                made.api_key.map(of_key)
            }
            Write::DeleteKey(name) => {
                let id = self.id(format!("key/{name}"));
                let request = DeleteApiKeyRequest { id, revision: 0 };
                admin.keys().delete_api_key(request).await?;
                None
            }
            Write::CreateUser(email) => {
                let request = CreateUserRequest {
                    idempotency_key: email.clone(),
                    name: email.clone(),
                    email,
                    role: Role::User.into(),
                    password: PASSWORD.to_owned(),
                    ..CreateUserRequest::default()
                };
                let made = admin.users().create_user(request).await?.into_inner();
                made.user.map(of_user)
            }
            Write::SetUserEnabled(email, enabled) => {
                let id = self.id(format!("user/{email}"));
                let request = UpdateUserRequest {
                    user: Some(User {
                        id,
                        enabled,
                        ..User::default()
                    }),
                    update_mask: Some(admin::mask("enabled")),
                    revision: 0,
                };
                let made = admin.users().update_user(request).await?.into_inner();
                made.user.map(of_user)
            }
            Write::DeleteUser(email) => {
                let id = self.id(format!("user/{email}"));
                admin
                    .users()
                    .delete_user(DeleteUserRequest { id, revision: 0 })
                    .await?;
                None
            }
            Write::CreateProvider(name) => {
                let request = CreateProviderRequest {
                    provider: Some(admin::provider(&name, "http://127.0.0.1:1/v1", "m")),
                    idempotency_key: name,
                    ..CreateProviderRequest::default()
                };
                let made = admin.providers().create_provider(request).await?.into_inner();
                made.provider.map(of_provider)
            }
            Write::SetPriority(name, priority) => {
                let request = UpdateProviderRequest {
                    provider: Some(Provider {
                        name,
                        priority,
                        ..Provider::default()
                    }),
                    update_mask: Some(admin::mask("priority")),
                    ..UpdateProviderRequest::default()
                };
                let made = admin.providers().update_provider(request).await?.into_inner();
                made.provider.map(of_provider)
            }
            Write::DeleteProvider(name) => {
                let request = DeleteProviderRequest {
                    name,
                    revision: 0,
                    force: false,
                };
                admin.providers().delete_provider(request).await?;
                None
            }
            Write::CreateRule(pattern) => {
                let idempotency_key = pattern.clone();
                let rule = ModelRule {
                    r#match: pattern,
                    target: Some(Target::Tier(Tier::Big.into())),
                    ..ModelRule::default()
                };
                let request = CreateModelRuleRequest {
                    rule: Some(rule),
                    idempotency_key,
                };
                let made = admin.models().create_model_rule(request).await?.into_inner();
                made.rule.map(of_rule)
            }
            Write::DeleteRule(pattern) => {
                let id = self.id(format!("rule/{pattern}"));
                let request = DeleteModelRuleRequest { id, revision: 0 };
                admin.models().delete_model_rule(request).await?;
                None
            }
            Write::SetCurrency(currency) => {
                let request = UpdateSettingsRequest {
                    settings: Some(Settings {
                        currency,
                        ..Settings::default()
                    }),
                    update_mask: Some(admin::mask("currency")),
                    revision: 0,
                };
                let made = admin.settings().update_settings(request).await?.into_inner();
                made.settings.map(of_settings)
            }
            Write::Import { name, currency } => {
                let file = serde_json::json!({
                    "providers": [{"name": name, "base_url": "http://127.0.0.1:1/v1", "models": {"small": ["m"]}}],
                    "model_rules": [{"match": name, "tier": "small"}],
                    "currency": currency,
                });
                let request = ApplyRequest {
                    file: file.to_string(),
                    idempotency_key: name,
                    ..ApplyRequest::default()
                };
                let revision = admin.config().apply(request).await?.into_inner().revision;
                let labels = write.labels().into_iter();
                return Ok(labels.map(|label| (label, Some(Known::at(revision)))).collect());
            }
        };
        let gone = || write.labels().into_iter().map(|label| (label, None)).collect();
        Ok(changed.map_or_else(gone, |(label, known)| vec![(label, Some(known))]))
    }
}

impl Write {
    /// What it changes.
    fn labels(&self) -> BTreeSet<String> {
        let labels = match self {
            Self::CreateKey(name)
            | Self::SetKeyEnabled(name, _)
            | Self::RevokeKey(name)
            | Self::DeleteKey(name) => vec![format!("key/{name}")],
            Self::CreateUser(email) | Self::SetUserEnabled(email, _) | Self::DeleteUser(email) => {
                vec![format!("user/{email}")]
            }
            Self::CreateProvider(name) | Self::SetPriority(name, _) | Self::DeleteProvider(name) => {
                vec![format!("provider/{name}")]
            }
            Self::CreateRule(pattern) | Self::DeleteRule(pattern) => vec![format!("rule/{pattern}")],
            Self::SetCurrency(_) => vec![SETTINGS.to_owned()],
            Self::Import { name, .. } => {
                vec![
                    format!("provider/{name}"),
                    format!("rule/{name}"),
                    SETTINGS.to_owned(),
                ]
            }
        };
        labels.into_iter().collect()
    }

    /// With its idempotency key it is done once, however often it is asked for.
    fn can_be_repeated(&self) -> bool {
        matches!(
            self,
            Self::CreateKey(_)
                | Self::CreateUser(_)
                | Self::CreateProvider(_)
                | Self::CreateRule(_)
                | Self::Import { .. }
        )
    }

    fn deletes(&self) -> bool {
        matches!(
            self,
            Self::DeleteKey(_) | Self::DeleteUser(_) | Self::DeleteProvider(_) | Self::DeleteRule(_)
        )
    }
}

/// Nobody has answered, so that it may have happened or not.
fn is_cut_off(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
    )
}
