//! Many open streams with little to say, as coding agents have them all day: none may be lost,
//! and each may cost only so much memory. Over HTTP/1.1, also with prompts as agents send them,
//! and over HTTP/2.

use std::time::{Duration, Instant};

use anyhow::Result;
use bridge_tests::load::{Ask, Client, LoadStage, Protocol, Sample, Tally};
use bridge_tests::vitals::Vitals;
use tokio::task::JoinSet;

use crate::report::{Plan, Report, Run};

pub(crate) const RUN: Run = Run {
    name: "streams",
    rows: "F47",
    about: "thousands of open streams with an event each second; memory of each",
    start: |plan| Box::pin(run(plan)),
};

const EVENT_INTERVAL: Duration = Duration::from_secs(1);
const KIBIBYTES_MAX: f64 = 50.0;
/// A prompt that must not stay in memory while its answer streams.
const LARGE_PROMPT_BYTES: usize = 64 << 10;
/// New streams come at this rate: a thundering herd is another test.
const OPENED_PER_SECOND: u32 = 500;
/// Streams that share one HTTP/2 connection, below what a node allows.
const STREAMS_PER_CONNECTION: usize = 100;
/// Requests that make a node load whatever it loads once.
const WARM_UP: usize = 50;

async fn run(plan: Plan) -> Result<Report> {
    let mut report = Report::new(plan);
    for (protocol, prompt_bytes) in [
        (Protocol::Http1, 0),
        (Protocol::Http1, LARGE_PROMPT_BYTES),
        (Protocol::Http2, 0),
    ] {
        hold(plan, protocol, prompt_bytes, &mut report).await?;
    }
    Ok(report)
}

async fn hold(plan: Plan, protocol: Protocol, prompt_bytes: usize, report: &mut Report) -> Result<()> {
    let streams = plan.pick(150, 5000);
    let time = plan.time(Duration::from_secs(3), Duration::from_secs(600));
    let events = time.div_duration_f64(EVENT_INTERVAL) as u32;
    let mut stage = LoadStage::start(1, &[]).await?;
    let warm_up = stage.client(0, protocol)?;
    for _ in 0..WARM_UP {
        warm_up.send(&Ask::whole(Duration::ZERO)).await;
    }
    let before = stage.vitals(0)?;

    let clients = clients(&mut stage, protocol, streams)?;
    let started = Instant::now();
    let mut open = JoinSet::new();
    for (number, client) in (0..streams).zip(clients.iter().cycle()) {
        let (client, ask) = (
            client.clone(),
            Ask::stream(events, EVENT_INTERVAL).padded(prompt_bytes),
        );
        open.spawn(async move { client.send(&ask).await });
        let due = started + Duration::from_secs(1) * number as u32 / OPENED_PER_SECOND;
        tokio::time::sleep_until(due.into()).await;
    }
    // Halfway through, all of them are open.
    let opening = started.elapsed();
    let length = EVENT_INTERVAL * events;
    let middle = started + opening + length.saturating_sub(opening) / 2;
    tokio::time::sleep_until(middle.into()).await;
    let during = stage.vitals(0)?;
    let in_flight = stage.bridge.node(0)?.metric("bridge_requests_in_flight").await?;
    let samples: Vec<Sample> = open.join_all().await;
    let after = stage.vitals(0)?;

    let tally = Tally::of(&samples)?;
    let kind = format!(
        "{protocol:?}, prompts of {} KiB and a few words",
        prompt_bytes >> 10
    );
    report.must(
        "F47",
        format!("{streams} streams of {events} events over {kind}, none lost"),
        &tally,
        tally.bad() == 0 && tally.good.count() == streams as u64,
    );
    report.must(
        "F47",
        format!("{streams} were open at once"),
        in_flight,
        in_flight >= streams as f64,
    );
    let each = kibibytes_each(&before, &during, streams);
    report.should(
        "F47",
        format!("at most {KIBIBYTES_MAX} KiB of memory for each"),
        format!("{each:.1} KiB over {kind}"),
        each <= KIBIBYTES_MAX,
    );
    report.figure("node before", before);
    report.figure("node with all of them", during);
    report.figure("node after", after);
    Ok(())
}

/// Over HTTP/1.1 a stream has a connection of its own, whoever opens it.
fn clients(stage: &mut LoadStage, protocol: Protocol, streams: usize) -> Result<Vec<Client>> {
    let count = match protocol {
        Protocol::Http1 => 1,
        Protocol::Http2 => streams.div_ceil(STREAMS_PER_CONNECTION),
    };
    (0..count).map(|_| stage.client(0, protocol)).collect()
}

fn kibibytes_each(before: &Vitals, during: &Vitals, streams: usize) -> f64 {
    let more = during.resident_bytes.saturating_sub(before.resident_bytes);
    more as f64 / 1024.0 / streams as f64
}
