//! No descriptor left: more clients than the system has sockets for. Whoever is served stays
//! served, nothing spins, and the next client gets in when there is room again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bridge_tests::load::{Ask, LoadStage, Protocol};
use bridge_tests::vitals::Vitals;
use bridge_tests::wait;
use http_body_util::BodyExt;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::report::{Plan, Report, Run};

pub(crate) const RUN: Run = Run {
    name: "descriptors",
    rows: "F51",
    about: "more clients than descriptors: streams live, nothing spins, the next one gets in",
    start: |plan| Box::pin(run(plan)),
};

const DESCRIPTORS: u64 = 256;
const CLIENTS: usize = 1000;
const SHARE_MAX: f64 = 0.1;
const RECOVERY_MAX: Duration = Duration::from_secs(1);
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// A stream that lasts longer than the run.
const PIECES: u32 = 600;
const PIECE_INTERVAL: Duration = Duration::from_millis(200);

async fn run(plan: Plan) -> Result<Report> {
    let look = Duration::from_secs(plan.pick(2, 10));
    let mut stage = LoadStage::start(1, &[]).await?;
    let client = stage.client(0, Protocol::Http1)?;
    let warm = client.send(&Ask::whole(Duration::ZERO)).await;
    ensure!(warm.is_good(), "{warm:?}");
    let mut report = Report::new(plan);

    let mut stream = client
        .open(&Ask::stream(PIECES, PIECE_INTERVAL))
        .await?
        .into_body();
    let node = stage.bridge.node(0)?;
    let (address, pid) = (node.address(), node.process()?.pid());
    limit(pid)?;
    let crowd = crowd(&address).await;
    let share = share(pid, look, async {
        while let Some(Ok(_)) = stream.frame().await {}
    })
    .await?;
    judge_share(&mut report, "data plane", crowd.len(), share);
    let alive = timeout(CONNECT_MAX, stream.frame()).await;
    report.must(
        "F51",
        "a stream lives on",
        format!("{:?}", alive.as_ref().map(Option::is_some)),
        matches!(alive, Ok(Some(Ok(_)))),
    );
    drop(crowd);
    let freed = Instant::now();
    let stranger = stage.client(0, Protocol::Http1)?;
    wait::until("a new client to be served", || async {
        let answer = timeout(CONNECT_MAX, stranger.send(&Ask::whole(Duration::ZERO))).await;
        answer.ok().filter(|answer| answer.is_good())
    })
    .await?;
    judge_recovery(&mut report, "data plane", freed.elapsed());

    let control = stage.bridge.control();
    let (address, pid) = (control.admin_address(), control.process()?.pid());
    limit(pid)?;
    let crowd = self::crowd(&address).await;
    let share = self::share(pid, look, std::future::pending::<()>()).await?;
    judge_share(&mut report, "control plane", crowd.len(), share);
    drop(crowd);
    let freed = Instant::now();
    wait::until("an admin to be let in", || async {
        stage.bridge.admin().await.ok()
    })
    .await?;
    judge_recovery(&mut report, "control plane", freed.elapsed());
    Ok(report)
}

pub(crate) fn limit(pid: u32) -> Result<()> {
    let pid = Pid::from_raw(pid.try_into()?).context("a process id")?;
    let narrow = Rlimit {
        current: Some(DESCRIPTORS),
        maximum: Some(DESCRIPTORS),
    };
    prlimit(Some(pid), Resource::Nofile, narrow)?;
    Ok(())
}

/// Clients that say nothing.
pub(crate) async fn crowd(address: &str) -> Vec<TcpStream> {
    let connecting = (0..CLIENTS).map(|_| timeout(CONNECT_MAX, TcpStream::connect(address)));
    let connected = futures_util::future::join_all(connecting).await;
    connected.into_iter().filter_map(|it| it.ok()?.ok()).collect()
}

/// The part of one processor that a process takes.
async fn share(pid: u32, look: Duration, meanwhile: impl Future<Output = ()>) -> Result<f64> {
    let before = Vitals::of(pid)?;
    tokio::select! {
        () = sleep(look) => {}
        () = meanwhile => anyhow::bail!("the stream ended"),
    }
    let after = Vitals::of(pid)?;
    Ok((after.processor_ms - before.processor_ms) / 1000.0 / look.as_secs_f64())
}

fn judge_share(report: &mut Report, plane: &str, clients: usize, share: f64) {
    report.should(
        "F51",
        "at most 10 % of a processor while there is no descriptor",
        format!("{plane}, {clients} clients: {:.1} %", 100.0 * share),
        share <= SHARE_MAX,
    );
}

fn judge_recovery(report: &mut Report, plane: &str, took: Duration) {
    report.should(
        "F51",
        format!("the next client is served within {RECOVERY_MAX:?}"),
        format!("{plane}: {} ms", took.as_millis()),
        took <= RECOVERY_MAX,
    );
}
