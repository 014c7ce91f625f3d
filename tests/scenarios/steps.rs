//! The control plane is killed before every single step of a change: each system call that
//! writes, syncs or answers, one after the other. What was acknowledged or published is
//! there afterwards, and what was not is there as a whole or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bridge_proto::admin::v1::{CreateApiKeyRequest, ListApiKeysRequest};
use bridge_tests::admin::Admin;
use bridge_tests::bridge::Bridge;
use bridge_tests::process::Process;
use bridge_tests::strace::{Strace, Trouble};
use bridge_tests::wait;
use bridge_tests::watcher::{Gauge, Watcher};
use tokio::time::timeout;

/// What writes, makes durable, tells the database, or answers.
const CALLS: [&str; 10] = [
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "sendto",
    "sendmsg",
    "fsync",
    "fdatasync",
    "ftruncate",
    "rename",
];
/// Of one call in one thread. There are more only where something else goes on meanwhile.
const STEPS_MAX: usize = 16;
/// How long a kill is waited for once the change is answered and published.
const NO_KILL_AFTER: Duration = Duration::from_millis(300);
const LOOK_EVERY: Duration = Duration::from_millis(5);

struct Trial {
    bridge: Bridge,
    admin: Admin,
    watcher: Watcher,
    /// Names of keys that were acknowledged, each with its revision.
    acknowledged: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    /// Before the kill.
    acknowledged: usize,
    /// Cut off, and there as a whole.
    kept: usize,
    not_there: usize,
    /// The change was done before the step came.
    not_reached: usize,
}

async fn create(admin: &Admin, name: &str, acknowledged: &mut BTreeMap<String, u64>) -> Result<u64> {
    let answer = admin.keys().create_api_key(request(name)).await?.into_inner();
    let revision = answer.api_key.context("a created key has no record")?.revision;
    acknowledged.insert(name.to_owned(), revision);
    Ok(revision)
}

