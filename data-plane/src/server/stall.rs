//! HTTP/2 streams that nobody takes from.
//!
//! A socket that takes no byte ends its connection (`activity`). A single stream can come to a
//! halt while its socket lives: the client gives it no more room, so nobody asks for the next
//! piece of its answer, and its upstream waits. Then that stream ends, and the others go on.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use hyper_util::rt::TokioExecutor;
use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::STALL_MAX;

/// A piece of an answer has that time once more for each so many bytes of it: that it is
/// taken is known of the whole piece only. So nobody hands over more than this at once.
pub(super) const PIECE_BYTES: usize = 16 << 10;

tokio::task_local! {
    static TAKING: Arc<Taking>;
}

/// Whether the latest piece of an answer has been taken.
#[derive(Debug, Default)]
struct Taking(Mutex<Option<Instant>>);

impl Taking {
    fn limit(&self) -> MutexGuard<'_, Option<Instant>> {
        // One assignment cannot be half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client wants the next piece of an answer, and so has taken the one before.
pub(super) fn wanted() {
    note(None);
}

/// A piece is handed over, and now the client has to take it.
pub(super) fn handed(bytes: usize) {
    let pieces = u32::try_from(1 + bytes / PIECE_BYTES).unwrap_or(u32::MAX);
    note(Some(Instant::now() + STALL_MAX.saturating_mul(pieces)));
}

fn note(limit: Option<Instant>) {
    // Outside of HTTP/2 the socket tells.
    let _ = TAKING.try_with(|taking| *taking.limit() = limit);
}

/// Runs the streams of HTTP/2 connections, and ends those that nobody takes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Executor;

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        TokioExecutor::new().execute(Watched {
            stream: Box::pin(stream),
            taking: Arc::default(),
            timer: None,
        });
    }
}

/// One stream. Dropping it resets the stream and drops what feeds it.
struct Watched<F> {
    stream: Pin<Box<F>>,
    taking: Arc<Taking>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let polled = TAKING.sync_scope(Arc::clone(&this.taking), || this.stream.as_mut().poll(context));
        if polled.is_ready() {
            return polled;
        }
        let Some(limit) = *this.taking.limit() else {
            return Poll::Pending;
        };
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(limit)));
        if timer.deadline() != limit {
            timer.as_mut().reset(limit);
        }
        ready!(timer.as_mut().poll(context));
        tracing::debug!("stream dropped: it takes nothing");
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body::Frame;
    use http_body_util::{BodyExt, Empty};
    use hyper::{client, server, service::service_fn};
    use hyper_util::rt::{TokioIo, TokioTimer};
    use tokio::io::duplex;

    use super::*;

    /// As an answer is: endless, and told of what becomes of it.
    struct Endless(Option<tokio::sync::oneshot::Sender<Instant>>);

    const PIECE: &[u8] = &[b'x'; 1024];

    impl http_body::Body for Endless {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            wanted();
            handed(PIECE.len());
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(PIECE)))))
        }
    }

    impl Drop for Endless {
        fn drop(&mut self) {
            self.0.take().unwrap().send(Instant::now()).ok();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn r29_a_stream_that_nobody_takes_from_ends_and_its_neighbours_go_on() {
        let (ours, theirs) = duplex(1 << 20);
        let (tell, ended) = tokio::sync::oneshot::channel();
        let tell = Mutex::new(Some(tell));
        let serve = service_fn(move |_: Request<hyper::body::Incoming>| {
            let body = Endless(Some(tell.lock().unwrap().take().unwrap_or_else(|| {
                let (other, _) = tokio::sync::oneshot::channel();
                other
            })));
            async move { Ok::<_, std::convert::Infallible>(Response::new(body)) }
        });
        let serving = server::conn::http2::Builder::new(Executor)
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(ours), serve);
        let asking = async {
            let (mut sender, connection) = client::conn::http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(64 << 10)
                .handshake(TokioIo::new(theirs))
                .await
                .unwrap();
            let calls = async {
                let request = || Request::new(Empty::<Bytes>::new());
                let stalled = sender.send_request(request()).await.unwrap();
                let mut read = sender.send_request(request()).await.unwrap();
                let started = Instant::now();
                let reading = async {
                    loop {
                        read.body_mut().frame().await.unwrap().unwrap();
                        tokio::time::sleep(Duration::from_secs(10)).await;
                    }
                };
                let ended = tokio::select! {
                    ended = ended => ended.unwrap(),
                    () = reading => unreachable!(),
                };
                drop(stalled);
                ended - started
            };
            tokio::select! {
                took = calls => took,
                _ = connection => panic!("the connection ended"),
            }
        };
        let took = tokio::select! {
            took = asking => took,
            _ = serving => panic!("the connection ended"),
        };
        assert!(
            took >= STALL_MAX && took <= STALL_MAX + Duration::from_secs(1),
            "{took:?}"
        );
    }
}
