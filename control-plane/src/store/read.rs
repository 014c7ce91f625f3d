//! What can be read. Every answer is of one moment that survives a crash, and so is
//! everything that is built from it.

use std::{collections::BTreeMap, time::SystemTime};

use super::{
    AuditAsk, AuditChain, AuditPage, AuditRow, Error, Kind, SealedName, Store, StoreVersion, Stored,
    audit_chain, audit_log,
    backend::View,
    change::LoggedChange,
    change_log,
    family::Family,
    record::{self, Persist, SETTINGS_KEY, session_key},
    rows::{Order, Row, Rows, Span},
};
use crate::domain::{
    api_key::{ApiKey, KeyId},
    breaker_override::BreakerOverride,
    health::Check,
    model::ModelRule,
    provider::{Provider, ProviderName},
    session::{Session, SessionId},
    settings::Settings,
    user::{User, UserId},
};

/// Everything that data planes are told about, at one moment.
#[derive(Debug, Clone)]
pub struct Configuration {
    pub version: StoreVersion,
    pub providers: Vec<Stored<Provider>>,
    pub api_keys: Vec<Stored<ApiKey>>,
    /// By position.
    pub model_rules: Vec<Stored<ModelRule>>,
    pub settings: Option<Stored<Settings>>,
    pub breaker_overrides: Vec<Stored<BreakerOverride>>,
}

/// A thing that data planes are told about, as it is now.
#[derive(Debug, Clone)]
pub enum Resource {
    Provider(Stored<Provider>),
    ApiKey(Stored<ApiKey>),
    ModelRule(Stored<ModelRule>),
    Settings(Stored<Settings>),
    BreakerOverride(Stored<BreakerOverride>),
}

/// What happened to one thing since some revision.
#[derive(Debug, Clone)]
pub struct ResourceChange {
    pub kind: Kind,
    pub id: String,
    /// One of the changes takes something away from somebody.
    pub urgent: bool,
    /// `None`: it is gone.
    pub now: Option<Resource>,
}

impl ResourceChange {
    /// The revision that made it what it is; unknown once it is gone.
    #[must_use]
    pub fn revision(&self) -> Option<u64> {
        self.now.as_ref().map(|now| match now {
            Resource::Provider(it) => it.revision,
            Resource::ApiKey(it) => it.revision,
            Resource::ModelRule(it) => it.revision,
            Resource::Settings(it) => it.revision,
            Resource::BreakerOverride(it) => it.revision,
        })
    }
}

/// What data planes have to be told since some revision, each thing once.
#[derive(Debug, Clone)]
pub struct Changes {
    /// The version that these changes lead to.
    pub version: StoreVersion,
    pub resources: Vec<ResourceChange>,
}

impl Store {
    pub async fn user(&self, id: &UserId) -> Result<Option<Stored<User>>, Error> {
        self.get(id.as_bytes()).await
    }

    pub async fn user_by_email(&self, email: &crate::domain::Email) -> Result<Option<Stored<User>>, Error> {
        let email = email.as_str().as_bytes().to_vec();
        self.blocking(move |rows| match rows.get(Family::UsersByEmail, &email)? {
            Some(id) => get(rows, &id),
            None => Ok(None),
        })
        .await
    }

    /// The user of this e-mail, or if there is none another one in their place, by the same
    /// reads; and whether it is the former.
    pub async fn user_or_decoy(
        &self,
        email: &str,
        decoy: UserId,
    ) -> Result<Option<(Stored<User>, bool)>, Error> {
        let email = email.as_bytes().to_vec();
        self.blocking(move |rows| {
            let id = rows.get(Family::UsersByEmail, &email)?;
            let is_known = id.is_some();
            let user = get(rows, &id.unwrap_or_else(|| decoy.as_bytes().to_vec()))?;
            Ok(user.map(|user| (user, is_known)))
        })
        .await
    }

    pub async fn users(&self) -> Result<Vec<Stored<User>>, Error> {
        self.blocking(scan).await
    }

    /// When users last signed in; who never did is not listed.
    pub async fn last_logins(&self) -> Result<BTreeMap<UserId, SystemTime>, Error> {
        self.blocking(last_logins).await
    }

