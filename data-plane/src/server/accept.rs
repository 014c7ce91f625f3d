//! Takes connections in: as many as there are seats, a word for the next few, and a closed
//! door for the rest. When the system itself has no descriptor left, it waits without
//! spinning.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use axum::Router;
use futures_util::FutureExt;
use tokio::{
    net::{TcpListener, TcpStream},
    task::unconstrained,
    time::sleep,
};
use tokio_util::task::TaskTracker;

use super::{
    activity::{Patience, Wish},
    connection::Terms,
    descriptors::Spare,
    listen::BACKLOG,
    seats::Seats,
};
use crate::metrics::Metrics;

/// A head arrives in one packet, as a rule.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// Longer than clients and balancers keep a connection that they do not use.
const IDLE_MAX: Duration = Duration::from_secs(75);
/// The same while seats are scarce.
const IDLE_SCARCE_MAX: Duration = Duration::from_secs(5);
/// Connections over the limit that are told so at the same time; the others are closed.
const REFUSALS_MAX: usize = 16;
/// A refused client has this long to ask, and to take its answer.
const REFUSAL_MAX: Duration = Duration::from_secs(1);
/// Pause when the system refuses to accept, for want of descriptors mostly.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections that are closed between two pauses.
const CLOSED_AT_ONCE_MAX: usize = 64;

const REFUSAL: Patience = Patience {
    head: REFUSAL_MAX,
    idle: REFUSAL_MAX,
};

pub(super) struct Acceptor {
    pub(super) router: Router,
    /// Answers those who came too late.
    pub(super) refusal: Router,
    pub(super) terms: Arc<Terms>,
    pub(super) seats: Arc<Seats>,
    pub(super) refusals: Arc<Seats>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) connections: TaskTracker,
}

// === impl Acceptor ===

impl Acceptor {
    pub(super) fn refusals() -> Arc<Seats> {
        Seats::new(REFUSALS_MAX)
    }

    /// Accepts for ever.
    pub(super) async fn run(&self, listener: &TcpListener) -> Infallible {
        let mut spare = Spare::default();
        spare.take_back();
        let mut is_short = false;
        loop {
            match listener.accept().await {
                Ok((stream, _peer)) => {
                    is_short = false;
                    self.admit(stream);
                }
                // Not ours: the client was gone before we looked.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if !std::mem::replace(&mut is_short, true) {
                        tracing::error!("cannot accept connections: {error}");
                    }
                    self.metrics.process.accept_errors.inc();
                    close_waiting(listener, &mut spare);
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Serves what still waits, and closes the listener. Clients that keep coming do not keep it
    /// open.
    pub(super) fn finish(&self, listener: TcpListener) {
        // Asks the system itself: what it has told the runtime may be older.
        let Ok(listener) = listener.into_std() else { return };
        for _ in 0..BACKLOG {
            let stream = match listener.accept() {
                Ok((stream, _peer)) => stream,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(_) => break,
            };
            let stream = stream
                .set_nonblocking(true)
                .and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                self.admit(stream);
            }
        }
    }

    fn admit(&self, stream: TcpStream) {
        let terms = Arc::clone(&self.terms);
        let Some(seat) = self.seats.take() else {
            return self.refuse(stream, terms);
        };
        let (router, seats) = (self.router.clone(), Arc::clone(&self.seats));
        let open = Open::new(&self.metrics);
        self.connections.spawn(async move {
            let _held = (seat, open);
            let patience = || patience(&seats);
            terms.serve(stream, router, patience, Wish::Stay).await;
        });
    }

    fn refuse(&self, stream: TcpStream, terms: Arc<Terms>) {
        self.metrics.process.connections_refused.inc();
        let Some(seat) = self.refusals.take() else {
            return;
        };
        let router = self.refusal.clone();
        self.connections.spawn(async move {
            let _seat = seat;
            let served = terms.serve(stream, router, || REFUSAL, Wish::Leave);
            // In time or not: it was to end.
            let _ = tokio::time::timeout(REFUSAL_MAX, served).await;
        });
    }
}

fn patience(seats: &Seats) -> Patience {
    let idle = if seats.are_scarce() {
        IDLE_SCARCE_MAX
    } else {
        IDLE_MAX
    };
    Patience { head: HEAD_MAX, idle }
}

/// Lets those who wait see that they are refused.
fn close_waiting(listener: &TcpListener, spare: &mut Spare) {
    for _ in 0..CLOSED_AT_ONCE_MAX {
        if !spare.give_up() {
            break;
        }
        let accepted = unconstrained(listener.accept()).now_or_never();
        let is_more = matches!(accepted, Some(Ok(_)));
        drop(accepted);
        spare.take_back();
        if !is_more {
            break;
        }
    }
    spare.take_back();
}

/// Counts a connection while it lives.
struct Open(Arc<Metrics>);

impl Open {
    fn new(metrics: &Arc<Metrics>) -> Self {
        metrics.process.connections.inc();
        Self(Arc::clone(metrics))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.process.connections.dec();
    }
}
