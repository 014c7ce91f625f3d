//! Three times what a node can do: what it does must stay what it could do at most, the rest
//! must hear so at once, and a moment after the storm everything must be as before.
//!
//! What it can do at most is measured before the storm and after it, and the mean of both
//! counts: a machine that others share is not as fast in one minute as in the next.
//!
//! The node gets a part of one processor, so that the generator and the upstream can outdo it.
//! What is sent is what agents send: long prompts, whose answers are streamed in many pieces.
//! Most of a request's cost is in these pieces, and a refusal is cheap beside it. (Of whole
//! answers of an upstream that takes no time the opposite is true: they cost little more than
//! reading the prompt, which a refusal costs, too, so that nobody could keep them up.)

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use bridge_tests::cgroup::Cgroup;
use bridge_tests::load::client::End;
use bridge_tests::load::tally::SHED_STATUS;
use bridge_tests::load::{Ask, Client, LoadStage, Protocol, Sample, Tally, closed_loop, open_loop};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::report::{Plan, Report, Run};

pub(crate) const RUN: Run = Run {
    name: "overload",
    rows: "F49",
    about: "three times the capacity: goodput stays, the rest is refused at once",
    start: |plan| Box::pin(run(plan)),
};

/// Of one processor.
const NODE_SHARE: f64 = 0.25;
/// The numbers of clients that are tried to find the capacity.
const CLIENTS: [usize; 3] = [16, 64, 256];
/// Before anything is measured: tables are loaded and pages are there.
const WARM_UP_CLIENTS: usize = 16;
const WARM_UP: Duration = Duration::from_secs(3);
/// When those who are refused come again, as they are told.
const RETRY_AFTER: Duration = Duration::from_secs(1);
const LOAD: f64 = 3.0;
const GOODPUT_MIN: f64 = 0.9;
const REFUSAL_MAX: Duration = Duration::from_millis(20);
const RECOVERY_MAX: Duration = Duration::from_secs(2);
/// In which the node finds its limit: what is let in before is more than it can keep up.
const SETTLING: Duration = Duration::from_secs(2);
/// What a client that is not busy itself sends during the storm.
const WATCHED_PER_SECOND: f64 = 20.0;
/// How often the node is looked at after the storm, and when it counts as quiet again.
const PROBES_PER_SECOND: f64 = 10.0;
const QUIET_FACTOR: u32 = 3;
/// A conversation of usual length.
const PROMPT_BYTES: usize = 64 << 10;
/// What an upstream takes for a whole answer.
const WHOLE_TIME: Duration = Duration::from_millis(5);
/// A streamed one, and of a hundred so many are.
const STREAMED: u32 = 90;
const PIECES: u32 = 100;
const PIECE_TIME: Duration = Duration::from_millis(5);

/// What is sent, by which seed, and for how long.
#[derive(Clone, Copy)]
struct Load {
    seed: u64,
    storm: Duration,
    closed: Duration,
}

async fn run(plan: Plan) -> Result<Report> {
    let seconds = |short, full| Duration::from_secs(plan.pick(short, full));
    let load = Load {
        seed: plan.seed,
        storm: seconds(3, 60),
        closed: seconds(3, 10),
    };
    let mut report = Report::new(plan);
    load.measure(&mut report, plan).await?;
    Ok(report)
}

impl Load {
    async fn measure(self, report: &mut Report, plan: Plan) -> Result<()> {
        let mut stage = LoadStage::start(1, &[("LOG_LEVEL", "warning")]).await?;
        let group = Cgroup::cpu(NODE_SHARE)?;
        let node = stage.bridge.node(0)?;
        node.kill()?;
        node.set_prefix(group.entrance());
        node.start()?;
        node.wait_until_ready().await?;
        let client = stage.client(0, Protocol::Http1)?;
        self.closed_loop(&client, WARM_UP_CLIENTS, WARM_UP).await;

        let quiet = Tally::of(&self.probe(&client, plan.pick(1, 5)).await)?;
        report.figure("quiet", &quiet);
        let rising = self.capacity(&client, report).await?;
        let rate = LOAD * rising.iter().copied().fold(0.0, f64::max);

        let before = stage.vitals(0)?;
        let settled = Instant::now() + SETTLING;
        let watcher = self.watch(stage.client(0, Protocol::Http1)?)?;
        let storm = self.open_loop(&client, rate, SETTLING + self.storm).await;
        let (first, watched): (Vec<_>, Vec<_>) = watcher
            .await?
            .into_iter()
            .partition(|sample| sample.sent_at < settled);
        let watched = Tally::of(&watched)?;
        let (goodput, tally) = (good_in(settled, self.storm, &storm), Tally::of(&storm)?);
        let after = stage.vitals(0)?;
        report.figure("storm", &tally);
        report.figure("refused as the generator saw it", &tally.refused);
        report.figure(
            format!("refused in the first {SETTLING:?}"),
            Tally::of(&first)?.refused,
        );
        report.figure("node before the storm", before);
        report.figure("node after the storm", after);

        let calm = self.probe(&client, plan.pick(3, 10)).await;
        let recovery = recovery(&calm, quiet.good.p99() * QUIET_FACTOR);
        report.figure("afterwards", Tally::of(&calm)?);
        let falling = self.capacity(&client, report).await?;
        let means = rising.iter().zip(falling);
        let peak = means
            .map(|(before, after)| before.midpoint(after))
            .fold(0.0, f64::max);

        report.should(
            "F49",
            format!(
                "goodput of {:.0} % of the peak of {peak:.0}/s at {LOAD} times as much",
                GOODPUT_MIN * 100.0
            ),
            format!("{goodput:.0}/s, {:.0} %", goodput / peak * 100.0),
            goodput >= peak * GOODPUT_MIN,
        );
        let other = tally.all() - tally.good.count() - tally.shed();
        report.must(
            "F49",
            format!("every request is answered or refused with {SHED_STATUS}"),
            format!("{other} of {} otherwise", tally.all()),
            other == 0,
        );
        report.should(
            "F49",
            format!("refused within {REFUSAL_MAX:?} (p99)"),
            format!("{} refused, {}", watched.refused.count(), watched.refused),
            watched.refused.count() > 0 && watched.refused.p99() <= REFUSAL_MAX,
        );
        report.should(
            "F49",
            format!("as before within {RECOVERY_MAX:?}"),
            recovery.map_or("never".to_owned(), |time| format!("{time:.1?}")),
            recovery.is_some_and(|time| time <= RECOVERY_MAX),
        );
        Ok(())
    }

