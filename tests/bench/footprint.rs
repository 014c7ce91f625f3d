//! What the binaries weigh: size on disk, idle memory, and processor time per small request
//! as a ratio to a floor that only hands bytes on.
//!
//! Run it on release binaries: `cargo build --release --workspace && target/release/footprint`.
//! Both sides answer the same number of requests in turns, so that a noisy machine is
//! noisy for both.

mod pass;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bridge_tests::anthropic::{Client, ask};
use bridge_tests::faultd::Script;
use bridge_tests::faultd::answer::Answer;
use bridge_tests::ports::free_port;
use bridge_tests::process::binary;
use bridge_tests::stage::{MODEL, Stage};
use bridge_tests::vitals::{Vitals, mebibytes};
use bridge_tests::wait;
use clap::{Parser, Subcommand};
use serde_json::{Value, json};

/// Requests in flight at once.
const CONCURRENCY: usize = 8;

#[derive(Parser)]
struct Arguments {
    /// Counted requests per turn and side.
    #[arg(long, default_value_t = 4000)]
    requests: usize,

    #[arg(long, default_value_t = 5)]
    turns: usize,

    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// Serves the floor; the benchmark starts this itself.
    Pass { listen: String, upstream: String },
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments {
        requests,
        turns,
        role,
    } = Arguments::parse();
    match role {
        Some(Role::Pass { listen, upstream }) => match pass::serve(&listen, &upstream).await? {},
        None => measure(requests, turns).await,
    }
}

async fn measure(requests: usize, turns: usize) -> Result<()> {
    let mut stage = Stage::start().await?;
    stage
        .upstream
        .always(MODEL, Script::answer(Answer::text("Hello there.")));
    let floor = Floor::start(&stage.upstream.base_url()).await?;

    let mut out = std::io::stdout();
    for name in ["bridge-control-plane", "bridge-data-plane"] {
        let bytes = std::fs::metadata(binary(name)?)?.len();
        writeln!(out, "{name}: {:.1} MiB on disk", mebibytes(bytes))?;
    }
    let control = stage.bridge.control().process()?.pid();
    let node = stage.bridge.node(0)?.process()?.pid();
    writeln!(
        out,
        "idle memory: control plane {:.1} MiB",
        Vitals::of(control)?.resident_mebibytes()
    )?;
    // A node that has served nothing: the first one has counted tokens, which loads their tables.
    stage.bridge.add_node().await?;
    let idle = stage.bridge.node(1)?.process()?.pid();
    writeln!(
        out,
        "idle memory: data plane {:.1} MiB; {:.1} MiB with the tokenizer's tables",
        Vitals::of(idle)?.resident_mebibytes(),
        Vitals::of(node)?.resident_mebibytes()
    )?;

    let through_bridge = Load {
        client: stage.client()?,
        path: "/v1/messages",
        body: ask(MODEL, "Say hello."),
    };
    let through_floor = Load {
        client: Client::new(&floor.base_url, &stage.key),
        path: "/v1/chat/completions",
        body: json!({"model": MODEL, "messages": [{"role": "user", "content": "Say hello."}]}),
    };
    through_bridge.run(requests / 4).await?;
    through_floor.run(requests / 4).await?;
    let mut ratios = Vec::new();
    for turn in 1..=turns {
        let bridge_ms = through_bridge.cost_ms(node, requests).await?;
        let floor_ms = through_floor.cost_ms(floor.child.id(), requests).await?;
        ratios.push(bridge_ms / floor_ms);
        let per_thousand = 1000.0 / requests as f64;
        writeln!(
            out,
            "turn {turn}: processor time per 1,000 requests: data plane {:.0} ms, floor {:.0} ms, ratio {:.2}",
            bridge_ms * per_thousand,
            floor_ms * per_thousand,
            bridge_ms / floor_ms,
        )?;
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios.get(ratios.len() / 2).context("at least one turn")?;
    writeln!(out, "median ratio to the floor: {median:.2}")?;
    writeln!(
        out,
        "memory after it: data plane {:.1} MiB",
        Vitals::of(node)?.resident_mebibytes()
    )?;
    Ok(())
}

/// The floor as a process of its own, so that its time can be told apart.
struct Floor {
    base_url: String,
    child: std::process::Child,
}

impl Floor {
    async fn start(upstream: &str) -> Result<Self> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let child = Command::new(std::env::current_exe()?)
            .args(["pass", &address, upstream])
            .stdin(Stdio::null())
            .spawn()?;
        let floor = Self {
            base_url: format!("http://{address}"),
            child,
        };
        wait::until("the floor to listen", || async {
            tokio::net::TcpStream::connect(&address).await.ok()
        })
        .await?;
        Ok(floor)
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

struct Load {
    client: Client,
    path: &'static str,
    body: Value,
}

impl Load {
    /// Sends the request so many times, some at once; any answer but 200 is an error.
    async fn run(&self, requests: usize) -> Result<()> {
        let body = self.body.to_string();
        let worker = || async {
            for _ in 0..requests / CONCURRENCY {
                let answer = self.client.post(self.path, body.clone()).await?;
                ensure!(
                    answer.status == 200,
                    "{} answered {}: {}",
                    self.path,
                    answer.status,
                    answer.body
                );
            }
            Ok(())
        };
        let workers: Vec<_> = (0..CONCURRENCY).map(|_| worker()).collect();
        futures_util::future::try_join_all(workers).await?;
        Ok(())
    }

    /// Milliseconds of processor time that `pid` spent on them.
    async fn cost_ms(&self, pid: u32, requests: usize) -> Result<f64> {
        let before = Vitals::of(pid)?.processor_ms;
        let started = Instant::now();
        self.run(requests).await?;
        let rate = requests as f64 / started.elapsed().as_secs_f64();
        writeln!(
            std::io::stdout(),
            "  {} requests/s through {}",
            rate.round(),
            self.path
        )?;
        Ok(Vitals::of(pid)?.processor_ms - before)
    }
}
