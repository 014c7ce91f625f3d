//! Hours of everything at once: whole answers, streams, long prompts, refusals, upstreams that
//! fail and clients that leave. What a node holds must not grow.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bridge_tests::load::client::End;
use bridge_tests::load::{Ask, Client, LoadStage, Protocol};
use bridge_tests::vitals::{Vitals, mebibytes};
use bridge_tests::wait;
use http_body_util::BodyExt;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::task::JoinSet;

use crate::report::{Plan, Report, Run};

pub(crate) const RUN: Run = Run {
    name: "soak",
    rows: "F56",
    about: "everything at once for long, with faults: memory, descriptors, panics",
    start: |plan| Box::pin(run(plan)),
};

const REQUESTS_PER_SECOND: u64 = 100;
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The part of the time in which memory still settles.
const WARM_UP: f64 = 0.3;
/// A slope over less time than this is noise, and only told.
const SLOPE_TIME_MIN: Duration = Duration::from_secs(30 * 60);
const SLOPE_MAX: f64 = 1.0;
const DESCRIPTORS_SLACK: usize = 8;
/// Threads of blocking work come with it, such as writing a file, and go ten seconds later.
const THREADS_SLACK: usize = 2;
const LONG_PROMPT_BYTES: usize = 512 << 10;
const PIECES: u32 = 20;
/// A request that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// One kind of request, and what has to become of it.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Whole,
    Stream,
    LongPrompt,
    /// The upstream says 400: the client has to hear it.
    Refused,
    /// The upstream fails: 5xx, or 503 once the breaker is open.
    Broken,
    LeavesBeforeHead,
    LeavesMidStream,
}

/// Kinds and how often each comes.
const MIX: [(Kind, u32); 7] = [
    (Kind::Whole, 40),
    (Kind::Stream, 30),
    (Kind::LongPrompt, 4),
    (Kind::Refused, 6),
    (Kind::Broken, 6),
    (Kind::LeavesBeforeHead, 7),
    (Kind::LeavesMidStream, 7),
];

