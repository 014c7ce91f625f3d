//! Nodes that go, by order and without: the fleet behind a balancer is rolled under load, a
//! node full of streams is told to end, and one is killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bridge_tests::balancer::{Backend, Balancer};
use bridge_tests::load::{Ask, Client, LoadStage, Protocol, Sample, Tally, open_loop};
use bridge_tests::wait;
use tokio::task::JoinSet;

use crate::report::{Plan, Report, Run};

pub(crate) const RUN: Run = Run {
    name: "roll",
    rows: "D28 D29 D31",
    about: "nodes end under load, by SIGTERM behind a balancer and by SIGKILL",
    start: |plan| Box::pin(run(plan)),
};

const NODES: usize = 3;
/// Several probes of the balancer.
const DRAIN_DELAY_S: &str = "1";
/// Every third request is a stream of two seconds.
const STREAM_EVERY: u64 = 3;
const PIECES: u32 = 20;
const PIECE_INTERVAL: Duration = Duration::from_millis(100);
const WHOLE_TIME: Duration = Duration::from_millis(30);
const EXIT_MAX: Duration = Duration::from_secs(25);

async fn run(plan: Plan) -> Result<Report> {
    let mut report = Report::new(plan);
    let (mut stage, balancer) = fleet().await?;
    // In the short form one roll is enough for both protocols.
    let rolls: &[(u32, &[Protocol])] = plan.pick(
        &[(1, &[Protocol::Http1, Protocol::Http2])],
        &[(5, &[Protocol::Http1]), (1, &[Protocol::Http2])],
    );
    for (rounds, protocols) in rolls {
        rolled(plan, &mut stage, &balancer, *rounds, protocols, &mut report).await?;
    }
    killed(plan, &mut stage, &balancer, &mut report).await?;
    told_to_end(plan, &mut report).await?;
    Ok(report)
}

fn mixed(number: u64) -> Ask {
    match number % STREAM_EVERY {
        0 => Ask::stream(PIECES, PIECE_INTERVAL),
        _ => Ask::whole(WHOLE_TIME),
    }
}

/// A fleet and the balancer before it.
async fn fleet() -> Result<(LoadStage, Balancer)> {
    let mut stage = LoadStage::start(NODES, &[("DRAIN_DELAY_S", DRAIN_DELAY_S)]).await?;
    let mut backends = Vec::new();
    for index in 0..NODES {
        let node = stage.bridge.node(index)?;
        backends.push(Backend {
            address: node.address(),
            ready_url: node.ready_url(),
        });
    }
    let balancer = Balancer::start(backends).await?;
    balancer.wait_for_ready(NODES).await?;
    Ok((stage, balancer))
}

async fn rolled(
    plan: Plan,
    stage: &mut LoadStage,
    balancer: &Balancer,
    rounds: u32,
    protocols: &[Protocol],
    report: &mut Report,
) -> Result<()> {
    let rate = plan.pick(60.0, 200.0);
    let rate_each = rate / protocols.len() as f64;
    let turned_away_before = balancer.turned_away();
    let is_over = Arc::new(AtomicBool::new(false));
    let loads: Vec<_> = protocols
        .iter()
        .map(|protocol| {
            let client = Client::new(&balancer.base_url(), &stage.key, *protocol);
            tokio::spawn(load_until(Arc::clone(&is_over), client, rate_each))
        })
        .collect();
    for _ in 0..rounds {
        for index in 0..NODES {
            let node = stage.bridge.node(index)?;
            let status = node.process()?.terminate().await?;
            ensure!(status.success(), "{} ended with {status}", node.name());
            node.start()?;
            node.wait_until_ready().await?;
            balancer.wait_for_ready(NODES).await?;
        }
    }
    is_over.store(true, Ordering::Relaxed);
    for (protocol, load) in protocols.iter().zip(loads) {
        let tally = Tally::of(&load.await?)?;
        report.must(
            "D28",
            format!(
                "0 failed requests in {rounds} rounds of {NODES} nodes at {rate_each}/s, every stream whole"
            ),
            format!("{protocol:?}, {} failed: {tally}", tally.bad()),
            tally.bad() == 0,
        );
        // What is on its way while its idle connection is being closed gets no answer over HTTP/1.1,
        // and that is nobody's fault: the SDKs send it again.
        report.figure("requests that were sent again", tally.retried);
    }
    report.figure(
        "connections that the balancer turned away",
        balancer.turned_away() - turned_away_before,
    );
    Ok(())
}

