//! Listens, bounds what a connection may do, and ends in good order.
//!
//! The order of an end: readiness goes, then (after a delay in which balancers notice)
//! the listener, then every connection finishes what it serves, and what does not
//! finish in time is cut with an error event.

mod accept;
mod activity;
mod connection;
mod descriptors;
mod listen;
mod seats;
mod socket;
mod stall;

use std::{sync::Arc, time::Duration};

use axum::Router;
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{accept::Acceptor, connection::Terms, seats::Seats};
pub(crate) use self::{
    descriptors::{connections_max, lift_limit},
    listen::{ListenError, listen},
};
use crate::{config::Drain, life::Life, metrics::Metrics};

/// Streams look once in a second whether they are cut; they are told this long before their
/// time is over.
const CUT_LEAD: Duration = Duration::from_millis(500);
/// Time for the last events after a cut.
const CUT_GRACE: Duration = Duration::from_secs(3);

/// Serves until shutdown, then drains as configured.
pub(crate) struct Server {
    pub(crate) router: Router,
    /// Answers connections over the limit.
    pub(crate) refusal: Router,
    pub(crate) connections_max: usize,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) life: Arc<Life>,
    pub(crate) drain: Drain,
}

impl Server {
    pub(crate) async fn run(self, listener: TcpListener, shutdown: CancellationToken) {
        let Self {
            router,
            refusal,
            connections_max,
            metrics,
            life,
            drain,
        } = self;
        let (end, connections) = (CancellationToken::new(), TaskTracker::new());
        let acceptor = Acceptor {
            router,
            refusal,
            terms: Arc::new(Terms::new(Arc::clone(&life), end.clone())),
            seats: Seats::new(connections_max),
            refusals: Acceptor::refusals(),
            metrics,
            connections: connections.clone(),
        };
        tokio::select! {
            // New connections never stop; the signal must be seen.
            biased;
            () = drained(&life, drain.delay, &shutdown) => {}
            never = acceptor.run(&listener) => match never {},
        }
        acceptor.finish(listener);
        end.cancel();
        connections.close();
        let time = drain.max.saturating_sub(CUT_LEAD);
        if timeout(time, connections.wait()).await.is_err() {
            tracing::warn!("cutting the streams that have not finished in time");
            life.cut();
            // What ignores even this is dropped with the runtime.
            let _ = timeout(CUT_GRACE, connections.wait()).await;
        }
    }
}

/// Resolves when the listener has to close.
async fn drained(life: &Life, delay: Duration, shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    life.drain();
    sleep(delay).await;
}
