//! Listens, bounds what a connection may do, and ends in good order.
//!
//! The order of an end: readiness goes, then (after a delay in which balancers notice)
//! the listener, then every connection finishes what it serves, and what does not
//! finish in time is cut with an error event.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{config::Drain, life::Life, metrics::Metrics};

const BACKLOG: u32 = 4096;
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
const HEADERS_MAX: usize = 100;
const HEADER_BYTES_MAX: usize = 64 << 10;
const H2_KEEP_ALIVE: Duration = Duration::from_secs(20);
const H2_KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const H2_STREAMS_MAX: u32 = 256;
/// Pause when the system refuses to accept, for want of descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time for the last events after a cut.
const CUT_GRACE: Duration = Duration::from_secs(3);

#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {source}; choose another port with {variable}, or stop what uses this one"
)]
pub struct ListenError {
    address: SocketAddr,
    variable: &'static str,
    source: io::Error,
}

pub(crate) fn listen(address: SocketAddr, variable: &'static str) -> Result<TcpListener, ListenError> {
    let open = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|source| ListenError {
        address,
        variable,
        source,
    })
}

/// Serves until shutdown, then drains as configured.
pub(crate) struct Server {
    pub(crate) router: Router,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) life: Arc<Life>,
    pub(crate) drain: Drain,
    pub(crate) tasks: TaskTracker,
}

impl Server {
    pub(crate) async fn run(self, listener: TcpListener, shutdown: CancellationToken) {
        let graceful = GracefulShutdown::new();
        let builder = builder();
        tokio::select! {
            // New connections never stop; the signal must be seen.
            biased;
            () = self.drained(&shutdown) => {}
            never = self.accept(&listener, &builder, &graceful) => match never {},
        }
        drop(listener);
        let all = graceful.shutdown();
        tokio::pin!(all);
        if tokio::time::timeout(self.drain.max, &mut all).await.is_err() {
            tracing::warn!("cutting the streams that have not finished in time");
            self.life.cut();
            // What ignores even this is dropped with the runtime.
            let _ = tokio::time::timeout(CUT_GRACE, all).await;
        }
    }

    /// Resolves when the listener has to close.
    async fn drained(&self, shutdown: &CancellationToken) {
        shutdown.cancelled().await;
        self.life.drain();
        tokio::time::sleep(self.drain.delay).await;
    }

    async fn accept(
        &self,
        listener: &TcpListener,
        builder: &Builder<TokioExecutor>,
        graceful: &GracefulShutdown,
    ) -> std::convert::Infallible {
        loop {
            match listener.accept().await {
                Ok((stream, _peer)) => self.serve(stream, builder, graceful),
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn serve(&self, stream: TcpStream, builder: &Builder<TokioExecutor>, graceful: &GracefulShutdown) {
        // Without it small events wait for one another; the stream works all the same.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(self.router.clone());
        let connection = builder
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        let connection = graceful.watch(connection);
        let open = Open::new(&self.metrics);
        self.tasks.spawn(async move {
            let _open = open;
            if let Err(error) = connection.await {
                tracing::debug!("connection ended: {error}");
            }
        });
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(H2_KEEP_ALIVE)
        .keep_alive_timeout(H2_KEEP_ALIVE_TIMEOUT)
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX as u32);
    builder
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_its_variable() {
        let taken = listen(SocketAddr::from(([127, 0, 0, 1], 0)), "PORT").unwrap();
        let address = taken.local_addr().unwrap();
        let error = listen(address, "PORT").unwrap_err().to_string();
        assert!(
            error.contains(&address.port().to_string()) && error.contains("PORT"),
            "{error}"
        );
    }
}
