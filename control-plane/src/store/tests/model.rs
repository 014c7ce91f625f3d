//! Random commits, compared with a model that fits on one screen.

use std::collections::BTreeMap;

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
    test_runner::{Config, TestRunner},
};

use super::*;

/// What a commit may do to one of a few things.
#[derive(Debug, Clone)]
enum Op {
    PutProvider(u8, Wish),
    DeleteProvider(u8, Wish),
    PutUser(u8, u8, Wish),
    DeleteUser(u8, Wish),
    PutKey(u8, u8, Wish),
    DeleteKey(u8, Wish),
}

#[derive(Debug, Clone, Copy)]
enum Wish {
    Absent,
    Present,
    Any,
    /// The current revision of the thing, plus this.
    Current(u64),
}

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<Op>),
    Reopen,
}

/// Users with their e-mail, keys with their owner, all with their revision.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    revision: u64,
    providers: BTreeMap<u8, u64>,
    users: BTreeMap<u8, (u8, u64)>,
    keys: BTreeMap<u8, (u8, u64)>,
}

impl Model {
    fn apply(&mut self, op: &Op, revision: u64) -> bool {
        match *op {
            Op::PutProvider(n, wish) => {
                wish.holds(self.providers.get(&n)) && {
                    self.providers.insert(n, revision);
                    true
                }
            }
            Op::DeleteProvider(n, wish) => {
                wish.holds(self.providers.get(&n)) && {
                    self.providers.remove(&n);
                    true
                }
            }
            Op::PutUser(n, email, wish) => {
                let is_taken = self
                    .users
                    .iter()
                    .any(|(other, (taken, _))| *other != n && *taken == email);
                let holds = wish.holds(self.users.get(&n).map(|(_, revision)| revision));
                !is_taken && holds && {
                    self.users.insert(n, (email, revision));
                    true
                }
            }
            Op::DeleteUser(n, wish) => {
                let owns_keys = self.keys.values().any(|(owner, _)| *owner == n);
                let holds = wish.holds(self.users.get(&n).map(|(_, revision)| revision));
                !owns_keys && holds && {
                    self.users.remove(&n);
                    true
                }
            }
            Op::PutKey(n, owner, wish) => {
                let holds = wish.holds(self.keys.get(&n).map(|(_, revision)| revision));
                self.users.contains_key(&owner) && holds && {
                    self.keys.insert(n, (owner, revision));
                    true
                }
            }
            Op::DeleteKey(n, wish) => {
                let holds = wish.holds(self.keys.get(&n).map(|(_, revision)| revision));
                holds && {
                    self.keys.remove(&n);
                    true
                }
            }
        }
    }

    /// The model after all of the operations, or none.
    fn after(&self, ops: &[Op]) -> Option<Self> {
        let mut next = Self {
            revision: self.revision + 1,
            ..self.clone()
        };
        let revision = next.revision;
        ops.iter().all(|op| next.apply(op, revision)).then_some(next)
    }

    fn to_changes(&self, ops: &[Op]) -> Vec<Change> {
        ops.iter()
            .map(|op| match *op {
                Op::PutProvider(n, wish) => Change::PutProvider(
                    provider(&format!("p{n}"), "m"),
                    wish.to_expect(self.providers.get(&n)),
                ),
                Op::DeleteProvider(n, wish) => Change::DeleteProvider(
                    provider(&format!("p{n}"), "m").spec.name,
                    wish.to_expect(self.providers.get(&n)),
                ),
                Op::PutUser(n, email, wish) => Change::PutUser(
                    user_with(n, &format!("e{email}@example.com"), Role::User),
                    wish.to_expect(self.users.get(&n).map(|(_, revision)| revision)),
                ),
                Op::DeleteUser(n, wish) => Change::DeleteUser(
                    id(n),
                    wish.to_expect(self.users.get(&n).map(|(_, revision)| revision)),
                ),
                Op::PutKey(n, owner, wish) => Change::PutApiKey(
                    api_key(n, owner),
                    wish.to_expect(self.keys.get(&n).map(|(_, revision)| revision)),
                ),
                Op::DeleteKey(n, wish) => Change::DeleteApiKey(
                    key_id(n),
                    wish.to_expect(self.keys.get(&n).map(|(_, revision)| revision)),
                ),
            })
            .collect()
    }