    /// Good answers in a second for each number of clients, once the node has found its limit.
    async fn capacity(self, client: &Client, report: &mut Report) -> Result<Vec<f64>> {
        let mut rates = Vec::with_capacity(CLIENTS.len());
        for clients in CLIENTS {
            let settled = Instant::now() + SETTLING;
            let samples = self.closed_loop(client, clients, SETTLING + self.closed).await;
            let (rate, tally) = (good_in(settled, self.closed, &samples), Tally::of(&samples)?);
            report.figure(format!("{clients} clients"), format!("{rate:.0}/s, {tally}"));
            rates.push(rate);
        }
        Ok(rates)
    }

    /// The `number`th request.
    fn ask(self, number: u64) -> Ask {
        let mut chance = StdRng::seed_from_u64(self.seed ^ number.rotate_left(32));
        let ask = if chance.random_range(0..100) < STREAMED {
            Ask::stream(PIECES, PIECE_TIME)
        } else {
            Ask::whole(WHOLE_TIME)
        };
        ask.padded(PROMPT_BYTES)
    }

    async fn closed_loop(self, client: &Client, clients: usize, time: Duration) -> Vec<Sample> {
        let client = client.clone();
        closed_loop(clients, time, move |number| {
            let client = client.clone();
            async move {
                let sample = client.send(&self.ask(number)).await;
                if matches!(sample.end, End::Refused(_)) {
                    sleep(RETRY_AFTER).await;
                }
                sample
            }
        })
        .await
    }

    async fn open_loop(self, client: &Client, rate: f64, time: Duration) -> Vec<Sample> {
        open_loop(rate, time, |number, due| {
            let client = client.clone();
            async move { client.send_due(&self.ask(number), due).await }
        })
        .await
    }

    /// Some requests each second during the storm, from a thread that has nothing else to do:
    /// the generator is late itself.
    fn watch(self, client: Client) -> Result<oneshot::Receiver<Vec<Sample>>> {
        let (done, samples) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().spawn(move || {
            let watched =
                runtime.block_on(self.open_loop(&client, WATCHED_PER_SECOND, SETTLING + self.storm));
            // Whoever waits may have given up.
            done.send(watched).ok();
        })?;
        Ok(samples)
    }

    /// A few requests each second, which disturb nobody.
    async fn probe(self, client: &Client, seconds: u64) -> Vec<Sample> {
        self.open_loop(client, PROBES_PER_SECOND, Duration::from_secs(seconds))
            .await
    }
}

/// Good answers in a second of this time; those that ended before or after it do not count.
fn good_in(start: Instant, time: Duration, samples: &[Sample]) -> f64 {
    let whole = start..start + time;
    let in_time = |sample: &&Sample| sample.is_good() && whole.contains(&(sample.sent_at + sample.took));
    samples.iter().filter(in_time).count() as f64 / time.as_secs_f64()
}

/// From the first of these samples on until all were good and quick; `None` if that never was.
fn recovery(samples: &[Sample], quick: Duration) -> Option<Duration> {
    let mut by_time: Vec<&Sample> = samples.iter().collect();
    by_time.sort_by_key(|sample| sample.sent_at);
    let first = by_time.first()?.sent_at;
    let is_disturbed = |sample: &&&Sample| !sample.is_good() || sample.took > quick;
    let Some(last) = by_time.iter().rposition(|sample| is_disturbed(&sample)) else {
        return Some(Duration::ZERO);
    };
    let next = by_time.get(last + 1)?;
    Some(next.sent_at - first)
}
