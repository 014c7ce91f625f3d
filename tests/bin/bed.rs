//! A whole bridge before the scripted upstream, for clients in other languages and for use by hand.
//!
//! It prints where everything is as shell assignments, a last line `ready`, and stays until its
//! standard input ends: a caller that dies takes it along.

use std::io::Write;

use anyhow::Result;
use bridge_proto::admin::v1::TierModels;
use bridge_tests::admin;
use bridge_tests::bridge::Bridge;
use bridge_tests::fake_upstream::{FakeUpstream, canned};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

const TIERS: usize = 3;

/// Starts a bridge with one node; the canned models are on offer under their own names.
#[derive(Parser)]
struct Arguments {
    /// Base URL of a further OpenAI-compatible server, registered as provider `local`.
    #[arg(long, requires = "model_name")]
    model_url: Option<String>,

    /// The model that it serves.
    #[arg(long)]
    model_name: Option<String>,

    /// How many data planes to start.
    #[arg(long, default_value_t = 1)]
    nodes: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments {
        model_url,
        model_name,
        nodes,
    } = Arguments::parse();
    let upstream = FakeUpstream::start().await?;
    let mut bridge = Bridge::start(nodes).await?;
    let admin = bridge.admin().await?;

    let mut scripted = admin::provider("scripted", &upstream.base_url(), "f-text");
    scripted.models = Some(offer_all());
    admin.create_provider(scripted).await?;
    if let (Some(url), Some(name)) = (model_url, model_name) {
        let mut local = admin::provider("local", &url, &name);
        local.priority = 2;
        local.dialect = "llama-cpp".to_owned();
        local.timeout = 600;
        admin.create_provider(local).await?;
    }
    // One provider's scripted failures must not close it to the next request.
    admin.set_breaker_enabled(false).await?;
    let key = bridge.accepted_key(&admin).await?;

    let mut out = std::io::stdout();
    for index in 0..nodes {
        let suffix = if index == 0 {
            String::new()
        } else {
            format!("_{index}")
        };
        writeln!(out, "BRIDGE_URL{suffix}={}", bridge.node(index)?.base_url())?;
    }
    writeln!(out, "BRIDGE_KEY={key}")?;
    writeln!(out, "ADMIN_URL=http://{}", bridge.control().admin_address())?;
    writeln!(out, "ADMIN_EMAIL={}", admin::EMAIL)?;
    writeln!(out, "ADMIN_PASSWORD='{}'", admin::PASSWORD)?;
    writeln!(out, "UPSTREAM_URL={}", upstream.base_url())?;
    writeln!(out, "ready")?;
    out.flush()?;

    let mut termination = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = input_ended() => {}
        _ = termination.recv() => {}
    }
    Ok(())
}

/// Every canned model is in some tier, and a tier's own request gets a sentence.
fn offer_all() -> TierModels {
    let names = canned::EXAMPLES.map(str::to_owned);
    let mut tiers = names.chunks(names.len().div_ceil(TIERS)).map(|part| {
        let first = std::iter::once("f-text".to_owned());
        first
            .chain(part.iter().filter(|name| *name != "f-text").cloned())
            .collect()
    });
    TierModels {
        big: tiers.next().unwrap_or_default(),
        middle: tiers.next().unwrap_or_default(),
        small: tiers.next().unwrap_or_default(),
    }
}

/// On a thread of its own: the runtime would wait for a blocking read before it ends.
fn input_ended() -> oneshot::Receiver<()> {
    let (ended, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        // An unreadable input has ended too; and if nobody waits any more, nobody needs to know.
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).ok();
        ended.send(()).ok();
    });
    receiver
}
