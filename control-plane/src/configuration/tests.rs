//! Whatever happened since, a revision comes back but for what is said.

use std::time::{Duration, SystemTime};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;

use super::*;
use crate::domain::api_key::{self, ApiKey, DisabledBy, KeyHash, KeyId};
use crate::domain::audit::{Actor, AuditEntry, Origin};
use crate::domain::model::{self, ModelRule, RuleId};
use crate::domain::provider::{Credentials, Draft, Provider};
use crate::domain::user::{self, PasswordHash, Role, User, UserId};
use crate::domain::{DisplayName, Email, Times, limits, settings};
use crate::store::{Change, Commit, Expect, Store};

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

/// What somebody does to the configuration; numbers choose things.
#[derive(Debug, Clone)]
enum Op {
    PutProvider {
        n: u8,
        origin: u8,
        has_key: bool,
        priority: i32,
    },
    DeleteProvider(u8),
    PutRule {
        n: u8,
        provider: u8,
        position: u32,
    },
    DeleteRule(u8),
    PutSettings(u32),
    PutKey {
        n: u8,
        enabled: bool,
        expires_s: Option<u64>,
    },
    DeleteKey(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0_u8..3, 0_u8..2, any::<bool>(), 0..3).prop_map(|(n, origin, has_key, priority)| {
            Op::PutProvider { n, origin, has_key, priority }
        }),
        1 => (0_u8..3).prop_map(Op::DeleteProvider),
        3 => (0_u8..4, 0_u8..3, 1_u32..9).prop_map(|(n, provider, position)| {
            Op::PutRule { n, provider, position }
        }),
        1 => (0_u8..4).prop_map(Op::DeleteRule),
        1 => (1_u32..5).prop_map(Op::PutSettings),
        2 => (0_u8..3, any::<bool>(), proptest::option::of(1_u64..4)).prop_map(|(n, enabled, expires_s)| {
            Op::PutKey { n, enabled, expires_s }
        }),
        1 => (0_u8..3).prop_map(Op::DeleteKey),
    ]
}

fn change(op: &Op) -> Change {
    match *op {
        Op::PutProvider {
            n,
            origin,
            has_key,
            priority,
        } => {
            let draft = Draft {
                priority,
                ..Draft::plain(&format!("p{n}"), &format!("http://o{origin}.example/v1"))
            };
            let credentials = Credentials {
                has_api_key: has_key,
                ..Credentials::default()
            };
            let provider = Provider {
                spec: draft.check().unwrap(),
                credentials,
                times: Times::new(NOW),
            };
            Change::PutProvider(provider, Expect::Any)
        }
        Op::DeleteProvider(n) => {
            let draft = Draft::plain(&format!("p{n}"), "http://o.example");
            Change::DeleteProvider(draft.check().unwrap().name, Expect::Present)
        }
        Op::PutRule {
            n,
            provider,
            position,
        } => {
            let draft = model::Draft {
                pattern: format!("m{n}"),
                tier: None,
                provider: Some(format!("p{provider}")),
                model: Some("*".into()),
            };
            let (pattern, target) = draft.check().unwrap();
            let rule = ModelRule {
                id: RuleId::parse(&format!("r{n}")).unwrap(),
                position,
                pattern,
                target,
            };
            Change::PutModelRule(rule, Expect::Any)
        }
        Op::DeleteRule(n) => {
            Change::DeleteModelRule(RuleId::parse(&format!("r{n}")).unwrap(), Expect::Present)
        }
        Op::PutSettings(max_attempts) => {
            let draft = settings::Draft {
                max_attempts,
                ..settings::Draft::default()
            };
            Change::PutSettings(draft.check().unwrap(), Expect::Any)
        }
        Op::PutKey {
            n,
            enabled,
            expires_s,
        } => {
            let draft = api_key::Draft {
                name: "ci".into(),
                email: String::new(),
                owner: UserId::from_bytes([1; 16]),
                enabled,
                expires_at: expires_s.map(|s| NOW + Duration::from_secs(s)),
                allowed_models: vec![],
                allowed_providers: vec![],
                loss_policy: None,
                limits: limits::Draft::default(),
            };
            let key = ApiKey {
                id: key_id(n),
                hash: KeyHash::from_bytes([n; 32]),
                spec: draft.check().unwrap(),
                disabled_by: (!enabled).then_some(DisabledBy::Admin),
                successor: None,
                times: Times::new(NOW),
            };
            Change::PutApiKey(key, Expect::Any)
        }
        Op::DeleteKey(n) => Change::DeleteApiKey(key_id(n), Expect::Present),
    }
}

