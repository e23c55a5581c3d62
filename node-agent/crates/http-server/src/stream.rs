//! The socket of a connection, plain or in TLS, with its activity noted.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use crate::activity::Activity;

/// What carries a connection.
pub(crate) enum Transport {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// A transport whose movements are noted, and which can give bytes back that were read too far.
pub(crate) struct Stream {
    transport: Transport,
    rewound: Bytes,
    activity: Arc<Activity>,
}

impl Stream {
    pub(crate) fn new(transport: Transport, activity: Arc<Activity>) -> Self {
        Self { transport, rewound: Bytes::new(), activity }
    }

    /// The next read gives these bytes again. Copied, because even an empty slice would keep the large buffer alive that
    /// it was cut from.
    pub(crate) fn rewind(&mut self, bytes: &[u8]) {
        debug_assert!(self.rewound.is_empty(), "only what was read can be given back");
        self.rewound = Bytes::copy_from_slice(bytes);
    }

    /// Waits until bytes (or the end) can be read. Holds no buffer. For TLS only right after a read would block:
    /// what the session has already decrypted is not seen by the socket.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        if !self.rewound.is_empty() {
            return Ok(());
        }
        match &self.transport {
            Transport::Tcp(tcp) => tcp.readable().await,
            Transport::Tls(tls) => tls.get_ref().0.readable().await,
            Transport::Unix(unix) => unix.readable().await,
        }
    }
}

macro_rules! each {
    ($stream:expr, $io:ident => $call:expr) => {
        match &mut $stream.transport {
            Transport::Tcp(io) => {
                let $io = Pin::new(io);
                $call
            }
            Transport::Tls(io) => {
                let $io = Pin::new(io.as_mut());
                $call
            }
            Transport::Unix(io) => {
                let $io = Pin::new(io);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        if this.rewound.is_empty() {
            ready!(each!(this, io => io.poll_read(cx, buffer)))?;
        } else {
            let count = this.rewound.len().min(buffer.remaining());
            buffer.put_slice(&this.rewound[..count]);
            this.rewound.advance(count);
        }
        this.activity.bytes_read(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.activity.write_begins();
        let count = ready!(each!(self, io => io.poll_write(cx, bytes)))?;
        self.activity.bytes_written();
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.activity.write_begins();
        let count = ready!(each!(self, io => io.poll_write_vectored(cx, pieces)))?;
        self.activity.bytes_written();
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Tcp(tcp) => tcp.is_write_vectored(),
            Transport::Tls(tls) => tls.is_write_vectored(),
            Transport::Unix(unix) => unix.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(each!(self, io => io.poll_flush(cx)))?;
        self.activity.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => io.poll_shutdown(cx))
    }
}
