//! What may a client do with a connection? Time limits for its phases, and a close that lets a refused client read its answer.
//!
//! hyper knows one timeout, for the head of a request. Here the phases are told apart: idle between requests, receiving
//! a head, busy with a request. One timer per connection serves all of them, and a request costs two atomic stores.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::trigger::http::guard::{Guard, REFUSED, Refusal, Verdict};

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
    /// Why the head behind the last request was refused. Set by the reader, once: nothing is read after it.
    refusal: OnceLock<Refusal>,
}

impl Phase {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            epoch: Instant::now(),
            state: AtomicU64::new(IDLE),
            linger: AtomicBool::new(false),
            refusal: OnceLock::new(),
        })
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

    /// An answer is still being written: a client that takes its time is not idle.
    fn sent(&self, outcome: &Poll<io::Result<usize>>) {
        let progress = matches!(outcome, Poll::Ready(Ok(bytes)) if *bytes > 0);
        if progress && self.state.load(Ordering::Relaxed) % PHASES == IDLE {
            self.set(IDLE);
        }
    }

    /// The client is still sending what nobody will read.
    pub(super) fn linger(&self) {
        self.linger.store(true, Ordering::Relaxed);
    }

    /// Whether a head has begun and is not complete.
    pub(super) fn is_receiving(&self) -> bool {
        self.state.load(Ordering::Relaxed) % PHASES == HEAD
    }

    /// Why the request that stands in for a refused head is refused.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal.get().copied()
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

/// A TCP connection that notices when a request begins, holds a head back until it is complete and beyond doubt, and
/// lingers where that is needed.
pub(super) struct Connection {
    stream: TcpStream,
    phase: Arc<Phase>,
    lingering: Option<Pin<Box<Sleep>>>,
    guard: Guard,
    /// The beginning of a head. At most a head's largest size and one read.
    held: Vec<u8>,
    /// What hyper is to read next.
    ready: Bytes,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, phase: Arc<Phase>) -> Self {
        Self { stream, phase, lingering: None, guard: Guard::new(), held: Vec::new(), ready: Bytes::new() }
    }

    /// Reads into hyper's own buffer, where a head that comes whole, and every body, stays. `Ready(false)` when all of it
    /// had to be taken back.
    fn poll_read_straight(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let read = &buffer.filled()[before..];
        if read.is_empty() {
            return Poll::Ready(Ok(true));
        }
        self.phase.received();
        let passed = match self.guard.look(read) {
            Verdict::Pass(length) => {
                self.held.extend_from_slice(&read[length..]);
                length
            }
            Verdict::Refuse(length, refusal) => {
                self.refuse(refusal, Vec::new());
                length
            }
        };
        buffer.set_filled(before + passed);
        Poll::Ready(Ok(passed > 0))
    }

    /// Reads more of a head that has begun. `Ready(false)` at the end of the input.
    fn poll_read_held(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut scratch = [0; 4 << 10];
        let mut buffer = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Ok(false));
        }
        self.phase.received();
        self.held.extend_from_slice(buffer.filled());
        match self.guard.look(&self.held) {
            Verdict::Pass(0) => {}
            Verdict::Pass(length) => {
                let begun = self.held.split_off(length);
                self.ready = std::mem::replace(&mut self.held, begun).into();
            }
            Verdict::Refuse(length, refusal) => {
                let mut good = std::mem::take(&mut self.held);
                good.truncate(length);
                self.refuse(refusal, good);
            }
        }
        Poll::Ready(Ok(true))
    }

    fn refuse(&mut self, refusal: Refusal, mut good: Vec<u8>) {
        self.phase.refusal.get_or_init(|| refusal);
        good.extend_from_slice(REFUSED);
        self.ready = good.into();
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
        let this = &mut *self;
        loop {
            if !this.ready.is_empty() {
                let length = this.ready.len().min(buffer.remaining());
                buffer.put_slice(&this.ready.split_to(length));
                return Poll::Ready(Ok(()));
            }
            if this.phase.refusal().is_some() {
                // Nothing is read behind a refused head; answering it closes the connection.
                return Poll::Pending;
            }
            if this.held.is_empty() {
                if ready!(this.poll_read_straight(context, buffer))? {
                    return Poll::Ready(Ok(()));
                }
            } else if !ready!(this.poll_read_held(context))? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.phase.sent(&outcome);
        outcome
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        }
        // A request may be answered before its body has come, for instance with 404.
        if self.phase.linger.load(Ordering::Relaxed) || !self.guard.is_between_requests() {
            ready!(self.poll_linger(context));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.phase.sent(&outcome);
        outcome
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
