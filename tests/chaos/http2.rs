//! HTTP/2 as no client speaks it: floods of frames that cost the sender nothing. The frames are
//! made by hand, since no library sends them.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bridge_tests::load::{Ask, LoadStage, Protocol};
use bridge_tests::vitals::{Vitals, mebibytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{sleep, timeout};

use crate::report::{Plan, Report, Run};

pub(crate) const RUN: Run = Run {
    name: "http2",
    rows: "F55",
    about: "floods of HTTP/2 frames: the connection closes, processor and memory are free again",
    start: |plan| Box::pin(run(plan)),
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAMES_AT_ONCE: u32 = 256;
/// A flood ends by its count of frames; on a busy machine that takes its time.
const FLOOD_MAX: Duration = Duration::from_secs(120);
/// How long after a flood the node may still be busy, and how long it is looked at then.
const RECOVERY: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_secs(1);
/// The same in the short form, where processor and memory are told and do not decide.
const RECOVERY_SHORT: Duration = Duration::from_millis(500);
const LOOK_SHORT: Duration = Duration::from_millis(250);
const IDLE_SHARE_MAX: f64 = 0.1;
const GROWTH_MAX_MIB: f64 = 32.0;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

#[derive(Clone, Copy, Debug)]
enum Flood {
    RapidReset,
    Continuation,
    EmptyData,
    Streams,
    Ping,
    Settings,
}

const FLOODS: [Flood; 6] = [
    Flood::RapidReset,
    Flood::Continuation,
    Flood::EmptyData,
    Flood::Streams,
    Flood::Ping,
    Flood::Settings,
];

async fn run(plan: Plan) -> Result<Report> {
    let frames = plan.pick(400_000, 1_000_000);
    let (recovery, look) = plan.pick((RECOVERY_SHORT, LOOK_SHORT), (RECOVERY, LOOK));
    let mut stage = LoadStage::start(1, &[]).await?;
    let client = stage.client(0, Protocol::Http1)?;
    let warm = client.send(&Ask::whole(Duration::ZERO)).await;
    ensure!(warm.is_good(), "{warm:?}");
    // The tables of the tokenizer come with the first request.
    sleep(recovery).await;
    let address = stage.bridge.node(0)?.address();
    let pid = stage.bridge.node(0)?.process()?.pid();
    let mut report = Report::new(plan);
    for flood in FLOODS {
        let before = Vitals::of(pid)?;
        let flooded = flood.run(&address, frames).await?;
        sleep(recovery).await;
        let after = Vitals::of(pid)?;
        sleep(look).await;
        let later = Vitals::of(pid)?;
        report.figure(
            format!("{flood:?}"),
            format!(
                "{} frames in {:.2} s, which cost the node {:.2} s",
                flooded.frames,
                flooded.took.as_secs_f64(),
                (after.processor_ms - before.processor_ms) / 1000.0
            ),
        );
        report.must(
            "F55",
            "the connection is closed",
            format!("{flood:?}: closed {}", flooded.is_closed),
            flooded.is_closed,
        );
        let share = (later.processor_ms - after.processor_ms) / look.as_secs_f64() / 1000.0;
        report.should(
            "F55",
            format!("idle again within {recovery:?}"),
            format!("{flood:?}: {:.0} % of a processor", 100.0 * share),
            share <= IDLE_SHARE_MAX,
        );
        let grown = mebibytes(later.resident_bytes) - mebibytes(before.resident_bytes);
        report.should(
            "F55",
            format!("at most {GROWTH_MAX_MIB} MiB more"),
            format!("{flood:?}: {grown:.1} MiB"),
            grown <= GROWTH_MAX_MIB,
        );
        let good = client.send(&Ask::whole(Duration::ZERO)).await;
        report.must("F55", "others are served", format!("{good:?}"), good.is_good());
    }
    Ok(report)
}

struct Flooded {
    frames: u32,
    took: Duration,
    is_closed: bool,
}

impl Flood {
    async fn run(self, address: &str, frames_max: u32) -> Result<Flooded> {
        let (reader, mut writer) = TcpStream::connect(address).await?.into_split();
        let started = Instant::now();
        let closed = tokio::spawn(read_to_the_end(reader));
        writer
            .write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat())
            .await?;
        writer.write_all(&self.opening(address)).await?;
        let mut sent = 0;
        while sent < frames_max && started.elapsed() < FLOOD_MAX {
            let batch: Vec<u8> = (sent..sent + FRAMES_AT_ONCE)
                .flat_map(|nth| self.frames(nth, address))
                .collect();
            // A flooder does not care for answers, and sees only that nothing more is taken.
            match timeout(FLOOD_MAX, writer.write_all(&batch)).await {
                Ok(Ok(())) => sent += FRAMES_AT_ONCE,
                Ok(Err(_)) | Err(_) => break,
            }
        }
        let is_closed = matches!(timeout(FLOOD_MAX, closed).await, Ok(Ok(())));
        Ok(Flooded {
            frames: sent,
            took: started.elapsed(),
            is_closed,
        })
    }

    fn opening(self, address: &str) -> Vec<u8> {
        match self {
            Self::Continuation => frame(HEADERS, 0, 1, &head(address)),
            Self::EmptyData => frame(HEADERS, END_HEADERS, 1, &head(address)),
            Self::RapidReset | Self::Streams | Self::Ping | Self::Settings => Vec::new(),
        }
    }

    fn frames(self, nth: u32, address: &str) -> Vec<u8> {
        // Clients open streams of odd numbers.
        let stream = 2 * nth + 1;
        match self {
            Self::RapidReset => {
                let cancel = 8_u32.to_be_bytes();
                let open = frame(HEADERS, END_HEADERS, stream, &head(address));
                [open, frame(RST_STREAM, 0, stream, &cancel)].concat()
            }
            Self::Continuation => frame(CONTINUATION, 0, 1, &[]),
            Self::EmptyData => frame(DATA, 0, 1, &[]),
            Self::Streams => frame(HEADERS, END_HEADERS, stream, &head(address)),
            Self::Ping => frame(PING, 0, 0, &[0; 8]),
            Self::Settings => frame(SETTINGS, 0, 0, &[]),
        }
    }
}

/// Resolves when the server has closed, in whatever way.
async fn read_to_the_end(mut reader: OwnedReadHalf) {
    let mut buffer = vec![0; 1 << 16];
    while matches!(reader.read(&mut buffer).await, Ok(bytes) if bytes > 0) {}
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `POST /v1/messages`, in the words of HPACK that need no table.
fn head(authority: &str) -> Vec<u8> {
    const PATH: &[u8] = b"/v1/messages";
    let (post, http, path, host) = (0x83, 0x86, 0x04, 0x01);
    [
        &[post, http, path, PATH.len() as u8],
        PATH,
        &[host, authority.len() as u8],
        authority.as_bytes(),
    ]
    .concat()
}
