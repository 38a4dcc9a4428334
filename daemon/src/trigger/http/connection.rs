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
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

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
    /// Why the head behind the last request is refused. Set once, by the reader or the timer: nothing is read after it.
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

    /// The head that has begun is refused. False when one was refused before.
    fn refuse(&self, refusal: Refusal) -> bool {
        self.refusal.set(refusal).is_ok()
    }

    /// A part of a head has come, and the rest has not.
    fn received(&self) {
        if self.state.load(Ordering::Relaxed) % PHASES == IDLE {
            self.set(HEAD);
        }
    }

    /// An answer is still being written: a client that takes its time is not idle, nor is the head late that it sent meanwhile.
    fn sent(&self, outcome: &Poll<io::Result<usize>>) {
        let phase = self.state.load(Ordering::Relaxed) % PHASES;
        if phase != BUSY && matches!(outcome, Poll::Ready(Ok(bytes)) if *bytes > 0) {
            self.set(phase);
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

    /// Returns when the connection is to be cut, because the client is idle for too long. One whose head is late is told
    /// so first, and cut only if that leads to nothing.
    pub(super) async fn expired(&self, limits: Limits) {
        loop {
            self.overdue(limits).await;
            if !self.is_receiving() || !self.refuse(Refusal::LateHead) {
                return;
            }
            self.set(HEAD);
            // Whoever waits here polls the connection too; that has to be polled anew to notice.
            yield_now().await;
        }
    }

    /// Returns when the present phase has lasted too long.
    async fn overdue(&self, limits: Limits) {
        loop {
            let now = Instant::now();
            match self.deadline(limits) {
                Some(deadline) if deadline <= now => return,
                // Nobody says when a phase changes: with pauses no longer than any limit, no deadline is passed over.
                Some(deadline) => sleep_until(deadline.min(now + limits.header)).await,
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
    /// Whether that is the last of it: what follows is none of hyper's business.
    ended: bool,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, phase: Arc<Phase>) -> Self {
        Self {
            stream,
            phase,
            lingering: None,
            guard: Guard::new(),
            held: Vec::new(),
            ready: Bytes::new(),
            ended: false,
        }
    }

    /// The stream, now that it carries something else, and what was read behind the last request. `None` when that was
    /// refused as a request.
    pub(super) fn into_stream(self) -> Option<(TcpStream, Vec<u8>)> {
        let mut rest = Vec::from(self.ready);
        rest.extend_from_slice(&self.held);
        (self.phase.refusal().is_none() && !self.ended).then_some((self.stream, rest))
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
        let passed = match self.guard.look(read) {
            Verdict::Pass(length) => {
                self.held.extend_from_slice(&read[length..]);
                length
            }
            Verdict::Refuse(length, refusal) => {
                self.phase.refuse(refusal);
                length
            }
            Verdict::Cut(length) => {
                self.ended = true;
                length
            }
        };
        buffer.set_filled(before + passed);
        Poll::Ready(Ok(passed > 0))
    }

    /// Reads more of a head that has begun. `Ready(false)` at the end of the input.
    fn poll_read_held(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        // Its beginning may have come with the request before it, whose answer made the connection idle. Empty lines are
        // none, nor is the rest of a body that nobody asked for: after those a client may be silent for as long as it likes.
        if self.held.iter().any(|byte| !b"\r\n".contains(byte)) {
            self.phase.received();
        }
        let mut scratch = [0; 4 << 10];
        let mut buffer = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Ok(false));
        }
        self.held.extend_from_slice(buffer.filled());
        match self.guard.look(&self.held) {
            Verdict::Pass(0) => {}
            Verdict::Pass(length) => {
                let begun = self.held.split_off(length);
                self.ready = std::mem::replace(&mut self.held, begun).into();
            }
            Verdict::Refuse(length, refusal) => {
                self.phase.refuse(refusal);
                self.release(length);
            }
            Verdict::Cut(length) => {
                self.ended = true;
                self.release(length);
            }
        }
        Poll::Ready(Ok(true))
    }

    /// Hands on so much of what is held and drops the rest.
    fn release(&mut self, length: usize) {
        let mut good = std::mem::take(&mut self.held);
        good.truncate(length);
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
            if this.ended {
                return Poll::Ready(Ok(()));
            }
            if this.phase.refusal().is_some() {
                this.held = Vec::new();
                this.ready = Bytes::from_static(REFUSED);
                this.ended = true;
                continue;
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
        phase.overdue(LIMITS).await;
        assert_eq!(began.elapsed().as_secs(), 10);
        phase.busy();
        phase.idle();
        phase.expired(LIMITS).await;
        assert_eq!(began.elapsed().as_secs(), 85);
        assert_eq!(phase.refusal(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_begins_late_has_no_more_time_than_others() {
        let phase = Phase::new();
        let began = Instant::now();
        let begin = async {
            sleep(Duration::from_secs(13)).await;
            phase.received();
        };
        tokio::join!(phase.overdue(LIMITS), begin);
        assert_eq!(began.elapsed().as_secs(), 23);
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_head_is_refused_before_the_connection_is_cut() {
        let phase = Phase::new();
        phase.received();
        let refused = tokio::time::timeout(Duration::from_secs(15), phase.expired(LIMITS)).await;
        assert!(refused.is_err());
        assert_eq!(phase.refusal(), Some(Refusal::LateHead));
        phase.expired(LIMITS).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_running_request_never_expires() {
        let phase = Phase::new();
        phase.busy();
        let waited = tokio::time::timeout(Duration::from_secs(3600), phase.expired(LIMITS)).await;
        assert!(waited.is_err());
    }
}
