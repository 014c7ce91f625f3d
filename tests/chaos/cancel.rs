//! Clients that hang up: before the head, in the middle of a stream, while a whole answer is
//! awaited. The upstream's connection has to go at once, and nothing may stay behind.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bridge_tests::load::tally::Times;
use bridge_tests::load::{Ask, Client, LoadStage, Protocol, Upstream};
use bridge_tests::wait;
use http_body_util::BodyExt;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::report::{Plan, Report, Run};

pub(crate) const RUN: Run = Run {
    name: "cancel",
    rows: "E44",
    about: "clients hang up at every stage: the upstream's connection goes, nothing stays",
    start: |plan| Box::pin(run(plan)),
};

const CLOSE_MAX: Duration = Duration::from_millis(100);
/// Hanging up at the same time.
const AT_ONCE: u64 = 8;
/// A stream that nobody reads to its end.
const PIECE_INTERVAL: Duration = Duration::from_millis(20);
const PIECES: u32 = 3000;
/// Longest time between the moment and the hang-up.
const HESITATION_MS_MAX: u64 = 20;
/// Descriptors that come and go by themselves: connections of probes and of the pool.
const DESCRIPTORS_SLACK: usize = 4;

/// When a client hangs up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    BeforeHead,
    MidStream,
    AwaitingWhole,
}

const MOMENTS: [Moment; 3] = [Moment::BeforeHead, Moment::MidStream, Moment::AwaitingWhole];

async fn run(plan: Plan) -> Result<Report> {
    let cancels = plan.pick(60, 1000);
    let mut rng = StdRng::seed_from_u64(plan.seed);
    let mut stage = LoadStage::start(1, &[]).await?;
    let client = stage.client(0, Protocol::Http1)?;
    // Tables, pools and threads are there before anything is counted.
    let warm = client.send(&Ask::whole(Duration::ZERO)).await;
    ensure!(warm.is_good(), "{warm:?}");
    let before = stage.vitals(0)?;

    let mut times = Vec::new();
    let mut broken_off = 0;
    for first in (0..cancels).step_by(AT_ONCE as usize) {
        let tags = first + 1..=(first + AT_ONCE).min(cancels);
        let hanging_up = tags.map(|tag| {
            let moment = MOMENTS[rng.random_range(0..MOMENTS.len())];
            let hesitation = Duration::from_millis(rng.random_range(0..=HESITATION_MS_MAX));
            hang_up(&client, &stage.upstream, moment, tag, hesitation)
        });
        for (moment, closing) in futures_util::future::try_join_all(hanging_up).await? {
            broken_off += u64::from(!closing.is_whole);
            times.push((moment, closing.took));
        }
    }

    let mut report = Report::new(plan);
    report.must(
        "E44",
        "every upstream exchange is broken off",
        format!("{broken_off} of {cancels}"),
        broken_off == cancels,
    );
    for moment in MOMENTS {
        let mut of_moment = Times::new()?;
        let matching = times.iter().filter(|(of, _)| *of == moment);
        matching.for_each(|(_, took)| of_moment.add(*took));
        report.should(
            "E44",
            format!("the upstream's connection closes within {CLOSE_MAX:?} (p99)"),
            format!("{moment:?}, {} times: {of_moment}", of_moment.count()),
            of_moment.p99() <= CLOSE_MAX,
        );
    }
    let in_flight = settled_in_flight(&mut stage).await?;
    report.must("E44", "0 requests in flight", in_flight, in_flight == 0.0);
    let after = stage.vitals(0)?;
    report.must(
        "E44",
        "no descriptor stays",
        format!("{} before, {} after", before.descriptors, after.descriptors),
        after.descriptors <= before.descriptors + DESCRIPTORS_SLACK,
    );
    report.figure("node before", before);
    report.figure("node after", after);
    Ok(report)
}

struct Closing {
    took: Duration,
    is_whole: bool,
}

/// Sends a request, drops it, and waits until the upstream has noticed.
async fn hang_up(
    client: &Client,
    upstream: &Upstream,
    moment: Moment,
    tag: u64,
    hesitation: Duration,
) -> Result<(Moment, Closing)> {
    let ask = match moment {
        Moment::BeforeHead => Ask::never(true),
        Moment::MidStream => Ask::stream(PIECES, PIECE_INTERVAL),
        Moment::AwaitingWhole => Ask::never(false),
    };
    let ask = ask.tagged(tag);
    let hung_up_at = match moment {
        Moment::MidStream => {
            let mut body = client.open(&ask).await?.into_body();
            let first = body.frame().await.context("no first event")?;
            first?;
            tokio::time::sleep(hesitation).await;
            drop(body);
            Instant::now()
        }
        Moment::BeforeHead | Moment::AwaitingWhole => {
            let leave = async {
                let arrived = wait::until("a request at the upstream", || async { upstream.exchange(tag) });
                arrived.await?;
                tokio::time::sleep(hesitation).await;
                anyhow::Ok(())
            };
            tokio::select! {
                answer = client.open(&ask) => anyhow::bail!("{moment:?} was answered: {answer:?}"),
                left = leave => left?,
            }
            Instant::now()
        }
    };
    let over = wait::until("the upstream's connection to close", || async {
        upstream.exchange(tag)?.over
    })
    .await?;
    let closing = Closing {
        took: over.at.saturating_duration_since(hung_up_at),
        is_whole: over.is_whole,
    };
    Ok((moment, closing))
}

/// Requests in flight once they have stopped changing, or whatever is left at the deadline.
async fn settled_in_flight(stage: &mut LoadStage) -> Result<f64> {
    let node = stage.bridge.node(0)?;
    let name = "bridge_requests_in_flight";
    let settled = wait::until("0 requests in flight", || async {
        node.metric(name).await.ok().filter(|requests| *requests == 0.0)
    });
    match settled.await {
        Ok(requests) => Ok(requests),
        Err(_) => node.metric(name).await,
    }
}
