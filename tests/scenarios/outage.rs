//! The control plane is away, hangs or sends nonsense: nodes serve on, start from what they
//! kept, and judge expiry and age by themselves.

mod damaged;
mod expiry;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bridge_proto::fleet::v1::watch_request::Message as Up;
use bridge_tests::anthropic::{Client, ask};
use bridge_tests::bridge::Bridge;
use bridge_tests::fake_control_plane::{self as fake, FakeControlPlane, Snapshot};
use bridge_tests::faultd::{Faultd, Script};
use bridge_tests::namespace::small_disk;
use bridge_tests::process::binary;
use bridge_tests::stage::{MODEL, Stage};
use bridge_tests::wait;

const KEYS: u32 = 10_000;

/// One node, its upstream, and a control plane that does what the test wants.
struct Bed {
    control: FakeControlPlane,
    bridge: Bridge,
    upstream: Faultd,
}

impl Bed {
    /// Whoever made the node token is away.
    async fn new(keys: u32, stale_limit: Option<Duration>) -> Result<Self> {
        let mut bridge = Bridge::start(0).await?;
        bridge.control().kill()?;
        let upstream = Faultd::start().await?;
        upstream.always(MODEL, Script::text("Hi"));
        let resources = fake::resources(keys, &upstream.base_url(), MODEL, stale_limit);
        let control = FakeControlPlane::new(Snapshot::new(1, resources))?;
        Ok(Self {
            control,
            bridge,
            upstream,
        })
    }

    async fn start(keys: u32, stale_limit: Option<Duration>) -> Result<Self> {
        let mut bed = Self::new(keys, stale_limit).await?;
        bed.control.start()?;
        bed.bridge.add_node_behind(bed.control.port()).await?;
        Ok(bed)
    }

    fn client(&self, number: u32) -> Result<Client> {
        self.bridge.client(0, &fake::api_key(number).0)
    }

    async fn status(&self, number: u32) -> Result<u16> {
        Ok(self.client(number)?.messages(&ask("haiku", "Hi")).await?.status)
    }

    /// Waits until what is in force is on disk.
    async fn wait_until_kept(&mut self) -> Result<()> {
        let node = self.bridge.node(0)?;
        let written = "bridge_snapshot_cache_writes_total{result=\"written\"}";
        wait::until("the node to keep its snapshot", || async {
            node.metric(written).await.ok().map(|_| ())
        })
        .await
    }

    fn node_cache(&mut self) -> Result<PathBuf> {
        Ok(self.bridge.node(0)?.directory().join("data/snapshot-cache"))
    }

    /// Waits for a status of requests with this key; how long it took.
    async fn wait_for_status(&self, number: u32, wanted: u16) -> Result<Duration> {
        let started = Instant::now();
        let what = format!("key {number} to be answered {wanted}");
        wait::until(&what, || async {
            let status = self.status(number).await.ok()?;
            (status == wanted).then_some(())
        })
        .await?;
        Ok(started.elapsed())
    }
}

#[tokio::test]
async fn a_node_starts_from_what_it_kept_and_answers_the_same() -> Result<()> {
    let mut bed = Bed::start(KEYS, None).await?;
    bed.wait_until_kept().await?;
    bed.control.stop();
    bed.bridge.node(0)?.kill()?;

    let started = Instant::now();
    bed.bridge.node(0)?.start()?;
    bed.bridge.node(0)?.wait_until_ready().await?;
    eprintln!(
        "figure: ready with {KEYS} kept keys in {} ms",
        started.elapsed().as_millis()
    );
    for number in [0, KEYS / 2, KEYS - 1] {
        assert_eq!(bed.status(number).await?, 200, "key {number}");
    }
    assert_eq!(bed.status(KEYS).await?, 401);
    let answer = bed.client(1)?.messages(&ask("haiku", "Hi")).await?;
    assert_eq!(answer.header("x-bridge-config-version"), Some("1"));

    bed.control.forget();
    bed.control.start()?;
    let held = wait::until("the node to subscribe", || async {
        bed.control.seen().into_iter().find_map(|message| match message {
            Up::Subscribe(subscribe) => Some(subscribe.held),
            _ => None,
        })
    });
    assert_eq!(
        held.await?.map(|held| held.revision),
        Some(1),
        "it says what it holds"
    );
    Ok(())
}