async fn run(plan: Plan) -> Result<Report> {
    let time = plan.time(Duration::from_secs(5), Duration::from_secs(60 * 60));
    let mut rng = StdRng::seed_from_u64(plan.seed);
    let mut report = Report::new(plan);
    let mut stage = LoadStage::start(1, &[("LOG_LEVEL", "error")]).await?;
    let client = stage.client(0, Protocol::Http1)?;
    let pid = stage.bridge.node(0)?.process()?.pid();

    let mut course = Course::default();
    let mut flying = JoinSet::new();
    let mut wrong = Wrong::default();
    let started = Instant::now();
    let mut sent = 0;
    let mut next_look = LOOK_INTERVAL;
    while started.elapsed() < time {
        while sent < started.elapsed().as_millis() as u64 * REQUESTS_PER_SECOND / 1000 {
            flying.spawn(one(client.clone(), pick(&mut rng)));
            sent += 1;
        }
        while let Some(done) = flying.try_join_next() {
            wrong.note(done?);
        }
        if started.elapsed() >= next_look {
            course.note(started.elapsed(), Vitals::of(pid)?);
            next_look += LOOK_INTERVAL;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    while let Some(done) = flying.join_next().await {
        wrong.note(done?);
    }

    report.must(
        "F56",
        format!("each of {sent} requests ends as its kind has to, within {PATIENCE:?}"),
        &wrong,
        wrong.count == 0,
    );
    let node = stage.bridge.node(0)?;
    wait::until("0 requests in flight", || async {
        let requests = node.metric("bridge_requests_in_flight").await.ok();
        requests.filter(|requests| *requests == 0.0)
    })
    .await?;
    let panics = node.metric("bridge_panics_total").await?;
    report.must("F56", "0 panics", panics, panics == 0.0);
    let after = Vitals::of(pid)?;
    let settled = course.settled().context("too short")?;
    report.must(
        "F56",
        "descriptors and threads stay flat",
        format!(
            "{} and {} while it ran, {} and {} after",
            settled.descriptors, settled.threads, after.descriptors, after.threads
        ),
        after.descriptors <= settled.descriptors + DESCRIPTORS_SLACK
            && after.threads <= settled.threads + THREADS_SLACK,
    );
    let slope = course.slope_mebibytes_per_hour(time);
    let told = format!(
        "{slope:.1} MiB/h over {time:?}, {:.1} MiB at the end",
        mebibytes(after.resident_bytes)
    );
    match time >= SLOPE_TIME_MIN {
        true => report.should(
            "F56",
            format!("memory grows by at most {SLOPE_MAX} MiB/h"),
            told,
            slope <= SLOPE_MAX,
        ),
        false => report.figure("slope of memory, over too short a time to mean much", told),
    }
    Ok(report)
}

fn pick(rng: &mut StdRng) -> Kind {
    let all = MIX.iter().map(|(_, weight)| weight).sum();
    let mut at = rng.random_range(0..all);
    for (kind, weight) in MIX {
        match at.checked_sub(weight) {
            Some(rest) => at = rest,
            None => return kind,
        }
    }
    Kind::Whole
}

/// `Err` with the reason if it went otherwise than it has to.
async fn one(client: Client, kind: Kind) -> Result<()> {
    tokio::time::timeout(PATIENCE, try_one(&client, kind))
        .await
        .with_context(|| format!("{kind:?} hangs"))?
        .with_context(|| format!("{kind:?}"))
}

async fn try_one(client: &Client, kind: Kind) -> Result<()> {
    let pause = Duration::from_millis(50);
    match kind {
        Kind::Whole => good(client, &Ask::whole(pause)).await,
        Kind::Stream => good(client, &Ask::stream(PIECES, pause)).await,
        Kind::LongPrompt => good(client, &Ask::whole(pause).padded(LONG_PROMPT_BYTES)).await,
        Kind::Refused => status(client, &Ask::status(400), &[400]).await,
        Kind::Broken => status(client, &Ask::status(500), &[502, 503]).await,
        Kind::LeavesBeforeHead => {
            let asked = tokio::time::timeout(pause, client.open(&Ask::never(true))).await;
            match asked {
                Err(_left) => Ok(()),
                Ok(answer) => bail!("answered: {answer:?}"),
            }
        }
        Kind::LeavesMidStream => {
            let mut body = client.open(&Ask::stream(PIECES, pause)).await?.into_body();
            body.frame().await.context("no event")??;
            Ok(())
        }
    }
}

async fn good(client: &Client, ask: &Ask) -> Result<()> {
    let sample = client.send(ask).await;
    match &sample.end {
        End::Good => Ok(()),
        End::Refused(_) | End::Failed(_) => bail!("{:?}", sample.end),
    }
}

async fn status(client: &Client, ask: &Ask, expected: &[u16]) -> Result<()> {
    let answer = client.open(ask).await?;
    let status = answer.status().as_u16();
    answer.into_body().collect().await?;
    match expected.contains(&status) {
        true => Ok(()),
        false => bail!("{status} instead of {expected:?}"),
    }
}

/// Requests that went wrong, some in words.
#[derive(Default)]
struct Wrong {
    count: u64,
    words: Vec<String>,
}

impl Wrong {
    const WORDS_MAX: usize = 5;

    fn note(&mut self, done: Result<()>) {
        let Err(error) = done else { return };
        self.count += 1;
        if self.words.len() < Self::WORDS_MAX {
            self.words.push(format!("{error:#}"));
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} otherwise {:?}", self.count, self.words)
    }
}

/// What a node cost, second by second.
#[derive(Default)]
struct Course(Vec<(Duration, Vitals)>);

impl Course {
    fn note(&mut self, at: Duration, vitals: Vitals) {
        self.0.push((at, vitals));
    }

    /// The most of everything that it had once it was warm.
    fn settled(&self) -> Option<Vitals> {
        let warm = (self.0.len() as f64 * WARM_UP) as usize;
        let warm = self.0.get(warm..)?;
        warm.iter().map(|(_, vitals)| *vitals).reduce(|a, b| Vitals {
            resident_bytes: a.resident_bytes.max(b.resident_bytes),
            descriptors: a.descriptors.max(b.descriptors),
            threads: a.threads.max(b.threads),
            processor_ms: a.processor_ms.max(b.processor_ms),
        })
    }

    /// Least squares over what comes after the warm-up.
    fn slope_mebibytes_per_hour(&self, time: Duration) -> f64 {
        let warm = time.mul_f64(WARM_UP);
        let points: Vec<(f64, f64)> = self
            .0
            .iter()
            .filter(|(at, _)| *at >= warm)
            .map(|(at, vitals)| (at.as_secs_f64() / 3600.0, vitals.resident_mebibytes()))
            .collect();
        let count = points.len() as f64;
        let (mean_x, mean_y) = points.iter().fold((0.0, 0.0), |(x, y), point| {
            (x + point.0 / count, y + point.1 / count)
        });
        let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), (x, y)| {
            (
                above + (x - mean_x) * (y - mean_y),
                below + (x - mean_x) * (x - mean_x),
            )
        });
        if below > 0.0 { above / below } else { 0.0 }
    }
}
