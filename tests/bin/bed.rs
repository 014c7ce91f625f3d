//! A whole bridge before the scripted upstream, for clients in other languages and for use by hand.
//!
//! It prints where everything is as shell assignments, a last line `ready`, and stays until its
//! standard input ends: a caller that dies takes it along.

use std::io::Write;

use anyhow::Result;
use bridge_proto::admin::v1::{ApiFormat, TierModels};
use bridge_proto::fleet::v1::Dialect;
use bridge_tests::admin;
use bridge_tests::bridge::Bridge;
use bridge_tests::faultd::{Faultd, agent, canned};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// The first model of each tier, from the biggest down.
const TIERS: [&str; 3] = ["f-big", "f-middle", "f-small"];

/// For upstreams that are silent for minutes.
const PATIENCE_S: u32 = 600;

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
    let upstream = Faultd::start().await?;
    let mut bridge = Bridge::start(nodes).await?;
    let admin = bridge.admin().await?;

    let mut scripted = admin::provider("scripted", &upstream.base_url(), "f-text");
    scripted.models = Some(offer_all());
    admin.create_provider(scripted).await?;
    let mut agents = admin::provider("agents", &upstream.base_url(), "f-text");
    agents.priority = 2;
    agents.models = Some(TierModels {
        big: agent::EXAMPLES.iter().map(|name| (*name).to_owned()).collect(),
        ..TierModels::default()
    });
    admin.create_provider(agents).await?;
    let mut native = admin::provider("native", &upstream.base_url(), "n-text");
    native.priority = 3;
    native.api_format = ApiFormat::Anthropic.into();
    native.models = Some(TierModels {
        big: canned::NATIVE.iter().map(|name| (*name).to_owned()).collect(),
        ..TierModels::default()
    });
    admin.create_provider(native).await?;
    // Faults are too many to be listed.
    for (pattern, provider) in [("f-*~*", "scripted"), ("n-*~*", "native")] {
        admin.create_rule(pattern, admin::upstream(provider, "*")).await?;
    }
    for (model, dialect) in canned::DIALECTS {
        let mut provider = admin::provider(dialect, &upstream.base_url(), model);
        provider.priority = 3;
        provider.dialect = (*dialect).to_owned();
        admin.create_provider(provider).await?;
    }
    let mut unshrunk = admin::provider("unshrunk", &upstream.base_url(), "f-text");
    unshrunk.priority = 3;
    unshrunk.models = Some(TierModels {
        big: canned::UNSHRUNK.iter().map(|name| (*name).to_owned()).collect(),
        ..TierModels::default()
    });
    unshrunk.dialect_overrides = Some(Dialect {
        auto_shrink: Some(false),
        ..Dialect::default()
    });
    admin.create_provider(unshrunk).await?;
    let mut patient = admin::provider("patient", &upstream.base_url(), canned::PAUSING);
    patient.priority = 3;
    patient.timeout = PATIENCE_S;
    admin.create_provider(patient).await?;
    if let (Some(url), Some(name)) = (model_url, model_name) {
        let mut local = admin::provider("local", &url, &name);
        local.priority = 4;
        local.dialect = "llama-cpp".to_owned();
        local.timeout = PATIENCE_S;
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

/// Every canned model is in some tier; a request for the tier itself is told which.
fn offer_all() -> TierModels {
    let mut others = canned::EXAMPLES.to_vec();
    others.retain(|name| !TIERS.contains(name));
    let share = others.len().div_ceil(TIERS.len());
    let [big, middle, small] = TIERS.map(|first| {
        let rest = others.split_off(others.len().saturating_sub(share));
        let names = std::iter::once(first).chain(rest);
        names.map(str::to_owned).collect()
    });
    TierModels { big, middle, small }
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
