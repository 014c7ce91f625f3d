//! Tests of the store, by what could go wrong.

mod backup;
mod breaker_overrides;
mod checks;
mod commit;
mod damage;
mod durability;
mod figures;
mod fleet;
mod history;
mod letters;
mod logs;
mod model;
mod owned_keys;
mod postgres;
mod records;
mod rows;
mod rules;
mod usage;

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use bridge_throwaway_postgres::Database;
use tempfile::TempDir;

use super::{
    Change, Commit, CommitError, Committed, Expect, Idempotency, OpenError, Store,
    backend::Parts,
    family::Family,
    head::Head,
    postgres as postgres_store,
    sled::{
        self,
        disk::{Disk, Durability},
    },
    write_set::WriteSet,
};
use crate::domain::{
    DisplayName, Email, LossPolicy, Times,
    api_key::{self, ApiKey, KeyHash, KeyId},
    audit::{Actor, AuditEntry, Origin},
    limits,
    model::{self as models, ModelRule, RuleId, Tier},
    price::Price,
    provider::{self, ApiFormat, Credentials, KnobValue, ModelOptionsDraft, ModelsDraft, Provider},
    retention::Retention,
    settings::{self, Settings},
    usage::Tokens,
    user::{self, PasswordHash, Role, User, UserId},
};

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

/// The same tests for whatever keeps the rows.
macro_rules! on_each_store {
    ($($test:ident),* $(,)?) => {
        mod on_sled {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    super::$test(super::Home::new()).await;
                }
            )*
        }
        mod on_postgres {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    if let Some(home) = super::Home::in_database() {
                        super::$test(home).await;
                    }
                }
            )*
        }
    };
}
use on_each_store;

/// A store of its own, which can be opened again.
enum Home {
    Folder(TempDir),
    Database(Database),
}

impl Home {
    fn new() -> Self {
        Self::Folder(tempfile::tempdir().unwrap())
    }

    /// `None` where there is no PostgreSQL.
    fn in_database() -> Option<Self> {
        Database::make().unwrap().map(Self::Database)
    }

    fn dir(&self) -> &Path {
        match self {
            Self::Folder(dir) => dir.path(),
            Self::Database(_) => panic!("a database has no folder of ours"),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir().join("store")
    }

    fn try_open(&self) -> Result<Store, OpenError> {
        match self {
            Self::Folder(_) => Store::open(&self.path()),
            // It blocks, which it must not where tests run.
            Self::Database(database) => on_a_thread(|| Store::connect(&database.url().as_str().into())),
        }
    }

    fn open(&self) -> Store {
        self.try_open().unwrap()
    }

    fn open_on<D: Durability + 'static>(&self, wrap: impl FnOnce(Disk) -> D) -> Store {
        Store::start(sled::open(&self.path(), wrap).unwrap()).unwrap()
    }

    /// What every store stands on, without the store.
    fn parts(&self) -> Parts {
        match self {
            Self::Folder(_) => sled::open(&self.path(), |disk| disk).unwrap(),
            Self::Database(database) => {
                on_a_thread(|| postgres_store::open(&database.url().as_str().into())).unwrap()
            }
        }
    }

    /// Puts rows into a closed store as another build would.
    fn write_rows(&self, rows: Vec<(Family, Vec<u8>, Vec<u8>)>) {
        let Parts { mut ledger, .. } = self.parts();
        on_a_thread(move || {
            let batch = ledger.begin().unwrap();
            let mut head = Head::load(batch.rows()).unwrap().unwrap();
            let mut writes = WriteSet::on(batch.rows());
            for (family, key, value) in rows {
                writes.put(family, &key, value).unwrap();
            }
            head.digest = writes.digest_after(head.digest).unwrap();
            head.write(&mut writes).unwrap();
            let writes = writes.into_writes();
            batch.write(writes, head.revision).unwrap();
        });
    }

    /// What a crash would leave behind right now.
    fn crash_image(&self) -> Self {
        let image = Self::new();
        copy_dir(&self.path(), &image.path());
        image
    }
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join().unwrap())
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn id(n: u8) -> UserId {
    UserId::from_bytes([n; 16])
}

fn user(n: u8) -> User {
    user_with(n, &format!("u{n}@example.com"), Role::Admin)
}

fn user_with(n: u8, email: &str, role: Role) -> User {
    let spec = user::Spec {
        email: Email::parse(email).unwrap(),
        name: DisplayName::parse("Ann").unwrap(),
        role,
        enabled: true,
    };
    let password_hash = PasswordHash::from_phc("$argon2id$…".into());
    let credentials = user::Credentials {
        password_hash,
        must_change_password: false,
        session_epoch: 0,
    };
    User {
        id: id(n),
        spec,
        credentials,
        times: Times::new(NOW),
    }
}