#[tokio::test]
async fn an_empty_node_waits_for_the_control_plane_or_takes_a_file_of_another() -> Result<()> {
    let mut bed = Bed::start(1, None).await?;
    bed.wait_until_kept().await?;
    let file = bed.node_cache()?.join("a.snapshot");
    bed.control.stop();

    let port = bed.control.port();
    let empty = bed.bridge.add_stopped_node_behind(port, Vec::new())?;
    empty.start()?;
    empty.wait_until_live().await?;
    assert_eq!(empty.readiness().await, Some(503));
    let (known, unknown) = (fake::api_key(0).0, fake::api_key(9).0);
    for key in [&known, &unknown] {
        let answer = bed.bridge.client(1, key)?.messages(&ask("haiku", "Hi")).await?;
        assert_eq!((answer.status, answer.error_type()), (503, "api_error"));
    }
    let variables = vec![("BOOTSTRAP_SNAPSHOT", file.display().to_string())];
    let primed = bed.bridge.add_stopped_node_behind(port, variables)?;
    primed.start()?;
    primed.wait_until_ready().await?;
    let answer = bed
        .bridge
        .client(2, &known)?
        .messages(&ask("haiku", "Hi"))
        .await?;
    assert_eq!(answer.status, 200);

    let back = Instant::now();
    bed.control.start()?;
    bed.bridge.node(1)?.wait_until_ready().await?;
    eprintln!(
        "figure: serving {} ms after the control plane came back",
        back.elapsed().as_millis()
    );
    assert_eq!(
        bed.bridge
            .client(1, &known)?
            .messages(&ask("haiku", "Hi"))
            .await?
            .status,
        200
    );
    Ok(())
}

#[tokio::test]
async fn damaged_files_are_told_and_never_open() -> Result<()> {
    let mut bed = Bed::start(1, None).await?;
    bed.wait_until_kept().await?;
    let node = bed.bridge.node(0)?;
    node.process()?.terminate().await?;
    let directory = bed.bridge.node(0)?.directory();
    let check = |variables: Vec<(&str, String)>| -> Result<(Option<i32>, String)> {
        let output = Command::new(binary("bridge-data-plane")?)
            .arg("check")
            .env_clear()
            .envs(variables)
            .current_dir(&directory)
            .output()?;
        Ok((output.status.code(), String::from_utf8(output.stdout)?))
    };
    let variables = bed.bridge.node(0)?.environment();
    let (code, told) = check(variables.clone())?;
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("revision 1") && told.contains("1 keys"), "{told}");
    assert!(
        told.contains("this node starts without the control plane"),
        "{told}"
    );

    let file = bed.node_cache()?.join("a.snapshot");
    let mut bytes = std::fs::read(&file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes)?;
    let (code, told) = check(variables.clone())?;
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("bad: it does not open"), "{told}");
    let mut mistaken = variables;
    mistaken.push(("DRAIN_MAX_S", "soon".to_owned()));
    assert_eq!(check(mistaken)?.0, Some(2));

    bed.control.stop();
    let node = bed.bridge.node(0)?;
    node.start()?;
    node.wait_until_live().await?;
    assert_eq!(bed.status(0).await?, 503);
    bed.control.start()?;
    bed.wait_for_status(0, 200).await?;
    Ok(())
}