    pub async fn provider(&self, name: &ProviderName) -> Result<Option<Stored<Provider>>, Error> {
        self.get(name.as_str().as_bytes()).await
    }

    pub async fn providers(&self) -> Result<Vec<Stored<Provider>>, Error> {
        self.blocking(scan).await
    }

    pub async fn api_key(&self, id: &KeyId) -> Result<Option<Stored<ApiKey>>, Error> {
        self.get(id.as_str().as_bytes()).await
    }

    pub async fn api_keys(&self) -> Result<Vec<Stored<ApiKey>>, Error> {
        self.blocking(scan).await
    }

    /// By position.
    pub async fn model_rules(&self) -> Result<Vec<Stored<ModelRule>>, Error> {
        self.blocking(model_rules).await
    }

    /// `None` only before the first start is complete.
    pub async fn settings(&self) -> Result<Option<Stored<Settings>>, Error> {
        self.get(SETTINGS_KEY).await
    }

    /// What checks have shown, by provider.
    pub async fn checks(&self) -> Result<Vec<Check>, Error> {
        let checks: Vec<Stored<Check>> = self.blocking(scan).await?;
        Ok(checks.into_iter().map(|stored| stored.value).collect())
    }

    pub async fn checks_of(&self, provider: &ProviderName) -> Result<Vec<Check>, Error> {
        let prefix = record::checks_of(provider);
        let checks: Vec<Stored<Check>> = self.blocking(move |rows| scan_prefix(rows, &prefix)).await?;
        Ok(checks.into_iter().map(|stored| stored.value).collect())
    }

    pub async fn session(&self, user_id: &UserId, id: &SessionId) -> Result<Option<Session>, Error> {
        let stored = self.get::<Session>(&session_key(user_id, id)).await?;
        Ok(stored.map(|stored| stored.value))
    }

    /// The same, whosever it is.
    pub async fn session_of_anybody(&self, id: &SessionId) -> Result<Option<Session>, Error> {
        let id = *id;
        self.blocking(move |rows| {
            let mut sessions = rows.scan(Family::Sessions, Span::all(), Order::Ascending);
            let found =
                sessions.find(|row| row.as_ref().map_or(true, |row| row.key.ends_with(id.as_bytes())));
            let Some(row) = found.transpose()? else {
                return Ok(None);
            };
            Ok(Some(record::decode::<Session>(&row.value)?.value))
        })
        .await
    }

    pub async fn sessions_of(&self, user_id: &UserId) -> Result<Vec<Session>, Error> {
        let user_id = *user_id;
        let sessions: Vec<Stored<Session>> = self
            .blocking(move |rows| scan_prefix(rows, user_id.as_bytes()))
            .await?;
        Ok(sessions.into_iter().map(|stored| stored.value).collect())
    }

    pub async fn sealed(&self, name: SealedName) -> Result<Option<Vec<u8>>, Error> {
        self.backend.get(Family::Sealed, name.as_str().as_bytes()).await
    }

    /// Rows of the audit log after a sequence, oldest first.
    pub async fn audit(&self, after: u64, limit: usize) -> Result<Vec<AuditRow>, Error> {
        self.blocking(move |rows| audit_log::read(rows, after, limit))
            .await
    }

    /// Rows of the audit log that are wanted, newest first.
    pub async fn audit_back(
        &self,
        ask: AuditAsk,
        is_wanted: impl Fn(&AuditRow) -> bool + Send + 'static,
    ) -> Result<AuditPage, Error> {
        self.blocking(move |rows| audit_log::read_back(rows, ask, is_wanted))
            .await
    }

    /// Whether all of the audit log is as it was written.
    pub async fn audit_chain(&self) -> Result<AuditChain, Error> {
        self.blocking(audit_chain::walk).await
    }

    /// Everything that data planes are told about, at one moment.
    pub async fn configuration(&self) -> Result<Configuration, Error> {
        let store = self.clone();
        self.viewing(move |View { rows, revision }| {
            let rows = rows.as_ref();
            Ok(Configuration {
                version: store.version_at(revision),
                providers: scan(rows)?,
                api_keys: scan(rows)?,
                model_rules: model_rules(rows)?,
                settings: get(rows, SETTINGS_KEY)?,
                breaker_overrides: scan(rows)?,
            })
        })
        .await
    }