/// Load in turns of a second, for as long as a roll lasts.
async fn load_until(is_over: Arc<AtomicBool>, client: Client, rate: f64) -> Vec<Sample> {
    let mut turns = JoinSet::new();
    let mut first = 0;
    while !is_over.load(Ordering::Relaxed) {
        let second = tokio::time::sleep(Duration::from_secs(1));
        turns.spawn(open_loop_from(first, rate, client.clone()));
        first += rate as u64;
        second.await;
    }
    turns.join_all().await.concat()
}

async fn open_loop_from(first: u64, rate: f64, client: Client) -> Vec<Sample> {
    open_loop(rate, Duration::from_secs(1), move |number, due| {
        let client = client.clone();
        async move { client.send_patiently(&mixed(first + number), due).await }
    })
    .await
}

/// SIGTERM while streams are open.
async fn told_to_end(plan: Plan, report: &mut Report) -> Result<()> {
    let streams = plan.pick(50, 500);
    let every = Duration::from_millis(plan.pick(100, 1000));
    let mut stage = LoadStage::start(1, &[]).await?;
    let client = stage.client(0, Protocol::Http1)?;
    let started = Instant::now();
    let mut open = JoinSet::new();
    for tag in 1..=streams {
        let (client, ask) = (client.clone(), Ask::stream(PIECES, every).tagged(tag));
        open.spawn(async move { client.send(&ask).await });
    }
    wait::until("every stream to be open", || async {
        (1..=streams)
            .all(|tag| stage.upstream.exchange(tag).is_some())
            .then_some(())
    })
    .await?;
    let node = stage.bridge.node(0)?;
    let told_at = Instant::now();
    node.process()?.signal("TERM")?;
    let samples = open.join_all().await;
    let streamed = started.elapsed();
    let status = node.process()?.wait_for_exit().await?;
    let exit_took = told_at.elapsed();
    let tally = Tally::of(&samples)?;
    report.must(
        "D29",
        format!("{streams} streams open at SIGTERM all end with message_stop"),
        &tally,
        tally.bad() == 0,
    );
    report.must("D29", "exit code 0", status, status.success());
    report.should(
        "D29",
        format!("exit within {EXIT_MAX:?}"),
        format!("{exit_took:.1?} after SIGTERM, streams of {streamed:.1?}"),
        exit_took <= EXIT_MAX,
    );
    Ok(())
}

/// SIGKILL of one of three, while clients retry as the official SDKs do.
async fn killed(plan: Plan, stage: &mut LoadStage, balancer: &Balancer, report: &mut Report) -> Result<()> {
    let rate = plan.pick(60.0, 200.0);
    let time = Duration::from_secs(plan.pick(4, 20));
    let client = Client::new(&balancer.base_url(), &stage.key, Protocol::Http1);
    let load = tokio::spawn(async move {
        open_loop(rate, time, |number, due| {
            let (client, ask) = (client.clone(), mixed(number));
            async move { client.send_patiently(&ask, due).await }
        })
        .await
    });
    tokio::time::sleep(time / 2).await;
    let node = stage.bridge.node(0)?;
    let on_it = node.metric("bridge_requests_in_flight").await?;
    node.kill()?;
    let (streams, wholes) = Tally::apart(&load.await?)?;
    report.must(
        "D31",
        "0 errors of requests without a stream, with the default retries of the SDKs",
        &wholes,
        wholes.bad() == 0,
    );
    // The gauge counts whole answers too, so that it can only be too large a bound; a fleet
    // that loses streams of other nodes loses about three times as many.
    report.must(
        "D31",
        format!("streams are lost only with their node, which had {on_it} requests in flight"),
        &streams,
        streams.bad() as f64 <= on_it && streams.bad() == streams.failed,
    );
    Ok(())
}
