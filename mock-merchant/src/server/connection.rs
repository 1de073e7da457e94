//! One accepted connection: counted against the limit, and breakable by a simulated fault.

use axum::Extension;
use axum::middleware::AddExtension;
use axum_server::accept::Accept;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_layer::Layer;

/// Breaks the connection of the request that it came with: nothing more is written to it.
#[derive(Clone, Debug, Default)]
pub struct Breaker(Arc<AtomicBool>);

impl Breaker {
    /// Breaks the connection.
    pub fn break_now(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Takes in connections up to a limit; those above it are closed at once.
#[derive(Clone, Debug)]
pub struct Acceptor(Arc<Semaphore>);

impl Acceptor {
    /// An acceptor for `connections` at one time.
    pub fn new(connections: usize) -> Self {
        Self(Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))))
    }
}

impl<S> Accept<TcpStream, S> for Acceptor {
    type Stream = Connection;
    type Service = AddExtension<S, Breaker>;
    type Future = Ready<io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Ok(permit) = self.0.clone().try_acquire_owned() else {
            return ready(Err(io::Error::other("too many connections")));
        };
        let breaker = Breaker::default();
        let service = Extension(breaker.clone()).layer(service);
        ready(stream.set_nodelay(true).map(|()| (Connection { stream, breaker, _permit: permit }, service)))
    }
}

/// A TCP stream that a [`Breaker`] can end.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    breaker: Breaker,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn broken(&self) -> Option<io::Error> {
        self.breaker.0.load(Ordering::SeqCst).then(|| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.broken() {
            Some(e) => Poll::Ready(Err(e)),
            None => Pin::new(&mut self.stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.broken() {
            Some(e) => Poll::Ready(Err(e)),
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