    /// What data planes have to be told since a revision; `None` if the change log
    /// does not reach back that far, so that only the whole will do.
    pub async fn changes_since(&self, revision: u64) -> Result<Option<Changes>, Error> {
        let store = self.clone();
        self.viewing(move |view| {
            let (rows, version) = (view.rows.as_ref(), store.version_at(view.revision));
            let Some(logged) = change_log::read_since(rows, revision, version.revision)? else {
                return Ok(None);
            };
            let mut urgent_by_thing: BTreeMap<(Kind, String), bool> = BTreeMap::new();
            for LoggedChange {
                revision: _,
                kind,
                id,
                urgent,
            } in logged
            {
                *urgent_by_thing.entry((kind, id)).or_default() |= urgent;
            }
            let mut resources = Vec::with_capacity(urgent_by_thing.len());
            for ((kind, id), urgent) in urgent_by_thing {
                let now = match kind {
                    Kind::User | Kind::ServiceToken | Kind::JoinToken | Kind::Node => continue,
                    Kind::Provider => get(rows, id.as_bytes())?.map(Resource::Provider),
                    Kind::ApiKey => get(rows, id.as_bytes())?.map(Resource::ApiKey),
                    Kind::ModelRule => get(rows, id.as_bytes())?.map(Resource::ModelRule),
                    Kind::Settings => get(rows, SETTINGS_KEY)?.map(Resource::Settings),
                    Kind::BreakerOverride => get(rows, id.as_bytes())?.map(Resource::BreakerOverride),
                };
                resources.push(ResourceChange {
                    kind,
                    id,
                    urgent,
                    now,
                });
            }
            Ok(Some(Changes { version, resources }))
        })
        .await
    }

    async fn get<T: Persist>(&self, key: &[u8]) -> Result<Option<Stored<T>>, Error> {
        let row = self.backend.get(T::FAMILY, key).await?;
        row.map(|row| record::decode(&row)).transpose()
    }

    /// Runs a read of one moment where it may block.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Rows) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.viewing(move |view| read(view.rows.as_ref())).await
    }

    /// The same, for who asks at which revision.
    pub(super) async fn viewing<T: Send + 'static>(
        &self,
        read: impl FnOnce(View) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let view = self.backend.view().await?;
        let answer = tokio::task::spawn_blocking(move || read(view));
        answer.await.map_err(|_| Error::Interrupted)?
    }
}

pub(super) fn get<T: Persist>(rows: &dyn Rows, key: &[u8]) -> Result<Option<Stored<T>>, Error> {
    let row = rows.get(T::FAMILY, key)?;
    row.map(|row| record::decode(&row)).transpose()
}

fn scan<T: Persist>(rows: &dyn Rows) -> Result<Vec<Stored<T>>, Error> {
    scan_prefix(rows, b"")
}

fn scan_prefix<T: Persist>(rows: &dyn Rows, prefix: &[u8]) -> Result<Vec<Stored<T>>, Error> {
    rows.scan(T::FAMILY, Span::prefix(prefix), Order::Ascending)
        .map(|row| record::decode(&row?.value))
        .collect()
}

pub(super) fn model_rules(rows: &dyn Rows) -> Result<Vec<Stored<ModelRule>>, Error> {
    let mut rules: Vec<Stored<ModelRule>> = scan(rows)?;
    rules.sort_by(|a, b| (a.value.position, &a.value.id).cmp(&(b.value.position, &b.value.id)));
    Ok(rules)
}

fn last_logins(rows: &dyn Rows) -> Result<BTreeMap<UserId, SystemTime>, Error> {
    let damaged = || Error::damaged(Family::LastLogins, "a key is not the id of a user");
    rows.scan(Family::LastLogins, Span::all(), Order::Ascending)
        .map(|row| {
            let Row { key, value } = row?;
            let id = <[u8; 16]>::try_from(key).map_err(|_| damaged())?;
            Ok((
                UserId::from_bytes(id),
                record::decode_time(Family::LastLogins, &value)?,
            ))
        })
        .collect()
}