fn key_id(n: u8) -> KeyId {
    KeyId::parse(&format!("key{n:09}")).unwrap()
}

fn api_key(n: u8, owner: u8) -> ApiKey {
    let draft = api_key::Draft {
        name: "ci".into(),
        email: "ci@example.com".into(),
        owner: id(owner),
        enabled: true,
        expires_at: Some(NOW + Duration::from_secs(60)),
        allowed_models: vec!["claude-*".into()],
        allowed_providers: vec!["a".into()],
        loss_policy: Some(LossPolicy::Strict),
        limits: limits::Draft {
            requests_per_minute: Some(60),
            tokens_per_minute: Some(1_000),
            concurrent_requests: Some(3),
            budgets: vec![
                limits::BudgetDraft {
                    period: Some(limits::Period::Day),
                    amount: Some(limits::Amount::Tokens(7)),
                },
                limits::BudgetDraft {
                    period: Some(limits::Period::Month),
                    amount: Some(limits::Amount::CostMicros(9)),
                },
            ],
        },
    };
    ApiKey {
        id: key_id(n),
        hash: KeyHash::from_bytes([n; 32]),
        spec: draft.check().unwrap(),
        disabled_by: None,
        successor: Some(key_id(n.wrapping_add(1))),
        times: Times::new(NOW),
    }
}

fn provider(name: &str, model: &str) -> Provider {
    let draft = provider::Draft {
        name: name.into(),
        enabled: true,
        priority: 1,
        api_format: ApiFormat::Openai,
        base_url: "http://a.example/v1".into(),
        dialect: "vllm".into(),
        dialect_overrides: [
            ("vision".to_owned(), KnobValue::Flag(false)),
            ("token_factor".to_owned(), KnobValue::Number(1.25)),
            ("mid_system".to_owned(), KnobValue::Text("top".into())),
            (
                "efforts".to_owned(),
                KnobValue::List(vec!["low".into(), "high".into()]),
            ),
        ]
        .into(),
        models: ModelsDraft {
            big: vec![model.into()],
            ..ModelsDraft::default()
        },
        model_options: vec![ModelOptionsDraft {
            model: model.into(),
            context_window: Some(8_192),
            max_output_tokens: None,
            dialect_overrides: [("max_stop".to_owned(), KnobValue::Number(2.0))].into(),
        }],
        timeout_s: 3,
        max_retries: Some(0),
        max_tokens_limit: Some(7),
    };
    Provider {
        spec: draft.check().unwrap(),
        credentials: Credentials::default(),
        times: Times::new(NOW),
    }
}

fn settings(max_attempts: u32) -> Settings {
    settings::Draft {
        max_attempts,
        loss_policy: LossPolicy::Silent,
        default_tier: Some(Tier::Middle),
        prices: vec![Price {
            provider: "a".into(),
            model: "m-*".into(),
            rates: Tokens {
                input: 1,
                output: 2,
                cache_read: 3,
                cache_creation: 4,
            },
        }],
        currency: "EUR".into(),
        retention: Retention {
            minute_hours: 1,
            hour_days: 2,
            day_days: 3,
            request_hours: 4,
            request_entries: 5,
        },
        ..settings::Draft::default()
    }
    .check()
    .unwrap()
}

fn audit(at: SystemTime) -> AuditEntry {
    let origin = Origin {
        peer_ip: Some([127, 0, 0, 1].into()),
        request_id: Some("req_1".into()),
        user_agent: None,
    };
    AuditEntry::new(
        Actor::User {
            id: id(1),
            email: "u1@example.com".into(),
        },
        "Test.Change",
        "thing/1",
        origin,
        at,
    )
}

async fn commit(store: &Store, changes: Vec<Change>) -> Result<Committed, CommitError> {
    store
        .commit(Commit {
            changes,
            audit: audit(NOW),
            idempotency: None,
        })
        .await
}

async fn commit_once(
    store: &Store,
    changes: Vec<Change>,
    key: &str,
    fingerprint: u8,
    at: SystemTime,
) -> Result<Committed, CommitError> {
    let idempotency = Idempotency {
        caller: id(1),
        key: key.into(),
        fingerprint: [fingerprint; 32],
        result: format!("made by {key}"),
    };
    store
        .commit(Commit {
            changes,
            audit: audit(at),
            idempotency: Some(idempotency),
        })
        .await
}

fn rule(id: &str, pattern: &str, provider: &str) -> ModelRule {
    let draft = models::Draft {
        pattern: pattern.into(),
        tier: None,
        provider: Some(provider.into()),
        model: Some("*".into()),
    };
    let (pattern, target) = draft.check().unwrap();
    ModelRule {
        id: RuleId::parse(id).unwrap(),
        position: 0,
        pattern,
        target,
    }
}
