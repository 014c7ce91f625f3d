//! A connection to an upstream, and what it has been through.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::client::TlsStream;

const H2: &[u8] = b"h2";

pub(in super::super) struct Socket {
    stream: Stream,
    past: Past,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Of a connection, for whoever makes a call over it.
#[derive(Debug, Clone)]
pub(in super::super) struct Past(Arc<Facts>);

#[derive(Debug)]
struct Facts {
    born: Instant,
    calls: AtomicU32,
    /// A byte came after the last one that was sent.
    has_answered: AtomicBool,
    is_h2: bool,
}

impl Past {
    fn new(is_h2: bool) -> Self {
        Self(Arc::new(Facts {
            born: Instant::now(),
            calls: AtomicU32::new(0),
            has_answered: AtomicBool::new(false),
            is_h2,
        }))
    }

    pub(in super::super) fn age(&self) -> Duration {
        self.0.born.elapsed()
    }

    /// Counts one more call; whether there was none before.
    pub(in super::super) fn is_first_call(&self) -> bool {
        self.0.calls.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// Tells nothing of HTTP/2, where one connection carries many calls.
    pub(in super::super) fn has_answered(&self) -> bool {
        self.0.is_h2 || self.0.has_answered.load(Ordering::Relaxed)
    }
}

impl Socket {
    pub(super) fn plain(tcp: TcpStream) -> Self {
        Self {
            stream: Stream::Plain(tcp),
            past: Past::new(false),
        }
    }

    pub(super) fn tls(tls: TlsStream<TcpStream>) -> Self {
        let is_h2 = tls.get_ref().1.alpn_protocol() == Some(H2);
        Self {
            stream: Stream::Tls(Box::new(tls)),
            past: Past::new(is_h2),
        }
    }
}

impl Connection for Socket {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.past.clone());
        if self.past.0.is_h2 {
            connected.negotiated_h2()
        } else {
            connected
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = match &mut this.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Stream::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        };
        if buffer.filled().len() > before {
            this.past.0.has_answered.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.past.0.has_answered.store(false, Ordering::Relaxed);
        match &mut this.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Stream::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.past.0.has_answered.store(false, Ordering::Relaxed);
        match &mut this.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write_vectored(context, slices),
            Stream::Tls(tls) => Pin::new(tls).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(tcp) => tcp.is_write_vectored(),
            Stream::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}
