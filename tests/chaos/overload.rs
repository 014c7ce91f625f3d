//! Three times what a node can do: what it does must stay what it could do at most, the rest
//! must hear so at once, and a moment after the storm everything must be as before.
//!
//! A machine that others share is not as fast in one minute as in the next. So the storm comes in
//! gusts, what the node can do at most is measured before and after each of them, and the mean
//! of both is what a gust is held against.
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
const CLIENTS: [usize; 4] = [16, 64, 128, 256];
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
/// How often and how long the node is looked at after a gust, and when it counts as quiet again.
const PROBES_PER_SECOND: f64 = 10.0;
const CALM_SECONDS: u64 = 3;
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
    gusts: usize,
    gust: Duration,
    closed: Duration,
}

/// What was seen of one gust.
struct Gust {
    /// Good answers in a second.
    goodput: f64,
    all: Vec<Sample>,
    /// Of the client that is not busy: until the node had found its limit, and later.
    first: Vec<Sample>,
    watched: Vec<Sample>,
}

async fn run(plan: Plan) -> Result<Report> {
    let seconds = |short, full| Duration::from_secs(plan.pick(short, full));
    let load = Load {
        seed: plan.seed,
        gusts: plan.pick(1, 4),
        gust: seconds(3, 15),
        closed: seconds(2, 8),
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
        let clients = self.most_useful(&client, report).await?;
        report.figure("node before the storm", stage.vitals(0)?);
        let mut peaks = vec![self.goodput_of(clients, &client, report).await?];
        let mut gusts = Vec::with_capacity(self.gusts);
        let mut recoveries = Vec::with_capacity(self.gusts);
        for _ in 0..self.gusts {
            let watcher = stage.client(0, Protocol::Http1)?;
            let gust = self.gust(&client, watcher, LOAD * mean(&peaks)).await?;
            report.figure(
                "gust",
                format!("{:.0}/s, {}", gust.goodput, Tally::of(&gust.all)?),
            );
            gusts.push(gust);
            let calm = self.probe(&client, CALM_SECONDS).await;
            recoveries.push(recovery(&calm, quiet.good.p99() * QUIET_FACTOR));
            peaks.push(self.goodput_of(clients, &client, report).await?);
        }
        report.figure("node after the storm", stage.vitals(0)?);
        judge(report, &peaks, gusts, &recoveries)
    }

    /// The number of clients of which the node answers most.
    async fn most_useful(self, client: &Client, report: &mut Report) -> Result<usize> {
        let mut best = (0.0, WARM_UP_CLIENTS);
        for clients in CLIENTS {
            let rate = self.goodput_of(clients, client, report).await?;
            if rate > best.0 {
                best = (rate, clients);
            }
        }
        Ok(best.1)
    }

    /// Good answers in a second, once the node has found its limit.
    async fn goodput_of(self, clients: usize, client: &Client, report: &mut Report) -> Result<f64> {
        let settled = Instant::now() + SETTLING;
        let samples = self.closed_loop(client, clients, SETTLING + self.closed).await;
        let (rate, tally) = (good_in(settled, self.closed, &samples), Tally::of(&samples)?);
        report.figure(format!("{clients} clients"), format!("{rate:.0}/s, {tally}"));
        Ok(rate)
    }

    async fn gust(self, client: &Client, watcher: Client, rate: f64) -> Result<Gust> {
        let settled = Instant::now() + SETTLING;
        let time = SETTLING + self.gust;
        let watcher = self.watch(watcher, time)?;
        let all = self.open_loop(client, rate, time).await;
        let (first, watched) = watcher
            .await?
            .into_iter()
            .partition(|sample| sample.sent_at < settled);
        Ok(Gust {
            goodput: good_in(settled, self.gust, &all),
            all,
            first,
            watched,
        })
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
    fn watch(self, client: Client, time: Duration) -> Result<oneshot::Receiver<Vec<Sample>>> {
        let (done, samples) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().spawn(move || {
            let watched = runtime.block_on(self.open_loop(&client, WATCHED_PER_SECOND, time));
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

fn judge(
    report: &mut Report,
    peaks: &[f64],
    gusts: Vec<Gust>,
    recoveries: &[Option<Duration>],
) -> Result<()> {
    let around: Vec<f64> = peaks.windows(2).map(mean).collect();
    let peak = mean(&around);
    let goodputs: Vec<f64> = gusts.iter().map(|gust| gust.goodput).collect();
    let goodput = mean(&goodputs);
    let (mut all, mut first, mut watched) = (Vec::new(), Vec::new(), Vec::new());
    for gust in gusts {
        all.extend(gust.all);
        first.extend(gust.first);
        watched.extend(gust.watched);
    }
    let (all, first, watched) = (Tally::of(&all)?, Tally::of(&first)?, Tally::of(&watched)?);

    report.figure("refused as the generator saw it", &all.refused);
    report.figure(format!("refused in the first {SETTLING:?}"), &first.refused);
    report.should(
        "F49",
        format!(
            "goodput of {:.0} % of the peak of {peak:.0}/s at {LOAD} times as much",
            GOODPUT_MIN * 100.0
        ),
        format!("{goodput:.0}/s, {:.0} %", goodput / peak * 100.0),
        goodput >= peak * GOODPUT_MIN,
    );
    let other = all.all() - all.good.count() - all.shed();
    report.must(
        "F49",
        format!("every request is answered or refused with {SHED_STATUS}"),
        format!("{other} of {} otherwise", all.all()),
        other == 0,
    );
    report.should(
        "F49",
        format!("refused within {REFUSAL_MAX:?} (p99)"),
        format!("{} refused, {}", watched.refused.count(), watched.refused),
        watched.refused.count() > 0 && watched.refused.p99() <= REFUSAL_MAX,
    );
    let slowest = recoveries
        .iter()
        .copied()
        .try_fold(Duration::ZERO, |slowest, recovery| {
            recovery.map(|time| slowest.max(time))
        });
    report.should(
        "F49",
        format!("as before within {RECOVERY_MAX:?}"),
        slowest.map_or("never".to_owned(), |time| format!("{time:.1?}")),
        slowest.is_some_and(|time| time <= RECOVERY_MAX),
    );
    Ok(())
}

fn mean(figures: &[f64]) -> f64 {
    figures.iter().sum::<f64>() / figures.len() as f64
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
