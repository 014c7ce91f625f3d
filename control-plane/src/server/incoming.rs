//! Connections as the gRPC library is given them: not more than there is room for, and none that
//! keeps its place without saying what it wants.
//!
//! The library itself asks for the next connection at once when the system has none to
//! give, and waits for ever for the first bytes of one.

use std::fs::File;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::stream::{self, Stream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// The store, the other listeners' sockets, log, signals, certificates.
const OTHER_DESCRIPTORS_MAX: u64 = 64;
/// Listeners that share the descriptors.
const LISTENERS: u64 = 3;
/// Connections of one listener, where descriptors allow more.
const CONNECTIONS_MAX: u64 = 4096;
/// How long a client may take to say what it wants.
const OPENING_MAX: Duration = Duration::from_secs(10);
/// The beginning of HTTP/2, and less than any request of HTTP/1.
const OPENING_BYTES: usize = 24;
/// With TLS this much comes after our first answer: more than the last flight of a handshake
/// (93 bytes at most), less than that and the beginning of a request.
const TLS_OPENING_BYTES: usize = 110;
/// The same where clients are asked for a certificate: who has none says so (30 bytes). Who has
/// one is known by it.
const MUTUAL_TLS_OPENING_BYTES: usize = 140;
/// Pause when the system refuses to accept, for want of descriptors mostly.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections that are closed between two pauses.
const CLOSED_AT_ONCE_MAX: usize = 64;
/// What can be opened everywhere.
const NOTHING: &str = "/dev/null";

/// Lifts the soft limit of descriptors to the hard one, and says how many connections
/// each listener may have.
pub(crate) fn connections_max() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // Refused, the old limit holds, and what follows from it is smaller.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let each = limit.saturating_sub(OTHER_DESCRIPTORS_MAX) / LISTENERS;
    usize::try_from(each.clamp(1, CONNECTIONS_MAX)).unwrap_or(usize::MAX)
}

/// What the first bytes of a connection go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    Plain,
    Tls,
    /// With a question for the client's certificate.
    MutualTls,
}

/// The connections of a listener.
pub(crate) fn incoming(
    listener: TcpListener,
    connections_max: usize,
    opening: Opening,
) -> impl Stream<Item = io::Result<Connection>> {
    let door = Door {
        listener,
        seats: Arc::new(Semaphore::new(connections_max)),
        spare: spare(),
        is_short: false,
    };
    stream::unfold(door, move |mut door| async move {
        let (stream, seat) = door.next().await;
        Some((Ok(Connection::new(stream, seat, opening)), door))
    })
}

struct Door {
    listener: TcpListener,
    seats: Arc<Semaphore>,
    /// Given up when there is no other, so that whoever waits can at least be closed.
    spare: Option<File>,
    is_short: bool,
}

impl Door {
    /// The next connection that there is room for.
    async fn next(&mut self) -> (TcpStream, OwnedSemaphorePermit) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _peer)) => {
                    self.is_short = false;
                    if let Ok(seat) = Arc::clone(&self.seats).try_acquire_owned() {
                        return (stream, seat);
                    }
                    tracing::debug!("a connection over the limit was closed");
                }
                // Not ours: the client was gone before we looked.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if !std::mem::replace(&mut self.is_short, true) {
                        tracing::error!("cannot accept connections: {error}");
                    }
                    self.close_waiting();
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn close_waiting(&mut self) {
        for _ in 0..CLOSED_AT_ONCE_MAX {
            if self.spare.take().is_none() {
                break;
            }
            let accepted = {
                let mut context = Context::from_waker(std::task::Waker::noop());
                self.listener.poll_accept(&mut context)
            };
            let is_more = matches!(accepted, Poll::Ready(Ok(_)));
            drop(accepted);
            self.spare = spare();
            if !is_more {
                break;
            }
        }
        if self.spare.is_none() {
            self.spare = spare();
        }
    }
}

fn spare() -> Option<File> {
    File::open(NOTHING).ok()
}