async fn ended(process: &mut Process) {
    while matches!(process.exit_status(), Ok(None)) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn request(name: &str) -> CreateApiKeyRequest {
    CreateApiKeyRequest {
        name: name.to_owned(),
        idempotency_key: name.to_owned(),
        ..CreateApiKeyRequest::default()
    }
}

impl Trial {
    async fn start_with(mut bridge: Bridge) -> Result<Self> {
        let admin = bridge.admin().await?;
        let token = std::fs::read_to_string(bridge.folder().join("node-token"))?;
        let fleet = bridge.control().fleet_address();
        let gauge = Arc::<Gauge>::default();
        let watcher = Watcher::start("watcher".to_owned(), fleet, token.trim(), &gauge)?;
        let mut trial = Self {
            bridge,
            admin,
            watcher,
            acknowledged: BTreeMap::new(),
        };
        // What is done once only is behind us, and it follows.
        trial.change("first").await?;
        Ok(trial)
    }

    /// Returns when the fleet was told of it.
    async fn change(&mut self, name: &str) -> Result<()> {
        let revision = create(&self.admin, name, &mut self.acknowledged).await?;
        self.watcher.wait_for(revision).await
    }

    /// The same, unless the control plane is killed over it; says whether it was.
    async fn change_under_kill(&mut self, name: &str) -> Result<bool> {
        let Self {
            bridge,
            admin,
            watcher,
            acknowledged,
        } = self;
        let process = bridge.control().process()?;
        let changing = async {
            let revision = create(admin, name, acknowledged).await?;
            watcher.wait_for(revision).await
        };
        tokio::select! {
            biased;
            _ = ended(process) => return Ok(true),
            changed = changing => if let Err(error) = changed {
                // Cut off; otherwise it should have been done.
                let was_killed = timeout(wait::DEADLINE, ended(process)).await.is_ok();
                ensure!(was_killed, "{name}: {error:#}");
                return Ok(true);
            },
        }
        Ok(timeout(NO_KILL_AFTER, ended(process)).await.is_ok())
    }

    async fn attach(&mut self, trouble: Option<Trouble<'_>>) -> Result<Option<Strace>> {
        let pid = self.bridge.control().process()?.pid();
        Strace::attach(pid, &CALLS, trouble, self.bridge.folder()).await
    }

    /// One change under a kill, and what became of it.
    async fn try_step(&mut self, call: &str, number: usize, tally: &mut Tally) -> Result<()> {
        let name = format!("{call} {number}");
        let strace = self.attach(Some(Trouble::Kill { call, number })).await?;
        let strace = strace.context("it could be attached before")?;
        let was_killed = self.change_under_kill(&name).await?;
        drop(strace);
        let was_acknowledged = self.acknowledged.contains_key(&name);
        if !was_killed {
            tally.not_reached += 1;
            return Ok(());
        }
        tally.kills += 1;
        tally.acknowledged += usize::from(was_acknowledged);
        // What the fleet was told, before anything is there to tell it more.
        let told = self.watcher.seen().version.1;
        let verified = self.bridge.control().run(&["verify"], &[]).await?;
        ensure!(verified.is_good, "{name}: {verified:?}");
        self.bridge.control().start().await?;
        self.admin = self.bridge.admin().await?;
        let found = self.keys().await?;
        let newest = found.values().copied().max().unwrap_or_default();
        ensure!(told <= newest, "{name}: {told} was published, {newest} is there");
        for (name, revision) in &self.acknowledged {
            ensure!(
                found.get(name) == Some(revision),
                "{name} was acknowledged: {found:?}"
            );
        }
        ensure!(
            found.len()
                == self.acknowledged.len() + usize::from(!was_acknowledged && found.contains_key(&name)),
            "{name}: {found:?}"
        );
        if !was_acknowledged {
            tally.kept += usize::from(found.contains_key(&name));
            tally.not_there += usize::from(!found.contains_key(&name));
        }
        // Asked for again, it is there once.
        self.change(&name).await?;
        let again = self.keys().await?;
        ensure!(again.len() == self.acknowledged.len(), "{name}: {again:?}");
        Ok(())
    }

    /// Every key by its name, with its revision.
    async fn keys(&self) -> Result<BTreeMap<String, u64>> {
        let request = ListApiKeysRequest {
            page_size: 1000,
            ..ListApiKeysRequest::default()
        };
        let answer = self.admin.keys().list_api_keys(request).await?.into_inner();
        let count = answer.api_keys.len();
        let keys: BTreeMap<_, _> = answer
            .api_keys
            .into_iter()
            .map(|key| (key.name, key.revision))
            .collect();
        ensure!(keys.len() == count, "a key is there twice: {keys:?}");
        Ok(keys)
    }
}

#[tokio::test]
async fn killed_before_any_step_of_a_change_nothing_told_is_lost() -> Result<()> {
    let mut trial = Trial::start_with(Bridge::start(0).await?).await?;
    let Some(strace) = trial.attach(None).await? else {
        return Ok(());
    };
    trial.change("surveyed").await?;
    let steps = strace.counts()?;
    ensure!(!steps.is_empty(), "a change takes steps");
    let mut tally = Tally::default();
    for (call, count) in &steps {
        for number in 1..=(*count).min(STEPS_MAX) {
            trial.try_step(call, number, &mut tally).await?;
        }
    }
    let faults = trial.watcher.seen().faults;
    assert_eq!(faults, Vec::<String>::new(), "what the fleet saw");
    ensure!(tally.kills > 0 && tally.not_there > 0, "{tally:?}");
    eprintln!(
        "figure: killed before every step of a change ({steps:?}): {tally:?}; 0 acknowledged or published and lost"
    );
    Ok(())
}

#[tokio::test]
async fn a_change_that_the_disk_did_not_take_is_told_to_nobody() -> Result<()> {
    let Some(bridge) = Bridge::start_on_folder(0).await? else {
        return Ok(());
    };
    let mut trial = Trial::start_with(bridge).await?;
    let before = trial.watcher.seen().version;
    let lost = Trouble::Fail {
        call: "fdatasync",
        error: "EIO",
    };
    let Some(strace) = trial.attach(Some(lost)).await? else {
        return Ok(());
    };
    for name in ["not synced", "not even tried"] {
        let refused = trial.admin.keys().create_api_key(request(name)).await;
        ensure!(refused.is_err(), "{name} was acknowledged: {refused:?}");
    }
    assert_eq!(trial.watcher.seen().version, before, "what the fleet was told");
    drop(strace);
    // Whether the disk has the first one is not known, so that nothing is written on top of it.
    let refused = trial.admin.keys().create_api_key(request("later")).await;
    ensure!(refused.is_err(), "it was acknowledged: {refused:?}");
    assert_eq!(trial.watcher.seen().version, before, "what the fleet was told");
    trial.bridge.control().kill()?;
    trial.bridge.control().start().await?;
    trial.admin = trial.bridge.admin().await?;
    let found = trial.keys().await?;
    ensure!(
        found.contains_key("first") && !found.contains_key("not even tried") && !found.contains_key("later"),
        "{found:?}"
    );
    for name in ["not synced", "not even tried", "later"] {
        trial.change(name).await?;
    }
    assert_eq!(trial.keys().await?.len(), trial.acknowledged.len());
    assert_eq!(
        trial.watcher.seen().faults,
        Vec::<String>::new(),
        "what the fleet saw"
    );
    Ok(())
}
