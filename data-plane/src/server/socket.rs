//! A client's socket that tells its connection's [`Activity`] what comes in and what is taken.
//!
//! What the runtime knows of a socket is as old as its last look. Before a connection ends
//! for want of a request, the system itself is asked whether there is one.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use rustix::net::{RecvFlags, recv};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take},
    net::TcpStream,
};

use super::activity::Activity;

/// What is read at once. The HTTP library doubles its buffer whenever a read fills it, and keeps
/// it for as long as the connection lives; a stream has no use for it any more. This is less
/// than it begins with.
const READ_BYTES_MAX: u64 = (8 << 10) - 1;

pub(super) struct Socket {
    stream: Take<TcpStream>,
    activity: Arc<Activity>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>) -> Self {
        Self {
            stream: stream.take(READ_BYTES_MAX),
            activity,
        }
    }

    /// What the system has, whether or not the runtime has heard of it.
    fn receive(&self, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match recv(
            self.stream.get_ref(),
            buffer.initialize_unfilled(),
            RecvFlags::DONTWAIT,
        ) {
            Ok((_, bytes)) => {
                buffer.advance(bytes);
                Poll::Ready(Ok(()))
            }
            // Nothing, or what the runtime will be told as well.
            Err(_) => Poll::Pending,
        }
    }

    fn noted(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(_) => self.activity.took(),
            Poll::Pending => self.activity.stalls(Instant::now()),
        }
        written
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        self.stream.set_limit(READ_BYTES_MAX);
        let mut read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_pending() && self.activity.is_questioned() {
            read = self.receive(buffer);
        }
        ready!(read)?;
        let new = buffer.filled().get(before..).unwrap_or_default();
        let heard = self.activity.heard(new, Instant::now());
        Poll::Ready(heard.map_err(|flood| io::Error::new(io::ErrorKind::ConnectionAborted, flood)))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(self.stream.get_mut()).poll_write(context, bytes);
        self.noted(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(self.stream.get_mut()).poll_write_vectored(context, slices);
        self.noted(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.get_ref().is_write_vectored()
    }
}