fn key_id(n: u8) -> KeyId {
    KeyId::parse(&format!("key{n:09}")).unwrap()
}

fn owner() -> User {
    let spec = user::Spec {
        email: Email::parse("a@example.com").unwrap(),
        name: DisplayName::parse("Ann").unwrap(),
        role: Role::Admin,
        enabled: true,
    };
    let credentials = user::Credentials {
        password_hash: PasswordHash::from_phc("$argon2id$…".into()),
        must_change_password: false,
        session_epoch: 0,
    };
    User {
        id: UserId::from_bytes([1; 16]),
        spec,
        credentials,
        times: Times::new(NOW),
    }
}

async fn commit(store: &Store, changes: Vec<Change>) -> Result<u64, crate::store::CommitError> {
    let audit = AuditEntry::new(Actor::System, "Test.Change", "thing", Origin::default(), NOW);
    let commit = Commit {
        changes,
        audit,
        idempotency: None,
    };
    Ok(store.commit(commit).await?.revision)
}

/// A store with settings and a user, on which these were tried.
async fn store_after(folder: &std::path::Path, ops: &[Op]) -> Store {
    let store = Store::open(folder).unwrap();
    let settings = settings::Draft::default().check().unwrap();
    let first = vec![
        Change::PutUser(owner(), Expect::Absent),
        Change::PutSettings(settings, Expect::Absent),
    ];
    commit(&store, first).await.unwrap();
    for op in ops {
        // Some are refused, such as deleting what is not there.
        let _refused = commit(&store, vec![change(op)]).await.is_err();
    }
    store
}

proptest! {
    #![proptest_config(Config { cases: 48, failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_revision_comes_back_but_for_what_is_said(ops in vec(op(), 1..40), dice in any::<prop::sample::Index>()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let store = store_after(&folder.path().join("store"), &ops).await;
            let newest = store.version().revision;
            let to = 1 + dice.index(newest as usize) as u64;
            let keys = store.api_keys().await.unwrap();
            let between = store.between(to, None).await.unwrap().unwrap();
            let configuration = store.configuration().await.unwrap();
            let rollback::Rollback { edits, notes } =
                rollback::plan(between, &configuration, &[], NOW).unwrap();
            if !edits.is_empty() {
                commit(&store, changes(edits, newest)).await.unwrap();
            }

            let left = store.between(to, None).await.unwrap().unwrap();
            let places = places(left.rules.clone());
            for changed in left.changed {
                let edit = Edit::from(changed);
                let Some(shown) = edit.shown(&places) else { continue };
                let is_said = notes.iter().any(|note| note.starts_with(&format!("{} ", shown.target)));
                let is_made_since = edit.before.is_none() && shown.target.starts_with("api_key/");
                assert!(is_said || is_made_since, "{shown:?} {notes:?}");
            }
            for key in keys {
                let now = store.api_key(&key.value.id).await.unwrap().unwrap().value;
                assert_eq!(now.hash, key.value.hash);
                assert!(key.value.spec.enabled || !now.spec.enabled, "a revocation stays");
                let ends = |key: &ApiKey| key.spec.expires_at.unwrap_or(NOW + Duration::from_secs(99));
                assert!(ends(&now) <= ends(&key.value), "an earlier end stays");
            }
            for provider in store.providers().await.unwrap() {
                let spec = provider.value.spec;
                let said = format!("provider/{} is disabled", spec.name);
                let lacks_secrets = notes.iter().any(|note| note.starts_with(&said));
                assert!(!(lacks_secrets && spec.enabled), "{spec:?}");
            }
            store.close().await;
        });
    }
}