    async fn of(store: &Store) -> Self {
        let number = |text: &str| {
            text.trim_start_matches(|c: char| !c.is_ascii_digit())
                .parse::<u64>()
                .unwrap() as u8
        };
        let mut model = Self {
            revision: store.version().revision,
            ..Self::default()
        };
        for stored in store.providers().await.unwrap() {
            model
                .providers
                .insert(number(stored.value.spec.name.as_str()), stored.revision);
        }
        for stored in store.users().await.unwrap() {
            let email = &stored.value.spec.email;
            assert_eq!(store.user_by_email(email).await.unwrap().unwrap(), stored);
            let number_of_email = number(email.as_str().split('@').next().unwrap());
            model
                .users
                .insert(stored.value.id.as_bytes()[0], (number_of_email, stored.revision));
        }
        for stored in store.api_keys().await.unwrap() {
            let owner = stored.value.spec.owner.as_bytes()[0];
            model
                .keys
                .insert(number(stored.value.id.as_str()), (owner, stored.revision));
        }
        model
    }
}

impl Wish {
    fn to_expect(self, current: Option<&u64>) -> Expect {
        match self {
            Self::Absent => Expect::Absent,
            Self::Present => Expect::Present,
            Self::Any => Expect::Any,
            Self::Current(more) => Expect::Revision(current.unwrap_or(&0) + more),
        }
    }

    /// `current` is of within the commit; a wish for a revision is of before it.
    fn holds(self, current: Option<&u64>) -> bool {
        match self {
            Self::Absent => current.is_none(),
            Self::Present => current.is_some(),
            Self::Any => true,
            Self::Current(more) => current.is_some() && more == 0,
        }
    }
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        Just(Wish::Absent),
        Just(Wish::Present),
        Just(Wish::Any),
        (0_u64..2).prop_map(Wish::Current)
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0_u8..3, wish()).prop_map(|(n, wish)| Op::PutProvider(n, wish)),
        (0_u8..3, wish()).prop_map(|(n, wish)| Op::DeleteProvider(n, wish)),
        (0_u8..4, 0_u8..4, wish()).prop_map(|(n, email, wish)| Op::PutUser(n, email, wish)),
        (0_u8..4, wish()).prop_map(|(n, wish)| Op::DeleteUser(n, wish)),
        (0_u8..3, 0_u8..4, wish()).prop_map(|(n, owner, wish)| Op::PutKey(n, owner, wish)),
        (0_u8..3, wish()).prop_map(|(n, wish)| Op::DeleteKey(n, wish)),
    ]
}

/// A commit touches each thing once, so that a wished revision is that of before.
fn commit_of_distinct_things() -> impl Strategy<Value = Vec<Op>> {
    vec(op(), 1..4).prop_map(|ops| {
        let mut seen = std::collections::BTreeSet::new();
        let thing = |op: &Op| match *op {
            Op::PutProvider(n, _) | Op::DeleteProvider(n, _) => (0, n),
            Op::PutUser(n, ..) | Op::DeleteUser(n, _) => (1, n),
            Op::PutKey(n, ..) | Op::DeleteKey(n, _) => (2, n),
        };
        ops.into_iter().filter(|op| seen.insert(thing(op))).collect()
    })
}

fn step() -> impl Strategy<Value = Step> {
    (commit_of_distinct_things(), any::<u8>()).prop_map(|(ops, dice)| {
        if dice < 16 {
            Step::Reopen
        } else {
            Step::Commit(ops)
        }
    })
}

/// Carries out the steps on both and compares after each.
fn follow(home: &Home, steps: &[Step]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut store = home.open();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Reopen => {
                    store.close().await;
                    drop(store);
                    store = home.open();
                }
                Step::Commit(ops) => {
                    let result = commit(&store, model.to_changes(ops)).await;
                    match model.after(ops) {
                        Some(next) => {
                            assert_eq!(result.unwrap().revision, next.revision);
                            model = next;
                        }
                        None => assert!(result.is_err(), "{ops:?} on {model:?}"),
                    }
                }
            }
            assert_eq!(Model::of(&store).await, model);
        }
    });
}

fn check(cases: u32, home: impl Fn() -> Home) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&vec(step(), 1..60), |steps| {
            follow(&home(), &steps);
            Ok(())
        })
        .unwrap();
}

#[test]
fn sled_does_what_the_model_does() {
    check(24, Home::new);
}

#[test]
fn postgres_does_what_the_model_does() {
    if let Some(_keeps_the_server) = Home::in_database() {
        check(8, || Home::in_database().unwrap());
    }
}
