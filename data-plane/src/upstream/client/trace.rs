//! What a call has been through before it had a connection: the client's errors do not say.
//!
//! The client connects inside the future of the call, so the call carries a [`Trace`] along
//! with its task. What goes on elsewhere, for other calls, leaves none.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use tower::{Layer, Service};

tokio::task_local! {
    static TRACE: Arc<Trace>;
}

#[derive(Debug, Default)]
pub(super) struct Trace {
    is_shaking_hands: AtomicBool,
    has_connected: AtomicBool,
}

impl Trace {
    /// Runs a call that leaves its trace here.
    pub(super) async fn follow<F: Future>(self: &Arc<Self>, call: F) -> F::Output {
        TRACE.scope(Arc::clone(self), call).await
    }

    /// The upstream took a connection, and TLS began on it.
    pub(super) fn is_shaking_hands(&self) -> bool {
        self.is_shaking_hands.load(Ordering::Relaxed)
    }

    /// A connection was made for this call. Otherwise it had one that was kept.
    pub(super) fn has_connected(&self) -> bool {
        self.has_connected.load(Ordering::Relaxed)
    }
}

/// To be called as a handshake begins.
pub(super) fn shakes_hands() {
    // Fails where nobody is waiting for the connection any more.
    let _untraced = TRACE.try_with(|trace| trace.is_shaking_hands.store(true, Ordering::Relaxed));
}

fn has_connected() {
    let _untraced = TRACE.try_with(|trace| trace.has_connected.store(true, Ordering::Relaxed));
}

/// Sees every connection that is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct SeesConnections;

impl<S> Layer<S> for SeesConnections {
    type Service = Seen<S>;

    fn layer(&self, connector: S) -> Seen<S> {
        Seen(connector)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Seen<S>(S);

impl<S, To> Service<To> for Seen<S>
where
    S: Service<To>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, to: To) -> Self::Future {
        let connecting = self.0.call(to);
        Box::pin(async move {
            let connection = connecting.await?;
            has_connected();
            Ok(connection)
        })
    }
}
