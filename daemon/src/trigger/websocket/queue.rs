//! What waits to be sent to one client? Whole frames, bounded in bytes, taken by the connection's own task.
//!
//! Whoever has a frame for a client puts it here and goes on; nobody waits for a client. When there is too much, the client
//! is too slow, and what becomes of it is its connection's business.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::{Buf, Bytes};
use futures_util::task::AtomicWaker;

use crate::trigger::websocket::close::{Close, TOO_SLOW};

/// What a frame counts for besides its bytes.
const OVERHEAD: usize = 64;
/// Most frames that are written at once.
pub(super) const BATCH: usize = 32;
/// A queue that has grown beyond so many frames gives its memory back once it is empty.
const KEPT: usize = 8;

/// Frames for one client.
#[derive(Debug)]
pub(super) struct Queue {
    /// Held for a few pushes and pops at a time, never while writing.
    state: Mutex<State>,
    /// Wakes the connection's task, which alone takes frames out.
    waker: AtomicWaker,
    limit: usize,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// Whether a part of the first frame has been written.
    begun: bool,
    /// How the connection is to end. Nothing is taken in after that, except while a finish is waited for.
    end: Option<End>,
    /// Whether the connection's task has seen that.
    seen: bool,
}

/// How a connection is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// With a close frame behind what waits, once the handlers that run are done and have said what they have to say.
    Finish(Close),
    /// With a close frame behind what waits.
    Close(Close),
    /// With a close frame in place of what waits.
    Overflow(Close),
    /// Without a word.
    Cut(Close),
}

impl Queue {
    pub(super) fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), waker: AtomicWaker::new(), limit }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a frame behind those that wait. One that finds no room ends the connection; one for a connection that ends is
    /// dropped.
    pub(super) fn push(&self, frame: Bytes) {
        let mut state = self.lock();
        if state.ends() {
            return;
        }
        let weight = frame.len() + OVERHEAD;
        if state.bytes + weight > self.limit && !state.frames.is_empty() {
            state.end =
                Some(End::Overflow(Close::new(TOO_SLOW, "more than websocket.send_queue allows waits to be sent")));
        } else {
            state.bytes += weight;
            state.frames.push_back(frame);
        }
        drop(state);
        self.waker.wake();
    }

    /// Lets the connection end, unless it does already. A cut overrides everything.
    pub(super) fn end(&self, end: End) {
        let mut state = self.lock();
        if !state.ends() || matches!(end, End::Cut(_)) && !matches!(state.end, Some(End::Cut(_))) {
            state.end = Some(end);
            state.seen = false;
        }
        drop(state);
        self.waker.wake();
    }

    /// The task that `waker` wakes is told of frames and of the end.
    pub(super) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// How the connection is to end, if that is news. What waits is then followed by the close frame or gives way to it.
    /// While handlers run (not `idle`), a finish is no news.
    pub(super) fn take_end(&self, idle: bool) -> Option<End> {
        let mut state = self.lock();
        if state.seen || !idle && !state.ends() {
            return None;
        }
        let end = state.end.clone()?;
        state.seen = true;
        match &end {
            End::Finish(close) | End::Close(close) => state.frames.push_back(close.encode()),
            End::Overflow(close) => {
                let begun = usize::from(state.begun);
                state.frames.truncate(begun);
                state.frames.push_back(close.encode());
            }
            End::Cut(_) => state.frames.clear(),
        }
        Some(end)
    }

    /// Frames from the front, without taking them out.
    pub(super) fn front(&self) -> Vec<Bytes> {
        let state = self.lock();
        state.frames.iter().take(BATCH).cloned().collect()
    }

    /// So many bytes from the front were written.
    pub(super) fn written(&self, mut bytes: usize) {
        let mut state = self.lock();
        while let Some(first) = state.frames.front_mut() {
            let length = first.len();
            if bytes < length {
                first.advance(bytes);
                state.begun |= bytes > 0;
                state.bytes = state.bytes.saturating_sub(bytes);
                return;
            }
            bytes -= length;
            state.begun = false;
            state.frames.pop_front();
            state.bytes = state.bytes.saturating_sub(length + OVERHEAD);
        }
        if state.frames.capacity() > KEPT {
            state.frames = VecDeque::new();
        }
    }
}

