//! What the stock servers lack, shown on them first and then on ours: the one has no limit for
//! the head of a request, the other spins when it has no descriptor left. Were a library to
//! mend its fault, this run would fail: what we have put around it could go.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bridge_tests::load::LoadStage;
use bridge_tests::ports::free_port;
use bridge_tests::process::{Process, Program, binary};
use bridge_tests::vitals::runnable_ms;
use bridge_tests::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::descriptors::{crowd, limit};
use crate::report::{Plan, Report, Run};

pub(crate) const RUN: Run = Run {
    name: "stock",
    rows: "F50 F51",
    about: "the stock servers wait for ever for a head and spin without descriptors, ours do not",
    start: |plan| Box::pin(run(plan)),
};

const HALF_A_HEAD: &[u8] = b"GET / HTTP/1.1\r\nhost: ";
const ITS_REST: &[u8] = b"stock\r\nconnection: close\r\n\r\n";
const SERVED: &str = "HTTP/1.1 200 OK";
/// What our listeners give a head.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// On a busy machine.
const SLACK: Duration = Duration::from_secs(5);
/// The part of its time for which a process wants a processor: whoever spins wants it all.
const SPINS_FROM: f64 = 0.5;

async fn run(plan: Plan) -> Result<Report> {
    let mut report = Report::new(plan);
    let mut stage = LoadStage::start(1, &[]).await?;
    heads(plan, &mut stage, &mut report).await?;
    descriptors(plan, &mut stage, &mut report).await?;
    Ok(report)
}

async fn heads(plan: Plan, stage: &mut LoadStage, report: &mut Report) -> Result<()> {
    // A common default of libraries is half a minute.
    let patience = plan.pick(HEAD_MAX + SLACK, Duration::from_secs(60));
    let stock = Stock::start("axum").await?;
    let node = stage.bridge.node(0)?.address();
    let (theirs, ours) = tokio::join!(
        half_a_head(&stock.address, patience),
        half_a_head(&node, patience)
    );
    let (theirs, ours) = (theirs?, ours?);
    report.must(
        "F50",
        format!("axum's server still waits for a head after {patience:?}"),
        &theirs,
        matches!(theirs, Half::Answered),
    );
    report.must(
        "F50",
        format!("a node closes after {HEAD_MAX:?}"),
        &ours,
        matches!(ours, Half::Closed { after } if after <= HEAD_MAX + SLACK),
    );
    Ok(())
}

/// What becomes of a client that sends half a head and, if it may, the rest much later.
enum Half {
    Closed { after: Duration },
    Answered,
}

impl std::fmt::Display for Half {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed { after } => write!(f, "closed after {after:.1?}"),
            Self::Answered => f.write_str("the rest of the head was taken and answered"),
        }
    }
}

async fn half_a_head(address: &str, patience: Duration) -> Result<Half> {
    let mut stream = TcpStream::connect(address).await?;
    let began = Instant::now();
    stream.write_all(HALF_A_HEAD).await?;
    let mut answer = Vec::new();
    if timeout(patience, stream.read_to_end(&mut answer)).await.is_ok() {
        let after = began.elapsed();
        return Ok(Half::Closed { after });
    }
    stream.write_all(ITS_REST).await?;
    timeout(wait::DEADLINE, stream.read_to_end(&mut answer))
        .await
        .context("neither closed nor answered")??;
    let answer = String::from_utf8_lossy(&answer);
    anyhow::ensure!(answer.starts_with(SERVED), "{answer}");
    Ok(Half::Answered)
}

async fn descriptors(plan: Plan, stage: &mut LoadStage, report: &mut Report) -> Result<()> {
    let look = Duration::from_secs(plan.pick(2, 10));
    let stock = Stock::start("tonic").await?;
    let theirs = wants_without_descriptors(&stock.address, stock.process.pid(), look).await?;
    report.must(
        "F51",
        "tonic's server spins without descriptors",
        format!("it wants a processor for {:.0} % of its time", 100.0 * theirs),
        theirs >= SPINS_FROM,
    );
    drop(stock);
    let control = stage.bridge.control();
    let (address, pid) = (control.admin_address(), control.process()?.pid());
    let ours = wants_without_descriptors(&address, pid, look).await?;
    report.must(
        "F51",
        "a control plane does not",
        format!("it wants a processor for {:.0} % of its time", 100.0 * ours),
        ours < SPINS_FROM,
    );
    Ok(())
}

/// For which part of its time a process wants a processor while it has no descriptor left.
async fn wants_without_descriptors(address: &str, pid: u32, look: Duration) -> Result<f64> {
    limit(pid)?;
    let crowd = crowd(address).await;
    let before = runnable_ms(pid)?;
    sleep(look).await;
    let after = runnable_ms(pid)?;
    drop(crowd);
    Ok((after - before) / 1000.0 / look.as_secs_f64())
}

/// A stock server as a process; gone with its handle.
struct Stock {
    process: Process,
    address: String,
    _folder: tempfile::TempDir,
}

impl Stock {
    async fn start(library: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let words = [library, "--listen", &address];
        let process = Process::start(Program {
            name: library,
            binary: &binary("stock")?,
            arguments: words.map(str::to_owned).to_vec(),
            environment: Vec::new(),
            directory: folder.path(),
        })?;
        wait::until("the stock server to listen", || async {
            TcpStream::connect(&address).await.ok()
        })
        .await?;
        Ok(Self {
            process,
            address,
            _folder: folder,
        })
    }
}