#[tokio::test]
async fn a_configuration_that_is_too_old_is_not_served() -> Result<()> {
    const LIMIT_S: u64 = 2;
    let mut bed = Bed::start(1, Some(Duration::from_secs(LIMIT_S))).await?;
    assert_eq!(bed.status(0).await?, 200);
    bed.wait_until_kept().await?;
    let left = Instant::now();
    bed.control.stop();
    bed.wait_for_status(0, 503).await?;
    let served = left.elapsed();
    assert!(served > Duration::from_secs(LIMIT_S - 1), "{served:?}");
    assert_eq!(bed.bridge.node(0)?.readiness().await, Some(503));
    let node = bed.bridge.node(0)?;
    wait::until("the alarm", || async {
        (node.metric("bridge_config_staleness").await.ok()? == 2.0).then_some(())
    })
    .await?;

    bed.bridge.node(0)?.kill()?;
    bed.bridge.node(0)?.start()?;
    bed.bridge.node(0)?.wait_until_live().await?;
    assert_eq!(bed.status(0).await?, 503, "a restart makes it no younger");
    let back = Instant::now();
    bed.control.start()?;
    bed.wait_for_status(0, 200).await?;
    eprintln!(
        "figure: served for {served:?} with a limit of {LIMIT_S} s, again {:?} after contact",
        back.elapsed()
    );
    Ok(())
}

#[tokio::test]
async fn a_full_disk_costs_what_is_kept_and_nothing_else() -> Result<()> {
    const DISK_KIB: u32 = 64;
    let mut bed = Bed::new(KEYS, None).await?;
    bed.control.start()?;
    let port = bed.control.port();
    bed.bridge.add_stopped_node_behind(port, Vec::new())?;
    let folder = bed.node_cache()?;
    let Some(prefix) = small_disk(&folder, DISK_KIB)? else {
        return Ok(());
    };
    let node = bed.bridge.node(0)?;
    node.set_prefix(prefix);
    node.start()?;
    node.wait_until_ready().await?;
    let failed = "bridge_snapshot_cache_writes_total{result=\"failed\"}";
    wait::until("a write that fails", || async {
        node.metric(failed).await.ok().map(|_| ())
    })
    .await?;
    let log = node.process()?.log_text();
    assert!(log.contains("the configuration cannot be kept"), "{log}");
    assert_eq!(bed.status(KEYS - 1).await?, 200);

    let resources = fake::resources(1, &bed.upstream.base_url(), MODEL, None);
    bed.control.publish(Snapshot::new(2, resources));
    bed.control.wait_for_ack().await?;
    bed.wait_until_kept().await?;
    assert_eq!(bed.status(0).await?, 200, "what fits is kept again");
    Ok(())
}

/// Requests one after the other until `done`; every one has to be good.
async fn serve_until(stage: &Stage, what: &str, done: impl AsyncFn() -> bool) -> Result<u32> {
    let client = stage.client()?;
    let deadline = Instant::now() + wait::DEADLINE;
    let mut served = 0;
    loop {
        let answer = client.messages(&ask("haiku", "Hi")).await?;
        ensure!(answer.status == 200, "{what}: {answer:?}");
        served += 1;
        if done().await {
            return Ok(served);
        }
        ensure!(Instant::now() < deadline, "{what} never happened");
    }
}

#[tokio::test]
async fn nobody_notices_a_control_plane_that_hangs_or_flaps() -> Result<()> {
    let mut stage = Stage::start().await?;
    stage.upstream.always(MODEL, Script::text("Hi"));
    stage.bridge.control().process()?.signal("STOP")?;
    let until = Instant::now() + Duration::from_secs(1);
    serve_until(&stage, "a second without it", async || Instant::now() > until).await?;
    stage.bridge.control().process()?.signal("CONT")?;
    for _ in 0..3 {
        stage.bridge.control().kill()?;
        serve_until(&stage, "a request while it is gone", async || true).await?;
        stage.bridge.control().start().await?;
        serve_until(&stage, "a request while it is back", async || true).await?;
    }
    let admin = stage.bridge.admin().await?;
    stage.bridge.accepted_key(&admin).await?;
    Ok(())
}