impl State {
    /// Whether nothing is taken in any more.
    fn ends(&self) -> bool {
        self.end.as_ref().is_some_and(|end| self.seen || !matches!(end, End::Finish(_)))
    }
}

/// As the system wants it.
pub(super) fn slices(frames: &[Bytes]) -> [IoSlice<'_>; BATCH] {
    let mut slices = [IoSlice::new(&[]); BATCH];
    for (slice, frame) in slices.iter_mut().zip(frames) {
        *slice = IoSlice::new(frame);
    }
    slices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trigger::websocket::close::{GOING_AWAY, NORMAL};

    fn frame(length: usize) -> Bytes {
        Bytes::from(vec![0; length])
    }

    #[test]
    fn what_is_written_makes_room() {
        let queue = Queue::new(1000);
        for _ in 0..3 {
            queue.push(frame(200));
        }
        queue.written(300);
        assert_eq!(queue.front().iter().map(Bytes::len).collect::<Vec<_>>(), [100, 200]);
        queue.push(frame(400));
        assert_eq!(queue.take_end(true), None);
        queue.push(frame(400));
        assert!(matches!(queue.take_end(true), Some(End::Overflow(_))));
    }

    #[test]
    fn a_frame_that_has_begun_is_finished_before_a_client_is_told_that_it_is_too_slow() {
        let queue = Queue::new(300);
        queue.push(frame(100));
        queue.push(frame(50));
        queue.written(10);
        queue.push(frame(200));
        let close = Close::new(TOO_SLOW, "more than websocket.send_queue allows waits to be sent");
        assert_eq!(queue.take_end(true), Some(End::Overflow(close.clone())));
        assert_eq!(queue.front(), [frame(90), close.encode()]);
        queue.push(frame(1));
        assert_eq!(queue.front().len(), 2);
    }

    #[test]
    fn one_frame_may_be_larger_than_the_queue_if_nothing_waits() {
        let queue = Queue::new(100);
        queue.push(frame(5000));
        assert_eq!(queue.take_end(true), None);
        queue.written(5000);
        assert!(queue.front().is_empty());
        queue.push(frame(10));
        queue.push(frame(5000));
        assert!(matches!(queue.take_end(true), Some(End::Overflow(_))));
    }

    #[test]
    fn a_finish_waits_for_handlers_and_gives_way_to_what_they_decide() {
        let queue = Queue::new(1000);
        queue.end(End::Finish(Close::new(GOING_AWAY, "")));
        queue.push(frame(10));
        assert_eq!(queue.take_end(false), None);
        assert_eq!(queue.take_end(true), Some(End::Finish(Close::new(GOING_AWAY, ""))));
        queue.push(frame(10));
        assert_eq!(queue.front().len(), 2);
        assert_eq!(queue.take_end(true), None);
        let queue = Queue::new(1000);
        queue.end(End::Finish(Close::new(GOING_AWAY, "")));
        queue.end(End::Close(Close::new(NORMAL, "")));
        assert_eq!(queue.take_end(false), Some(End::Close(Close::new(NORMAL, ""))));
    }

    #[test]
    fn an_end_comes_once_and_only_a_cut_overrides_it() {
        let queue = Queue::new(1000);
        queue.push(frame(10));
        queue.end(End::Close(Close::new(NORMAL, "")));
        queue.end(End::Close(Close::new(GOING_AWAY, "")));
        assert_eq!(queue.take_end(true), Some(End::Close(Close::new(NORMAL, ""))));
        assert_eq!(queue.take_end(true), None);
        assert_eq!(queue.front().len(), 2);
        queue.end(End::Cut(Close::abnormal("gone")));
        assert_eq!(queue.take_end(true), Some(End::Cut(Close::abnormal("gone"))));
        assert!(queue.front().is_empty());
        queue.end(End::Cut(Close::abnormal("again")));
        assert_eq!(queue.take_end(true), None);
    }
}
