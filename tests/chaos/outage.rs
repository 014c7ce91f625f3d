//! The control plane is killed, hangs, is there without a word, comes and goes: clients notice
//! nothing of it, and a node that is started meanwhile serves with what it kept.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bridge_tests::hush::Hush;
use bridge_tests::load::{Ask, Client, LoadStage, Protocol, Tally, open_loop};

use crate::report::{Plan, Report, Run};

pub(crate) const RUN: Run = Run {
    name: "outage",
    rows: "C18 C19 C20",
    about: "the control plane is killed, hangs, is silent, flaps: no request fails",
    start: |plan| Box::pin(run(plan)),
};

const UPSTREAM_TIME: Duration = Duration::from_millis(20);
const PIECES: u32 = 10;
const PIECE_INTERVAL: Duration = Duration::from_millis(20);
/// One request of so many is a stream.
const STREAM_EVERY: u64 = 4;
const FLAP: Duration = Duration::from_secs(2);
const P99_CHANGE_MAX: f64 = 1.05;
const READY_MAX: Duration = Duration::from_secs(1);
/// Pauses between connections double from a tenth of a second to thirty seconds, each drawn
/// from nothing to that: so many come quickly, and then one in so many seconds at most.
const CONNECTIONS_AT_FIRST: u64 = 14;
const CONNECTION_EVERY: Duration = Duration::from_secs(5);
/// The longest of these pauses, and the time to connect.
const ARRIVAL_MAX: Duration = Duration::from_secs(35);

/// One node, and a way to the control plane that can fall silent.
struct Bed {
    stage: LoadStage,
    way: Hush,
    client: Client,
    rate: f64,
}

impl Bed {
    async fn start(rate: f64) -> Result<Self> {
        let mut stage = LoadStage::start(1, &[]).await?;
        let way = Hush::start(stage.bridge.control().fleet_address()).await?;
        let node = stage.bridge.node(0)?;
        ensure!(
            node.process()?.terminate().await?.success(),
            "the node did not end well"
        );
        node.set_fleet_port(way.port());
        node.start()?;
        node.wait_until_ready().await?;
        stage.bridge.wait_until_accepted(&stage.key).await?;
        let client = stage.client(0, Protocol::Http1)?;
        Ok(Self {
            stage,
            way,
            client,
            rate,
        })
    }

    /// A mix of whole answers and streams for so long.
    fn load(&self, time: Duration) -> impl Future<Output = Result<Tally>> + use<> {
        let (client, rate) = (self.client.clone(), self.rate);
        async move {
            let samples = open_loop(rate, time, |number, due| {
                let client = client.clone();
                async move { client.send_due(&mixed(number), due).await }
            });
            Tally::of(&samples.await)
        }
    }
}

fn mixed(number: u64) -> Ask {
    match number % STREAM_EVERY {
        0 => Ask::stream(PIECES, PIECE_INTERVAL),
        _ => Ask::whole(UPSTREAM_TIME),
    }
}

fn judge(report: &mut Report, row: &'static str, what: &str, tally: &Tally) {
    report.must(
        row,
        format!("0 failed requests while the control plane {what}"),
        format!("{} failed: {tally}", tally.bad()),
        tally.bad() == 0,
    );
}

async fn run(plan: Plan) -> Result<Report> {
    let time = Duration::from_secs(plan.pick(3, 60));
    let mut bed = Bed::start(plan.pick(30.0, 100.0)).await?;
    let mut report = Report::new(plan);
    // Pools, tables and threads are there before anything is compared.
    bed.load(Duration::from_secs(1)).await?;
    let before = bed.load(time).await?;
    judge(&mut report, "C18", "is there", &before);

    bed.stage.bridge.control().kill()?;
    let killed = bed.load(time).await?;
    judge(&mut report, "C18", "is gone", &killed);
    let change = killed.good.p99().as_secs_f64() / before.good.p99().as_secs_f64();
    report.should(
        "C18",
        format!("p99 at most {P99_CHANGE_MAX} times as before"),
        format!("{change:.2} times"),
        change <= P99_CHANGE_MAX,
    );

    started_meanwhile(&mut bed, &mut report).await?;
    bed.stage.bridge.control().start().await?;

    bed.stage.bridge.control().process()?.signal("STOP")?;
    let hung = bed.load(time).await?;
    bed.stage.bridge.control().process()?.signal("CONT")?;
    judge(&mut report, "C19", "hangs", &hung);

    bed.way.set_silent(true);
    let silent = bed.load(time).await?;
    bed.way.set_silent(false);
    judge(&mut report, "C19", "is silent on open connections", &silent);

    flapping(&mut bed, time, &mut report).await?;
    let took = arrival(&bed).await?;
    report.must(
        "C19",
        format!("a change arrives within {ARRIVAL_MAX:?} afterwards"),
        format!("{took:.1?}"),
        took <= ARRIVAL_MAX,
    );
    Ok(report)
}

/// How long a change takes to the node, which may be in one of its pauses.
async fn arrival(bed: &Bed) -> Result<Duration> {
    let admin = bed.stage.bridge.admin().await?;
    let (key, _) = admin.create_key("afterwards").await?;
    let made = Instant::now();
    while let Err(in_vain) = bed.stage.bridge.wait_until_accepted(&key).await {
        ensure!(made.elapsed() < ARRIVAL_MAX, in_vain);
    }
    Ok(made.elapsed())
}

/// A node that is killed and started while the control plane is gone.
async fn started_meanwhile(bed: &mut Bed, report: &mut Report) -> Result<()> {
    let node = bed.stage.bridge.node(0)?;
    node.kill()?;
    let started = Instant::now();
    node.start()?;
    node.wait_until_ready().await?;
    let took = started.elapsed();
    report.should(
        "C20",
        format!("ready within {READY_MAX:?} with what it kept"),
        format!("{took:.1?}"),
        took <= READY_MAX,
    );
    let kept = bed.load(Duration::from_secs(1)).await?;
    judge(report, "C20", "is gone and the node was started anew", &kept);
    Ok(())
}

async fn flapping(bed: &mut Bed, time: Duration, report: &mut Report) -> Result<()> {
    let load = tokio::spawn(bed.load(time));
    let (before, started) = (bed.way.connections(), Instant::now());
    while !load.is_finished() {
        let control = bed.stage.bridge.control();
        control.kill()?;
        tokio::time::sleep(FLAP).await;
        control.spawn()?;
        tokio::time::sleep(FLAP).await;
    }
    let took = started.elapsed();
    let connections = bed.way.connections() - before;
    judge(report, "C19", "comes and goes", &load.await??);
    let most = CONNECTIONS_AT_FIRST + took.as_secs() / CONNECTION_EVERY.as_secs();
    report.must(
        "C19",
        format!(
            "at most {most} connections in {} s: one for each pause",
            took.as_secs()
        ),
        connections,
        connections <= most,
    );
    bed.stage.bridge.control().wait_until_ready().await
}