/// A client's socket, and its seat.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Bytes that are still to come before the client counts as one; the time for them.
    opening: Option<(usize, Pin<Box<Sleep>>)>,
    /// TLS counts from our first answer on.
    is_counting: bool,
    _seat: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: TcpStream, seat: OwnedSemaphorePermit, opening: Opening) -> Self {
        // Without it small messages wait for one another; the stream works all the same.
        let _ = stream.set_nodelay(true);
        let bytes = match opening {
            Opening::Plain => OPENING_BYTES,
            Opening::Tls => TLS_OPENING_BYTES,
            Opening::MutualTls => MUTUAL_TLS_OPENING_BYTES,
        };
        Self {
            stream,
            opening: Some((bytes, Box::pin(sleep(OPENING_MAX)))),
            is_counting: opening == Opening::Plain,
            _seat: seat,
        }
    }

    fn heard(&mut self, bytes: usize) {
        if let Some((missing, _)) = &mut self.opening
            && self.is_counting
        {
            *missing = missing.saturating_sub(bytes);
            if *missing == 0 {
                self.opening = None;
            }
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            self.heard(buffer.filled().len().saturating_sub(before));
            return Poll::Ready(read);
        }
        if let Some((_, limit)) = &mut self.opening {
            ready!(limit.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_counting = true;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_counting = true;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;

    async fn listen(connections_max: usize, opening: Opening) -> (u16, impl Stream<Item = Connection>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = incoming(listener, connections_max, opening);
        (port, connections.map(Result::unwrap))
    }

    async fn connect(port: u16) -> TcpStream {
        TcpStream::connect(("127.0.0.1", port)).await.unwrap()
    }

    #[tokio::test]
    async fn a_connection_over_the_limit_is_closed_and_its_seat_is_free_again() {
        let (port, connections) = listen(1, Opening::Plain).await;
        let mut connections = std::pin::pin!(connections);
        let mut first = connect(port).await;
        let held = connections.next().await.unwrap();
        let mut second = connect(port).await;
        let mut closed = [0; 1];
        tokio::select! {
            _served = connections.next() => panic!("there was no seat"),
            read = second.read(&mut closed) => assert!(matches!(read, Ok(0) | Err(_))),
        }
        drop(held);
        assert!(matches!(first.read(&mut closed).await, Ok(0) | Err(_)));
        let _third = connect(port).await;
        connections.next().await.unwrap();
    }

    /// When the server side gives up, with a client that sends so many bytes after it was
    /// answered, if it is.
    async fn waits(opening: Opening, bytes: usize, is_answered: bool) -> Option<Duration> {
        let (port, connections) = listen(1, opening).await;
        let mut connections = std::pin::pin!(connections);
        let mut client = connect(port).await;
        let mut served = connections.next().await.unwrap();
        if is_answered {
            served.write_all(b"hello").await.unwrap();
        }
        client.write_all(&vec![b'x'; bytes]).await.unwrap();
        served.read_exact(&mut vec![0; bytes]).await.unwrap();
        tokio::time::pause();
        let started = Instant::now();
        let read = tokio::time::timeout(10 * OPENING_MAX, served.read_u8()).await;
        drop(client);
        read.ok().map(|error| {
            assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);
            started.elapsed()
        })
    }

    #[tokio::test]
    async fn who_does_not_say_what_it_wants_is_given_up() {
        let in_time = Some(true);
        for (opening, bytes, is_answered, gives_up) in [
            (Opening::Plain, 0, false, true),
            (Opening::Plain, OPENING_BYTES - 1, false, true),
            (Opening::Plain, OPENING_BYTES, false, false),
            (Opening::Tls, 500, false, true),
            (Opening::Tls, TLS_OPENING_BYTES - 1, true, true),
            (Opening::Tls, TLS_OPENING_BYTES, true, false),
            (Opening::MutualTls, MUTUAL_TLS_OPENING_BYTES - 1, true, true),
            (Opening::MutualTls, MUTUAL_TLS_OPENING_BYTES, true, false),
        ] {
            let waited = waits(opening, bytes, is_answered).await;
            tokio::time::resume();
            let is_given_up = waited.map(|waited| waited <= OPENING_MAX + Duration::from_millis(10));
            assert_eq!(is_given_up, in_time.filter(|_| gives_up), "{opening:?} {bytes}");
        }
    }
}
