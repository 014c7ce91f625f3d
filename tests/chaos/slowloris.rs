//! Clients that keep their connection and say next to nothing: each is closed within its
//! limit, and nobody else notices.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bridge_tests::load::{Ask, LoadStage, Protocol, Tally, open_loop};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

use crate::report::{Plan, Report, Run};

pub(crate) const RUN: Run = Run {
    name: "slowloris",
    rows: "F50",
    about: "clients that drip heads and bodies: closed within their limits, the others are served",
    start: |plan| Box::pin(run(plan)),
};

const DRIP_INTERVAL: Duration = Duration::from_secs(1);
const OTHERS_PER_SECOND: f64 = 50.0;
/// How much later than its limit a connection may close on a busy machine.
const SLACK: Duration = Duration::from_secs(3);

/// What a client does not say.
#[derive(Clone, Copy, Debug)]
enum Drip {
    Silence,
    Head,
    /// The end of a body, after a part of it.
    BodyStops,
    Body,
}

impl Drip {
    /// Until when the node bears it.
    fn limit(self) -> Duration {
        Duration::from_secs(match self {
            Self::Silence | Self::Head => 10,
            Self::BodyStops => 30,
            Self::Body => 120,
        })
    }

    fn opening(self, key: &str) -> String {
        let head = format!(
            "POST /v1/messages HTTP/1.1\r\nhost: bridge\r\nx-api-key: {key}\r\ncontent-length: 100000\r\n"
        );
        match self {
            Self::Silence => String::new(),
            Self::Head => head,
            Self::BodyStops | Self::Body => head + "\r\n{",
        }
    }

    fn drips(self) -> bool {
        match self {
            Self::Silence | Self::BodyStops => false,
            Self::Head | Self::Body => true,
        }
    }

    /// How long the connection lasts.
    async fn run(self, address: &str, key: &str) -> Result<Duration> {
        let (mut reader, mut writer) = TcpStream::connect(address).await?.into_split();
        let began = Instant::now();
        writer.write_all(self.opening(key).as_bytes()).await?;
        let drip = async {
            let mut ticks = interval(DRIP_INTERVAL);
            while self.drips() {
                ticks.tick().await;
                if writer.write_all(b"x").await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        let mut answer = Vec::new();
        let closed = timeout(self.limit() + 2 * SLACK, reader.read_to_end(&mut answer));
        tokio::select! {
            closed = closed => {
                // A reset is an end, too.
                let _ = closed.with_context(|| format!("{self:?} is never closed"))?;
            }
            () = drip => {}
        }
        Ok(began.elapsed())
    }
}

async fn run(plan: Plan) -> Result<Report> {
    let drips: &[Drip] = plan.pick(
        &[Drip::Silence, Drip::Head],
        &[Drip::Silence, Drip::Head, Drip::BodyStops, Drip::Body],
    );
    let each = plan.pick(50, 500);
    let mut stage = LoadStage::start(1, &[]).await?;
    let client = stage.client(0, Protocol::Http1)?;
    let warm = client.send(&Ask::whole(Duration::ZERO)).await;
    ensure!(warm.is_good(), "{warm:?}");
    let (address, key) = (stage.bridge.node(0)?.address(), stage.key.clone());
    let longest = drips.iter().map(|drip| drip.limit()).max().unwrap_or_default();

    let dripping = drips.iter().map(|drip| {
        let clients = (0..each).map(|_| drip.run(&address, &key));
        async move { (*drip, futures_util::future::try_join_all(clients).await) }
    });
    let others = open_loop(OTHERS_PER_SECOND, longest, |_, due| {
        let client = client.clone();
        async move { client.send_due(&Ask::whole(Duration::ZERO), due).await }
    });
    let (dripped, others) = tokio::join!(futures_util::future::join_all(dripping), others);

    let mut report = Report::new(plan);
    for (drip, lasted) in dripped {
        let mut lasted = lasted?;
        lasted.sort();
        let (first, last) = (lasted.first().copied(), lasted.last().copied());
        let last = last.unwrap_or_default();
        report.should(
            "F50",
            format!("closed after {:?}", drip.limit()),
            format!(
                "{drip:?}, {each} clients: from {:?} to {last:?}",
                first.unwrap_or_default()
            ),
            last <= drip.limit() + SLACK && first.is_some_and(|first| first + SLACK >= drip.limit()),
        );
    }
    let others = Tally::of(&others)?;
    report.must("F50", "the others are all answered", &others, others.bad() == 0);
    Ok(report)
}
