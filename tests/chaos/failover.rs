//! A provider is killed under load while another stands behind it: nobody may notice but streams
//! that had begun, and each of those ends in one honest error.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bridge_proto::admin::v1::{Provider, TierModels};
use bridge_tests::admin::{self, Admin};
use bridge_tests::bridge::Bridge;
use bridge_tests::load::client::End;
use bridge_tests::load::tally::Times;
use bridge_tests::load::{Ask, Client, Protocol, Sample, Upstream, open_loop};

use crate::report::{Plan, Report, Run};

pub(crate) const RUN: Run = Run {
    name: "failover",
    rows: "E33",
    about: "a provider is killed under load: only streams that had begun see it",
    start: |plan| Box::pin(run(plan)),
};

const PIECES: u32 = 20;
const PIECE_INTERVAL: Duration = Duration::from_millis(20);
const THINKING_TIME: Duration = Duration::from_millis(30);
/// One of so many requests is a stream.
const STREAM_EVERY: u64 = 3;
/// What falling over may add.
const ADDED_MAX: Duration = Duration::from_millis(300);
/// A stream that was sent longer ago than this was over.
const STREAM_TIME_MAX: Duration = Duration::from_secs(3);

async fn run(plan: Plan) -> Result<Report> {
    let (rate, time) = plan.pick((40.0, Duration::from_secs(4)), (200.0, Duration::from_secs(30)));
    let bridge = Bridge::start(1).await?;
    let admin = bridge.admin().await?;
    let (first, second) = (Upstream::start().await?, Upstream::start().await?);
    offer(&admin, "first", 1, &first).await?;
    offer(&admin, "second", 2, &second).await?;
    let key = bridge.accepted_key(&admin).await?;
    let client = Client::new(bridge.client(0, "")?.base_url(), &key, Protocol::Http1);
    let warm = client.send(&ask(1)).await;
    anyhow::ensure!(warm.is_good(), "{warm:?}");

    let killing = async move {
        tokio::time::sleep(time / 2).await;
        drop(first);
        Instant::now()
    };
    let load = open_loop(rate, time, |number, due| {
        let client = client.clone();
        async move { client.send_due(&ask(number), due).await }
    });
    let (samples, killed_at) = tokio::join!(load, killing);
    judge(plan, &samples, killed_at)
}

fn judge(plan: Plan, samples: &[Sample], killed_at: Instant) -> Result<Report> {
    let mut report = Report::new(plan);
    report.figure("requests", samples.len());
    let refused = samples
        .iter()
        .filter(|sample| matches!(sample.end, End::Refused(_)))
        .count();
    let broken: Vec<&Sample> = samples
        .iter()
        .filter(|sample| matches!(sample.end, End::Failed(_)))
        .collect();
    let is_honest = |sample: &&&Sample| match &sample.end {
        End::Failed(words) => words.starts_with("the stream ends in") && had_begun(sample, killed_at),
        End::Good | End::Refused(_) => false,
    };
    let honest = broken.iter().filter(is_honest).count();
    report.must(
        "E33",
        "no request is refused",
        format!("{refused} refused"),
        refused == 0,
    );
    report.must(
        "E33",
        "only streams that had begun break, each with one error",
        format!(
            "{} broken, {honest} of them so: {:?}",
            broken.len(),
            broken.first().map(|sample| &sample.end)
        ),
        honest == broken.len(),
    );
    report.must("E33", "some had begun", format!("{honest} streams"), honest > 0);
    let (mut before, mut after) = (Times::new()?, Times::new()?);
    for sample in samples.iter().filter(|sample| sample.is_good()) {
        let Some(head_took) = sample.head_took else {
            continue;
        };
        let is_before = sample.sent_at + sample.took < killed_at;
        if is_before { &mut before } else { &mut after }.add(head_took);
    }
    let added = after.p99().saturating_sub(before.p99());
    report.should(
        "E33",
        format!("falling over adds at most {ADDED_MAX:?} (p99 to the head)"),
        format!("{added:?}; before {before}, from the kill on {after}"),
        added <= ADDED_MAX,
    );
    Ok(report)
}

/// Whether a stream could have had content when the provider died.
fn had_begun(sample: &Sample, killed_at: Instant) -> bool {
    let since = killed_at.checked_duration_since(sample.sent_at);
    sample.head_took.is_some() && since.is_some_and(|since| since < STREAM_TIME_MAX)
}

async fn offer(admin: &Admin, name: &str, priority: i32, upstream: &Upstream) -> Result<()> {
    let stream = format!("stream@{PIECES}x{}", PIECE_INTERVAL.as_millis());
    let whole = format!("whole@{}", THINKING_TIME.as_millis());
    let provider = Provider {
        priority,
        models: Some(TierModels {
            big: vec![stream],
            small: vec![whole],
            ..TierModels::default()
        }),
        ..admin::provider(name, &upstream.base_url(), "")
    };
    let made = Box::pin(admin.create_provider(provider)).await;
    made.map(drop).with_context(|| format!("cannot offer {name}"))
}

fn ask(number: u64) -> Ask {
    let (model, ask) = match number % STREAM_EVERY {
        0 => ("opus", Ask::stream(PIECES, PIECE_INTERVAL)),
        _ => ("haiku", Ask::whole(THINKING_TIME)),
    };
    Ask {
        model: model.to_owned(),
        ..ask
    }
}
