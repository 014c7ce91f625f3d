//! The data plane: serves Anthropic's Messages API and asks OpenAI-compatible
//! providers.
//!
//! It holds exactly one snapshot of the configuration, which the control plane sends,
//! and every request is a straight walk down through it:
//! `server` → `handler` → `auth` → `routing` → `upstream` → `relay`.

mod auth;
mod body;
mod capacity;
pub mod check;
mod clock;
pub mod config;
mod error;
mod explain;
mod handler;
mod life;
mod limits;
mod metrics;
mod node;
mod off_reactor;
mod overload;
mod relay;
mod report;
mod request_id;
mod routing;
mod running;
mod server;
mod snapshot;
pub mod telemetry;
mod traces;
pub mod translation;
mod upstream;
mod usage;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::OptionFuture;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

use crate::{
    capacity::Capacity,
    clock::Clock,
    config::{Config, Drain},
    life::Life,
    limits::Limits,
    metrics::Metrics,
    node::Node,
    overload::Overload,
    report::Reporter,
    server::{Server, listen},
    snapshot::{
        cache::{Cache, Inbox, Keeper},
        live::Live,
        staleness,
        watch::{Watcher, link::Link},
    },
    upstream::{admission::Upstreams, client},
    usage::recorder::Recorder,
};

/// The ops listener serves to the last moment and then ends at once.
const OPS_DRAIN: Drain = Drain {
    delay: Duration::ZERO,
    max: Duration::ZERO,
};

/// For the last write to the snapshot cache, the last report and the last spans.
const FLUSH_WAIT: Duration = Duration::from_secs(3);
/// Probes and scrapers; they have a limit of their own, so that clients cannot crowd them out.
const OPS_CONNECTIONS_MAX: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Listen(#[from] server::ListenError),
    #[error(transparent)]
    Client(#[from] client::StartError),
    #[error(transparent)]
    Traces(#[from] traces::StartError),
    #[error("cannot listen for signals: {0}")]
    Signal(std::io::Error),
    #[error("told a second time to end, before everything was finished")]
    Impatient,
}

/// Serves until a signal or the control plane ends it. The only place that wires and
/// spawns.
pub async fn run(config: Config) -> Result<(), Error> {
    let Config {
        public,
        ops,
        fleet,
        upstream,
        cache,
        drain,
        limits,
        log: _,
        collector,
    } = config;
    let capacity = Capacity::of_system(limits);
    let mut signals = Signals::new().map_err(Error::Signal)?;
    let public_listener = listen(public, "PORT (or --port)")?;
    let ops_listener = listen(ops, "OPS_LISTEN (or --ops-listen)")?;

    let metrics = Arc::new(Metrics::new());
    if let Some(proxy) = &upstream.proxy {
        info!(%proxy, "providers are called through a proxy, which decides where names lead");
    }
    let overload = Arc::new(Overload::new(capacity.overload));
    let client = client::Client::new(upstream, &metrics.process, Arc::clone(&overload.bodies))?;
    let clock = Arc::new(Clock::default());
    let upstreams = Arc::new(Upstreams::new(client, Arc::clone(&metrics), Arc::clone(&clock)));
    let life = Arc::new(Life::default());
    let tasks = TaskTracker::new();
    let traces = collector.map(|collector| traces::start(collector, &fleet.node_id, &metrics.spans));
    let (traces, exporter) = traces.transpose()?.unzip();
    let node = Arc::new(Node {
        live: Live::new(Instant::now()),
        upstreams,
        metrics: Arc::clone(&metrics),
        life: Arc::clone(&life),
        clock,
        overload,
        recorder: Arc::new(Recorder::default()),
        limits: Arc::new(Limits::new(Instant::now())),
        running: Arc::default(),
        traces,
        tasks: tasks.clone(),
    });
    let (shutdown, over) = (CancellationToken::new(), CancellationToken::new());
    let server = |router, connections_max, drain| Server {
        router,
        refusal: handler::refusal(Arc::clone(&node)),
        connections_max,
        metrics: Arc::clone(&metrics),
        life: Arc::clone(&life),
        drain,
    };
    let public_server = server(handler::public(Arc::clone(&node)), capacity.connections, drain);
    let ops_server = server(handler::ops(Arc::clone(&node)), OPS_CONNECTIONS_MAX, OPS_DRAIN);
    info!(
        node.id = fleet.node_id, %public, %ops,
        connections_max = capacity.connections,
        requests_max = capacity.overload.requests_max,
        body_mib_max = capacity.overload.body_bytes_max >> 20,
        "data plane started"
    );

    tasks.spawn({
        let upstreams = Arc::clone(&node.upstreams);
        async move { upstreams.tables.load_when_wanted().await }
    });
    tasks.spawn({
        let node = Arc::clone(&node);
        async move { node.overload.watch(|| node.requests_in_flight()).await }
    });
    let (boot_id, served) = (uuid::Uuid::new_v4().to_string(), CancellationToken::new());
    let (tell_link, link) = watch::channel(None);
    let reporter = Reporter::new(&node, &fleet.node_id, &boot_id, link);
    let reported = tasks.spawn(reporter.run(served.clone()));
    let traced = exporter.map(|exporter| tasks.spawn(exporter.run(served.clone())));
    let connection = Connection {
        fleet,
        boot_id,
        link: tell_link,
    };
    let kept = follow_configuration(connection, cache, node, &shutdown, &tasks).await;
    tasks.spawn(ops_server.run(ops_listener, over.clone()));
    let serving = tasks.spawn(public_server.run(public_listener, shutdown.clone()));

    tokio::select! {
        // A signal is rarer than the end that follows from it.
        biased;
        () = signals.next() => {}
        () = shutdown.cancelled() => {}
    }
    info!("draining");
    shutdown.cancel();
    let ended = tokio::select! {
        biased;
        () = signals.next() => Err(Error::Impatient),
        _served = serving => Ok(()),
    };
    served.cancel();
    if ended.is_ok() {
        // What cannot be written in this time is written by the next process, what cannot be
        // reported is lost.
        let _ = timeout(FLUSH_WAIT, async {
            tokio::join!(kept, reported, OptionFuture::from(traced))
        })
        .await;
    }
    over.cancel();
    info!("data plane ended");
    ended
}

/// How this process speaks to the control plane.
struct Connection {
    fleet: config::Fleet,
    boot_id: String,
    link: watch::Sender<Option<Link>>,
}

/// Starts what keeps the configuration: the subscription, the files on disk, the look at
/// its age. What is kept on disk is in force afterwards; the handle ends when the last of
/// it is on disk.
async fn follow_configuration(
    connection: Connection,
    place: config::SnapshotCache,
    node: Arc<Node>,
    shutdown: &CancellationToken,
    tasks: &TaskTracker,
) -> JoinHandle<()> {
    let Connection { fleet, boot_id, link } = connection;
    let cache = Cache::new(place, fleet.token.clone());
    let restored = cache.restore(&node).await;
    let inbox = Arc::new(Inbox::default());
    let over = CancellationToken::new();
    let keeper = Keeper::new(cache.clone(), Arc::clone(&node), Arc::clone(&inbox), over.clone());
    tasks.spawn(staleness::look(Arc::clone(&node), over.clone()));
    let watcher = Watcher {
        fleet,
        boot_id,
        link,
        node,
        shutdown: shutdown.clone(),
        cache,
        restored,
        inbox,
        over,
    };
    tasks.spawn(watcher.run());
    tasks.spawn(keeper.run())
}

/// SIGTERM of an orchestrator and Ctrl-C of a person.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            // Both mean the same.
            biased;
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
