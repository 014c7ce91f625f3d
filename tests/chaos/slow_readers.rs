//! Clients that hardly read: the upstream is held back instead of buffered for, and the
//! others notice nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bridge_tests::load::{Ask, Client, LoadStage, Protocol, Tally, open_loop};
use bridge_tests::vitals::mebibytes;
use bridge_tests::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::report::{Plan, Report, Run};

pub(crate) const RUN: Run = Run {
    name: "slow-readers",
    rows: "F48",
    about: "clients that read 1 KiB/s of endless streams: memory, the others, the upstream",
    start: |plan| Box::pin(run(plan)),
};

const STREAM_KIBIBYTES: u64 = 50 << 10;
const READ_BYTES: usize = 1 << 10;
const READ_INTERVAL: Duration = Duration::from_secs(1);
/// What a slow client's kernel takes before it stops the sender.
const RECEIVE_BUFFER_BYTES: u32 = 16 << 10;
const KIBIBYTES_EACH_MAX: u64 = 256;
/// Others, and how much slower they may be.
const OTHERS_PER_SECOND: f64 = 50.0;
const OTHERS_FACTOR_MAX: f64 = 1.1;
/// Below this a difference is the machine's.
const NOISE: Duration = Duration::from_millis(1);

async fn run(plan: Plan) -> Result<Report> {
    let readers = plan.pick(20, 200);
    let time = Duration::from_secs(plan.pick(3, 45));
    let mut report = Report::new(plan);
    let mut stage = LoadStage::start(1, &[]).await?;
    let client = stage.client(0, Protocol::Http1)?;
    let quiet = others(&client, time).await?;
    let before = stage.vitals(0)?;

    let address = stage.bridge.node(0)?.address();
    let mut reading = JoinSet::new();
    for tag in 1..=readers {
        let (address, key) = (address.clone(), stage.key.clone());
        reading.spawn(read_slowly(address, key, tag));
    }
    wait::until("every stream to have begun", || async {
        let has_begun = |tag| {
            stage
                .upstream
                .exchange(tag)
                .is_some_and(|exchange| exchange.body_bytes > 0)
        };
        (1..=readers).all(has_begun).then_some(())
    })
    .await?;
    let started = Instant::now();
    let disturbed = others(&client, time).await?;
    let during = stage.vitals(0)?;
    let sent: Vec<u64> = (1..=readers)
        .filter_map(|tag| Some(stage.upstream.exchange(tag)?.body_bytes))
        .collect();
    let most = sent.iter().copied().max().context("no stream")?;
    let read = READ_BYTES as u64 * started.elapsed().as_secs();
    ensure!(reading.try_join_next().is_none(), "a slow reader has ended");
    reading.shutdown().await;

    let more = during.resident_bytes.saturating_sub(before.resident_bytes);
    let limit = readers * KIBIBYTES_EACH_MAX * 1024;
    report.should(
        "F48",
        format!("memory of at most {KIBIBYTES_EACH_MAX} KiB for each of {readers}"),
        format!("{:.1} MiB, {} KiB each", mebibytes(more), more / readers / 1024),
        more <= limit,
    );
    report.must(
        "F48",
        format!(
            "the upstream of a stream of {} MiB is paused",
            STREAM_KIBIBYTES >> 10
        ),
        format!(
            "at most {:.1} MiB taken from one, {} KiB of it read",
            mebibytes(most),
            read / 1024
        ),
        most < STREAM_KIBIBYTES * 1024 / 2,
    );
    report.must(
        "F48",
        "the others are all answered",
        &disturbed,
        disturbed.bad() == 0,
    );
    let (before_p99, during_p99) = (quiet.good.p99(), disturbed.good.p99());
    report.should(
        "F48",
        format!("their p99 stays within 10 % of {before_p99:?}, or {NOISE:?}"),
        format!("{during_p99:?}"),
        during_p99 <= before_p99.mul_f64(OTHERS_FACTOR_MAX) + NOISE,
    );
    report.figure("others before", &quiet);
    report.figure("node before", before);
    report.figure("node with slow readers", during);
    Ok(report)
}

async fn others(client: &Client, time: Duration) -> Result<Tally> {
    let samples = open_loop(OTHERS_PER_SECOND, time, |_, due| {
        let client = client.clone();
        async move { client.send_due(&Ask::whole(Duration::ZERO), due).await }
    })
    .await;
    Tally::of(&samples)
}

/// On a socket of its own, since a library's client reads ahead. Never ends by itself.
async fn read_slowly(address: String, key: String, tag: u64) -> Result<()> {
    let mut socket = connect(&address).await?;
    let body = Ask::flood(STREAM_KIBIBYTES).tagged(tag).body();
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: {address}\r\nx-api-key: {key}\r\nanthropic-version: 2023-06-01\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(&body).await?;
    let mut piece = vec![0; READ_BYTES];
    loop {
        socket.read_exact(&mut piece).await?;
        tokio::time::sleep(READ_INTERVAL).await;
    }
}

async fn connect(address: &str) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    Ok(socket.connect(address.parse()?).await?)
}
