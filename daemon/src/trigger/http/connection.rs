//! What may a client do with a connection? Time limits for its phases, and a close that lets a refused client read its answer.
//!
//! hyper knows one timeout, for the head of a request. Here the phases are told apart: idle between requests, receiving
//! a head, busy with a request. One timer per connection serves all of them, and a request costs two atomic stores.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// How long a client that was refused may go on sending before it has to read the answer.
const LINGER: Duration = Duration::from_secs(3);

const IDLE: u64 = 0;
const HEAD: u64 = 1;
const BUSY: u64 = 2;
const PHASES: u64 = 4;

/// What phase a connection is in, and since when. Written by the connection's reader and its requests, read by its timer.
pub(crate) struct Phase {
    epoch: Instant,
    /// Milliseconds since `epoch`, times `PHASES`, plus the phase.
    state: AtomicU64,
    /// Whether unread input is to be swallowed before the connection closes.
    linger: AtomicBool,
}

impl Phase {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { epoch: Instant::now(), state: AtomicU64::new(IDLE), linger: AtomicBool::new(false) })
    }

    fn set(&self, phase: u64) {
        let since = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX / PHASES);
        self.state.store(since * PHASES + phase, Ordering::Relaxed);
    }

    /// A request's head has come.
    pub(super) fn busy(&self) {
        self.set(BUSY);
    }

    /// A request is answered.
    pub(super) fn idle(&self) {
        self.set(IDLE);
    }

    fn received(&self) {
        if self.state.load(Ordering::Relaxed) % PHASES == IDLE {
            self.set(HEAD);
        }
    }

    /// The client is still sending what nobody will read.
    pub(super) fn linger(&self) {
        self.linger.store(true, Ordering::Relaxed);
    }

    /// When the present phase has lasted too long; `None` while a request runs, which has limits of its own.
    fn deadline(&self, limits: Limits) -> Option<Instant> {
        let state = self.state.load(Ordering::Relaxed);
        let since = self.epoch + Duration::from_millis(state / PHASES);
        match state % PHASES {
            IDLE => Some(since + limits.idle),
            HEAD => Some(since + limits.header),
            _ => None,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state.load(Ordering::Relaxed) % PHASES == IDLE
    }

    /// Returns when the present phase has lasted too long.
    pub(super) async fn expired(&self, limits: Limits) {
        loop {
            let now = Instant::now();
            match self.deadline(limits) {
                Some(deadline) if deadline <= now => return,
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => sleep(limits.header.min(limits.idle)).await,
            }
        }
    }
}

/// Time limits of a connection's phases.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) header: Duration,
    pub(super) idle: Duration,
}

/// A TCP connection that notices when a request begins and lingers where that is needed.
pub(super) struct Connection {
    stream: TcpStream,
    phase: Arc<Phase>,
    lingering: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, phase: Arc<Phase>) -> Self {
        Self { stream, phase, lingering: None }
    }

    /// Swallows input until the client has closed its side too or the time is up.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let timer = self.lingering.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if timer.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let mut sink = [0; 16 << 10];
        loop {
            let mut buffer = ReadBuf::new(&mut sink);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.phase.received();
        }
        outcome
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            std::task::ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        }
        if self.phase.linger.load(Ordering::Relaxed) {
            std::task::ready!(self.poll_linger(context));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { header: Duration::from_secs(10), idle: Duration::from_secs(75) };

    #[tokio::test(start_paused = true)]
    async fn a_slow_head_expires_before_an_idle_connection() {
        let phase = Phase::new();
        let began = Instant::now();
        phase.received();
        phase.expired(LIMITS).await;
        assert_eq!(began.elapsed().as_secs(), 10);
        phase.busy();
        phase.idle();
        phase.expired(LIMITS).await;
        assert_eq!(began.elapsed().as_secs(), 85);
    }

    #[tokio::test(start_paused = true)]
    async fn a_running_request_never_expires() {
        let phase = Phase::new();
        phase.busy();
        let waited = tokio::time::timeout(Duration::from_secs(3600), phase.expired(LIMITS)).await;
        assert!(waited.is_err());
    }
}
